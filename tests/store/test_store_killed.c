/* test_store_killed.c: chat.db after a program was killed: half a change is undone by whoever comes next, and
 * deleted chats stay listed until all that they left is gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "store/store.h"
#include "tests/store/open_store.h"
#include "tests/store/temp_dir.h"

#define NOBODY 65534

static int64_t create(struct store *s, const struct chat *chat)
{
    struct err err = {0};
    int64_t id = 0;
    if (!store_create(s, chat, NULL, NULL, 0, STORE_HEAD_NONE, &id, &(bool){false}, &err))
        fail_msg("%s", err.text);
    return id;
}

static void store__delete__is_listed_until_it_is_done(void **state)
{
    struct store *s = open_ok(temp_path(state, "chat.db"));
    unsigned char uids[2][CHAT_UID_BYTES], uid[2][CHAT_UID_BYTES];
    struct err err = {0};
    size_t n;
    for (int i = 0; i < 3; i++) {
        struct chat *chat = chat_new();
        bool found;
        int64_t id = create(s, chat);
        if (i < 2)
            memcpy(uid[i], chat->uid, CHAT_UID_BYTES);
        assert_true(store_delete(s, id, &found, &err));
        assert_true(store_delete(s, id, &found, &err)); /* there is none: nothing is listed */
        chat_free(chat);
    }
    assert_true(store_forgotten(s, uids, 2, &n, &err));
    assert_int_equal(n, 2);
    assert_memory_equal(uids, uid, sizeof uid);
    assert_true(store_forgotten_done(s, uid[0], &err));
    assert_true(store_forgotten_done(s, uid[1], &err));
    assert_true(store_forgotten(s, uids, 2, &n, &err));
    assert_int_equal(n, 1);
    store_close(s);
}

/* ---- half a change ---- */

/* A chat, and a program that was killed in the middle of deleting it: with next to no cache SQLite writes
 * changed pages to the file long before the commit. */
static void make_half_written(const char *path)
{
    struct chat *chat = chat_new();
    struct store *s = open_ok(path);
    create(s, chat);
    store_close(s);
    chat_free(chat);
    pid_t child = fork();
    if (child == 0) {
        sqlite3 *db;
        bool ok = sqlite3_open(path, &db) == SQLITE_OK &&
                  sqlite3_exec(db,
                               "PRAGMA cache_size=2; PRAGMA cache_spill=1; BEGIN; DELETE FROM conv;"
                               "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<500)"
                               " INSERT INTO conv(uid,title,created,updated)"
                               " SELECT randomblob(16),hex(randomblob(500)),1,1 FROM n",
                               NULL, NULL, NULL) == SQLITE_OK;
        _exit(ok ? 0 : 1); /* as kill -9 would: nothing is closed */
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static size_t size_of_journal(void **state)
{
    struct stat st;
    return stat(temp_path(state, "chat.db-journal"), &st) == 0 ? (size_t)st.st_size : 0;
}

static void store__open__reading_undoes_half_a_change(void **state)
{
    char *path = mem_strdup(temp_path(state, "chat.db"));
    struct chat_list list = {0};
    struct err err = {0};
    make_half_written(path);
    assert_int_not_equal(size_of_journal(state), 0);
    struct store *s = store_open(path, STORE_READ_ONLY, &err);
    if (!s)
        fail_msg("%s", err.text);
    assert_true(store_list(s, &list, &err));
    assert_int_equal(list.n, 1);
    assert_int_equal(size_of_journal(state), 0);
    chat_list_fini(&list);
    store_close(s);
    mem_free(path);
}

/* As nobody, where the tests run as root: root may write anywhere. Returns the exit status. */
static int open_without_rights(const char *path)
{
    struct err err = {0};
    if (geteuid() == 0 && seteuid(NOBODY) != 0)
        return 2;
    struct store *s = store_open(path, STORE_READ_ONLY, &err);
    if (s || !strstr(err.text, "killed while it wrote") || !strstr(err.text, "must be writable")) {
        fprintf(stderr, "%s\n", s ? "opened" : err.text);
        return 1;
    }
    return 0;
}

static void store__open__half_a_change_that_cannot_be_undone_is_a_sentence(void **state)
{
    static const char *const names[] = {"", "chat.db", "chat.db-journal"};
    char *path = mem_strdup(temp_path(state, "chat.db"));
    int status;
    make_half_written(path);
    for (int i = 2; i >= 0; i--) {
        if (geteuid() == 0)
            assert_int_equal(chown(temp_path(state, names[i]), NOBODY, (gid_t)-1), 0);
        assert_int_equal(chmod(temp_path(state, names[i]), i ? 0400 : 0500), 0);
    }
    pid_t child = fork();
    if (child == 0)
        _exit(open_without_rights(path));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(chmod(temp_path(state, ""), 0700), 0);
    assert_int_equal(status, 0);
    mem_free(path);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, temp_dir_setup, temp_dir_teardown)
    const struct CMUnitTest tests[] = {
        CASE(store__delete__is_listed_until_it_is_done),
        CASE(store__open__reading_undoes_half_a_change),
        CASE(store__open__half_a_change_that_cannot_be_undone_is_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
