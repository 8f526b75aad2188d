#include "tests/store/kv_expect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sqlite3.h>
#include <string.h>

#include "engine/base/mem.h"

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

sqlite3 *test_reader(const char *path)
{
    sqlite3 *reader;
    assert_int_equal(sqlite3_open(path, &reader), SQLITE_OK);
    assert_int_equal(sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM kv_block", NULL, NULL, NULL),
                     SQLITE_OK);
    return reader;
}
