/* test_kv_io.c: the kv-io thread: offers never wait, pins go down, questions see what was offered, trouble is
 * one sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "store/kv_internal.h"
#include "store/kv_io.h"
#include "tests/store/kv_expect.h"
#include "tests/store/temp_dir.h"

#define LONG_MS 30000
#define RING 32

static struct kv_space space;
static int32_t ids[1500];
static struct chain chain;
static atomic_uint pins;

static int setup(void **state)
{
    space = test_space(1);
    test_ids(ids, 1500, 1);
    atomic_store(&pins, 0);
    return temp_dir_setup(state);
}

static struct kv_io *open_io(const char *path)
{
    struct err err = {0};
    const struct kv_io_options options = {
        .db = {.path = path, .limit_bytes = 1 << 30}, .space = space, .label = "tiny", .numerics = "test"};
    struct kv_io *io = kv_io_open(&options, &err);
    if (!io)
        fail_msg("%s", err.text);
    return io;
}

static size_t find(struct kv_io *io, size_t n, struct kv_found *out, const atomic_bool *cancel)
{
    const struct kv_shelf *shelf = kv_io_shelf(io);
    unsigned char owner[KV_OWNER_BYTES];
    test_owner(1, owner);
    return shelf->find(shelf->ctx, &shelf->root, ids, n, owner, out, TEST_MAX_BLOCKS, cancel);
}

static bool offer(struct kv_io *io, const struct kv_block *block)
{
    const struct kv_shelf *shelf = kv_io_shelf(io);
    return shelf->offer(shelf->ctx, block, &pins);
}

static void offer_chain(struct kv_io *io, size_t n)
{
    chain_make(&chain, &space, ids, n, 1);
    for (size_t i = 0; i < chain.n; i++)
        assert_true(offer(io, chain.list[i]));
}

static struct kv_io_stats stats_of(struct kv_io *io)
{
    struct kv_io_stats stats;
    kv_io_stats(io, &stats);
    return stats;
}

/* Another program in the middle of writing. */
static sqlite3 *lock_file(const char *path)
{
    sqlite3 *other;
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    sqlite3_busy_timeout(other, 10000);
    assert_int_equal(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    return other;
}

static void nap(int ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
}

static void kv_io__offer_find_fetch__the_same_bytes(void **state)
{
    struct kv_io *io = open_io(temp_path(state, "kv.db"));
    const struct kv_shelf *shelf = kv_io_shelf(io);
    struct kv_found found[TEST_MAX_BLOCKS];
    unsigned char bytes[64 * TEST_TOKEN_BYTES];
    struct kv_hash root = kv_space_hash(&space);
    assert_true(kv_hash_equal(&shelf->root, &root));
    offer_chain(io, 300);
    assert_int_equal(find(io, 300, found, NULL), 5); /* sees what was offered just before */
    for (size_t i = 0; i < 5; i++) {
        size_t n_bytes = (size_t)found[i].n_tokens * TEST_TOKEN_BYTES;
        assert_int_equal(found[i].n_match, found[i].n_tokens);
        assert_true(shelf->fetch(shelf->ctx, &found[i], ids + 64 * i, bytes, n_bytes, NULL));
        assert_memory_equal(bytes, chain.blocks[i].bytes, n_bytes);
    }
    assert_true(kv_io_flush(io, LONG_MS));
    assert_int_equal(atomic_load(&pins), 0);
    assert_true(shelf->fetch_ns_per_byte(shelf->ctx) > 0);
    struct kv_io_stats stats = stats_of(io);
    assert_int_equal(stats.n_written, 5);
    assert_int_equal(stats.written_bytes, 300 * TEST_TOKEN_BYTES);
    assert_false(stats.off);
    for (size_t i = 0; i < chain.n; i++)
        assert_true(offer(io, chain.list[i])); /* what is kept costs nothing */
    assert_true(kv_io_flush(io, LONG_MS));
    assert_int_equal(stats_of(io).n_written, 5);
    assert_true(kv_io_close(io, LONG_MS));
    chain_free(&chain);
}

static size_t n_foreign(const struct kv_found *found, size_t n)
{
    size_t n_others = 0;
    for (size_t i = 0; i < n; i++)
        n_others += found[i].is_foreign;
    return n_others;
}

/* A device was lost: what was offered before is its own, also what has not been written yet. */
static void kv_io__kernels_change__blocks_belong_to_those_that_made_them(void **state)
{
    struct kv_io *io = open_io(temp_path(state, "kv.db"));
    const struct kv_shelf *shelf = kv_io_shelf(io);
    struct kv_found found[TEST_MAX_BLOCKS];
    offer_chain(io, 128);
    shelf->note_kernels(shelf->ctx, "others");
    assert_int_equal(find(io, 300, found, NULL), 2);
    assert_int_equal(n_foreign(found, 2), 2);
    assert_string_equal(found[0].kernels, "test");
    chain_free(&chain);
    chain_make(&chain, &space, ids + 600, 128, 1);
    for (size_t i = 0; i < chain.n; i++)
        assert_true(offer(io, chain.list[i]));
    shelf->note_kernels(shelf->ctx, "test");
    assert_int_equal(find(io, 300, found, NULL), 2);
    assert_int_equal(n_foreign(found, 2), 0);
    unsigned char owner[KV_OWNER_BYTES];
    test_owner(1, owner);
    assert_int_equal(
        shelf->find(shelf->ctx, &shelf->root, ids + 600, 128, owner, found, TEST_MAX_BLOCKS, NULL), 2);
    assert_int_equal(n_foreign(found, 2), 2);
    assert_string_equal(found[0].kernels, "others");
    assert_true(kv_io_close(io, LONG_MS));
    chain_free(&chain);
}

static void kv_io_close__offers_left__are_written(void **state)
{
    struct kv_io *io = open_io(temp_path(state, "kv.db"));
    struct kv_found found[TEST_MAX_BLOCKS];
    offer_chain(io, 1000);
    assert_true(kv_io_close(io, LONG_MS));
    assert_int_equal(atomic_load(&pins), 0);
    io = open_io(temp_path(state, "kv.db"));
    assert_int_equal(find(io, 1000, found, NULL), 16);
    assert_true(kv_io_close(io, LONG_MS));
    assert_true(kv_io_close(NULL, 0));
    chain_free(&chain);
}

static void kv_io__file_locked__ring_fills_and_refuses_then_all_is_written(void **state)
{
    struct kv_io *io = open_io(temp_path(state, "kv.db"));
    struct kv_found found[TEST_MAX_BLOCKS];
    assert_int_equal(find(io, 64, found, NULL), 0); /* it is open now */
    sqlite3 *other = lock_file(temp_path(state, "kv.db"));
    chain_make(&chain, &space, ids, 64, 1);
    for (int i = 0; i < RING; i++)
        assert_true(offer(io, chain.list[0]));
    assert_false(offer(io, chain.list[0]));
    assert_int_equal(atomic_load(&pins), RING);
    assert_int_equal(stats_of(io).n_refused, 1);
    assert_false(kv_io_flush(io, 50));
    sqlite3_close(other);
    assert_true(kv_io_flush(io, LONG_MS));
    assert_int_equal(atomic_load(&pins), 0);
    assert_false(stats_of(io).off);
    assert_true(offer(io, chain.list[0]));
    assert_true(kv_io_close(io, LONG_MS));
    chain_free(&chain);
}

static void kv_io_close__file_locked__drops_when_time_is_over(void **state)
{
    struct kv_io *io = open_io(temp_path(state, "kv.db"));
    struct kv_found found[TEST_MAX_BLOCKS];
    assert_int_equal(find(io, 64, found, NULL), 0);
    sqlite3 *other = lock_file(temp_path(state, "kv.db"));
    offer_chain(io, 64);
    assert_false(kv_io_close(io, 30));
    assert_int_equal(atomic_load(&pins), 0);
    sqlite3_close(other);
    chain_free(&chain);
}

static void kv_io_open__file_locked__opens_later(void **state)
{
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    kv_db_close(db);
    sqlite3 *other = lock_file(temp_path(state, "kv.db"));
    struct kv_io *io = open_io(temp_path(state, "kv.db"));
    struct kv_found found[TEST_MAX_BLOCKS];
    offer_chain(io, 128);
    assert_int_equal(find(io, 128, found, NULL), 0); /* not kept waiting */
    sqlite3_close(other);
    assert_true(kv_io_flush(io, LONG_MS));
    assert_int_equal(find(io, 128, found, NULL), 2);
    assert_true(kv_io_close(io, LONG_MS));
    chain_free(&chain);
}

static void *set_soon(void *flag)
{
    nap(20);
    atomic_store((atomic_bool *)flag, true);
    return NULL;
}

static void kv_io_find__cancelled__returns_nothing(void **state)
{
    struct kv_io *io = open_io(temp_path(state, "kv.db"));
    const struct kv_shelf *shelf = kv_io_shelf(io);
    struct kv_found found[TEST_MAX_BLOCKS];
    unsigned char bytes[64 * TEST_TOKEN_BYTES];
    atomic_bool cancel = false;
    pthread_t thread;
    offer_chain(io, 128);
    assert_int_equal(find(io, 128, found, NULL), 2);
    sqlite3 *other = lock_file(temp_path(state, "kv.db"));
    assert_int_equal(pthread_create(&thread, NULL, set_soon, &cancel), 0);
    struct kv_found none[TEST_MAX_BLOCKS];
    assert_int_equal(find(io, 128, none, &cancel), 0);
    pthread_join(thread, NULL);
    assert_false(shelf->fetch(shelf->ctx, &found[0], ids, bytes, sizeof bytes, &cancel));
    sqlite3_close(other);
    assert_int_equal(find(io, 128, found, NULL), 2); /* and the next question is answered */
    assert_true(kv_io_close(io, LONG_MS));
    chain_free(&chain);
}

static void kv_io_forget__offered_before__gone(void **state)
{
    struct kv_io *io = open_io(temp_path(state, "kv.db"));
    struct kv_found found[TEST_MAX_BLOCKS];
    unsigned char owner[KV_OWNER_BYTES];
    test_owner(1, owner);
    offer_chain(io, 128);
    kv_io_forget(io, owner);
    assert_true(kv_io_close(io, LONG_MS));
    io = open_io(temp_path(state, "kv.db"));
    assert_int_equal(find(io, 128, found, NULL), 0);
    assert_true(kv_io_close(io, LONG_MS));
    chain_free(&chain);
}

static void wait_for_count(struct kv_io *io)
{
    for (int i = 0; i < LONG_MS / 10 && !stats_of(io).limit_bytes; i++)
        nap(10);
    assert_int_not_equal(stats_of(io).limit_bytes, 0);
}

static void kv_io_stats__tail_replaced_and_owner_forgotten__not_counted(void **state)
{
    struct kv_io *io = open_io(temp_path(state, "kv.db"));
    unsigned char owner[KV_OWNER_BYTES], done[KV_OWNER_BYTES];
    test_owner(1, owner);
    wait_for_count(io); /* the next count is two quiet seconds away */
    static const size_t lengths[] = {150, 200};
    for (size_t i = 0; i < 2; i++) {
        offer_chain(io, lengths[i]);
        assert_true(kv_io_flush(io, LONG_MS));
        assert_int_equal(stats_of(io).kept_blocks, 3 + i);
        assert_int_equal(stats_of(io).kept_bytes, lengths[i] * TEST_TOKEN_BYTES);
        chain_free(&chain);
    }
    assert_false(kv_io_next_forgotten(io, done));
    kv_io_forget(io, owner);
    bool is_done = false;
    for (int i = 0; i < LONG_MS / 10 && !is_done; i++) {
        is_done = kv_io_next_forgotten(io, done);
        nap(10);
    }
    assert_true(is_done);
    assert_memory_equal(done, owner, sizeof owner);
    assert_false(kv_io_next_forgotten(io, done));
    assert_int_equal(stats_of(io).kept_blocks, 0);
    assert_int_equal(stats_of(io).kept_bytes, 0);
    assert_true(kv_io_close(io, LONG_MS));
}

static void kv_io_open__forgetting_was_cut_short__goes_on(void **state)
{
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    struct err err = {0};
    unsigned char owner[KV_OWNER_BYTES];
    uint64_t n_blocks;
    atomic_bool stop = true;
    test_owner(1, owner);
    chain_make(&chain, &space, ids, 1280, 1);
    test_put(db, &chain);
    db->sql.stop = &stop;
    assert_false(kv_db_forget_owner(db, owner, &n_blocks, &err));
    assert_int_equal(err.code, ERR_CANCELLED);
    assert_int_equal(test_stat(db).n_blocks, 20);
    kv_db_close(db);

    assert_true(kv_io_close(open_io(temp_path(state, "kv.db")), LONG_MS));
    db = test_open(temp_path(state, "kv.db"), &space, 0);
    assert_int_equal(test_stat(db).n_blocks, 0);
    kv_db_close(db);
    chain_free(&chain);
}

static void kv_io_forget__in_a_hurry__still_done(void **state)
{
    struct kv_io *io = open_io(temp_path(state, "kv.db"));
    unsigned char owner[KV_OWNER_BYTES];
    test_owner(1, owner);
    offer_chain(io, 1280);
    assert_true(kv_io_flush(io, LONG_MS));
    kv_io_hurry(io, 0);
    assert_false(offer(io, chain.list[0])); /* nothing is taken any more */
    kv_io_forget(io, owner);
    assert_true(kv_io_close(io, LONG_MS));
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    assert_int_equal(test_stat(db).n_blocks, 0);
    kv_db_close(db);
    chain_free(&chain);
}

static void kv_io_hurry__file_locked__pages_come_back(void **state)
{
    struct kv_io *io = open_io(temp_path(state, "kv.db"));
    struct kv_found found[TEST_MAX_BLOCKS];
    assert_int_equal(find(io, 64, found, NULL), 0);
    sqlite3 *other = lock_file(temp_path(state, "kv.db"));
    offer_chain(io, 640);
    kv_io_hurry(io, 30);
    for (int i = 0; i < LONG_MS / 5 && atomic_load(&pins); i++)
        nap(5);
    assert_int_equal(atomic_load(&pins), 0);
    assert_false(kv_io_close(io, 30));
    sqlite3_close(other);
    chain_free(&chain);
}

static off_t size_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

static void kv_io__quiet__free_pages_are_given_back(void **state)
{
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    chain_make(&chain, &space, ids, 1280, 1);
    test_put(db, &chain);
    kv_db_close(db);
    /* More than what is kept for the next blocks. */
    test_sql(temp_path(state, "kv.db"), "INSERT INTO kv_data SELECT 1000000, zeroblob(80000000);"
                                        "DELETE FROM kv_use; DELETE FROM kv_data; DELETE FROM kv_block");
    off_t before = size_of(temp_path(state, "kv.db"));
    struct kv_io *io = open_io(temp_path(state, "kv.db"));
    for (int i = 0; i < LONG_MS / 20 && size_of(temp_path(state, "kv.db")) == before; i++)
        nap(20);
    assert_true(size_of(temp_path(state, "kv.db")) < before);
    assert_true(kv_io_close(io, LONG_MS));
    chain_free(&chain);
}

static void kv_io_open__no_place__off_with_a_sentence(void **state)
{
    fclose(fopen(temp_path(state, "file"), "w"));
    struct kv_io *io = open_io(temp_path(state, "file/kv.db"));
    struct kv_found found[TEST_MAX_BLOCKS];
    assert_int_equal(find(io, 128, found, NULL), 0);
    struct kv_io_stats stats = stats_of(io);
    assert_true(stats.off);
    assert_non_null(strstr(stats.why.text, "file"));
    chain_make(&chain, &space, ids, 64, 1);
    assert_false(offer(io, chain.list[0]));
    assert_int_equal(atomic_load(&pins), 0);
    assert_true(kv_io_flush(io, LONG_MS));
    const struct kv_shelf *shelf = kv_io_shelf(io);
    shelf->note_prefill(shelf->ctx, 5);
    assert_true(shelf->prefill_ns_per_token(shelf->ctx) == 5);
    assert_true(kv_io_close(io, LONG_MS));
    chain_free(&chain);
}

static void kv_io__disk_full__off_with_a_sentence_and_reading_goes_on(void **state)
{
    struct kv_io *io = open_io(temp_path(state, "kv.db"));
    struct kv_found found[TEST_MAX_BLOCKS];
    struct rlimit before, tight;
    struct stat st;
    offer_chain(io, 128);
    assert_true(kv_io_flush(io, LONG_MS));
    chain_free(&chain);
    assert_int_equal(find(io, 128, found, NULL), 2);
    assert_int_equal(stat(temp_path(state, "kv.db"), &st), 0);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    tight = before;
    tight.rlim_cur = (rlim_t)st.st_size;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    chain_make(&chain, &space, ids, 640, 1);
    for (size_t i = 2; i < chain.n && offer(io, chain.list[i]); i++) {
    }
    kv_io_flush(io, LONG_MS);
    struct kv_io_stats stats = stats_of(io);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_true(stats.off);
    assert_int_equal(stats.why.code, ERR_DATABASE);
    assert_int_equal(atomic_load(&pins), 0);
    assert_false(offer(io, chain.list[0]));
    assert_int_equal(find(io, 128, found, NULL), 2);
    assert_false(kv_io_close(io, LONG_MS)); /* something was not written */
    chain_free(&chain);
}

static void kv_io__file_damaged_in_use__off_and_the_next_start_is_clean(void **state)
{
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    struct kv_found found[TEST_MAX_BLOCKS];
    char rubbish[65536];
    chain_make(&chain, &space, ids, 640, 1);
    test_put(db, &chain);
    kv_db_close(db);
    struct kv_io *io = open_io(temp_path(state, "kv.db"));
    int status;
    pid_t pid = fork(); /* the file's locks are this process's: it must not open it by hand */
    if (pid == 0) {
        memset(rubbish, 0xA5, sizeof rubbish);
        nap(300); /* it has been opened by then, or is found damaged when it is */
        int fd = open(temp_path(state, "kv.db"), O_RDWR);
        off_t size = lseek(fd, 0, SEEK_END);
        for (off_t at = 65536; at < size; at += 65536)
            if (pwrite(fd, rubbish, sizeof rubbish, at) != (ssize_t)sizeof rubbish)
                _exit(1);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    test_sql(temp_path(state, "kv.db"), "PRAGMA user_version=1"); /* makes others read the file anew */
    assert_int_equal(find(io, 640, found, NULL), 0);
    struct kv_io_stats stats = stats_of(io);
    assert_int_equal(stats.why.code, ERR_DATABASE);
    kv_io_close(io, LONG_MS);
    assert_int_equal(access(temp_path(state, "kv.db.bad"), F_OK), 0);
    io = open_io(temp_path(state, "kv.db"));
    assert_int_equal(find(io, 640, found, NULL), 0);
    assert_false(stats_of(io).off);
    assert_true(kv_io_close(io, LONG_MS));
    chain_free(&chain);
}

static void kv_io_open__file_unusable__a_note(void **state)
{
    FILE *f = fopen(temp_path(state, "kv.db"), "w");
    fputs("no database", f);
    fclose(f);
    struct kv_io *io = open_io(temp_path(state, "kv.db"));
    struct kv_found found[TEST_MAX_BLOCKS];
    offer_chain(io, 64);
    assert_int_equal(find(io, 64, found, NULL), 1);
    struct kv_io_stats stats = stats_of(io);
    assert_false(stats.off);
    assert_non_null(strstr(stats.why.text, "kv.db.bad"));
    assert_true(kv_io_close(io, LONG_MS));
    chain_free(&chain);
}

static void kv_io__costs__kept_across_runs(void **state)
{
    struct kv_io *io = open_io(temp_path(state, "kv.db"));
    const struct kv_shelf *shelf = kv_io_shelf(io);
    assert_true(shelf->prefill_ns_per_token(shelf->ctx) == 0);
    shelf->note_prefill(shelf->ctx, 1e6);
    assert_true(kv_io_close(io, LONG_MS));
    io = open_io(temp_path(state, "kv.db"));
    struct kv_found found[TEST_MAX_BLOCKS];
    assert_int_equal(find(io, 64, found, NULL), 0);
    shelf = kv_io_shelf(io);
    assert_true(shelf->prefill_ns_per_token(shelf->ctx) == 1e6);
    assert_true(kv_io_close(io, LONG_MS));
}

struct watcher {
    struct kv_io *io;
    atomic_bool stop;
};

static void *watch(void *arg)
{
    struct watcher *w = arg;
    while (!atomic_load(&w->stop)) {
        struct kv_io_stats stats = stats_of(w->io);
        if (stats.off)
            break;
        nap(1);
    }
    return NULL;
}

static void kv_io__offers_and_questions_mixed_with_a_watcher__all_kept(void **state)
{
    struct watcher w = {.io = open_io(temp_path(state, "kv.db"))};
    struct kv_found found[TEST_MAX_BLOCKS];
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, watch, &w), 0);
    chain_make(&chain, &space, ids, 1280, 1);
    for (size_t i = 0; i < chain.n; i++) {
        while (!offer(w.io, chain.list[i]))
            nap(1);
        if (i % 3 == 0)
            assert_int_equal(find(w.io, 64 * (i + 1), found, NULL), i + 1);
    }
    assert_true(kv_io_flush(w.io, LONG_MS));
    assert_int_equal(atomic_load(&pins), 0);
    /* The bytes belong to the engine again. */
    memset(chain.bytes, 0, 1280 * TEST_TOKEN_BYTES);
    atomic_store(&w.stop, true);
    pthread_join(thread, NULL);
    assert_true(kv_io_close(w.io, LONG_MS));
    chain_free(&chain);
    struct kv_db *db = test_open(temp_path(state, "kv.db"), &space, 0);
    assert_int_equal(test_resume(db, &space, ids, 1280, 1, NULL), 1280);
    kv_db_close(db);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, temp_dir_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(kv_io__offer_find_fetch__the_same_bytes),
        TEST(kv_io__kernels_change__blocks_belong_to_those_that_made_them),
        TEST(kv_io_close__offers_left__are_written),
        TEST(kv_io__file_locked__ring_fills_and_refuses_then_all_is_written),
        TEST(kv_io_close__file_locked__drops_when_time_is_over),
        TEST(kv_io_open__file_locked__opens_later),
        TEST(kv_io_find__cancelled__returns_nothing),
        TEST(kv_io_forget__offered_before__gone),
        TEST(kv_io_stats__tail_replaced_and_owner_forgotten__not_counted),
        TEST(kv_io_open__forgetting_was_cut_short__goes_on),
        TEST(kv_io_forget__in_a_hurry__still_done),
        TEST(kv_io_hurry__file_locked__pages_come_back),
        TEST(kv_io__quiet__free_pages_are_given_back),
        TEST(kv_io_open__no_place__off_with_a_sentence),
        TEST(kv_io__disk_full__off_with_a_sentence_and_reading_goes_on),
        TEST(kv_io__file_damaged_in_use__off_and_the_next_start_is_clean),
        TEST(kv_io_open__file_unusable__a_note),
        TEST(kv_io__costs__kept_across_runs),
        TEST(kv_io__offers_and_questions_mixed_with_a_watcher__all_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
