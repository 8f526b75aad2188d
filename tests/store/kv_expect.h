/* kv_expect.h: using kv.db in tests; each fails the test when something goes wrong. */
#ifndef FERRUM_TEST_KV_EXPECT_H
#define FERRUM_TEST_KV_EXPECT_H

#include <sqlite3.h>

#include "tests/store/kv_blocks.h"

/* A connection with the space chosen; limit_bytes 0: plenty. */
struct kv_db *test_open(const char *path, const struct kv_space *space, uint64_t limit_bytes);
/* Returns the bytes written. */
uint64_t test_put(struct kv_db *db, const struct chain *chain);
/* Follows ids from the space's root, fetches what is found and compares every byte; returns how many tokens
 * that covers, and ends at the first block that is not there (*n_failed, may be NULL: 1 then). */
size_t test_resume(struct kv_db *db, const struct kv_space *space, const int32_t *ids, size_t n, int owner,
                   int *n_failed);
struct kv_db_stat test_stat(struct kv_db *db);
/* Runs statements on the file as another program would. */
void test_sql(const char *path, const char *statements);
/* Another program in the middle of reading, until sqlite3_close. */
sqlite3 *test_reader(const char *path);

#endif
