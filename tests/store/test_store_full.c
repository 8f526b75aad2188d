/* test_store_full.c: a full disk, as SQLite meets it (PRAGMA max_page_count), at every page that a change
 * needs: all of the change is done or nothing, and it may be tried again. Beside it: an index that
 * cannot be made anew, a file that cannot get smaller. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "store/store_internal.h"
#include "tests/store/open_store.h"
#include "tests/store/temp_dir.h"

#define N_MSGS 400
#define N_WORDS 3000

static int number(struct store *s, const char *sql)
{
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int n = sqlite3_column_int(stmt, 0);
    sqlite3_finalize(stmt);
    return n;
}

/* The file may grow by n pages. */
static void leave_room(struct store *s, int n)
{
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA max_page_count=%d", number(s, "PRAGMA page_count") + n);
    number(s, sql);
}

static void assert_may_try_again(struct store *s, const struct err *err)
{
    if (!store_may_retry(s))
        fail_msg("not to be tried again: %s", err->text);
    assert_true(sqlite3_get_autocommit(s->db));
    assert_non_null(strstr(err->text, "free some space"));
}

static size_t n_found(struct store *s, const char *words)
{
    struct err err = {0};
    struct chat_hits hits;
    if (!store_search(s, words, 1000, &hits, &err))
        fail_msg("%s", err.text);
    size_t n = hits.n;
    chat_hits_fini(&hits);
    return n;
}

static void add_words(struct chat *chat, int msg, int first, int n)
{
    for (int i = first; i < first + n; i++)
        buf_printf(&chat->msgs[msg].text, "w%d ", i);
}

static struct msg_row row_of(const struct chat *chat, int i)
{
    const struct chat_msg *m = &chat->msgs[i];
    return (struct msg_row){.id = m->id,
                            .parent_id = m->parent >= 0 ? chat->msgs[m->parent].id : 0,
                            .role = m->role,
                            .text = buf_text(&m->text),
                            .n_text = m->text.len,
                            .tokens = m->tokens,
                            .n_tokens = m->n_tokens,
                            .created_ms = m->created_ms};
}

static bool create(struct store *s, const struct chat *chat, int64_t *id, struct err *err)
{
    struct msg_row *rows = mem_need((size_t)chat->n_msgs * sizeof *rows);
    for (int i = 0; i < chat->n_msgs; i++)
        rows[i] = row_of(chat, i);
    bool ok = store_create(s, chat, NULL, rows, (size_t)chat->n_msgs, rows[chat->n_msgs - 1].id, id,
                           &(bool){false}, err);
    mem_free(rows);
    return ok;
}

/* One message of many words, stored. */
static struct chat *long_chat(struct store *s, int64_t *id)
{
    struct err err = {0};
    struct chat *chat = chat_new();
    chat_add(chat, -1, CHAT_ASSISTANT, NULL, 0);
    add_words(chat, 0, 0, N_WORDS);
    if (!create(s, chat, id, &err))
        fail_msg("%s", err.text);
    return chat;
}

static void assert_text(struct store *s, const struct chat *chat, size_t n_text)
{
    struct err err = {0};
    bool found;
    struct chat_key key = {.kind = CHAT_BY_UID, .uid = chat->uid};
    struct chat *back = store_load(s, &key, NULL, &found, &err);
    assert_non_null(back);
    assert_int_equal(back->msgs[0].text.len, n_text);
    assert_memory_equal(buf_text(&back->msgs[0].text), buf_text(&chat->msgs[0].text), n_text);
    chat_free(back);
}

static void store_create__full_disk__leaves_nothing(void **state)
{
    struct store *s = open_ok(temp_path(state, "chat.db"));
    struct chat *chat = chat_new();
    for (int i = 0; i < N_MSGS; i++) {
        chat_add(chat, i - 1, CHAT_USER, NULL, 0);
        add_words(chat, i, i, 3);
        chat_msg_add_tokens(&chat->msgs[i], (int32_t[]){1, 2, 3}, 3);
    }
    int n_pages = 0;
    struct err err = {0};
    int64_t id;
    for (leave_room(s, 0); !create(s, chat, &id, &err); leave_room(s, ++n_pages)) {
        assert_may_try_again(s, &err);
        assert_int_equal(number(s, "SELECT (SELECT count(*) FROM conv)+(SELECT count(*) FROM msg)"), 0);
        err = (struct err){0};
    }
    assert_true(n_pages > 10);
    assert_int_equal(number(s, "SELECT count(*) FROM seg"), N_MSGS);
    assert_int_equal(n_found(s, "w2 w3 "), 2);
    chat_free(chat);
    store_close(s);
}

static void store_put_msgs__full_disk__leaves_text_and_index_as_they_were(void **state)
{
    struct store *s = open_ok(temp_path(state, "chat.db"));
    int64_t id;
    struct chat *chat = long_chat(s, &id);
    size_t n_before = chat->msgs[0].text.len;
    add_words(chat, 0, N_WORDS, N_WORDS);
    struct msg_row row = row_of(chat, 0);
    int n_pages = 0;
    struct err err = {0};
    for (leave_room(s, 0); !store_put_msgs(s, chat->uid, &row, 1, row.id, &err); leave_room(s, ++n_pages)) {
        assert_may_try_again(s, &err);
        assert_text(s, chat, n_before);
        assert_int_equal(n_found(s, "w2999 "), 1);
        assert_int_equal(n_found(s, "w3000 "), 0);
        err = (struct err){0};
    }
    assert_true(n_pages > 10);
    assert_text(s, chat, chat->msgs[0].text.len);
    assert_int_equal(n_found(s, "w2999 w3000 w5999 "), 1);
    chat_free(chat);
    store_close(s);
}

static void store_delete__full_disk__leaves_the_chat(void **state)
{
    struct store *s = open_ok(temp_path(state, "chat.db"));
    int64_t id;
    struct chat *chat = long_chat(s, &id);
    int n_pages = 0;
    struct err err = {0};
    bool found;
    for (leave_room(s, 0); !store_delete(s, id, &found, &err); leave_room(s, ++n_pages)) {
        assert_may_try_again(s, &err);
        assert_text(s, chat, chat->msgs[0].text.len);
        assert_int_equal(n_found(s, "w2999 "), 1);
        err = (struct err){0};
    }
    assert_true(n_pages > 0);
    assert_true(found);
    assert_int_equal(n_found(s, "w2999 "), 0);
    chat_free(chat);
    store_close(s);
}

static int deny_vacuum(void *arg, int action, const char *first, const char *b, const char *c, const char *d)
{
    (void)arg, (void)b, (void)c, (void)d;
    return action == SQLITE_PRAGMA && !strcmp(first, "incremental_vacuum") ? SQLITE_DENY : SQLITE_OK;
}

/* What is committed is deleted, whatever becomes of the room it took. */
static void store_delete__no_vacuum__is_a_deletion(void **state)
{
    struct store *s = open_ok(temp_path(state, "chat.db"));
    int64_t id;
    struct chat *chat = long_chat(s, &id);
    struct err err = {0};
    bool found;
    sqlite3_set_authorizer(s->db, deny_vacuum, NULL);
    assert_true(store_delete(s, id, &found, &err));
    assert_true(found);
    assert_int_equal(err.code, ERR_NONE);
    assert_true(number(s, "PRAGMA freelist_count") > 0);
    sqlite3_set_authorizer(s->db, NULL, NULL);
    assert_true(store_delete(s, id, &found, &err));
    assert_int_equal(number(s, "PRAGMA freelist_count"), 0);
    chat_free(chat);
    store_close(s);
}

static void damage_index(const char *path, const char *damage)
{
    sqlite3 *other;
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, damage, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
}

/* A damaged index, and a message that is too long for making it anew: the text is saved, and the index keeps
 * the words it had. */
static void save_without_index(void **state, const char *name, const char *damage, int n_indexed)
{
    const char *path = temp_path(state, name);
    struct store *s = open_ok(path);
    int64_t id;
    struct chat *chat = long_chat(s, &id);
    struct err err = {0};
    chat_add(chat, 0, CHAT_USER, "short", 5);
    struct msg_row row = row_of(chat, 1);
    assert_true(store_put_msgs(s, chat->uid, &row, 1, row.id, &err));
    damage_index(path, damage);
    int limit = sqlite3_limit(s->db, SQLITE_LIMIT_LENGTH, 10000);
    row.text = "shorter";
    row.n_text = strlen(row.text);
    if (!store_put_msgs(s, chat->uid, &row, 1, row.id, &err))
        fail_msg("%s", err.text);
    assert_true(s->index_is_broken);
    sqlite3_limit(s->db, SQLITE_LIMIT_LENGTH, limit);
    assert_int_equal(number(s, "SELECT count(*) FROM msg WHERE text='shorter'"), 1);
    assert_int_equal(number(s, "SELECT count(*) FROM msg_fts_docsize"), n_indexed);
    chat_free(chat);
    store_close(s);
}

static void store_put_msgs__index_that_cannot_be_made_anew__is_done_without(void **state)
{
    save_without_index(state, "a.db", "UPDATE msg_fts_data SET block=x'ffffffffffffffff' WHERE id=10", 2);
    save_without_index(state, "b.db", "UPDATE msg_fts_data SET block=x'' WHERE id=1", 2);
}

/* Damage for which SQLite undoes the transaction: of a message that grows, of a new one, of a deletion. */
static void store_put_msgs__damaged_index__is_made_anew(void **state)
{
    const char *path = temp_path(state, "chat.db");
    struct store *s = open_ok(path);
    int64_t id;
    struct chat *chat = long_chat(s, &id);
    struct err err = {0};
    bool found;
    store_close(s);
    for (int round = 0; round < 3; round++) {
        s = open_ok(path);
        assert_int_equal(n_found(s, "w2999 "), 1);
        damage_index(path, "UPDATE msg_fts_data SET block=x'ffffffffffffffff' WHERE id=10");
        if (round == 1)
            chat_add(chat, 0, CHAT_USER, NULL, 0);
        add_words(chat, round == 1, N_WORDS, 1);
        struct msg_row row = row_of(chat, round == 1);
        bool ok = round == 2 ? store_delete(s, id, &found, &err)
                             : store_put_msgs(s, chat->uid, &row, 1, row.id, &err);
        if (!ok)
            fail_msg("%s", err.text);
        assert_false(s->index_is_broken);
        assert_int_equal(n_found(s, "w3000 "), round == 2 ? 0 : round + 1);
        store_close(s);
    }
    assert_true(found);
    chat_free(chat);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, temp_dir_setup, temp_dir_teardown)
    const struct CMUnitTest tests[] = {
        CASE(store_create__full_disk__leaves_nothing),
        CASE(store_put_msgs__full_disk__leaves_text_and_index_as_they_were),
        CASE(store_delete__full_disk__leaves_the_chat),
        CASE(store_put_msgs__index_that_cannot_be_made_anew__is_done_without),
        CASE(store_put_msgs__damaged_index__is_made_anew),
        CASE(store_delete__no_vacuum__is_a_deletion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
