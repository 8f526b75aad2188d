/* test_kv_damage.c: whatever happens to kv.db, it gives what was put or nothing, and the program goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/kv_internal.h"
#include "tests/store/kv_expect.h"
#include "tests/store/temp_dir.h"

#define N_KILLS 20

static int32_t ids[1024];
static struct kv_space space;
static struct chain chain;

static int setup(void **state)
{
    test_ids(ids, 1024, 1);
    space = test_space(1);
    return temp_dir_setup(state);
}

/* Four blocks in kv.db, closed again. */
static const char *make_file(void **state)
{
    const char *path = temp_path(state, "kv.db");
    struct kv_db *db = test_open(path, &space, 0);
    chain_make(&chain, &space, ids, 256, 1);
    test_put(db, &chain);
    chain_free(&chain);
    kv_db_close(db);
    return path;
}

static void kv_db_fetch__changed_on_disk__prefix_before_it_is_used(void **state)
{
    static const char *const changes[] = {
        "UPDATE kv_data SET bytes=zeroblob(length(bytes)) WHERE id=3",
        "UPDATE kv_data SET bytes=CAST(substr(bytes,1,16383)||x'00' AS BLOB) WHERE id=3",
        "UPDATE kv_data SET bytes=substr(bytes,1,16383) WHERE id=3",
        "UPDATE kv_data SET bytes=(SELECT bytes FROM kv_data WHERE id=2) WHERE id=3",
        "DELETE FROM kv_data WHERE id=3",
        "UPDATE kv_block SET cksum=cksum+1 WHERE id=3",
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        const char *path = make_file(state);
        struct kv_db *db = test_open(path, &space, 0);
        int n_failed = 0;
        test_sql(path, changes[i]);
        assert_int_equal(test_resume(db, &space, ids, 256, 1, &n_failed), 128);
        assert_int_equal(n_failed, 1);
        assert_int_equal(test_stat(db).n_blocks, 2); /* it and the one behind it are gone */
        assert_int_equal(test_resume(db, &space, ids, 256, 1, NULL), 128);
        kv_db_close(db);
        unlink(path);
    }
}

static void kv_db_find__row_changed_on_disk__chain_ends_there(void **state)
{
    static const char *const changes[] = {
        "UPDATE kv_block SET tokens=zeroblob(256) WHERE id=3",
        "UPDATE kv_block SET tokens=substr(tokens,1,252), n_tokens=63 WHERE id=3",
        "UPDATE kv_block SET parent=(SELECT hash FROM kv_block WHERE id=1) WHERE id=3",
        "UPDATE kv_block SET n_tokens=2000000000 WHERE id=3",
        "UPDATE kv_block SET n_bytes=-1 WHERE id=3",
        "UPDATE kv_block SET space=77 WHERE id=3",
        "DELETE FROM kv_block WHERE id=3",
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        const char *path = make_file(state);
        struct kv_db *db = test_open(path, &space, 0);
        test_sql(path, changes[i]);
        assert_int_equal(test_resume(db, &space, ids, 256, 1, NULL), 128);
        /* Putting it again mends the chain. */
        chain_make(&chain, &space, ids, 256, 1);
        assert_int_equal(test_put(db, &chain), 64 * TEST_TOKEN_BYTES);
        chain_free(&chain);
        assert_int_equal(test_resume(db, &space, ids, 256, 1, NULL), 256);
        kv_db_close(db);
        unlink(path);
    }
}

static void flip_byte(const char *path, long at)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, at, SEEK_SET);
    int c = fgetc(f);
    fseek(f, at, SEEK_SET);
    fputc(c ^ 0x10, f);
    fclose(f);
}

/* Where the bytes of a name lie in the file. */
static long position_of(const char *path, const struct kv_block *block)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    unsigned char *all = malloc((size_t)st.st_size);
    FILE *f = fopen(path, "rb");
    assert_int_equal(fread(all, 1, (size_t)st.st_size, f), st.st_size);
    fclose(f);
    const unsigned char *at = memmem(all, (size_t)st.st_size, block->bytes, 1024);
    long position = at ? at - all : -1;
    free(all);
    return position;
}

static void kv_db_fetch__one_bit_on_the_disk__detected(void **state)
{
    const char *path = make_file(state);
    chain_make(&chain, &space, ids, 256, 1);
    long at = position_of(path, &chain.blocks[1]);
    assert_true(at > 0);
    flip_byte(path, at + 700);
    struct kv_db *db = test_open(path, &space, 0);
    int n_failed = 0;
    assert_int_equal(test_resume(db, &space, ids, 256, 1, &n_failed), 64);
    assert_int_equal(n_failed, 1);
    assert_int_equal(test_put(db, &chain), 192 * TEST_TOKEN_BYTES);
    assert_int_equal(test_resume(db, &space, ids, 256, 1, NULL), 256);
    kv_db_close(db);
    chain_free(&chain);
}

static void kv_db_verify__damaged_blocks__dropped_with_those_behind(void **state)
{
    const char *path = make_file(state);
    struct kv_db_verdict verdict;
    struct err err = {0};
    struct kv_db *db = test_open(path, &space, 0);
    assert_true(kv_db_verify(db, NULL, NULL, &verdict, &err));
    assert_int_equal(verdict.n_blocks, 4);
    assert_int_equal(verdict.n_bytes, 256 * TEST_TOKEN_BYTES);
    assert_int_equal(verdict.n_damaged + verdict.n_dropped, 0);
    test_sql(path, "UPDATE kv_data SET bytes=zeroblob(length(bytes)) WHERE id=3");
    assert_true(kv_db_verify(db, NULL, NULL, &verdict, &err));
    assert_int_equal(verdict.n_blocks, 3);
    assert_int_equal(verdict.n_damaged, 1);
    assert_int_equal(verdict.n_dropped, 2);
    assert_int_equal(test_resume(db, &space, ids, 256, 1, NULL), 128);
    kv_db_close(db);
}

static bool stop_at_two(void *arg, uint64_t done, uint64_t total)
{
    assert_int_equal(total, 4);
    *(uint64_t *)arg = done;
    return done < 2;
}

static void kv_db_verify__told_to_stop__stops(void **state)
{
    struct kv_db *db = test_open(make_file(state), &space, 0);
    struct kv_db_verdict verdict;
    struct err err = {0};
    uint64_t done = 0;
    assert_true(kv_db_verify(db, stop_at_two, &done, &verdict, &err));
    assert_int_equal(done, 2);
    assert_int_equal(verdict.n_blocks, 2);
    kv_db_close(db);
}

/* ---- files that are not ours ---- */

static void write_file(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fwrite(bytes, 1, n, f);
    fclose(f);
}

static void not_a_database(const char *path)
{
    char text[100000];
    memset(text, 'x', sizeof text);
    write_file(path, text, sizeof text);
}

static void short_text(const char *path)
{
    write_file(path, "hello", 5);
}

static void truncated(const char *path)
{
    assert_int_equal(truncate(path, 4 * KV_PAGE_BYTES), 0);
}

static void older(const char *path)
{
    test_sql(path, "PRAGMA user_version=0");
}

static void newer(const char *path)
{
    test_sql(path, "PRAGMA user_version=2");
}

static void foreign(const char *path)
{
    unlink(path);
    test_sql(path, "PRAGMA journal_mode=WAL; CREATE TABLE t(a); INSERT INTO t VALUES(1)");
}

static void other_pages(const char *path)
{
    test_sql(path, "PRAGMA page_size=4096; VACUUM");
}

static void other_tables(const char *path)
{
    test_sql(path, "CREATE TRIGGER t AFTER INSERT ON kv_use BEGIN DELETE FROM kv_block; END");
}

static void no_tables(const char *path)
{
    test_sql(path, "DROP TABLE kv_use");
}

static void newer_format(const char *path)
{
    FILE *f = fopen(path, "r+b");
    fseek(f, 18, SEEK_SET); /* the format's write version */
    fputc(9, f);
    fclose(f);
}

static void newer_schema_format(const char *path)
{
    FILE *f = fopen(path, "r+b");
    fseek(f, 47, SEEK_SET); /* the last byte of the schema format number */
    fputc(9, f);
    fclose(f);
}

static void expect_replaced(const char *path, const char *bad)
{
    const struct kv_db_options options = {.path = path, .limit_bytes = 1 << 30};
    struct err note, err = {0};
    struct kv_db *db = kv_db_open(&options, &note, &err);
    if (!db)
        fail_msg("%s", err.text);
    char done[600];
    snprintf(done, sizeof done, "; it was put aside as %s, and a new cache was begun", bad);
    if (!strstr(note.text, done) || strstr(note.text, "next start") || strstr(note.text, "report"))
        fail_msg("\"%s\" does not tell what happened", note.text);
    assert_true(kv_db_set_space(db, &space, "tiny", "test", false, &err));
    assert_int_equal(access(bad, F_OK), 0);
    assert_int_equal(test_resume(db, &space, ids, 256, 1, NULL), 0);
    chain_make(&chain, &space, ids, 256, 1);
    test_put(db, &chain);
    chain_free(&chain);
    kv_db_close(db);
    db = kv_db_open(&options, &note, &err);
    assert_non_null(db);
    assert_int_equal(note.code, ERR_NONE);
    kv_db_close(db);
}

static void kv_db_open__unusable_file__put_aside_and_begun_anew(void **state)
{
    void (*const ways[])(const char *) = {not_a_database, short_text,   truncated,          older,
                                          newer,          foreign,      other_pages,        other_tables,
                                          no_tables,      newer_format, newer_schema_format};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        const char *path = make_file(state);
        ways[i](path);
        expect_replaced(path, temp_path(state, "kv.db.bad"));
        unlink(temp_path(state, "kv.db.bad"));
        unlink(temp_path(state, "kv.db"));
    }
}

static void kv_db_open__made_by_half__made_whole(void **state)
{
    const struct kv_db_options options = {.path = temp_path(state, "kv.db"), .limit_bytes = 1 << 30};
    struct err note, err = {0};
    test_sql(options.path, "PRAGMA page_size=16384; PRAGMA auto_vacuum=INCREMENTAL");
    assert_int_not_equal(access(options.path, F_OK), -1);
    struct kv_db *db = kv_db_open(&options, &note, &err);
    if (!db)
        fail_msg("%s", err.text);
    assert_int_equal(note.code, ERR_NONE);
    kv_db_close(db);
}

static void kv_db_open__unusable_but_in_use__left_alone(void **state)
{
    const char *path = make_file(state);
    struct err err = {0};
    const struct kv_db_options options = {.path = path};
    struct kv_db *db = test_open(path, &space, 0);
    newer(path);
    assert_null(kv_db_open(&options, NULL, &err));
    assert_int_equal(err.code, ERR_DATABASE);
    assert_non_null(strstr(err.text, "another program has it open"));
    assert_int_equal(access(temp_path(state, "kv.db.bad"), F_OK), -1);
    kv_db_close(db);
    db = test_open(path, &space, 0);
    kv_db_close(db);
}

static void kv_db_close__damage_met_in_use__next_start_is_clean(void **state)
{
    const char *path = make_file(state);
    struct kv_db *db = test_open(path, &space, 0);
    struct kv_db_verdict verdict;
    struct err err = {0};
    /* Behind SQLite's back, as a bad disk would: all pages but the first. */
    char rubbish[65536];
    memset(rubbish, 0xA5, sizeof rubbish);
    pid_t pid = fork(); /* the file's locks are this process's: it must not open it by hand */
    if (pid == 0) {
        int fd = open(path, O_RDWR);
        struct stat st;
        bool ok = fstat(fd, &st) == 0;
        for (off_t at = 65536; ok && at < st.st_size; at += 65536)
            ok = pwrite(fd, rubbish, sizeof rubbish, at) == (ssize_t)sizeof rubbish;
        _exit(ok ? 0 : 1);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    test_sql(temp_path(state, "kv.db"), "PRAGMA user_version=1"); /* makes others read the file anew */
    bool ok = kv_db_verify(db, NULL, NULL, &verdict, &err);
    assert_false(ok);
    kv_db_close(db);
    assert_int_equal(access(temp_path(state, "kv.db.bad"), F_OK), 0);
    db = test_open(temp_path(state, "kv.db"), &space, 0);
    assert_int_equal(test_stat(db).n_blocks, 0);
    kv_db_close(db);
}

static void expect_refused(const char *path, const char *words)
{
    struct err err = {0};
    const struct kv_db_options options = {.path = path};
    assert_null(kv_db_open(&options, NULL, &err));
    assert_int_equal(err.code, ERR_DATABASE);
    if (!strstr(err.text, words))
        fail_msg("\"%s\" lacks \"%s\"", err.text, words);
}

static void kv_db_open__impossible_place__a_sentence(void **state)
{
    write_file(temp_path(state, "file"), "x", 1);
    expect_refused(temp_path(state, "file/kv.db"), "Not a directory");
    assert_int_equal(mkdir(temp_path(state, "dir.db"), 0700), 0);
    expect_refused(temp_path(state, "dir.db"), "not a regular file");
    assert_int_equal(symlink("/nowhere/kv.db", temp_path(state, "link.db")), 0);
    expect_refused(temp_path(state, "link.db"), "a symbolic link that leads to no file");
    assert_int_equal(mkdir(temp_path(state, "there.db.lock"), 0700), 0);
    expect_refused(temp_path(state, "there.db"), "cannot be opened for writing");
    if (geteuid() == 0) {
        print_message("running as root: a read-only directory is not refused, so that part is skipped\n");
        return;
    }
    chmod(*state, 0500);
    expect_refused(temp_path(state, "kv.db"), "cannot be created");
}

static void kv_is_network__types__told_apart(void **state)
{
    (void)state;
    assert_true(kv_is_network(0x6969, "nfs4"));
    assert_true(kv_is_network((long)0xFF534D42u, "cifs"));
    assert_true(kv_is_network((long)(int32_t)0xFF534D42u, "cifs"));
    assert_true(kv_is_network(0x65735546, "fuse.sshfs"));
    assert_false(kv_is_network(0x65735546, "fuseblk"));
    assert_false(kv_is_network(0xEF53, "ext4"));
    assert_false(kv_is_network(0x01021994, "tmpfs"));
}

/* ---- kill -9 ---- */

/* Puts chains of one block and a growing second, under a small limit; says each number once it is there. */
static void write_until_killed(const char *path, int say, unsigned round)
{
    struct kv_db *db = test_open(path, &space, 40 * 64 * TEST_TOKEN_BYTES);
    for (uint32_t i = 0; i < 10000; i++) {
        int32_t own[128];
        test_ids(own, 128, 1000 * (round + 1) + i);
        chain_make(&chain, &space, own, 64 + i % 65, 1);
        test_put(db, &chain);
        chain_free(&chain);
        if (write(say, &i, sizeof i) != sizeof i)
            _exit(1);
    }
    _exit(1);
}

static void kv_db_put__killed_at_any_moment__what_was_acknowledged_is_there(void **state)
{
    const char *path = temp_path(state, "kv.db");
    for (unsigned round = 0; round < N_KILLS; round++) {
        int fds[2], status;
        assert_int_equal(pipe(fds), 0);
        pid_t pid = fork();
        if (pid == 0)
            write_until_killed(path, fds[1], round);
        close(fds[1]);
        uint32_t last = 0, n_said = 0;
        uint32_t wanted = 1 + round % 7 * 3;
        while (n_said < wanted && read(fds[0], &last, sizeof last) == sizeof last)
            n_said++;
        usleep(round * 137 % 3000);
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        assert_true(WIFSIGNALED(status));
        while (read(fds[0], &last, sizeof last) == sizeof last) {
        }
        close(fds[0]);

        struct kv_db *db = test_open(path, &space, 40 * 64 * TEST_TOKEN_BYTES);
        struct kv_db_verdict verdict;
        struct err err = {0};
        int32_t own[128];
        test_ids(own, 128, 1000 * (round + 1) + last);
        assert_int_equal(test_resume(db, &space, own, 128, 1, NULL), 64 + last % 65);
        assert_true(kv_db_verify(db, NULL, NULL, &verdict, &err));
        assert_int_equal(verdict.n_damaged, 0);
        assert_in_range(verdict.n_bytes, 1, 40 * 64 * TEST_TOKEN_BYTES);
        kv_db_close(db);
        assert_int_equal(access(temp_path(state, "kv.db.bad"), F_OK), -1);
        path = temp_path(state, "kv.db");
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, temp_dir_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(kv_db_fetch__changed_on_disk__prefix_before_it_is_used),
        TEST(kv_db_find__row_changed_on_disk__chain_ends_there),
        TEST(kv_db_fetch__one_bit_on_the_disk__detected),
        TEST(kv_db_verify__damaged_blocks__dropped_with_those_behind),
        TEST(kv_db_verify__told_to_stop__stops),
        TEST(kv_db_open__unusable_file__put_aside_and_begun_anew),
        TEST(kv_db_open__made_by_half__made_whole),
        TEST(kv_db_open__unusable_but_in_use__left_alone),
        TEST(kv_db_close__damage_met_in_use__next_start_is_clean),
        TEST(kv_db_open__impossible_place__a_sentence),
        TEST(kv_is_network__types__told_apart),
        TEST(kv_db_put__killed_at_any_moment__what_was_acknowledged_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
