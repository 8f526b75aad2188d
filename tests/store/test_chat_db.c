/* test_chat_db.c: the chat-db thread: order, answers, merging, and patience while the database is locked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "store/chat_db.h"
#include "tests/store/temp_dir.h"

#define PATIENCE_MS 30000

static struct chat_db *open_ok(const char *path)
{
    struct err err = {0};
    struct chat_db *db = chat_db_open(path, &err);
    if (!db || chat_db_wait_open(db, PATIENCE_MS, &err) != CHAT_DB_OPEN)
        fail_msg("%s", err.text);
    return db;
}

static void wait_event(struct chat_db *db, enum chat_db_event_type type, struct chat_db_event *event)
{
    for (;;) {
        if (chat_db_next_event(db, event)) {
            if (event->type == type)
                return;
            chat_db_event_fini(event);
            continue;
        }
        struct pollfd p = {.fd = chat_db_event_fd(db), .events = POLLIN};
        assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    }
}

static struct chat *two_messages(void)
{
    struct chat *chat = chat_new();
    int user = chat_add(chat, -1, CHAT_USER, "question", 8);
    chat_add(chat, user, CHAT_ASSISTANT, "ans", 3);
    return chat;
}

static void chat_db__put__is_there_after_close(void **state)
{
    const char *path = temp_path(state, "chat.db");
    struct chat_db *db = open_ok(path);
    struct chat *chat = two_messages();
    chat_db_create(db, chat, NULL);
    chat_db_put(db, chat, 0, NULL);
    for (int i = 0; i < 50; i++) {
        buf_puts(&chat->msgs[1].text, " more");
        chat_db_put_one(db, chat, 1, NULL);
    }
    struct err err = {0};
    assert_true(chat_db_close(db, PATIENCE_MS, &err));
    db = open_ok(path);
    struct chat_key key = {.kind = CHAT_LATEST};
    chat_db_load(db, &key);
    struct chat_db_event event;
    wait_event(db, CHAT_DB_LOADED, &event);
    assert_non_null(event.chat);
    assert_string_equal(buf_text(&event.chat->msgs[1].text), buf_text(&chat->msgs[1].text));
    chat_db_event_fini(&event);
    chat_free(chat);
    assert_true(chat_db_close(db, PATIENCE_MS, &err));
}

static void chat_db__questions__are_answered_in_order(void **state)
{
    struct chat_db *db = open_ok(temp_path(state, "chat.db"));
    struct chat *chat = two_messages();
    struct chat_db_event event;
    chat_db_create(db, chat, NULL);
    wait_event(db, CHAT_DB_CREATED, &event);
    assert_memory_equal(event.uid, chat->uid, CHAT_UID_BYTES);
    int64_t id = event.id;
    assert_true(id > 0);
    chat_db_rename(db, id, "new title");
    chat_db_list(db);
    wait_event(db, CHAT_DB_LIST, &event);
    assert_int_equal(event.list.n, 1);
    assert_string_equal(event.list.items[0].title, "new title");
    chat_db_event_fini(&event);
    chat_db_put_draft(db, NULL, "draft", 5);
    chat_db_load(db, NULL);
    wait_event(db, CHAT_DB_LOADED, &event);
    assert_null(event.chat);
    assert_string_equal(event.draft, "draft");
    chat_db_event_fini(&event);
    chat_db_delete(db, id);
    wait_event(db, CHAT_DB_DELETED, &event);
    assert_true(event.found);
    struct chat_key key = {.kind = CHAT_BY_ID, .id = id};
    chat_db_load(db, &key);
    wait_event(db, CHAT_DB_LOADED, &event);
    assert_null(event.chat);
    chat_db_event_fini(&event);
    chat_free(chat);
    assert_true(chat_db_close(db, PATIENCE_MS, NULL));
}

/* The caller goes on at once; trouble is told once, and so is the recovery, and nothing is lost in between.
 */
static void chat_db__locked__keeps_the_text_and_recovers(void **state)
{
    const char *path = temp_path(state, "chat.db");
    struct chat_db *db = open_ok(path);
    struct chat *chat = two_messages();
    chat_db_create(db, chat, NULL);
    assert_true(chat_db_flush(db, PATIENCE_MS, NULL));
    sqlite3 *other;
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    chat_db_put(db, chat, 0, NULL);
    struct err err = {0};
    assert_false(chat_db_flush(db, 10, &err));
    struct chat_db_event event;
    wait_event(db, CHAT_DB_TROUBLE, &event);
    assert_non_null(strstr(event.error.text, "another program holds it"));
    sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_close(other);
    wait_event(db, CHAT_DB_RECOVERED, &event);
    struct chat_key key = {.kind = CHAT_BY_UID, .uid = chat->uid};
    chat_db_load(db, &key);
    wait_event(db, CHAT_DB_LOADED, &event);
    assert_int_equal(event.chat->n_msgs, 2);
    chat_db_event_fini(&event);
    chat_free(chat);
    assert_true(chat_db_close(db, PATIENCE_MS, NULL));
}

/* A write for a chat that is gone is told and let go; the next chat is stored. */
static void chat_db__gone__does_not_stand_in_the_way(void **state)
{
    struct chat_db *db = open_ok(temp_path(state, "chat.db"));
    struct chat *gone = two_messages(), *next = two_messages();
    chat_db_put(db, gone, 0, NULL);
    chat_db_create(db, next, NULL);
    chat_db_put(db, next, 0, NULL);
    struct chat_db_event event;
    wait_event(db, CHAT_DB_GONE, &event);
    assert_memory_equal(event.uid, gone->uid, CHAT_UID_BYTES);
    struct chat_key key = {.kind = CHAT_BY_UID, .uid = next->uid};
    chat_db_load(db, &key);
    wait_event(db, CHAT_DB_LOADED, &event);
    assert_int_equal(event.chat->n_msgs, 2);
    chat_db_event_fini(&event);
    chat_free(gone);
    chat_free(next);
    assert_true(chat_db_close(db, PATIENCE_MS, NULL));
}

/* The next job finds the file gone, begins a new one and says so; the chat is not in that. */
static void chat_db__deleted_file__is_begun_anew(void **state)
{
    const char *path = temp_path(state, "chat.db");
    struct chat_db *db = open_ok(path);
    struct chat *chat = two_messages();
    struct chat_db_event event;
    chat_db_create(db, chat, NULL);
    assert_true(chat_db_flush(db, PATIENCE_MS, NULL));
    assert_int_equal(unlink(path), 0);
    chat_db_put(db, chat, 0, NULL);
    wait_event(db, CHAT_DB_MOVED, &event);
    assert_non_null(
        strstr(event.error.text, "was deleted or moved away while it was in use; a new one is begun"));
    wait_event(db, CHAT_DB_GONE, &event);
    chat_db_create(db, chat, NULL);
    assert_true(chat_db_close(db, PATIENCE_MS, NULL));
    db = open_ok(path);
    struct chat_key key = {.kind = CHAT_BY_UID, .uid = chat->uid};
    chat_db_load(db, &key);
    wait_event(db, CHAT_DB_LOADED, &event);
    assert_int_equal(event.chat->n_msgs, 2);
    chat_db_event_fini(&event);
    chat_free(chat);
    assert_true(chat_db_close(db, PATIENCE_MS, NULL));
}

/* A look is enough to find out; while there can be no new file, what is to be written waits. */
static void chat_db__no_new_file__waits_for_one(void **state)
{
    const char *path = temp_path(state, "chat.db");
    struct chat_db *db = open_ok(path);
    struct chat *chat = two_messages();
    struct chat_db_event event;
    struct err err = {0};
    chat_db_look(db);
    assert_true(chat_db_flush(db, PATIENCE_MS, NULL));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    chat_db_look(db);
    chat_db_create(db, chat, NULL);
    wait_event(db, CHAT_DB_TROUBLE, &event);
    assert_true(event.file_is_gone);
    assert_non_null(strstr(event.error.text, "was deleted or moved away while it was in use"));
    assert_false(chat_db_flush(db, 0, &err));
    assert_int_equal(rmdir(path), 0);
    wait_event(db, CHAT_DB_CREATED, &event);
    wait_event(db, CHAT_DB_RECOVERED, &event);
    chat_free(chat);
    assert_true(chat_db_close(db, PATIENCE_MS, NULL));
}

/* Of two chats that are discarded the one that another program wrote into stays; the draft and the word index
 * know nothing of the other any more, and kv.db has nothing to forget. */
static void chat_db__discard__leaves_what_others_wrote(void **state)
{
    const char *path = temp_path(state, "chat.db");
    struct chat_db *db = open_ok(path);
    struct chat *gone = two_messages(), *kept = two_messages(), *never = two_messages();
    chat_db_create(db, gone, NULL);
    chat_db_create(db, kept, NULL);
    kept->n_msgs = 1;
    chat_db_put_draft(db, gone, "draft", 5);
    chat_db_discard(db, gone);
    chat_db_discard(db, kept);
    chat_db_discard(db, never);
    kept->n_msgs = 2;
    chat_db_list(db);
    struct chat_db_event event;
    wait_event(db, CHAT_DB_LIST, &event);
    assert_int_equal(event.list.n, 1);
    assert_memory_equal(event.list.items[0].uid, kept->uid, CHAT_UID_BYTES);
    chat_db_event_fini(&event);
    assert_true(chat_db_close(db, PATIENCE_MS, NULL));
    db = open_ok(path);
    chat_db_load(db, NULL);
    while (!chat_db_next_event(db, &event)) {
    }
    assert_int_equal(event.type, CHAT_DB_LOADED); /* and no CHAT_DB_FORGET before */
    chat_db_event_fini(&event);
    assert_true(chat_db_close(db, PATIENCE_MS, NULL));
    chat_free(gone);
    chat_free(kept);
    chat_free(never);
}

/* What a program that was killed had still to do about a deleted chat comes at each start until it is done.
 */
static void chat_db__forgotten__comes_until_it_is_done(void **state)
{
    const char *path = temp_path(state, "chat.db");
    struct chat_db *db = open_ok(path);
    struct chat *chat = two_messages();
    struct chat_db_event event;
    chat_db_create(db, chat, NULL);
    wait_event(db, CHAT_DB_CREATED, &event);
    chat_db_delete(db, event.id);
    assert_true(chat_db_close(db, PATIENCE_MS, NULL));
    for (int i = 0; i < 2; i++) {
        db = open_ok(path);
        wait_event(db, CHAT_DB_FORGET, &event);
        assert_memory_equal(event.uid, chat->uid, CHAT_UID_BYTES);
        if (i == 1)
            chat_db_forgotten_done(db, chat->uid);
        assert_true(chat_db_close(db, PATIENCE_MS, NULL));
    }
    db = open_ok(path);
    chat_db_load(db, NULL);
    while (!chat_db_next_event(db, &event)) {
    }
    assert_int_equal(event.type, CHAT_DB_LOADED);
    chat_db_event_fini(&event);
    chat_free(chat);
    assert_true(chat_db_close(db, PATIENCE_MS, NULL));
}

static void chat_db__open__does_not_wait_for_a_locked_file(void **state)
{
    const char *path = temp_path(state, "chat.db");
    assert_true(chat_db_close(open_ok(path), PATIENCE_MS, NULL));
    sqlite3 *other;
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    struct err err = {0};
    struct chat_db *db = chat_db_open(path, &err);
    assert_int_equal(chat_db_wait_open(db, 1, &err), CHAT_DB_OPENING);
    struct chat *chat = two_messages();
    chat_db_create(db, chat, NULL);
    chat_db_put(db, chat, 0, NULL);
    sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_close(other);
    assert_int_equal(chat_db_wait_open(db, PATIENCE_MS, &err), CHAT_DB_OPEN);
    assert_true(chat_db_flush(db, PATIENCE_MS, &err));
    chat_free(chat);
    assert_true(chat_db_close(db, PATIENCE_MS, NULL));
}

static void chat_db__close__says_what_it_could_not_save(void **state)
{
    const char *path = temp_path(state, "chat.db");
    struct chat_db *db = open_ok(path);
    struct chat *chat = two_messages();
    sqlite3 *other;
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    chat_db_create(db, chat, NULL);
    struct err err = {0};
    assert_false(chat_db_close(db, 0, &err));
    assert_int_equal(err.code, ERR_DATABASE);
    sqlite3_close(other);
    chat_free(chat);
}

/* A write that is let go while nobody looks any more is not stored. */
static void chat_db__close__says_what_it_let_go(void **state)
{
    struct chat_db *db = open_ok(temp_path(state, "chat.db"));
    struct chat *gone = two_messages();
    struct err err = {0};
    chat_db_put(db, gone, 0, NULL);
    assert_false(chat_db_close(db, PATIENCE_MS, &err));
    assert_int_equal(err.code, ERR_DATABASE);
    assert_non_null(strstr(err.text, "deleted by another program"));
    chat_free(gone);
}

/* So many that their events find no room. */
static void chat_db__close__says_what_it_let_go_behind_many_events(void **state)
{
    struct chat_db *db = open_ok(temp_path(state, "chat.db"));
    struct chat *gone = two_messages();
    struct err err = {0};
    for (int i = 0; i < 300; i++)
        chat_db_load(db, NULL);
    chat_db_put(db, gone, 0, NULL);
    assert_false(chat_db_close(db, PATIENCE_MS, &err));
    assert_non_null(strstr(err.text, "deleted by another program"));
    chat_free(gone);
}

static void chat_db__open__tells_of_a_bad_place(void **state)
{
    (void)state;
    struct err err = {0};
    struct chat_db *db = chat_db_open("/dev/null/chat.db", &err);
    assert_non_null(db);
    assert_int_equal(chat_db_wait_open(db, PATIENCE_MS, &err), CHAT_DB_BAD);
    assert_int_equal(err.code, ERR_DATABASE);
    assert_non_null(strstr(err.text, "/dev/null"));
    assert_true(chat_db_close(db, 0, NULL));
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, temp_dir_setup, temp_dir_teardown)
    const struct CMUnitTest tests[] = {
        CASE(chat_db__put__is_there_after_close),
        CASE(chat_db__questions__are_answered_in_order),
        CASE(chat_db__locked__keeps_the_text_and_recovers),
        CASE(chat_db__gone__does_not_stand_in_the_way),
        CASE(chat_db__deleted_file__is_begun_anew),
        CASE(chat_db__no_new_file__waits_for_one),
        CASE(chat_db__discard__leaves_what_others_wrote),
        CASE(chat_db__forgotten__comes_until_it_is_done),
        CASE(chat_db__open__does_not_wait_for_a_locked_file),
        CASE(chat_db__close__says_what_it_could_not_save),
        CASE(chat_db__close__says_what_it_let_go),
        CASE(chat_db__close__says_what_it_let_go_behind_many_events),
        CASE(chat_db__open__tells_of_a_bad_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
