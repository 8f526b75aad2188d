/* kv_row.c: a block as a row and its bytes: reading both with doubt, and taking rows away.
 *
 * The name of a block is the hash of its parent's name and its tokens, and the checksum of the bytes is
 * seeded with the name: a change of any of the four is seen. */
#include <string.h>
#include <time.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "store/kv_internal.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

static bool column_hash(sqlite3_stmt *stmt, int column, struct kv_hash *out)
{
    const void *bytes = sqlite3_column_blob(stmt, column);
    if (!bytes || sqlite3_column_bytes(stmt, column) != KV_HASH_BYTES)
        return false;
    memcpy(out->bytes, bytes, KV_HASH_BYTES);
    return true;
}

/* Token ids are kept as little-endian 32 bit words. */
static bool column_tokens(sqlite3_stmt *stmt, int column, int32_t *out, uint32_t n)
{
    const unsigned char *at = sqlite3_column_blob(stmt, column);
    if (!at || sqlite3_column_bytes(stmt, column) != (int)(4 * n))
        return false;
    for (uint32_t i = 0; i < n; i++, at += 4)
        out[i] = (int32_t)(at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24);
    return true;
}

bool kv_row_read(sqlite3_stmt *stmt, struct kv_row *row)
{
    row->id = sqlite3_column_int64(stmt, 0);
    row->space = sqlite3_column_int64(stmt, 1);
    row->numerics = sqlite3_column_int64(stmt, 2);
    int64_t n_tokens = sqlite3_column_int64(stmt, 5), n_bytes = sqlite3_column_int64(stmt, 6);
    row->n_tokens = (uint32_t)n_tokens;
    row->n_bytes = (uint64_t)n_bytes;
    row->checksum = (uint64_t)sqlite3_column_int64(stmt, 7);
    if (n_tokens < 1 || n_tokens > KV_BLOCK_TOKENS || n_bytes < 1 || !column_hash(stmt, 3, &row->hash) ||
        !column_hash(stmt, 4, &row->parent) || !column_tokens(stmt, 8, row->tokens, row->n_tokens))
        return false;
    struct kv_hash name = kv_hash_next(&row->parent, row->tokens, row->n_tokens);
    return kv_hash_equal(&name, &row->hash);
}

uint32_t kv_row_match(const struct kv_row *row, const int32_t *ids, size_t n)
{
    uint32_t i = 0;
    while (i < row->n_tokens && i < n && row->tokens[i] == ids[i])
        i++;
    return i;
}

bool kv_row_find(struct kv_db *db, const struct kv_hash *hash, struct kv_row *row, bool *sound,
                 struct err *err)
{
    bool there = false;
    row->id = 0;
    *sound = false;
    sqlite3_stmt *stmt = sql_prepare(&db->sql, "SELECT " KV_ROW_COLUMNS " FROM kv_block WHERE hash=?1", err);
    if (!stmt)
        return false;
    sqlite3_bind_blob(stmt, 1, hash->bytes, KV_HASH_BYTES, SQLITE_STATIC);
    bool ok = sql_step(&db->sql, stmt, &there, err);
    if (there)
        *sound = kv_row_read(stmt, row);
    sqlite3_finalize(stmt);
    return ok;
}

static uint64_t seed_of(const struct kv_hash *name)
{
    uint64_t seed = 0;
    for (int i = 0; i < 8; i++)
        seed |= (uint64_t)name->bytes[i] << (8 * i);
    return seed;
}

uint64_t kv_checksum(const struct kv_hash *name, const void *bytes, size_t n_bytes)
{
    return XXH3_64bits_withSeed(bytes, n_bytes, seed_of(name));
}

/* In slices, so that *stop is seen between them, and each is summed up while it is in the cache. */
static bool read_slices(struct kv_db *db, sqlite3_blob *blob, const struct kv_row *row, unsigned char *where,
                        bool *good, struct err *err)
{
    XXH3_state_t sum = {0};
    XXH3_64bits_reset_withSeed(&sum, seed_of(&row->hash));
    for (uint64_t at = 0; at < row->n_bytes;) {
        uint64_t n = row->n_bytes - at < KV_SLICE_BYTES ? row->n_bytes - at : KV_SLICE_BYTES;
        unsigned char *to = where ? where + at : db->slice;
        if (db->sql.stop && atomic_load(db->sql.stop))
            return err_set(err, ERR_CANCELLED, "%s: reading was stopped", db->sql.path);
        if (sqlite3_blob_read(blob, to, (int)n, (int)at) != SQLITE_OK)
            return sql_fail(&db->sql, "reading a block", err);
        XXH3_64bits_update(&sum, to, n);
        at += n;
    }
    *good = XXH3_64bits_digest(&sum) == row->checksum;
    return true;
}

bool kv_row_load(struct kv_db *db, const struct kv_row *row, unsigned char *where, bool *good,
                 struct err *err)
{
    sqlite3_blob *blob = NULL;
    uint64_t start = clock_now_ns();
    *good = false;
    int rc = sqlite3_blob_open(db->sql.db, "main", "kv_data", "bytes", row->id, 0, &blob);
    if (rc == SQLITE_ERROR) /* no such row, or not a blob: the block is not whole */
        return true;
    bool ok = rc == SQLITE_OK || sql_fail(&db->sql, "reading a block", err);
    if (ok && (uint64_t)sqlite3_blob_bytes(blob) == row->n_bytes)
        ok = read_slices(db, blob, row, where, good, err);
    sqlite3_blob_close(blob);
    if (ok && *good) {
        double now = (double)(clock_now_ns() - start) / (double)row->n_bytes;
        db->fetch_ns_per_byte = db->fetch_ns_per_byte > 0 ? 0.8 * db->fetch_ns_per_byte + 0.2 * now : now;
    }
    return ok;
}

bool kv_row_remove(struct kv_db *db, int64_t id, struct err *err)
{
    static const char *const steps[] = {
        /* Evicting a child must not make its parent look as old as it was before the child was used. */
        "UPDATE kv_block SET n_children=max(n_children-1,0),"
        " used=max(used,(SELECT used FROM kv_block WHERE id=?1))"
        " WHERE hash=(SELECT parent FROM kv_block WHERE id=?1)",
        "UPDATE kv_stat SET value=max(value-ifnull((SELECT n_bytes FROM kv_block WHERE id=?1),0),0)"
        " WHERE name='bytes'",
    };
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (!sql_run_with(&db->sql, steps[i], &id, 1, err))
            return false;
    /* And with it kv_data and kv_use. */
    struct sql_ids sizes;
    sqlite3_stmt *stmt =
        sql_prepare_with(&db->sql, "DELETE FROM kv_block WHERE id=?1 RETURNING max(n_bytes,0)", &id, 1, err);
    bool ok = sql_collect(&db->sql, stmt, &sizes, err);
    for (size_t i = 0; ok && i < sizes.n; i++) {
        db->tally.n_blocks--;
        db->tally.n_bytes -= sizes.at[i];
    }
    mem_free(sizes.at);
    return ok;
}

bool kv_row_remove_chain(struct kv_db *db, int64_t id, uint64_t *n_removed, struct err *err)
{
    /* The newest first: nothing is put before its parent, so most are leaves when their turn comes. */
    sqlite3_stmt *stmt =
        sql_prepare_with(&db->sql,
                         "WITH RECURSIVE behind(id,hash) AS (SELECT id,hash FROM kv_block WHERE id=?1 UNION"
                         " SELECT b.id,b.hash FROM kv_block b JOIN behind ON b.parent=behind.hash)"
                         " SELECT id FROM behind ORDER BY id DESC",
                         &id, 1, err);
    struct sql_ids ids;
    bool ok = sql_collect(&db->sql, stmt, &ids, err);
    for (size_t i = 0; ok && i < ids.n; i++)
        ok = kv_row_remove(db, ids.at[i], err);
    mem_free(ids.at);
    if (ok)
        *n_removed += ids.n;
    return ok;
}

int64_t kv_now(struct kv_db *db)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    int64_t now = (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
    db->last_used = now > db->last_used ? now : db->last_used + 1;
    return db->last_used;
}
