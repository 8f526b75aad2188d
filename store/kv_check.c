/* kv_check.c: what kv.db holds, counted and read to the last byte. */
#include <stdio.h>

#include "engine/base/mem.h"
#include "store/kv_internal.h"

/* ---- verify ---- */

/* The next block after id; its row is sound or not. *id 0: there is none. */
static bool next_row(struct kv_db *db, int64_t *id, struct kv_row *row, bool *sound, struct err *err)
{
    bool there = false;
    sqlite3_stmt *stmt =
        sql_prepare_with(&db->sql,
                         "SELECT " KV_ROW_COLUMNS ",(SELECT token_bytes FROM kv_space s WHERE s.id=space)"
                         " FROM kv_block WHERE id>?1 ORDER BY id LIMIT 1",
                         id, 1, err);
    bool ok = stmt && sql_step(&db->sql, stmt, &there, err);
    *id = 0;
    *sound = false;
    if (there) {
        *sound =
            kv_row_read(stmt, row) && row->n_bytes == row->n_tokens * (uint64_t)sqlite3_column_int64(stmt, 9);
        *id = row->id;
    }
    sqlite3_finalize(stmt);
    return ok;
}

static bool drop(struct kv_db *db, int64_t id, struct kv_db_verdict *out, struct err *err)
{
    if (!sql_begin(&db->sql, true, err))
        return false;
    uint64_t n_removed = 0;
    bool ok = sql_end(&db->sql, kv_row_remove_chain(db, id, &n_removed, err), err);
    out->n_damaged++;
    out->n_dropped += n_removed;
    return ok;
}

/* Each block is a short read of its own: another program may write in between. */
static bool verify_next(struct kv_db *db, int64_t *id, struct kv_db_verdict *out, struct err *err)
{
    struct kv_row row;
    bool sound, good = false;
    if (!sql_begin(&db->sql, false, err))
        return false;
    bool ok = next_row(db, id, &row, &sound, err);
    if (ok && *id && sound)
        ok = kv_row_load(db, &row, NULL, &good, err);
    ok = sql_end(&db->sql, ok, err);
    if (!ok || !*id)
        return ok;
    out->n_blocks++;
    out->n_bytes += sound ? row.n_bytes : 0;
    return good || drop(db, *id, out, err);
}

bool kv_db_verify(struct kv_db *db, bool (*progress)(void *arg, uint64_t done, uint64_t total), void *arg,
                  struct kv_db_verdict *out, struct err *err)
{
    int64_t total, id = 0;
    *out = (struct kv_db_verdict){0};
    if (!sql_number(&db->sql, "SELECT count(*) FROM kv_block", &total, err))
        return false;
    do {
        if (!verify_next(db, &id, out, err))
            return false;
    } while (id && (!progress || progress(arg, out->n_blocks, (uint64_t)total)));
    return true;
}

/* ---- stat ---- */

static bool count_spaces(struct kv_db *db, struct kv_db_stat *out, struct err *err)
{
    sqlite3_stmt *stmt = sql_prepare(&db->sql,
                                     "SELECT s.label,s.kv_type,count(*),sum(b.n_bytes),sum(b.n_tokens)"
                                     " FROM kv_block b JOIN kv_space s ON s.id=b.space"
                                     " GROUP BY s.id ORDER BY 4 DESC",
                                     err);
    bool row = false, ok = stmt != NULL;
    while (ok && (ok = sql_step(&db->sql, stmt, &row, err)) && row) {
        out->spaces = mem_need_resize(out->spaces, out->n_spaces + 1, sizeof *out->spaces);
        struct kv_db_space_stat *space = &out->spaces[out->n_spaces++];
        const unsigned char *label = sqlite3_column_text(stmt, 0), *type = sqlite3_column_text(stmt, 1);
        snprintf(space->label, sizeof space->label, "%s", label ? (const char *)label : "");
        snprintf(space->kv_type, sizeof space->kv_type, "%s", type ? (const char *)type : "");
        space->n_blocks = (uint64_t)sqlite3_column_int64(stmt, 2);
        space->n_bytes = (uint64_t)sqlite3_column_int64(stmt, 3);
        space->n_tokens = (uint64_t)sqlite3_column_int64(stmt, 4);
        out->n_blocks += space->n_blocks;
        out->n_bytes += space->n_bytes;
        out->n_tokens += space->n_tokens;
    }
    sqlite3_finalize(stmt);
    return ok;
}

bool kv_db_stat(struct kv_db *db, struct kv_db_stat *out, struct err *err)
{
    int64_t n_pages, n_evicted;
    uint64_t all_bytes;
    *out = (struct kv_db_stat){.limit_bytes = db->limit_bytes};
    if (!sql_number(&db->sql, "PRAGMA page_count", &n_pages, err) ||
        !sql_number(&db->sql, "SELECT value FROM kv_stat WHERE name='evicted'", &n_evicted, err) ||
        !kv_disk_space(db->sql.path, &out->free_bytes, &all_bytes, err) || !count_spaces(db, out, err)) {
        mem_free(out->spaces);
        *out = (struct kv_db_stat){0};
        return false;
    }
    out->file_bytes = (uint64_t)n_pages * KV_PAGE_BYTES;
    out->n_evicted = (uint64_t)n_evicted;
    return true;
}
