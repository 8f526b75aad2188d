/* kv_find.c: following a chain of blocks, and reading one.
 *
 * Nothing on the chain is believed for its name: parent and tokens are compared at each step. The last step
 * may take part of a block, since its first rows depend on nothing behind them. */
#include <stdio.h>
#include <string.h>

#include "store/kv_internal.h"

/* Whether the row can be used by this program at all. */
static bool is_ours(const struct kv_db *db, const struct kv_row *row)
{
    return row->space == db->space && row->n_bytes == (uint64_t)row->n_tokens * db->token_bytes &&
           (!db->exact || row->numerics == db->numerics);
}

/* The name of other kernels; it comes from a file and goes to a terminal. Blocks of one chat mostly have one.
 */
static void name_other(struct kv_db *db, int64_t numerics)
{
    bool row = false;
    if (db->other == numerics)
        return;
    db->other = numerics;
    db->other_name[0] = '\0';
    sqlite3_stmt *stmt = sql_prepare(&db->sql, "SELECT name FROM kv_numerics WHERE id=?1", NULL);
    if (!stmt)
        return;
    sqlite3_bind_int64(stmt, 1, numerics);
    if (sql_step(&db->sql, stmt, &row, NULL) && row && sqlite3_column_type(stmt, 0) == SQLITE_TEXT)
        snprintf(db->other_name, sizeof db->other_name, "%s", (const char *)sqlite3_column_text(stmt, 0));
    sqlite3_finalize(stmt);
    for (char *c = db->other_name; *c; c++)
        *c = *c < ' ' || *c > '~' ? '?' : *c;
}

static struct kv_found found_of(struct kv_db *db, const struct kv_row *row, uint32_t n_match)
{
    struct kv_found found = {.id = row->id,
                             .n_tokens = row->n_tokens,
                             .n_match = n_match,
                             .is_foreign = row->numerics != db->numerics};
    if (found.is_foreign) {
        name_other(db, row->numerics);
        memcpy(found.kernels, db->other_name, sizeof found.kernels);
    }
    return found;
}

/* Whole blocks, as many as there are. *at becomes the name of the last. */
static bool follow(struct kv_db *db, struct kv_hash *at, const int32_t *ids, size_t n, struct kv_found *out,
                   size_t max, size_t *n_found, struct err *err)
{
    while (*n_found < max && n >= KV_BLOCK_TOKENS) {
        struct kv_hash name = kv_hash_next(at, ids, KV_BLOCK_TOKENS);
        struct kv_row row;
        bool sound;
        if (!kv_row_find(db, &name, &row, &sound, err))
            return false;
        if (!sound || !is_ours(db, &row) || row.n_tokens != KV_BLOCK_TOKENS ||
            !kv_hash_equal(&row.parent, at) || kv_row_match(&row, ids, n) != KV_BLOCK_TOKENS)
            return true;
        out[(*n_found)++] = found_of(db, &row, KV_BLOCK_TOKENS);
        *at = name;
        ids += KV_BLOCK_TOKENS;
        n -= KV_BLOCK_TOKENS;
    }
    return true;
}

/* The child of parent that shares most of ids[0..n); of equals the one with less to read. */
static bool best_child(struct kv_db *db, const struct kv_hash *parent, const int32_t *ids, size_t n,
                       struct kv_found *best, struct err *err)
{
    struct kv_row row;
    bool there = false;
    *best = (struct kv_found){0};
    sqlite3_stmt *stmt =
        sql_prepare(&db->sql, "SELECT " KV_ROW_COLUMNS " FROM kv_block WHERE parent=?1", err);
    if (!stmt)
        return false;
    sqlite3_bind_blob(stmt, 1, parent->bytes, KV_HASH_BYTES, SQLITE_STATIC);
    bool ok;
    while ((ok = sql_step(&db->sql, stmt, &there, err)) && there) {
        if (!kv_row_read(stmt, &row) || !is_ours(db, &row))
            continue;
        uint32_t n_match = kv_row_match(&row, ids, n);
        if (n_match > best->n_match || (n_match == best->n_match && n_match && row.n_tokens < best->n_tokens))
            *best = found_of(db, &row, n_match);
    }
    sqlite3_finalize(stmt);
    return ok;
}

static bool look_up(struct kv_db *db, const struct kv_hash *parent, const int32_t *ids, size_t n,
                    struct kv_found *out, size_t max, size_t *n_found, struct err *err)
{
    struct kv_hash at = *parent;
    struct kv_found child;
    if (!sql_begin(&db->sql, false, err))
        return false;
    bool ok = follow(db, &at, ids, n, out, max, n_found, err);
    size_t n_followed = *n_found * KV_BLOCK_TOKENS;
    if (ok && *n_found < max && n_followed < n) {
        ok = best_child(db, &at, ids + n_followed, n - n_followed, &child, err);
        if (ok && child.n_match)
            out[(*n_found)++] = child;
    }
    return sql_end(&db->sql, ok, err);
}

static bool put_use(struct kv_db *db, const unsigned char *owner, const struct kv_found *found, size_t n,
                    struct err *err)
{
    if (!sql_begin(&db->sql, true, err))
        return false;
    int64_t touch[] = {found[n - 1].id, kv_now(db)};
    bool ok = sql_run_with(&db->sql, "UPDATE kv_block SET used=?2, hits=hits+1 WHERE id=?1", touch, 2, err);
    for (size_t i = 0; ok && i < n; i++)
        ok = kv_note_owner(db, owner, found[i].id, err);
    return sql_end(&db->sql, ok, err);
}

/* The deepest block is the one used (see kv_room.c); owner uses them all. Where that cannot be written
 * (another program reads, the disk is full) the blocks are of use all the same: somebody waits for them, so
 * not for long. */
static bool note_use(struct kv_db *db, const unsigned char *owner, const struct kv_found *found, size_t n,
                     struct err *err)
{
    int busy_ms = db->sql.busy_ms;
    db->sql.busy_ms = KV_BRIEF_MS;
    bool ok = put_use(db, owner, found, n, err);
    db->sql.busy_ms = busy_ms;
    return ok || kv_can_read_on(db);
}

size_t kv_db_find(struct kv_db *db, const struct kv_hash *parent, const int32_t *ids, size_t n,
                  const unsigned char owner[KV_OWNER_BYTES], struct kv_found *out, size_t max,
                  struct err *err)
{
    size_t n_found = 0;
    struct err trouble = {0};
    if (!look_up(db, parent, ids, n, out, max, &n_found, &trouble))
        n_found = 0;
    for (size_t i = 0; i < 2; i++)
        db->found[i] = n_found > i ? out[n_found - 1 - i].id : 0;
    if (n_found && !note_use(db, owner, out, n_found, &trouble) && err)
        *err = trouble;
    if (!n_found && trouble.code && err)
        *err = trouble;
    return n_found;
}

bool kv_note_owner(struct kv_db *db, const unsigned char *owner, int64_t id, struct err *err)
{
    /* Another program may have taken the block away since it was found. */
    sqlite3_stmt *stmt = sql_prepare_with(&db->sql,
                                          "INSERT OR IGNORE INTO kv_use(block,owner)"
                                          " SELECT id,?2 FROM kv_block WHERE id=?1",
                                          &id, 1, err);
    if (!stmt)
        return false;
    sqlite3_bind_blob(stmt, 2, owner, KV_OWNER_BYTES, SQLITE_STATIC);
    return sql_run(&db->sql, stmt, err);
}

/* Takes a damaged block and what is behind it away. */
static void drop(struct kv_db *db, int64_t id)
{
    struct err ignored;
    uint64_t n_removed = 0;
    if (!sql_begin(&db->sql, true, &ignored))
        return;
    struct kv_tally before = db->tally;
    if (!sql_end(&db->sql, kv_row_remove_chain(db, id, &n_removed, &ignored), &ignored))
        db->tally = before;
}

enum verdict { GOOD, GONE, DAMAGED, FAILED };

static enum verdict read_block(struct kv_db *db, const struct kv_found *found, const int32_t *tokens,
                               void *bytes, size_t n_bytes, struct err *err)
{
    struct kv_row row;
    bool there, good = false;
    sqlite3_stmt *stmt =
        sql_prepare_with(&db->sql, "SELECT " KV_ROW_COLUMNS " FROM kv_block WHERE id=?1", &found->id, 1, err);
    bool ok = stmt && sql_step(&db->sql, stmt, &there, err);
    bool sound = ok && there && kv_row_read(stmt, &row);
    sqlite3_finalize(stmt);
    if (!ok)
        return FAILED;
    if (!there)
        return GONE;
    if (!sound)
        return DAMAGED;
    if (!is_ours(db, &row) || row.n_tokens != found->n_tokens || row.n_bytes != n_bytes ||
        kv_row_match(&row, tokens, found->n_match) != found->n_match)
        return GONE; /* not what was found */
    if (!kv_row_load(db, &row, bytes, &good, err))
        return FAILED;
    return good ? GOOD : DAMAGED;
}

bool kv_db_fetch(struct kv_db *db, const struct kv_found *found, const int32_t *tokens, void *bytes,
                 size_t n_bytes, struct err *err)
{
    if (!sql_begin(&db->sql, false, err))
        return false;
    enum verdict verdict = read_block(db, found, tokens, bytes, n_bytes, err);
    struct err ignored;
    bool ended = sql_end(&db->sql, verdict != FAILED, verdict == FAILED ? &ignored : err);
    switch (verdict) {
    case GOOD:
        return ended;
    case GONE:
        return err_set(err, ERR_DATABASE, "%s: block %lld is not there any more; it is computed again",
                       db->sql.path, (long long)found->id);
    case DAMAGED:
        drop(db, found->id);
        return err_set(err, ERR_DATABASE,
                       "%s: block %lld was damaged and is dropped with those behind it; they are computed "
                       "again",
                       db->sql.path, (long long)found->id);
    case FAILED:
        break;
    }
    return false;
}
