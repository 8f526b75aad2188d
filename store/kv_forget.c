/* kv_forget.c: blocks that are to be gone for good.
 *
 * Rows of a forgotten chat are overwritten with zeros when they are deleted, and all free pages are then cut
 * off the file, with what evictions before left in them. That takes long for a long chat, so it goes by
 * slices, and the chat is on a list in the file until it is done: a program that ended in between, or was
 * killed, goes on with it at its next start. */
#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "store/kv_internal.h"

#define SLICE_BLOCKS 8 /* per transaction: zeroing costs about 10 ms a block */
#define NO_OTHER_OWNER "NOT EXISTS(SELECT 1 FROM kv_use o WHERE o.block=b.id AND o.owner<>?1)"

static sqlite3_stmt *prepare_for(struct kv_db *db, const char *text, const unsigned char *owner,
                                 struct err *err)
{
    sqlite3_stmt *stmt = sql_prepare(&db->sql, text, err);
    if (stmt)
        sqlite3_bind_blob(stmt, 1, owner, KV_OWNER_BYTES, SQLITE_STATIC);
    return stmt;
}

static bool run_for(struct kv_db *db, const char *text, const unsigned char *owner, struct err *err)
{
    sqlite3_stmt *stmt = prepare_for(db, text, owner, err);
    return stmt && sql_run(&db->sql, stmt, err);
}

/* Takes a leaf away, and what stood in front of nothing else and is used by nobody. */
static bool remove_with_orphans(struct kv_db *db, int64_t id, uint64_t *n_blocks, struct err *err)
{
    bool ok = true;
    while (ok && id) {
        int64_t next = 0;
        sqlite3_stmt *stmt = sql_prepare_with(
            &db->sql,
            "SELECT ifnull((SELECT p.id FROM kv_block b JOIN kv_block p ON p.hash=b.parent WHERE b.id=?1"
            " AND p.n_children<=1 AND NOT EXISTS(SELECT 1 FROM kv_use u WHERE u.block=p.id)),0)",
            &id, 1, err);
        ok = sql_number_of(&db->sql, stmt, &next, err) && kv_row_remove(db, id, err);
        *n_blocks += ok;
        id = next;
    }
    return ok;
}

/* What others stand behind stays, nobody's then: it goes with the last of them, or when it is old. So does
 * what another chat came to use since it was looked up. */
static bool remove_if_leaf(struct kv_db *db, const unsigned char *owner, int64_t id, uint64_t *n_blocks,
                           struct err *err)
{
    int64_t can_go;
    sqlite3_stmt *stmt = prepare_for(
        db, "SELECT count(*) FROM kv_block b WHERE b.id=?2 AND b.n_children=0 AND " NO_OTHER_OWNER, owner,
        err);
    if (stmt)
        sqlite3_bind_int64(stmt, 2, id);
    if (!sql_number_of(&db->sql, stmt, &can_go, err))
        return false;
    return !can_go || remove_with_orphans(db, id, n_blocks, err);
}

static bool remove_slice(struct kv_db *db, const unsigned char *owner, const int64_t *ids, size_t n,
                         uint64_t *n_blocks, struct err *err)
{
    uint64_t n_removed = 0;
    if (db->sql.stop && atomic_load(db->sql.stop))
        return err_set(err, ERR_CANCELLED, "%s: forgetting a chat was put off", db->sql.path);
    if (!sql_begin(&db->sql, true, err))
        return false;
    bool ok = true;
    struct kv_tally before = db->tally;
    for (size_t i = 0; ok && i < n; i++)
        ok = remove_if_leaf(db, owner, ids[i], &n_removed, err);
    ok = sql_end(&db->sql, ok, err);
    *n_blocks += ok ? n_removed : 0;
    if (!ok)
        db->tally = before;
    return ok;
}

/* The blocks only owner uses, those behind others first. */
static bool remove_blocks(struct kv_db *db, const unsigned char *owner, uint64_t *n_blocks, struct err *err)
{
    struct sql_ids ids;
    bool ok =
        sql_collect(&db->sql,
                    prepare_for(db,
                                "SELECT b.id FROM kv_use u JOIN kv_block b ON b.id=u.block"
                                " WHERE u.owner=?1 AND " NO_OTHER_OWNER " ORDER BY b.depth DESC, b.id DESC",
                                owner, err),
                    &ids, err);
    for (size_t i = 0; ok && i < ids.n; i += SLICE_BLOCKS)
        ok = remove_slice(db, owner, ids.at + i, ids.n - i < SLICE_BLOCKS ? ids.n - i : SLICE_BLOCKS,
                          n_blocks, err);
    mem_free(ids.at);
    return ok;
}

static bool forget(struct kv_db *db, const unsigned char *owner, uint64_t *n_blocks, struct err *err)
{
    db->sql.code = SQLITE_OK;
    if (!run_for(db, "INSERT OR IGNORE INTO kv_forgotten(owner) VALUES(?1)", owner, err) ||
        !remove_blocks(db, owner, n_blocks, err) || !sql_begin(&db->sql, true, err))
        return false;
    bool ok = run_for(db, "DELETE FROM kv_use WHERE owner=?1", owner, err) &&
              run_for(db, "DELETE FROM kv_forgotten WHERE owner=?1", owner, err);
    return sql_end(&db->sql, ok, err);
}

bool kv_db_forget_owner(struct kv_db *db, const unsigned char owner[KV_OWNER_BYTES], uint64_t *n_blocks,
                        struct err *err)
{
    struct err ignored;
    *n_blocks = 0;
    if (!sql_exec(&db->sql, "PRAGMA secure_delete=ON", err))
        return false;
    uint64_t n_aside;
    bool ok = forget(db, owner, n_blocks, err) && kv_tidy_all(db, err) &&
              kv_db_drop_aside(db->sql.path, &n_aside, err);
    return sql_exec(&db->sql, "PRAGMA secure_delete=FAST", ok ? err : &ignored) && ok;
}

bool kv_forgotten(struct kv_db *db, struct buf *owners, struct err *err)
{
    bool row = false;
    sqlite3_stmt *stmt = sql_prepare(&db->sql, "SELECT owner FROM kv_forgotten", err);
    bool ok = stmt != NULL;
    while (ok && (ok = sql_step(&db->sql, stmt, &row, err)) && row)
        if (sqlite3_column_bytes(stmt, 0) == KV_OWNER_BYTES)
            buf_append(owners, sqlite3_column_blob(stmt, 0), KV_OWNER_BYTES);
    sqlite3_finalize(stmt);
    return ok;
}

static bool delete_all(struct kv_db *db, struct err *err)
{
    if (!sql_begin(&db->sql, true, err))
        return false;
    bool ok =
        sql_exec(&db->sql,
                 "DELETE FROM kv_forgotten; DELETE FROM kv_use; DELETE FROM kv_data; DELETE FROM kv_block;"
                 "UPDATE kv_stat SET value=0 WHERE name='bytes'",
                 err);
    if (!sql_end(&db->sql, ok, err))
        return false;
    /* Next to nothing is left to copy: this is quicker than giving pages back one by one. While another
     * program reads it cannot be done; the pages go to new blocks then, or back in idle time. */
    struct err trouble = {0};
    if (sql_exec(&db->sql, "VACUUM", &trouble) || sql_is_busy(&db->sql))
        return true;
    if (err)
        *err = trouble;
    return false;
}

/* A full disk has no room for the journal of a deletion: the file itself is emptied. */
static bool empty_file(struct kv_db *db, struct err *err)
{
    if (!kv_lock_alone(db->lock_fd))
        return err_prefix(err, "another program has it open, so that it cannot be emptied; close that one");
    char *path = mem_strdup(db->sql.path);
    sql_close(&db->sql);
    bool ok = kv_empty_file(path, err);
    kv_lock_share_again(db->lock_fd);
    mem_free(path);
    return ok;
}

bool kv_db_clear(struct kv_db *db, uint64_t *n_bytes, struct err *err)
{
    int64_t held;
    struct err trouble = {0};
    *n_bytes = 0;
    db->sql.code = SQLITE_OK;
    bool ok = sql_number(&db->sql, "SELECT value FROM kv_stat WHERE name='bytes'", &held, &trouble) &&
              (delete_all(db, &trouble) || (kv_is_full(db) && empty_file(db, &trouble)));
    if (ok)
        *n_bytes = (uint64_t)held;
    else if (err)
        *err = trouble;
    return ok;
}
