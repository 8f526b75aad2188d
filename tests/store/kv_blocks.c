#include "tests/store/kv_blocks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sqlite3.h>
#include <string.h>

#include "engine/base/mem.h"

struct kv_space test_space(int number)
{
    return (struct kv_space){
        .fingerprint = {(unsigned char)number}, .kv_type = "f16", .token_bytes = TEST_TOKEN_BYTES};
}

static uint64_t next(uint64_t *state) /* splitmix64, Vigna, public domain */
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

void test_ids(int32_t *ids, size_t n, uint32_t seed)
{
    uint64_t state = seed;
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)(next(&state) % 100000);
}

void test_bytes(const struct kv_hash *name, unsigned char *bytes, size_t n_bytes)
{
    uint64_t state;
    memcpy(&state, name->bytes, sizeof state);
    for (size_t i = 0; i < n_bytes; i++)
        bytes[i] = (unsigned char)next(&state);
}

void test_owner(int owner, unsigned char uid[KV_OWNER_BYTES])
{
    memset(uid, 0, KV_OWNER_BYTES);
    uid[0] = (unsigned char)owner;
}

void chain_make(struct chain *chain, const struct kv_space *space, const int32_t *ids, size_t n, int owner)
{
    struct kv_hash at = kv_space_hash(space);
    memset(chain, 0, sizeof *chain);
    chain->bytes = mem_need(n * space->token_bytes);
    for (size_t i = 0; i < n; i += KV_BLOCK_TOKENS) {
        struct kv_block *b = &chain->blocks[chain->n];
        size_t n_tokens = n - i < KV_BLOCK_TOKENS ? n - i : KV_BLOCK_TOKENS;
        *b = (struct kv_block){.hash = kv_hash_next(&at, ids + i, n_tokens),
                               .parent = at,
                               .depth = (uint32_t)chain->n,
                               .n_tokens = (uint32_t)n_tokens,
                               .bytes = chain->bytes + i * space->token_bytes,
                               .n_bytes = n_tokens * space->token_bytes};
        memcpy(b->tokens, ids + i, n_tokens * sizeof *ids);
        test_owner(owner, b->owner);
        test_bytes(&b->hash, chain->bytes + i * space->token_bytes, b->n_bytes);
        at = b->hash;
        chain->list[chain->n++] = b;
    }
}

void chain_free(struct chain *chain)
{
    mem_free(chain->bytes);
}

struct kv_db *test_open(const char *path, const struct kv_space *space, uint64_t limit_bytes)
{
    struct err err = {0};
    const struct kv_db_options options = {.path = path,
                                          .limit_bytes = limit_bytes ? limit_bytes : (uint64_t)1 << 30};
    struct kv_db *db = kv_db_open(&options, NULL, &err);
    if (!db || !kv_db_set_space(db, space, "tiny", "test", false, &err))
        fail_msg("%s", err.text);
    return db;
}

uint64_t test_put(struct kv_db *db, const struct chain *chain)
{
    struct err err = {0};
    uint64_t written;
    if (!kv_db_put(db, chain->list, chain->n, &written, &err))
        fail_msg("%s", err.text);
    return written;
}

static bool fetch_and_compare(struct kv_db *db, const struct kv_found *found, const int32_t *ids,
                              const struct kv_hash *parent, struct kv_hash *name)
{
    static unsigned char bytes[KV_BLOCK_TOKENS * TEST_TOKEN_BYTES], expected[sizeof bytes];
    struct err err = {0};
    size_t n_bytes = (size_t)found->n_tokens * TEST_TOKEN_BYTES;
    if (!kv_db_fetch(db, found, ids, bytes, n_bytes, &err)) {
        assert_int_equal(err.code, ERR_DATABASE);
        return false;
    }
    *name = kv_hash_next(parent, ids, found->n_tokens);
    if (found->n_match == found->n_tokens) { /* else the name is another's */
        test_bytes(name, expected, n_bytes);
        assert_memory_equal(bytes, expected, n_bytes);
    }
    return true;
}

size_t test_resume(struct kv_db *db, const struct kv_space *space, const int32_t *ids, size_t n, int owner,
                   int *n_failed)
{
    struct kv_found found[TEST_MAX_BLOCKS];
    unsigned char uid[KV_OWNER_BYTES];
    struct err err = {0};
    struct kv_hash at = kv_space_hash(space);
    test_owner(owner, uid);
    size_t n_tokens = 0, n_found = kv_db_find(db, &at, ids, n, uid, found, TEST_MAX_BLOCKS, &err);
    if (err.code)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < n_found; i++) {
        assert_in_range(found[i].n_match, 1, found[i].n_tokens);
        if (!fetch_and_compare(db, &found[i], ids + n_tokens, &at, &at)) {
            assert_non_null(n_failed);
            *n_failed = 1;
            break;
        }
        n_tokens += found[i].n_match;
    }
    return n_tokens;
}

struct kv_db_stat test_stat(struct kv_db *db)
{
    struct kv_db_stat stat;
    struct err err = {0};
    if (!kv_db_stat(db, &stat, &err))
        fail_msg("%s", err.text);
    mem_free(stat.spaces);
    stat.spaces = NULL;
    return stat;
}

void test_sql(const char *path, const char *statements)
{
    sqlite3 *other;
    char *text = NULL;
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    sqlite3_busy_timeout(other, 2000);
    if (sqlite3_exec(other, statements, NULL, NULL, &text) != SQLITE_OK)
        fail_msg("%s: %s", statements, text);
    sqlite3_close(other);
}
