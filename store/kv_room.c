/* kv_room.c: how much kv.db may hold, and what goes when that is too much.
 *
 * Leaves go first, the least recently used among them; only the deepest block of a chain is touched by a use,
 * because an inner one cannot go before those behind it. Two bounds: the limit counts the bytes of blocks;
 * the floor is what the file system keeps free for others: 5 % of it, at most 1 GiB. Free pages inside the
 * file count as free, since new blocks go there. */
#include "engine/base/mem.h"
#include "store/kv_internal.h"

#define TIDY_SLICE "PRAGMA incremental_vacuum(256)" /* 4 MiB */

bool kv_stat_add(struct kv_db *db, const char *name, int64_t delta, struct err *err)
{
    sqlite3_stmt *stmt =
        sql_prepare_with(&db->sql, "UPDATE kv_stat SET value=max(value+?1,0) WHERE name=?2", &delta, 1, err);
    if (!stmt)
        return false;
    sqlite3_bind_text(stmt, 2, name, -1, SQLITE_STATIC);
    return sql_run(&db->sql, stmt, err);
}

static bool is_kept(const struct kv_db *db, int64_t id, const int64_t *keep, size_t n_keep)
{
    for (size_t i = 0; i < n_keep; i++)
        if (keep[i] == id)
            return true;
    return id == db->found[0] || id == db->found[1];
}

/* The leaf to go next; 0: all that is left is kept. */
static bool next_leaf(struct kv_db *db, const int64_t *keep, size_t n_keep, int64_t *id, uint64_t *n_bytes,
                      struct err *err)
{
    sqlite3_stmt *stmt =
        sql_prepare(&db->sql, "SELECT id,max(n_bytes,0) FROM kv_block WHERE n_children=0 ORDER BY used", err);
    bool row = false, ok = stmt != NULL;
    *id = 0;
    while (ok && (ok = sql_step(&db->sql, stmt, &row, err)) && row) {
        int64_t leaf = sqlite3_column_int64(stmt, 0);
        if (is_kept(db, leaf, keep, n_keep))
            continue;
        *id = leaf;
        *n_bytes = (uint64_t)sqlite3_column_int64(stmt, 1);
        break;
    }
    sqlite3_finalize(stmt);
    return ok;
}

static bool evict(struct kv_db *db, uint64_t want_bytes, const int64_t *keep, size_t n_keep, uint64_t *freed,
                  uint64_t *n_evicted, struct err *err)
{
    uint64_t n = 0;
    *freed = 0;
    while (*freed < want_bytes) {
        int64_t id;
        uint64_t n_bytes = 0;
        if (!next_leaf(db, keep, n_keep, &id, &n_bytes, err))
            return false;
        if (!id)
            break;
        if (!kv_row_remove(db, id, err))
            return false;
        *freed += n_bytes;
        n++;
    }
    *n_evicted += n;
    return n == 0 || kv_stat_add(db, "evicted", (int64_t)n, err);
}

static uint64_t lack(uint64_t needed, uint64_t there)
{
    return needed > there ? needed - there : 0;
}

/* By how much need_bytes more would break the two bounds. */
static bool measure(struct kv_db *db, uint64_t need_bytes, uint64_t *over, uint64_t *short_of,
                    uint64_t *free_bytes, struct err *err)
{
    int64_t held, n_free_pages;
    uint64_t all_bytes;
    if (!sql_number(&db->sql, "SELECT value FROM kv_stat WHERE name='bytes'", &held, err) ||
        !sql_number(&db->sql, "PRAGMA freelist_count", &n_free_pages, err) ||
        !kv_disk_space(db->sql.path, free_bytes, &all_bytes, err))
        return false;
    *over = lack((uint64_t)held + need_bytes, db->limit_bytes);
    *short_of = lack(db->floor_bytes + need_bytes, *free_bytes + (uint64_t)n_free_pages * KV_PAGE_BYTES);
    return true;
}

bool kv_make_room(struct kv_db *db, uint64_t need_bytes, const int64_t *keep, size_t n_keep,
                  uint64_t *n_evicted, struct err *err)
{
    uint64_t over, short_of, free_bytes, freed;
    if (!measure(db, need_bytes, &over, &short_of, &free_bytes, err) ||
        !evict(db, over > short_of ? over : short_of, keep, n_keep, &freed, n_evicted, err))
        return false;
    if (need_bytes && freed < short_of)
        return err_set(err, ERR_DATABASE,
                       "%s: disk full: %llu MiB are free and %llu MiB are left to other programs; free some "
                       "space on that disk",
                       db->sql.path, (unsigned long long)(free_bytes >> 20),
                       (unsigned long long)(db->floor_bytes >> 20));
    return !need_bytes || freed >= over ||
           err_set(err, ERR_DATABASE,
                   "%s: its limit of %llu MiB is smaller than the chat in use; raise --kv-limit",
                   db->sql.path, (unsigned long long)(db->limit_bytes >> 20));
}

/* The count of bytes is made anew: it is what eviction goes by. */
static bool enforce(struct kv_db *db, uint64_t *n_evicted, struct err *err)
{
    if (!sql_begin(&db->sql, true, err))
        return false;
    bool ok = sql_exec(&db->sql,
                       "UPDATE kv_stat SET value=held.n FROM"
                       " (SELECT ifnull(sum(max(n_bytes,0)),0) AS n FROM kv_block) AS held"
                       " WHERE name='bytes' AND value<>held.n",
                       err) &&
              kv_make_room(db, 0, NULL, 0, n_evicted, err);
    return sql_end(&db->sql, ok, err);
}

/* Whether enforcing would change anything. A start that finds all in order writes nothing: beside a reader,
 * or on a full disk, it could not. */
static bool is_in_order(struct kv_db *db, bool *in_order, struct err *err)
{
    uint64_t over, short_of, free_bytes;
    int64_t n_wrong;
    if (!sql_begin(&db->sql, false, err))
        return false;
    bool ok = sql_number(&db->sql,
                         "SELECT value<>(SELECT ifnull(sum(max(n_bytes,0)),0) FROM kv_block)"
                         " FROM kv_stat WHERE name='bytes'",
                         &n_wrong, err) &&
              measure(db, 0, &over, &short_of, &free_bytes, err);
    *in_order = ok && !n_wrong && !over && !short_of;
    return sql_end(&db->sql, ok, err);
}

bool kv_db_enforce(struct kv_db *db, uint64_t *n_evicted, struct err *err)
{
    uint64_t free_bytes, all_bytes;
    bool in_order;
    *n_evicted = 0;
    if (!is_in_order(db, &in_order, err) || (!in_order && !enforce(db, n_evicted, err)) ||
        !kv_disk_space(db->sql.path, &free_bytes, &all_bytes, err))
        return false;
    /* Pages that others wait for are given back now, any other in idle time. */
    return free_bytes >= db->floor_bytes || kv_tidy_all(db, err);
}

static bool tidy(struct kv_db *db, uint64_t spare_bytes, bool *more, struct err *err)
{
    int64_t n_free_pages;
    *more = false;
    if (!sql_number(&db->sql, "PRAGMA freelist_count", &n_free_pages, err))
        return false;
    if ((uint64_t)n_free_pages * KV_PAGE_BYTES <= spare_bytes)
        return sql_exec(&db->sql, "PRAGMA shrink_memory", err);
    *more = true;
    return sql_exec(&db->sql, TIDY_SLICE, err);
}

bool kv_db_tidy(struct kv_db *db, bool *more, struct err *err)
{
    return tidy(db, db->spare_bytes, more, err);
}

bool kv_tidy_all(struct kv_db *db, struct err *err)
{
    bool more = true;
    while (more && !(db->sql.stop && atomic_load(db->sql.stop)))
        if (!tidy(db, 0, &more, err))
            return false;
    return true;
}
