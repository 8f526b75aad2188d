/* test_kv_db.c: what is put to kv.db is found by its tokens, to the token, and comes back to the byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/kv_internal.h"
#include "tests/store/kv_expect.h"
#include "tests/store/temp_dir.h"

#define N_IDS 1000

static int32_t ids[N_IDS], other_ids[N_IDS];
static struct kv_space space;
static struct chain chain;

static int setup(void **state)
{
    test_ids(ids, N_IDS, 1);
    test_ids(other_ids, N_IDS, 2);
    space = test_space(1);
    return temp_dir_setup(state);
}

static void kv_db_open__new__private_files_of_large_pages(void **state)
{
    struct stat st;
    struct kv_db *db = test_open(temp_path(state, "deep/kv.db"), &space, 0);
    assert_int_equal(stat(temp_path(state, "deep/kv.db"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(temp_path(state, "deep/kv.db.lock"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(temp_path(state, "deep"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_true(test_stat(db).file_bytes % KV_PAGE_BYTES == 0);
    kv_db_close(db);
}

static void kv_db_find__whole_blocks_and_tail__come_back_after_reopening(void **state)
{
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    chain_make(&chain, &space, ids, 300, 1);
    assert_int_equal(test_put(db, &chain), 300 * TEST_TOKEN_BYTES);
    assert_int_equal(test_resume(db, &space, ids, 300, 1, NULL), 300);
    kv_db_close(db);

    db = test_open(temp_path(state, "kv.db"), &space, 0);
    assert_int_equal(test_resume(db, &space, ids, N_IDS, 1, NULL), 300);
    assert_int_equal(test_resume(db, &space, other_ids, N_IDS, 1, NULL), 0);
    struct kv_db_stat stat = test_stat(db);
    assert_int_equal(stat.n_blocks, 5);
    assert_int_equal(stat.n_tokens, 300);
    assert_int_equal(stat.n_bytes, 300 * TEST_TOKEN_BYTES);
    kv_db_close(db);
    chain_free(&chain);
}

static void kv_db_find__ids_end_or_part_inside_a_block__its_first_rows_are_used(void **state)
{
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    struct kv_found found[4];
    unsigned char owner[KV_OWNER_BYTES] = {1};
    struct err err = {0};
    struct kv_hash root = kv_space_hash(&space);
    chain_make(&chain, &space, ids, 192, 1);
    test_put(db, &chain);

    assert_int_equal(kv_db_find(db, &root, ids, 100, owner, found, 4, &err), 2);
    assert_int_equal(found[1].n_tokens, 64);
    assert_int_equal(found[1].n_match, 36);
    assert_false(found[1].is_foreign);
    unsigned char bytes[64 * TEST_TOKEN_BYTES];
    assert_true(kv_db_fetch(db, &found[1], ids + 64, bytes, sizeof bytes, &err));
    assert_memory_equal(bytes, chain.blocks[1].bytes, sizeof bytes);
    ids[150]++;
    assert_int_equal(test_resume(db, &space, ids, 192, 1, NULL), 150);
    ids[128]++;
    assert_int_equal(test_resume(db, &space, ids, 192, 1, NULL), 128);
    /* From the middle, as after a fork. */
    assert_int_equal(kv_db_find(db, &chain.blocks[0].hash, ids + 64, 64, owner, found, 4, &err), 1);
    assert_int_equal(kv_db_find(db, &root, ids, 192, owner, found, 1, &err), 1);
    kv_db_close(db);
    chain_free(&chain);
}

static void kv_db_put__branches__share_what_they_begin_with(void **state)
{
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    struct chain branch;
    chain_make(&chain, &space, ids, 256, 1);
    memcpy(other_ids, ids, 128 * sizeof *ids);
    chain_make(&branch, &space, other_ids, 256, 2);
    assert_int_equal(test_put(db, &chain), 256 * TEST_TOKEN_BYTES);
    assert_int_equal(test_put(db, &branch), 128 * TEST_TOKEN_BYTES);
    assert_int_equal(test_put(db, &branch), 0);
    assert_int_equal(test_resume(db, &space, ids, 256, 1, NULL), 256);
    assert_int_equal(test_resume(db, &space, other_ids, 256, 1, NULL), 256);
    chain_free(&branch);
    kv_db_close(db);
    chain_free(&chain);
}

static void kv_db_put__tail_grows__one_row_replaces_the_other(void **state)
{
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    const size_t lengths[] = {70, 90, 128};
    for (size_t i = 0; i < 3; i++) {
        chain_make(&chain, &space, ids, lengths[i], 1);
        test_put(db, &chain);
        chain_free(&chain);
        assert_int_equal(test_stat(db).n_blocks, 2);
        assert_int_equal(test_resume(db, &space, ids, 200, 1, NULL), lengths[i]);
    }
    chain_make(&chain, &space, ids, 100, 1); /* what is contained in another is not stored */
    assert_int_equal(test_put(db, &chain), 0);
    chain_free(&chain);
    ids[80]++; /* another branch's tail is no prefix of the block: both stay */
    chain_make(&chain, &space, ids, 100, 1);
    assert_int_equal(test_put(db, &chain), 36 * TEST_TOKEN_BYTES);
    assert_int_equal(test_stat(db).n_blocks, 3);
    chain_free(&chain);
    kv_db_close(db);
}

static void kv_db_put__inconsistent_block__refused(void **state)
{
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    struct err err = {0};
    uint64_t written;
    for (int i = 0; i < 3; i++) {
        chain_make(&chain, &space, ids, 64, 1);
        if (i == 0)
            chain.blocks[0].n_tokens--; /* vmlx's bug: a key of n tokens, a state of n + 1 */
        else if (i == 1)
            chain.blocks[0].n_bytes--;
        else
            chain.blocks[0].tokens[63]++;
        assert_false(kv_db_put(db, chain.list, 1, &written, &err));
        assert_non_null(strstr(err.text, "not kept"));
        chain_free(&chain);
    }
    assert_int_equal(test_stat(db).n_blocks, 0);
    kv_db_close(db);
}

static void kv_db_set_space__other_weights__nothing_is_found(void **state)
{
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    struct kv_space other = test_space(2);
    struct kv_found found[4];
    struct err err = {0};
    struct kv_hash root = kv_space_hash(&space);
    unsigned char owner[KV_OWNER_BYTES] = {1};
    chain_make(&chain, &space, ids, 128, 1);
    test_put(db, &chain);
    assert_true(kv_db_set_space(db, &other, "other", "test", false, &err));
    assert_int_equal(test_resume(db, &other, ids, 128, 1, NULL), 0);
    /* Even asked for under the other's root. */
    assert_int_equal(kv_db_find(db, &root, ids, 128, owner, found, 4, &err), 0);
    assert_int_equal(err.code, ERR_NONE);
    kv_db_close(db);
    chain_free(&chain);
}

/* Rows that a block took over from others are in no row of the file: who offers it says so. */
static void kv_db_put__mixed__is_not_ones_own(void **state)
{
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    struct kv_found found[4];
    struct err err = {0};
    struct kv_hash root = kv_space_hash(&space);
    unsigned char owner[KV_OWNER_BYTES] = {1};
    chain_make(&chain, &space, ids, 128, 1);
    chain.blocks[0].is_mixed = true;
    test_put(db, &chain);
    assert_int_equal(kv_db_find(db, &root, ids, 128, owner, found, 4, &err), 2);
    assert_true(found[0].is_foreign && found[1].is_foreign);
    assert_true(kv_db_set_space(db, &space, "tiny", "test", true, &err));
    assert_int_equal(kv_db_find(db, &root, ids, 128, owner, found, 4, &err), 0);
    kv_db_close(db);
    chain_free(&chain);
}

static void kv_db_set_space__exact__only_own_kernels(void **state)
{
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    struct kv_found found[4];
    struct err err = {0};
    struct kv_hash root = kv_space_hash(&space);
    unsigned char owner[KV_OWNER_BYTES] = {1};
    struct chain longer;
    chain_make(&chain, &space, ids, 128, 1);
    chain_make(&longer, &space, ids, 192, 1);
    test_put(db, &chain);

    /* Another backend takes them, knows it, and what it adds behind them is not pure. */
    assert_true(kv_db_set_space(db, &space, "tiny", "gpu", false, &err));
    assert_int_equal(kv_db_find(db, &root, ids, 128, owner, found, 4, &err), 2);
    assert_true(found[0].is_foreign);
    assert_string_equal(found[0].kernels, "test");
    assert_int_equal(test_put(db, &longer), 64 * TEST_TOKEN_BYTES);
    assert_true(kv_db_set_space(db, &space, "tiny", "gpu", true, &err));
    assert_int_equal(kv_db_find(db, &root, ids, 192, owner, found, 4, &err), 0);
    assert_int_equal(kv_db_find(db, &chain.blocks[1].hash, ids + 128, 64, owner, found, 4, &err), 0);

    /* Exact replaces, inner ones too; the others still find all. */
    assert_int_equal(test_put(db, &chain), 128 * TEST_TOKEN_BYTES);
    assert_int_equal(test_resume(db, &space, ids, 192, 1, NULL), 128);
    assert_int_equal(test_stat(db).n_blocks, 3);
    assert_true(kv_db_set_space(db, &space, "tiny", "test", false, &err));
    assert_int_equal(test_resume(db, &space, ids, 192, 1, NULL), 192);
    kv_db_close(db);
    chain_free(&chain);
    chain_free(&longer);
}

static void kv_db_put__parent_comes_later__chain_is_whole(void **state)
{
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    struct err err = {0};
    uint64_t written;
    chain_make(&chain, &space, ids, 192, 1);
    assert_true(kv_db_put(db, &chain.list[2], 1, &written, &err));
    assert_int_equal(test_resume(db, &space, ids, 192, 1, NULL), 0);
    assert_true(kv_db_put(db, chain.list, 2, &written, &err));
    assert_int_equal(test_resume(db, &space, ids, 192, 1, NULL), 192);
    kv_db_close(db);
    chain_free(&chain);
}

static void kv_db_fetch__row_evicted_meanwhile__a_miss(void **state)
{
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    struct kv_db *second = test_open(temp_path(state, "kv.db"), &space, 0);
    struct kv_found found[4];
    struct err err = {0};
    uint64_t n_bytes;
    struct kv_hash root = kv_space_hash(&space);
    unsigned char owner[KV_OWNER_BYTES] = {1}, bytes[64 * TEST_TOKEN_BYTES];
    chain_make(&chain, &space, ids, 64, 1);
    test_put(db, &chain);
    assert_int_equal(kv_db_find(db, &root, ids, 64, owner, found, 4, &err), 1);
    assert_true(kv_db_clear(second, &n_bytes, &err));
    assert_int_equal(n_bytes, sizeof bytes);
    /* An id never comes to mean another block. */
    int32_t next_ids[64];
    struct chain next;
    test_ids(next_ids, 64, 9);
    chain_make(&next, &space, next_ids, 64, 1);
    test_put(second, &next);
    assert_false(kv_db_fetch(db, &found[0], ids, bytes, sizeof bytes, &err));
    assert_non_null(strstr(err.text, "not there any more"));
    assert_int_equal(test_stat(db).n_blocks, 1);
    chain_free(&next);
    chain_free(&chain);
    kv_db_close(second);
    kv_db_close(db);
}

static void kv_db_fetch__other_tokens_than_found__refused(void **state)
{
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    struct kv_found found[4];
    struct err err = {0};
    struct kv_hash root = kv_space_hash(&space);
    unsigned char owner[KV_OWNER_BYTES] = {1}, bytes[64 * TEST_TOKEN_BYTES];
    chain_make(&chain, &space, ids, 64, 1);
    test_put(db, &chain);
    assert_int_equal(kv_db_find(db, &root, ids, 64, owner, found, 4, &err), 1);
    ids[63]++;
    assert_false(kv_db_fetch(db, &found[0], ids, bytes, sizeof bytes, &err));
    ids[63]--;
    assert_false(kv_db_fetch(db, &found[0], ids, bytes, sizeof bytes - 1, &err));
    assert_true(kv_db_fetch(db, &found[0], ids, bytes, sizeof bytes, &err));
    kv_db_close(db);
    chain_free(&chain);
}

static void kv_db_put__two_programs__both_find_all_and_nothing_twice(void **state)
{
    pid_t pids[2];
    for (int p = 0; p < 2; p++) {
        pids[p] = fork();
        if (pids[p] == 0) {
            struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
            for (size_t n = 32; n <= 640; n += 32) {
                chain_make(&chain, &space, ids, n, p);
                test_put(db, &chain);
                chain_free(&chain);
            }
            kv_db_close(db);
            _exit(0);
        }
    }
    for (int p = 0; p < 2; p++) {
        int status;
        assert_int_equal(waitpid(pids[p], &status, 0), pids[p]);
        assert_int_equal(status, 0);
    }
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    assert_int_equal(test_stat(db).n_blocks, 10);
    assert_int_equal(test_resume(db, &space, ids, 640, 1, NULL), 640);
    kv_db_close(db);
}

static void kv_db_note_prefill__reopened__known(void **state)
{
    struct err err = {0};
    double ns = 1;
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    assert_true(kv_db_prefill_ns(db, &ns, &err));
    assert_true(ns == 0);
    assert_true(kv_db_note_prefill(db, 1234.5, &err));
    kv_db_close(db);
    db = test_open(temp_path(state, "kv.db"), &space, 0);
    assert_true(kv_db_prefill_ns(db, &ns, &err));
    assert_true(ns == 1234.5);
    kv_db_close(db);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, temp_dir_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(kv_db_open__new__private_files_of_large_pages),
        TEST(kv_db_find__whole_blocks_and_tail__come_back_after_reopening),
        TEST(kv_db_find__ids_end_or_part_inside_a_block__its_first_rows_are_used),
        TEST(kv_db_put__branches__share_what_they_begin_with),
        TEST(kv_db_put__tail_grows__one_row_replaces_the_other),
        TEST(kv_db_put__inconsistent_block__refused),
        TEST(kv_db_set_space__other_weights__nothing_is_found),
        TEST(kv_db_put__mixed__is_not_ones_own),
        TEST(kv_db_set_space__exact__only_own_kernels),
        TEST(kv_db_put__parent_comes_later__chain_is_whole),
        TEST(kv_db_fetch__row_evicted_meanwhile__a_miss),
        TEST(kv_db_fetch__other_tokens_than_found__refused),
        TEST(kv_db_put__two_programs__both_find_all_and_nothing_twice),
        TEST(kv_db_note_prefill__reopened__known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
