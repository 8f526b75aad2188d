/* test_kv_room.c: what goes when kv.db is too large, and what goes for good when a chat is deleted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/kv_internal.h"
#include "tests/store/kv_expect.h"
#include "tests/store/temp_dir.h"

#define BLOCK_BYTES ((uint64_t)64 * TEST_TOKEN_BYTES)

static struct kv_space space;

static int setup(void **state)
{
    space = test_space(1);
    return temp_dir_setup(state);
}

static void put_ids(struct kv_db *db, uint32_t seed, size_t n, int owner)
{
    int32_t ids[640];
    struct chain chain;
    test_ids(ids, n, seed);
    chain_make(&chain, &space, ids, n, owner);
    test_put(db, &chain);
    chain_free(&chain);
}

static size_t resume(struct kv_db *db, uint32_t seed, size_t n, int owner)
{
    int32_t ids[640];
    test_ids(ids, n, seed);
    return test_resume(db, &space, ids, n, owner, NULL);
}

static void kv_db_put__limit_reached__least_recently_used_leaves_go(void **state)
{
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 9 * BLOCK_BYTES);
    for (uint32_t seed = 1; seed <= 3; seed++)
        put_ids(db, seed, 192, 1);
    assert_int_equal(test_stat(db).n_bytes, 9 * BLOCK_BYTES);
    assert_int_equal(resume(db, 1, 192, 1), 192); /* used: the second chain is the oldest now */
    put_ids(db, 4, 64, 1);
    assert_int_equal(test_stat(db).n_bytes, 9 * BLOCK_BYTES);
    assert_int_equal(test_stat(db).n_evicted, 1);
    assert_int_equal(resume(db, 2, 192, 1), 128); /* its end first */
    assert_int_equal(resume(db, 1, 192, 1), 192);
    assert_int_equal(resume(db, 3, 192, 1), 192);
    assert_int_equal(resume(db, 4, 64, 1), 64);
    kv_db_close(db);
}

static void kv_db_put__chain_just_found__not_evicted(void **state)
{
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 4 * BLOCK_BYTES);
    put_ids(db, 1, 128, 1);
    put_ids(db, 2, 128, 1);
    assert_int_equal(resume(db, 1, 128, 1), 128);
    /* As if another program had used all others since. */
    test_sql(temp_path(state, "kv.db"), "UPDATE kv_block SET used=used+1000000000 WHERE id>2");
    put_ids(db, 3, 128, 1);
    assert_int_equal(resume(db, 2, 128, 1), 0);
    assert_int_equal(resume(db, 1, 128, 1), 128);
    kv_db_close(db);
}

static void kv_db_put__chain_larger_than_the_limit__a_sentence_and_nothing_changed(void **state)
{
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 2 * BLOCK_BYTES);
    int32_t ids[256];
    struct chain chain;
    struct err err = {0};
    uint64_t written;
    put_ids(db, 1, 128, 1);
    test_ids(ids, 256, 1);
    chain_make(&chain, &space, ids, 256, 1);
    assert_false(kv_db_put(db, chain.list, chain.n, &written, &err));
    assert_non_null(strstr(err.text, "--kv-limit"));
    assert_int_equal(written, 0);
    assert_int_equal(resume(db, 1, 256, 1), 128);
    chain_free(&chain);
    kv_db_close(db);
}

static void kv_db_put__disk_nearly_full__evicts_then_refuses(void **state)
{
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    int32_t ids[64];
    struct chain chain;
    struct err err = {0};
    uint64_t written, free_bytes, all_bytes;
    put_ids(db, 1, 128, 1);
    assert_true(kv_disk_space(temp_path(state, "kv.db"), &free_bytes, &all_bytes, &err));
    db->floor_bytes = free_bytes + ((uint64_t)1 << 40);
    test_ids(ids, 64, 2);
    chain_make(&chain, &space, ids, 64, 1);
    assert_false(kv_db_put(db, chain.list, chain.n, &written, &err));
    assert_non_null(strstr(err.text, "disk full"));
    assert_int_equal(resume(db, 1, 128, 1), 128); /* rolled back */
    db->floor_bytes = 0;
    assert_true(kv_db_put(db, chain.list, chain.n, &written, &err));
    chain_free(&chain);
    kv_db_close(db);
}

static void kv_db_enforce__disk_below_the_floor__space_is_given_back(void **state)
{
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    struct err err = {0};
    uint64_t n_evicted;
    put_ids(db, 1, 640, 1);
    uint64_t before = test_stat(db).file_bytes;
    db->floor_bytes = (uint64_t)1 << 62;
    assert_true(kv_db_enforce(db, &n_evicted, &err));
    assert_int_equal(n_evicted, 10);
    assert_true(test_stat(db).file_bytes < before);
    kv_db_close(db);
}

static void kv_db_open__smaller_limit__enforced(void **state)
{
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    put_ids(db, 1, 640, 1);
    kv_db_close(db);
    db = test_open(temp_path(state, "kv.db"), &space, 3 * BLOCK_BYTES);
    assert_int_equal(test_stat(db).n_bytes, 3 * BLOCK_BYTES);
    assert_int_equal(resume(db, 1, 640, 1), 192);
    kv_db_close(db);
}

static void kv_db_open__no_limit_given__default_and_least(void **state)
{
    struct err err = {0};
    struct kv_db_options options = {.path = temp_path(state, "kv.db")};
    struct kv_db *db = kv_db_open(&options, NULL, &err);
    assert_non_null(db);
    assert_in_range(test_stat(db).limit_bytes, 1, (uint64_t)16 << 30);
    kv_db_close(db);
    options.least_bytes = (uint64_t)1 << 50;
    db = kv_db_open(&options, NULL, &err);
    assert_non_null(db);
    assert_true(test_stat(db).limit_bytes == (uint64_t)1 << 50);
    kv_db_close(db);
}

static void kv_db_clear__all_gone_and_the_file_small(void **state)
{
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    struct err err = {0};
    uint64_t n_bytes, empty = test_stat(db).file_bytes;
    put_ids(db, 1, 640, 1);
    assert_true(kv_db_clear(db, &n_bytes, &err));
    assert_int_equal(n_bytes, 10 * BLOCK_BYTES);
    assert_in_range(test_stat(db).file_bytes, 1, empty + KV_PAGE_BYTES); /* sqlite_sequence has a row now */
    assert_int_equal(test_stat(db).n_bytes, 0);
    put_ids(db, 1, 640, 1);
    assert_int_equal(resume(db, 1, 640, 1), 640);
    kv_db_close(db);
}

static void kv_db_tidy__slices__until_few_pages_are_free(void **state)
{
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    struct err err = {0};
    bool more = true;
    uint64_t empty = test_stat(db).file_bytes;
    put_ids(db, 1, 640, 1);
    db->limit_bytes = 0;
    assert_true(kv_db_enforce(db, &(uint64_t){0}, &err));
    uint64_t before = test_stat(db).file_bytes;
    assert_true(kv_db_tidy(db, &more, &err));
    assert_false(more);
    assert_int_equal(test_stat(db).file_bytes, before); /* the next blocks will take them */
    db->spare_bytes = 0;
    more = true;
    int n_slices = 0;
    while (more && n_slices++ < 100)
        assert_true(kv_db_tidy(db, &more, &err));
    assert_false(more);
    assert_in_range(test_stat(db).file_bytes, 1, empty + KV_PAGE_BYTES);
    kv_db_close(db);
}

/* ---- what cannot be written ---- */

static void kv_db_open__beside_a_reader__all_is_read_and_the_rest_left(void **state)
{
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    put_ids(db, 1, 512, 1);
    put_ids(db, 3, 64, 1);
    put_ids(db, 4, 64, 1);
    kv_db_close(db);
    sqlite3 *reader = test_reader(temp_path(state, "kv.db"));
    db = test_open(temp_path(state, "kv.db"), &space, 9 * BLOCK_BYTES); /* one block too many */
    assert_int_equal(resume(db, 1, 512, 1), 512);
    assert_int_equal(resume(db, 1, 512, 2), 512); /* another chat, which cannot be noted */
    struct err err = {0};
    assert_true(kv_db_set_space(db, &space, "renamed", "test", false, &err));
    assert_int_equal(resume(db, 1, 512, 1), 512);
    sqlite3_close(reader);
    assert_int_equal(test_stat(db).n_bytes, 10 * BLOCK_BYTES);
    put_ids(db, 2, 64, 1);
    assert_int_equal(test_stat(db).n_bytes, 9 * BLOCK_BYTES);
    kv_db_close(db);
}

/* As on a full disk: no file may grow beyond this. */
static void limit_files(rlim_t n_bytes)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = n_bytes ? n_bytes : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void kv_db__disk_full__read_and_cleared(void **state)
{
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    put_ids(db, 1, 640, 1);
    kv_db_close(db);
    limit_files(4096);
    db = test_open(temp_path(state, "kv.db"), &space, 9 * BLOCK_BYTES);
    size_t n_resumed = resume(db, 1, 640, 2);
    struct err err = {0}, of_second = {0};
    struct kv_db *second = test_open(temp_path(state, "kv.db"), &space, 0);
    uint64_t n_bytes;
    bool alone = kv_db_clear(db, &n_bytes, &of_second); /* while another has it open */
    kv_db_close(second);
    bool ok = kv_db_clear(db, &n_bytes, &err);
    kv_db_close(db);
    limit_files(0);
    assert_int_equal(n_resumed, 640);
    assert_false(alone);
    assert_non_null(strstr(of_second.text, "another program has it open"));
    if (!ok)
        fail_msg("%s", err.text);
    assert_int_equal(n_bytes, 10 * BLOCK_BYTES);
    struct stat st;
    assert_int_equal(stat(temp_path(state, "kv.db"), &st), 0);
    assert_int_equal(st.st_size, 0);
    db = test_open(temp_path(state, "kv.db"), &space, 0);
    put_ids(db, 1, 640, 1);
    assert_int_equal(resume(db, 1, 640, 1), 640);
    kv_db_close(db);
}

static uint64_t limit_for_lookers(const char *path, uint64_t given)
{
    const struct kv_db_options options = {.path = path, .limit_bytes = given, .just_look = true};
    struct err err = {0};
    struct kv_db *db = kv_db_open(&options, NULL, &err);
    if (!db)
        fail_msg("%s", err.text);
    uint64_t limit = test_stat(db).limit_bytes;
    kv_db_close(db);
    return limit;
}

static void kv_db_stat__just_looking__the_limit_in_force(void **state)
{
    const char *path = temp_path(state, "kv.db");
    struct kv_db_options options = {.path = path};
    kv_db_close(kv_db_open(&options, NULL, NULL));
    assert_in_range(limit_for_lookers(path, 0), 1, (uint64_t)16 << 30);
    options.least_bytes = (uint64_t)1 << 50;
    kv_db_close(kv_db_open(&options, NULL, NULL));
    assert_true(limit_for_lookers(path, 0) == (uint64_t)1 << 50);
    assert_int_equal(limit_for_lookers(path, 4096), 4096);
    options = (struct kv_db_options){.path = path, .limit_bytes = 12345};
    kv_db_close(kv_db_open(&options, NULL, NULL));
    assert_int_equal(limit_for_lookers(path, 0), 12345);
    test_sql(path, "UPDATE kv_stat SET value=-5 WHERE name='limit'");
    assert_in_range(limit_for_lookers(path, 0), 1, (uint64_t)16 << 30);
    options.limit_bytes = 0;
    kv_db_close(kv_db_open(&options, NULL, NULL));
    assert_in_range(limit_for_lookers(path, 0), 1, (uint64_t)16 << 30);
}

/* ---- a chat is deleted ---- */

static size_t occurrences(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "rb"); /* only while no connection is open */
    if (!f)
        return 0;
    struct stat st;
    assert_int_equal(fstat(fileno(f), &st), 0);
    char *all = malloc((size_t)st.st_size + 1);
    size_t n_all = fread(all, 1, (size_t)st.st_size, f), count = 0;
    fclose(f);
    for (char *at = all; (at = memmem(at, n_all - (size_t)(at - all), bytes, n)) != NULL; at++)
        count++;
    free(all);
    return count;
}

static void forget(struct kv_db *db, int owner, uint64_t expected)
{
    unsigned char uid[KV_OWNER_BYTES];
    struct err err = {0};
    uint64_t n_blocks;
    test_owner(owner, uid);
    if (!kv_db_forget_owner(db, uid, &n_blocks, &err))
        fail_msg("%s", err.text);
    assert_int_equal(n_blocks, expected);
}

static void kv_db_forget_owner__its_blocks_only__bytes_and_ids_gone_from_the_file(void **state)
{
    const char *path = temp_path(state, "kv.db");
    struct kv_db *db = test_open(path, &space, 0);
    int32_t ids[200];
    struct chain chain, tail;
    put_ids(db, 7, 320, 2);
    test_ids(ids, 200, 1);
    chain_make(&tail, &space, ids, 150, 1); /* its tail is replaced: that must leave no trace either */
    chain_make(&chain, &space, ids, 200, 1);
    test_put(db, &tail);
    test_put(db, &chain);
    put_ids(db, 8, 320, 2);
    kv_db_close(db);
    for (size_t i = 0; i < chain.n; i++) {
        assert_int_equal(occurrences(path, chain.blocks[i].bytes, 512), 1);
        assert_int_not_equal(occurrences(path, chain.blocks[i].tokens, 32), 0);
    }

    db = test_open(path, &space, 0);
    forget(db, 1, 4);
    assert_int_equal(resume(db, 7, 320, 2), 320);
    assert_int_equal(resume(db, 8, 320, 2), 320);
    kv_db_close(db);
    for (size_t i = 0; i < chain.n; i++) {
        assert_int_equal(occurrences(path, chain.blocks[i].bytes, 64), 0);
        assert_int_equal(occurrences(path, chain.blocks[i].tokens, 32), 0);
        assert_int_equal(occurrences(temp_path(state, "kv.db-journal"), chain.blocks[i].bytes, 64), 0);
    }
    assert_int_equal(occurrences(path, tail.blocks[2].bytes, 64), 0);
    chain_free(&chain);
    chain_free(&tail);
}

static void kv_db_forget_owner__shared_blocks__stay_for_the_others(void **state)
{
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    int32_t ids[256];
    struct chain own;
    put_ids(db, 1, 128, 1); /* a system prompt, by chat 1 */
    put_ids(db, 1, 256, 2); /* chat 2 goes on from it */
    test_ids(ids, 256, 1);
    test_ids(ids + 128, 128, 5);
    chain_make(&own, &space, ids, 256, 1);
    test_put(db, &own);
    forget(db, 1, 2);
    assert_int_equal(resume(db, 1, 256, 2), 256);
    assert_int_equal(test_resume(db, &space, ids, 256, 2, NULL), 128);
    forget(db, 2, 4);
    assert_int_equal(test_stat(db).n_blocks, 0);
    chain_free(&own);
    kv_db_close(db);
}

static void kv_db_forget_owner__found_by_another__stays(void **state)
{
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    put_ids(db, 1, 128, 1);
    assert_int_equal(resume(db, 1, 128, 2), 128);
    forget(db, 1, 0);
    assert_int_equal(resume(db, 1, 128, 2), 128);
    forget(db, 3, 0);
    forget(db, 2, 2);
    kv_db_close(db);
}

static void kv_db_forget_owner__tail_replaced_by_anothers__block_is_both(void **state)
{
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    put_ids(db, 1, 100, 1);
    put_ids(db, 1, 128, 2); /* takes the tail's place, and with it chat 1 */
    forget(db, 2, 0);
    assert_int_equal(resume(db, 1, 128, 1), 128);
    kv_db_close(db);
}

static void kv_db_forget_owner__nobodys_block_in_front__goes_with_the_last_behind_it(void **state)
{
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    int32_t ids[256];
    struct chain chain;
    put_ids(db, 1, 192, 1);
    test_ids(ids, 256, 1);
    chain_make(&chain, &space, ids, 256, 2);
    const struct kv_block *last = chain.list[3];
    assert_true(kv_db_put(db, &last, 1, &(uint64_t){0}, NULL)); /* chat 2 uses no block but this */
    forget(db, 1, 0);
    assert_int_equal(test_stat(db).n_blocks, 4);
    forget(db, 2, 4);
    assert_int_equal(test_stat(db).n_blocks, 0);
    chain_free(&chain);
    kv_db_close(db);
}

static void kv_db_forget_owner__file_put_aside__gone_too(void **state)
{
    static const char *const names[] = {"kv.db.bad", "kv.db.bad-journal"};
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    for (size_t i = 0; i < 2; i++) {
        FILE *f = fopen(temp_path(state, names[i]), "w");
        assert_non_null(f);
        fclose(f);
    }
    forget(db, 1, 0);
    for (size_t i = 0; i < 2; i++)
        assert_int_not_equal(access(temp_path(state, names[i]), F_OK), 0);
    kv_db_close(db);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, temp_dir_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(kv_db_put__limit_reached__least_recently_used_leaves_go),
        TEST(kv_db_put__chain_just_found__not_evicted),
        TEST(kv_db_put__chain_larger_than_the_limit__a_sentence_and_nothing_changed),
        TEST(kv_db_put__disk_nearly_full__evicts_then_refuses),
        TEST(kv_db_enforce__disk_below_the_floor__space_is_given_back),
        TEST(kv_db_open__smaller_limit__enforced),
        TEST(kv_db_open__no_limit_given__default_and_least),
        TEST(kv_db_clear__all_gone_and_the_file_small),
        TEST(kv_db_tidy__slices__until_few_pages_are_free),
        TEST(kv_db_open__beside_a_reader__all_is_read_and_the_rest_left),
        TEST(kv_db__disk_full__read_and_cleared),
        TEST(kv_db_stat__just_looking__the_limit_in_force),
        TEST(kv_db_forget_owner__its_blocks_only__bytes_and_ids_gone_from_the_file),
        TEST(kv_db_forget_owner__shared_blocks__stay_for_the_others),
        TEST(kv_db_forget_owner__found_by_another__stays),
        TEST(kv_db_forget_owner__tail_replaced_by_anothers__block_is_both),
        TEST(kv_db_forget_owner__nobodys_block_in_front__goes_with_the_last_behind_it),
        TEST(kv_db_forget_owner__file_put_aside__gone_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
