/* store_prof.c: the profiles kept with answers. They are worth less than any text: one that cannot be written
 * or read never stands in the way. */
#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/prof_pack.h"
#include "store/store_internal.h"

#define PROF_SINCE 3 /* the schema that brought them */

void kept_prof_free(struct kept_prof *kept)
{
    if (!kept)
        return;
    mem_free(kept->build);
    mem_free(kept->model);
    mem_free(kept->backend);
    mem_free(kept->kv_type);
    prof_free(kept->prof);
    mem_free(kept);
}

/* ---- writing ---- */

static void bind_row(sqlite3_stmt *stmt, int64_t msg, const struct kept_prof *kept, const struct buf *packed)
{
    sqlite3_bind_int64(stmt, 1, msg);
    sqlite3_bind_text(stmt, 2, kept->build, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 3, kept->model, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 4, kept->backend, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 5, kept->kv_type, -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 6, kept->n_threads);
    sqlite3_bind_int64(stmt, 7, kept->pos);
    sqlite3_bind_double(stmt, 8, kept->tokens_per_s);
    sqlite3_bind_blob64(stmt, 9, packed->data, packed->len, SQLITE_STATIC);
    sqlite3_bind_blob(stmt, 10, kept->fingerprint, sizeof kept->fingerprint, SQLITE_STATIC);
}

bool store_put_prof(struct store *s, int64_t msg, const struct kept_prof *kept, struct err *err)
{
    struct buf packed = {0};
    sqlite3_stmt *stmt = NULL;
    bool ok = prof_pack(kept->prof, &packed, err) &&
              (stmt = store_prepare(
                   s,
                   "INSERT OR REPLACE INTO prof(msg,build,fp,model,backend,kv_type,threads,pos,tok_s,"
                   "packed) VALUES(?1,?2,?10,?3,?4,?5,?6,?7,?8,?9)",
                   err)) != NULL;
    if (ok) {
        bind_row(stmt, msg, kept, &packed);
        ok = store_run(s, stmt, "saving a profile", err);
    }
    buf_fini(&packed);
    return ok;
}

bool store_copy_prof(struct store *s, int64_t from, int64_t to, struct err *err)
{
    sqlite3_stmt *stmt = store_prepare(
        s,
        "INSERT OR IGNORE INTO prof(msg,build,fp,model,backend,kv_type,threads,pos,tok_s,packed)"
        " SELECT ?2,build,fp,model,backend,kv_type,threads,pos,tok_s,packed FROM prof WHERE msg=?1",
        err);
    if (!stmt)
        return false;
    sqlite3_bind_int64(stmt, 1, from);
    sqlite3_bind_int64(stmt, 2, to);
    return store_run(s, stmt, "copying a profile", err);
}

/* ---- reading ---- */

static uint32_t column_count(sqlite3_stmt *stmt, int column)
{
    int64_t n = sqlite3_column_int64(stmt, column);
    return n < 0 ? 0 : n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

static char *column_text(sqlite3_stmt *stmt, int column)
{
    char *text = store_column_string(stmt, column);
    return text ? text : mem_strdup("");
}

static struct kept_prof *read_row(sqlite3_stmt *stmt, struct err *err)
{
    double tokens_per_s = sqlite3_column_double(stmt, 6);
    struct kept_prof *kept = mem_need(sizeof *kept);
    *kept = (struct kept_prof){
        .build = column_text(stmt, 0),
        .model = column_text(stmt, 1),
        .backend = column_text(stmt, 2),
        .kv_type = column_text(stmt, 3),
        .n_threads = column_count(stmt, 4),
        .pos = column_count(stmt, 5),
        .tokens_per_s = isfinite(tokens_per_s) && tokens_per_s > 0 ? tokens_per_s : 0,
    };
    const void *fp = sqlite3_column_blob(stmt, 8);
    if (fp && sqlite3_column_bytes(stmt, 8) == (int)sizeof kept->fingerprint)
        memcpy(kept->fingerprint, fp, sizeof kept->fingerprint);
    const void *packed = sqlite3_column_blob(stmt, 7);
    kept->prof = prof_unpack(packed ? packed : "", (size_t)sqlite3_column_bytes(stmt, 7), err);
    if (kept->prof)
        return kept;
    kept_prof_free(kept);
    return NULL;
}

#define SHORT(column) "substr(" column ",1,?2)"

bool store_get_prof(struct store *s, int64_t msg, struct kept_prof **out, struct err *err)
{
    store_assert_owner(s);
    *out = NULL;
    if (s->version < PROF_SINCE)
        return true;
    sqlite3_stmt *stmt =
        store_prepare(s,
                      "SELECT " SHORT("build") "," SHORT("model") "," SHORT("backend") "," SHORT(
                          "kv_type") ",threads,pos,tok_s,packed,fp FROM prof WHERE msg=?1",
                      err);
    if (!stmt)
        return false;
    sqlite3_bind_int64(stmt, 1, msg);
    sqlite3_bind_int(stmt, 2, KEPT_PROF_MAX_TEXT);
    int rc = sqlite3_step(stmt);
    bool ok = rc == SQLITE_DONE || rc == SQLITE_ROW;
    if (!ok)
        store_fail(s, err, "reading a profile");
    if (rc == SQLITE_ROW)
        ok = (*out = read_row(stmt, err)) != NULL;
    sqlite3_finalize(stmt);
    return ok;
}
