/* kv_put.c: storing blocks.
 *
 * A name stands for its rows whoever computed them: what is there already stays (but a program that asked for
 * its own kernels only, --kv-exact, replaces a block of others; those behind it know it by name and stay).
 * Which kernels: a block counts as theirs only when the blocks in front do too; behind others it is mixed, so
 * that --kv-exact never meets rows computed from foreign ones. Tails: of two where one begins with the other
 * the longer is kept, and the chats of the shorter go over to it. */
#include <string.h>

#include "engine/base/mem.h"
#include "store/kv_internal.h"

static bool check_block(const struct kv_db *db, const struct kv_block *block, struct err *err)
{
    if (!db->space)
        return err_set(err, ERR_DATABASE, "%s: no space was chosen; please report this", db->sql.path);
    if (block->n_tokens < 1 || block->n_tokens > KV_BLOCK_TOKENS ||
        block->n_bytes != (size_t)block->n_tokens * db->token_bytes)
        return err_set(err, ERR_DATABASE,
                       "%s: a block of %u tokens has %zu bytes, expected %llu; it is not kept; please report "
                       "this",
                       db->sql.path, block->n_tokens, block->n_bytes,
                       (unsigned long long)block->n_tokens * db->token_bytes);
    struct kv_hash name = kv_hash_next(&block->parent, block->tokens, block->n_tokens);
    return kv_hash_equal(&name, &block->hash) ||
           err_set(err, ERR_DATABASE,
                   "%s: a block's name is not that of its tokens; it is not kept; please report this",
                   db->sql.path);
}

/* ---- what is there already ---- */

struct siblings {
    int64_t longer;                   /* begins with the whole of the block; 0: none */
    int64_t shorter[KV_BLOCK_TOKENS]; /* tails the block begins with; of each length there is one at most */
    size_t n_shorter;
};

static bool look_at_siblings(struct kv_db *db, const struct kv_block *block, struct siblings *out,
                             struct err *err)
{
    struct kv_row row;
    bool there = false, ok;
    *out = (struct siblings){0};
    sqlite3_stmt *stmt =
        sql_prepare(&db->sql, "SELECT " KV_ROW_COLUMNS ",n_children FROM kv_block WHERE parent=?1", err);
    if (!stmt)
        return false;
    sqlite3_bind_blob(stmt, 1, block->parent.bytes, KV_HASH_BYTES, SQLITE_STATIC);
    while ((ok = sql_step(&db->sql, stmt, &there, err)) && there) {
        if (!kv_row_read(stmt, &row) || row.space != db->space)
            continue;
        uint32_t n_match = kv_row_match(&row, block->tokens, block->n_tokens);
        bool is_leaf = sqlite3_column_int64(stmt, 9) == 0;
        if (n_match == block->n_tokens && row.n_tokens > n_match &&
            (!db->exact || row.numerics == db->numerics))
            out->longer = row.id;
        else if (n_match == row.n_tokens && n_match < block->n_tokens && is_leaf &&
                 out->n_shorter < KV_BLOCK_TOKENS)
            out->shorter[out->n_shorter++] = row.id;
    }
    sqlite3_finalize(stmt);
    return ok;
}

/* *id: the row that makes storing the block needless, 0 when none does. What stands in its place is removed.
 */
static bool find_same(struct kv_db *db, const struct kv_block *block, int64_t *id, struct err *err)
{
    struct kv_row row;
    bool sound;
    *id = 0;
    if (!kv_row_find(db, &block->hash, &row, &sound, err))
        return false;
    if (!row.id)
        return true;
    bool same = sound && row.space == db->space && row.n_bytes == block->n_bytes &&
                kv_hash_equal(&row.parent, &block->parent) &&
                kv_row_match(&row, block->tokens, block->n_tokens) == row.n_tokens;
    if (!same || (db->exact && row.numerics != db->numerics))
        return kv_row_remove(db, row.id, err);
    *id = row.id;
    return true;
}

/* ---- a new row ---- */

static bool numerics_of(struct kv_db *db, const struct kv_block *block, int64_t *numerics, struct err *err)
{
    struct kv_row parent;
    bool sound;
    *numerics = db->numerics;
    if (block->is_mixed)
        *numerics = db->mixed;
    if (block->is_mixed || db->exact || kv_hash_equal(&block->parent, &db->root))
        return true;
    if (!kv_row_find(db, &block->parent, &parent, &sound, err))
        return false;
    if (!sound || parent.numerics != db->numerics)
        *numerics = db->mixed;
    return true;
}

static bool insert_row(struct kv_db *db, const struct kv_block *block, int64_t *id, struct err *err)
{
    int64_t numerics;
    unsigned char tokens[4 * KV_BLOCK_TOKENS];
    for (uint32_t i = 0; i < 4 * block->n_tokens; i++)
        tokens[i] = (unsigned char)((uint32_t)block->tokens[i / 4] >> (8 * (i % 4)));
    if (!numerics_of(db, block, &numerics, err))
        return false;
    const int64_t numbers[] = {db->space,
                               block->depth,
                               block->n_tokens,
                               (int64_t)block->n_bytes,
                               (int64_t)kv_checksum(&block->hash, block->bytes, block->n_bytes),
                               numerics,
                               kv_now(db)};
    sqlite3_stmt *stmt = sql_prepare_with(
        &db->sql,
        "INSERT INTO kv_block(space,depth,n_tokens,n_bytes,cksum,numerics,used,hash,parent,tokens,n_children)"
        " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,(SELECT count(*) FROM kv_block WHERE parent=?8))"
        " RETURNING id",
        numbers, 7, err);
    if (!stmt)
        return false;
    sqlite3_bind_blob(stmt, 8, block->hash.bytes, KV_HASH_BYTES, SQLITE_STATIC);
    sqlite3_bind_blob(stmt, 9, block->parent.bytes, KV_HASH_BYTES, SQLITE_STATIC);
    sqlite3_bind_blob(stmt, 10, tokens, (int)(4 * block->n_tokens), SQLITE_STATIC);
    return sql_number_of(&db->sql, stmt, id, err);
}

static bool insert_bytes(struct kv_db *db, const struct kv_block *block, int64_t id, struct err *err)
{
    sqlite3_stmt *stmt =
        sql_prepare_with(&db->sql, "INSERT OR REPLACE INTO kv_data(id,bytes) VALUES(?1,?2)", &id, 1, err);
    if (!stmt)
        return false;
    sqlite3_bind_blob64(stmt, 2, block->bytes, block->n_bytes, SQLITE_STATIC);
    return sql_run(&db->sql, stmt, err);
}

static bool count_child(struct kv_db *db, const struct kv_block *block, struct err *err)
{
    sqlite3_stmt *stmt =
        sql_prepare(&db->sql, "UPDATE kv_block SET n_children=n_children+1 WHERE hash=?1", err);
    if (!stmt)
        return false;
    sqlite3_bind_blob(stmt, 1, block->parent.bytes, KV_HASH_BYTES, SQLITE_STATIC);
    return sql_run(&db->sql, stmt, err);
}

static bool take_over(struct kv_db *db, int64_t from, int64_t to, struct err *err)
{
    const int64_t ids[] = {from, to};
    return sql_run_with(&db->sql, "UPDATE OR IGNORE kv_use SET block=?2 WHERE block=?1", ids, 2, err) &&
           kv_row_remove(db, from, err);
}

static bool insert(struct kv_db *db, const struct kv_block *block, const struct siblings *siblings,
                   struct err *err)
{
    int64_t id;
    bool ok = insert_row(db, block, &id, err) && insert_bytes(db, block, id, err) &&
              count_child(db, block, err) && kv_stat_add(db, "bytes", (int64_t)block->n_bytes, err);
    for (size_t i = 0; ok && i < siblings->n_shorter; i++)
        ok = take_over(db, siblings->shorter[i], id, err);
    return ok && kv_note_owner(db, block->owner, id, err);
}

struct new_blocks {
    uint64_t n_blocks, bytes, ahead_bytes;
};

static bool put_one(struct kv_db *db, const struct kv_block *block, struct new_blocks *new, struct err *err)
{
    int64_t same;
    struct siblings siblings;
    if (!find_same(db, block, &same, err))
        return false;
    if (same)
        return kv_note_owner(db, block->owner, same, err);
    if (!look_at_siblings(db, block, &siblings, err))
        return false;
    if (siblings.longer)
        return kv_note_owner(db, block->owner, siblings.longer, err);
    new->bytes += block->n_bytes;
    new->ahead_bytes += block->is_ahead ? block->n_bytes : 0;
    new->n_blocks++;
    return insert(db, block, &siblings, err);
}

/* ---- room ---- */

/* Room for those that are not there, but not at the cost of their parents or of those that are. */
static bool make_room(struct kv_db *db, const struct kv_block *const *blocks, size_t n, struct err *err)
{
    uint64_t need = 0, n_evicted = 0;
    size_t n_keep = 0;
    bool ok = true, sound;
    struct kv_row row;
    int64_t *keep = mem_need(2 * n * sizeof *keep);
    for (size_t i = 0; ok && i < n; i++) {
        ok = kv_row_find(db, &blocks[i]->hash, &row, &sound, err);
        if (ok && row.id)
            keep[n_keep++] = row.id;
        else
            need += blocks[i]->n_bytes;
        ok = ok && kv_row_find(db, &blocks[i]->parent, &row, &sound, err);
        if (ok && row.id)
            keep[n_keep++] = row.id;
    }
    ok = ok && (need == 0 || kv_make_room(db, need, keep, n_keep, &n_evicted, err));
    mem_free(keep);
    return ok;
}

bool kv_db_put(struct kv_db *db, const struct kv_block *const *blocks, size_t n, uint64_t *written,
               struct err *err)
{
    struct new_blocks new = {0};
    struct kv_tally before = db->tally;
    *written = 0;
    db->sql.code = SQLITE_OK;
    for (size_t i = 0; i < n; i++)
        if (!check_block(db, blocks[i], err))
            return false;
    if (n == 0 || !sql_begin(&db->sql, true, err))
        return n == 0;
    bool ok = make_room(db, blocks, n, err);
    for (size_t i = 0; ok && i < n; i++)
        ok = put_one(db, blocks[i], &new, err);
    ok = sql_end(&db->sql, ok, err);
    if (ok) {
        *written = new.bytes;
        db->n_new += new.n_blocks;
        db->ahead_bytes += new.ahead_bytes;
        db->tally.n_blocks += (int64_t) new.n_blocks;
        db->tally.n_bytes += (int64_t) new.bytes;
    } else
        db->tally = before;
    return ok;
}
