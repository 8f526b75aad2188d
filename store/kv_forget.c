/* kv_forget.c: blocks that are to be gone for good.
 *
 * Rows of a forgotten chat are overwritten with zeros when they are deleted, and all free pages are then cut
 * off the file, with what evictions before left in them. */
#include "engine/base/mem.h"
#include "store/kv_internal.h"

/* The blocks only owner uses, those behind others first. */
static bool collect(struct kv_db *db, const unsigned char *owner, struct sql_ids *out, struct err *err)
{
    sqlite3_stmt *stmt = sql_prepare(&db->sql,
                                     "SELECT b.id FROM kv_use u JOIN kv_block b ON b.id=u.block"
                                     " WHERE u.owner=?1 AND NOT EXISTS"
                                     "(SELECT 1 FROM kv_use o WHERE o.block=u.block AND o.owner<>?1)"
                                     " ORDER BY b.depth DESC, b.id DESC",
                                     err);
    if (stmt)
        sqlite3_bind_blob(stmt, 1, owner, KV_OWNER_BYTES, SQLITE_STATIC);
    return sql_collect(&db->sql, stmt, out, err);
}

/* What others stand behind stays; nobody's then, it goes when it is old. */
static bool remove_leaf(struct kv_db *db, int64_t id, uint64_t *n_blocks, struct err *err)
{
    int64_t n_children;
    if (!sql_number_of(&db->sql,
                       sql_prepare_with(&db->sql, "SELECT n_children FROM kv_block WHERE id=?1", &id, 1, err),
                       &n_children, err))
        return false;
    if (n_children != 0)
        return true;
    ++*n_blocks;
    return kv_row_remove(db, id, err);
}

static bool forget(struct kv_db *db, const unsigned char *owner, uint64_t *n_blocks, struct err *err)
{
    struct sql_ids ids = {0};
    sqlite3_stmt *stmt;
    if (!sql_begin(&db->sql, true, err))
        return false;
    bool ok = collect(db, owner, &ids, err) &&
              (stmt = sql_prepare(&db->sql, "DELETE FROM kv_use WHERE owner=?1", err)) != NULL &&
              sqlite3_bind_blob(stmt, 1, owner, KV_OWNER_BYTES, SQLITE_STATIC) == SQLITE_OK &&
              sql_run(&db->sql, stmt, err);
    for (size_t i = 0; ok && i < ids.n; i++)
        ok = remove_leaf(db, ids.at[i], n_blocks, err);
    mem_free(ids.at);
    return sql_end(&db->sql, ok, err);
}

bool kv_db_forget_owner(struct kv_db *db, const unsigned char owner[KV_OWNER_BYTES], uint64_t *n_blocks,
                        struct err *err)
{
    struct err ignored;
    *n_blocks = 0;
    if (!sql_exec(&db->sql, "PRAGMA secure_delete=ON", err))
        return false;
    bool ok = forget(db, owner, n_blocks, err) && kv_tidy_all(db, err);
    sql_exec(&db->sql, "PRAGMA secure_delete=FAST", ok ? err : &ignored);
    return ok;
}

bool kv_db_clear(struct kv_db *db, uint64_t *n_bytes, struct err *err)
{
    int64_t held;
    *n_bytes = 0;
    if (!sql_begin(&db->sql, true, err))
        return false;
    bool ok = sql_number(&db->sql, "SELECT value FROM kv_stat WHERE name='bytes'", &held, err) &&
              sql_exec(&db->sql,
                       "DELETE FROM kv_use; DELETE FROM kv_data; DELETE FROM kv_block;"
                       "UPDATE kv_stat SET value=0 WHERE name='bytes'",
                       err);
    if (!sql_end(&db->sql, ok, err))
        return false;
    *n_bytes = (uint64_t)held;
    /* Next to nothing is left to copy: this is quicker than giving pages back one by one. */
    return sql_exec(&db->sql, "VACUUM", err);
}
