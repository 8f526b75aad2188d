/* test_store_shared.c: one chat.db and several hands: ids that another message has, files that are only
 * opened, a directory in which nothing can be made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "store/chat_db.h"
#include "tests/store/open_store.h"
#include "tests/store/temp_dir.h"

#define NOBODY 65534

static struct msg_row row_of(const struct chat *chat, int i)
{
    const struct chat_msg *m = &chat->msgs[i];
    return (struct msg_row){.id = m->id,
                            .parent_id = m->parent >= 0 ? chat->msgs[m->parent].id : 0,
                            .role = m->role,
                            .status = m->status,
                            .text = buf_text(&m->text),
                            .n_text = m->text.len,
                            .created_ms = m->created_ms};
}

static struct chat *chat_of(const char *question, const char *answer)
{
    struct chat *chat = chat_new();
    chat_add(chat, -1, CHAT_USER, question, strlen(question));
    chat_add(chat, 0, CHAT_ASSISTANT, answer, strlen(answer));
    return chat;
}

static bool create(struct store *s, const struct chat *chat, struct err *err)
{
    struct msg_row rows[] = {row_of(chat, 0), row_of(chat, 1)};
    int64_t id = 0;
    return store_create(s, chat, NULL, rows, 2, rows[1].id, &id, &(bool){false}, err);
}

static struct chat *load(struct store *s, const struct chat *chat)
{
    bool found;
    struct err err = {0};
    return store_load(s, &(struct chat_key){.kind = CHAT_BY_UID, .uid = chat->uid}, NULL, &found, &err);
}

static void assert_text(struct store *s, const struct chat *chat, int msg, const char *text)
{
    struct chat *stored = load(s, chat);
    assert_non_null(stored);
    assert_true(stored->n_msgs > msg);
    assert_string_equal(buf_text(&stored->msgs[msg].text), text);
    chat_free(stored);
}

/* ---- ids ---- */

static void store_create__id_of_another_chat__leaves_nothing(void **state)
{
    struct store *s = open_ok(temp_path(state, "chat.db"));
    struct chat *a = chat_of("q of a", "a of a"), *b = chat_of("q of b", "a of b");
    struct err err = {0};
    b->msgs[1].id = a->msgs[1].id;
    assert_true(create(s, a, &err));
    assert_false(create(s, b, &err));
    assert_true(store_id_is_taken(s));
    assert_false(store_may_retry(s));
    assert_null(load(s, b));
    assert_text(s, a, 1, "a of a");
    chat_renew(b);
    assert_true(create(s, b, &err));
    assert_false(store_id_is_taken(s));
    assert_text(s, b, 0, "q of b");
    assert_text(s, b, 1, "a of b");
    chat_free(a);
    chat_free(b);
    store_close(s);
}

/* Two programs that added a message to one chat and came to the same id. */
static void store_put_msgs__id_of_another_message__takes_no_text_away(void **state)
{
    struct store *s = open_ok(temp_path(state, "chat.db"));
    struct chat *chat = chat_of("question", "answer");
    struct err err = {0};
    assert_true(create(s, chat, &err));
    struct msg_row row = row_of(chat, 1);
    row.text = "answer, longer";
    row.n_text = strlen(row.text);
    assert_true(store_put_msgs(s, chat->uid, &row, 1, row.id, &err));
    row.text = "another's";
    row.n_text = strlen(row.text);
    row.created_ms++;
    assert_false(store_put_msgs(s, chat->uid, &row, 1, row.id, &err));
    assert_true(store_id_is_taken(s));
    row.created_ms--;
    row.role = CHAT_USER;
    assert_false(store_put_msgs(s, chat->uid, &row, 1, row.id, &err));
    assert_text(s, chat, 1, "answer, longer");
    chat_free(chat);
    store_close(s);
}

static bool put_text(struct store *s, const struct chat *chat, const char *think, const char *text,
                     enum chat_status status)
{
    struct err err = {0};
    struct msg_row row = row_of(chat, 1);
    row.text = text;
    row.n_text = strlen(text);
    row.think = think;
    row.n_think = strlen(think);
    row.status = status;
    bool ok = store_put_msgs(s, chat->uid, &row, 1, row.id, &err);
    assert_true(ok || (store_id_is_taken(s) && !store_may_retry(s)));
    return ok;
}

/* A program that opened the chat while another one wrote an answer has an older text of it; what it says
 * about that neither takes text away nor stops who writes. */
static void store_put_msgs__older_text__does_not_replace_a_newer_one(void **state)
{
    struct store *s = open_ok(temp_path(state, "chat.db"));
    struct chat *chat = chat_of("question", "");
    struct err err = {0};
    assert_true(create(s, chat, &err));
    assert_true(put_text(s, chat, "", "", CHAT_STREAMING));
    assert_true(put_text(s, chat, "I th", "", CHAT_STREAMING));
    assert_false(put_text(s, chat, "", "", CHAT_INTERRUPTED));
    assert_true(put_text(s, chat, "I th", "", CHAT_INTERRUPTED)); /* as far as it is: nothing is lost */
    assert_true(put_text(s, chat, "I think", "Ans", CHAT_STREAMING));
    assert_false(put_text(s, chat, "I think", "An", CHAT_INTERRUPTED));
    assert_true(put_text(s, chat, "I think", "Answer", CHAT_DONE));
    assert_false(put_text(s, chat, "I think", "", CHAT_INTERRUPTED));
    assert_false(put_text(s, chat, "I th", "Answer", CHAT_INTERRUPTED));
    assert_false(put_text(s, chat, "I think", "answer", CHAT_DONE));
    assert_true(put_text(s, chat, "I think", "Answer", CHAT_DONE));
    assert_text(s, chat, 1, "Answer");
    chat_free(chat);
    store_close(s);
}

/* A zero byte, or half a character, ends no comparison. */
static void store_put_msgs__zero_byte__may_grow_and_not_shrink(void **state)
{
    static const char text[] = "a\0b \xE2\x82\xAC";
    struct store *s = open_ok(temp_path(state, "chat.db"));
    struct chat *chat = chat_of("question", "");
    struct err err = {0};
    assert_true(create(s, chat, &err));
    struct msg_row row = row_of(chat, 1);
    row.text = text;
    for (row.n_text = 0; row.n_text < sizeof text; row.n_text++)
        assert_true(store_put_msgs(s, chat->uid, &row, 1, row.id, &err));
    row.n_text = 2;
    assert_false(store_put_msgs(s, chat->uid, &row, 1, row.id, &err));
    chat_free(chat);
    store_close(s);
}

/* An answer whose question was refused: alone it would hide the rest of the chat. */
static void store_put_msgs__without_its_parent__is_refused(void **state)
{
    struct store *s = open_ok(temp_path(state, "chat.db"));
    struct chat *chat = chat_of("question", "answer");
    struct err err = {0};
    assert_true(create(s, chat, &err));
    chat_add(chat, 1, CHAT_USER, "more", 4);
    chat_add(chat, 2, CHAT_ASSISTANT, "yes", 3);
    struct msg_row rows[] = {row_of(chat, 2), row_of(chat, 3)};
    assert_false(store_put_msgs(s, chat->uid, &rows[1], 1, rows[1].id, &err));
    assert_false(store_may_retry(s) || store_id_is_taken(s) || store_chat_is_gone(s));
    struct chat *stored = load(s, chat);
    assert_int_equal(stored->head, 1);
    chat_free(stored);
    assert_true(store_put_msgs(s, chat->uid, rows, 2, rows[1].id, &err));
    assert_text(s, chat, 3, "yes");
    chat_free(chat);
    store_close(s);
}

/* ---- ids of several models ---- */

static size_t n_ids(struct store *s, const struct chat *chat)
{
    struct chat *stored = load(s, chat);
    assert_non_null(stored);
    size_t n = stored->msgs[1].n_tokens;
    chat_free(stored);
    return n;
}

/* Two programs use one chat with a model each. */
static void store_put_msgs__ids_of_a_model_the_chat_has_left__are_not_stored(void **state)
{
    struct store *s = open_ok(temp_path(state, "chat.db"));
    struct chat *chat = chat_of("question", "answer");
    const struct store_model one = {.fingerprint = {1}}, two = {.fingerprint = {2}};
    struct err err = {0};
    struct msg_row row = row_of(chat, 1);
    row.tokens = (int32_t[]){5, 6, 7};
    row.n_tokens = 3;
    row.tokens_of = one.fingerprint;
    assert_true(create(s, chat, &err));
    assert_true(store_set_model(s, chat->uid, &one, &err));
    assert_true(store_put_msgs(s, chat->uid, &row, 1, row.id, &err));
    assert_int_equal(n_ids(s, chat), 3);
    assert_true(store_set_model(s, chat->uid, &two, &err));
    assert_true(store_put_msgs(s, chat->uid, &row, 1, row.id, &err));
    assert_int_equal(n_ids(s, chat), 0);
    row.tokens_of = two.fingerprint;
    row.n_tokens = 2;
    assert_true(store_put_msgs(s, chat->uid, &row, 1, row.id, &err));
    assert_int_equal(n_ids(s, chat), 2);
    /* Nor may the others stay, which may be of less text. */
    row.tokens_of = one.fingerprint;
    assert_true(store_put_msgs(s, chat->uid, &row, 1, row.id, &err));
    assert_int_equal(n_ids(s, chat), 0);
    assert_text(s, chat, 1, "answer");
    chat_free(chat);
    store_close(s);
}

static void wait_event(struct chat_db *db, enum chat_db_event_type type, struct chat_db_event *event)
{
    struct pollfd fd = {.fd = chat_db_event_fd(db), .events = POLLIN};
    for (;;) {
        while (chat_db_next_event(db, event)) {
            if (event->type == type)
                return;
            chat_db_event_fini(event);
        }
        assert_int_equal(poll(&fd, 1, 30000), 1);
    }
}

static void chat_db__taken_id__is_told_with_the_chat(void **state)
{
    struct err err = {0};
    struct chat_db *db = chat_db_open(temp_path(state, "chat.db"), &err);
    struct chat *a = chat_of("q of a", "a of a"), *b = chat_of("q of b", "a of b");
    struct chat_db_event event;
    b->msgs[0].id = a->msgs[0].id;
    chat_db_create(db, a, NULL);
    chat_db_create(db, b, NULL);
    wait_event(db, CHAT_DB_GONE, &event);
    assert_true(event.id_taken);
    assert_memory_equal(event.uid, b->uid, sizeof event.uid);
    chat_renew(b);
    chat_db_create(db, b, NULL);
    assert_true(chat_db_close(db, 30000, &err));
    struct store *s = open_ok(temp_path(state, "chat.db"));
    assert_text(s, a, 0, "q of a");
    assert_text(s, b, 0, "q of b");
    store_close(s);
    chat_free(a);
    chat_free(b);
}

/* ---- opening ---- */

struct bytes {
    char *at;
    size_t n;
    struct timespec changed;
};

static struct bytes read_all(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    struct bytes b = {.at = mem_need((size_t)st.st_size + 1), .n = (size_t)st.st_size, .changed = st.st_mtim};
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fread(b.at, 1, b.n, f), b.n);
    fclose(f);
    return b;
}

static void store_open__existing_file__is_not_written(void **state)
{
    const char *path = temp_path(state, "chat.db");
    struct store *s = open_ok(path);
    struct chat *chat = chat_of("q", "a");
    struct err err = {0};
    assert_true(create(s, chat, &err));
    store_close(s);
    struct bytes before = read_all(path);
    struct stat dir_before, dir_after;
    assert_int_equal(stat(*state, &dir_before), 0);
    usleep(20000); /* the grain of the file system's clock */
    store_close(open_ok(path));
    struct bytes after = read_all(path);
    assert_int_equal(stat(*state, &dir_after), 0);
    assert_int_equal(before.n, after.n);
    assert_memory_equal(before.at, after.at, before.n);
    assert_memory_equal(&before.changed, &after.changed, sizeof before.changed);
    assert_memory_equal(&dir_before.st_mtim, &dir_after.st_mtim, sizeof dir_before.st_mtim);
    mem_free(before.at);
    mem_free(after.at);
    chat_free(chat);
}

static void store_open__new_file__has_its_layout(void **state)
{
    const char *path = temp_path(state, "chat.db");
    store_close(open_ok(path));
    struct bytes b = read_all(path);
    assert_true(b.n >= 100);
    assert_int_equal((unsigned char)b.at[16] << 8 | (unsigned char)b.at[17], 4096); /* page size */
    assert_true(b.at[52] || b.at[53] || b.at[54] || b.at[55]);                      /* auto_vacuum */
    assert_true(b.at[64] || b.at[65] || b.at[66] || b.at[67]);                      /* incremental */
    mem_free(b.at);
}

/* Rights bind nobody who is root: then another user does it. Returns the exit status of what, which runs in a
 * process of its own. */
static int as_bound_user(void **state, int (*what)(const char *path), const char *path)
{
    if (geteuid() == 0) {
        assert_int_equal(chown(*state, NOBODY, NOBODY), 0);
        assert_int_equal(chown(path, NOBODY, NOBODY), 0);
        char journal[512];
        snprintf(journal, sizeof journal, "%s-journal", path);
        assert_true(chown(journal, NOBODY, NOBODY) == 0 || access(journal, F_OK) != 0);
    }
    assert_int_equal(chmod(*state, 0500), 0);
    pid_t child = fork();
    if (!child) {
        if (geteuid() == 0 && (setgid(NOBODY) != 0 || setuid(NOBODY) != 0 || chdir(*state) != 0))
            _exit(77);
        _exit(what(path));
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    chmod(*state, 0700);
    assert_true(geteuid() != 0 || chown(path, 0, 0) == 0);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    return WEXITSTATUS(status);
}

static int refuse_and_read(const char *path)
{
    struct err err = {0};
    struct store *s = store_open(path, STORE_READ_WRITE, &err);
    if (s || !strstr(err.text, "may be read but not written"))
        return 1;
    struct chat_list list;
    s = store_open(path, STORE_READ_ONLY, &err);
    if (!s || !store_list(s, &list, &err) || list.n != 1)
        return 2;
    chat_list_fini(&list);
    store_close(s);
    return 0;
}

static int write_and_read(const char *path)
{
    struct err err = {0};
    for (int i = 0; i < 2; i++) {
        struct store *s = store_open(path, STORE_READ_WRITE, &err);
        struct chat *chat = chat_of("more", "yes");
        if (!s || !create(s, chat, &err))
            return fprintf(stderr, "%s\n", err.text), 1;
        chat_free(chat);
        store_close(s);
    }
    struct chat_list list;
    struct store *s = store_open(path, STORE_READ_ONLY, &err);
    if (!s || !store_list(s, &list, &err) || list.n != 3)
        return fprintf(stderr, "%s\n", err.text), 2;
    chat_list_fini(&list);
    store_close(s);
    return 0;
}

static const char *one_chat(void **state)
{
    const char *path = temp_path(state, "chat.db");
    struct store *s = open_ok(path);
    struct chat *chat = chat_of("q", "a");
    struct err err = {0};
    assert_true(create(s, chat, &err));
    chat_free(chat);
    store_close(s);
    return path;
}

static void store_open__directory_without_room_for_a_journal__is_read_only(void **state)
{
    const char *path = one_chat(state);
    unlink(temp_path(state, "chat.db-journal"));
    assert_int_equal(as_bound_user(state, refuse_and_read, path), 0);
}

/* The journal that every use leaves is enough. */
static void store_open__directory_with_the_journal__is_written(void **state)
{
    const char *path = one_chat(state);
    assert_int_equal(access(temp_path(state, "chat.db-journal"), F_OK), 0);
    assert_int_equal(as_bound_user(state, write_and_read, path), 0);
}

/* Ends in the midst of a change, as if it was killed: some of it is in the file, and the journal tells. */
static void leave_half_written(const char *path)
{
    pid_t child = fork();
    if (!child) {
        sqlite3 *db;
        if (sqlite3_open(path, &db) != SQLITE_OK)
            _exit(1);
        const char *change = "PRAGMA journal_mode=TRUNCATE; PRAGMA cache_size=1; PRAGMA cache_spill=1; BEGIN;"
                             "UPDATE msg SET text='half';"
                             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<400)"
                             "INSERT INTO draft SELECT i+100, hex(zeroblob(3000)), 0 FROM n;";
        _exit(sqlite3_exec(db, change, NULL, NULL, NULL) == SQLITE_OK ? 0 : 2);
    }
    int status = 0;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
}

static void store_open__half_written_in_a_fixed_directory__is_undone(void **state)
{
    const char *path = one_chat(state);
    leave_half_written(path);
    struct bytes journal = read_all(temp_path(state, "chat.db-journal"));
    assert_true(journal.n > 0 && journal.at[0]);
    mem_free(journal.at);
    assert_int_equal(as_bound_user(state, write_and_read, path), 0);
    struct store *s = open_ok(path);
    struct chat_hits hits = {0};
    struct err err = {0};
    assert_true(store_search(s, "half", 10, &hits, &err));
    assert_int_equal(hits.n, 0);
    chat_hits_fini(&hits);
    store_close(s);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, temp_dir_setup, temp_dir_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(store_create__id_of_another_chat__leaves_nothing),
        CASE(store_put_msgs__id_of_another_message__takes_no_text_away),
        CASE(store_put_msgs__older_text__does_not_replace_a_newer_one),
        CASE(store_put_msgs__zero_byte__may_grow_and_not_shrink),
        CASE(store_put_msgs__without_its_parent__is_refused),
        CASE(store_put_msgs__ids_of_a_model_the_chat_has_left__are_not_stored),
        CASE(chat_db__taken_id__is_told_with_the_chat),
        CASE(store_open__existing_file__is_not_written),
        CASE(store_open__new_file__has_its_layout),
        CASE(store_open__directory_without_room_for_a_journal__is_read_only),
        CASE(store_open__directory_with_the_journal__is_written),
        CASE(store_open__half_written_in_a_fixed_directory__is_undone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
