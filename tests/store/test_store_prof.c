/* Profiles in chat.db: kept with their answers and gone with them, and never in the way of a text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <poll.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/base/mem.h"
#include "store/chat_db.h"
#include "store/store_internal.h"
#include "tests/store/temp_dir.h"

#define PATIENCE_MS 30000

static struct store *open_ok(const char *path, enum store_mode mode)
{
    struct err err = {0};
    struct store *s = store_open(path, mode, &err);
    if (!s)
        fail_msg("%s", err.text);
    return s;
}

/* Of a turn of n decoded tokens. */
static struct kept_prof *profile_of(uint64_t n)
{
    struct kept_prof *kept = mem_need(sizeof *kept);
    *kept = (struct kept_prof){.build = mem_strdup("1.2.3 c0ffee"),
                               .model = mem_strdup("tiny F32"),
                               .backend = mem_strdup("cpu x2 avx512"),
                               .kv_type = mem_strdup("f16"),
                               .n_threads = 2,
                               .pos = 77,
                               .tokens_per_s = 12.5,
                               .prof = prof_new(&(struct prof_shape){2, 4, 2}, NULL)};
    memset(kept->fingerprint, 7, sizeof kept->fingerprint);
    kept->prof->n_tokens[PROF_DECODE] = n;
    prof_add(kept->prof, PROF_DECODE, 1, PROF_DOWN, 5000, 99);
    prof_pairs(kept->prof, PROF_DECODE, 1)[3] = n;
    return kept;
}

static void assert_profile(const struct kept_prof *kept, uint64_t n)
{
    assert_non_null(kept);
    assert_string_equal(kept->build, "1.2.3 c0ffee");
    assert_string_equal(kept->model, "tiny F32");
    assert_string_equal(kept->backend, "cpu x2 avx512");
    assert_string_equal(kept->kv_type, "f16");
    assert_int_equal(kept->fingerprint[31], 7);
    assert_int_equal(kept->n_threads, 2);
    assert_int_equal(kept->pos, 77);
    assert_true(kept->tokens_per_s == 12.5);
    assert_int_equal(kept->prof->n_tokens[PROF_DECODE], n);
    assert_int_equal(prof_at(kept->prof, PROF_DECODE, 1, PROF_DOWN)->ns, 5000);
    assert_int_equal(prof_pairs(kept->prof, PROF_DECODE, 1)[3], n);
}

static struct kept_prof *get(struct store *s, int64_t msg)
{
    struct err err = {0};
    struct kept_prof *kept;
    if (!store_get_prof(s, msg, &kept, &err))
        fail_msg("%s", err.text);
    return kept;
}

static void assert_kept(struct store *s, int64_t msg, uint64_t n)
{
    struct kept_prof *kept = get(s, msg);
    assert_profile(kept, n);
    kept_prof_free(kept);
}

/* A question and two answers to it. */
static struct chat *two_answers(void)
{
    struct chat *chat = chat_new();
    int user = chat_add(chat, -1, CHAT_USER, "question", 8);
    chat_add(chat, user, CHAT_ASSISTANT, "first answer", 12);
    chat_add(chat, user, CHAT_ASSISTANT, "second answer", 13);
    return chat;
}

static bool put(struct store *s, const struct chat *chat, int i, const struct kept_prof *kept,
                struct err *err)
{
    const struct chat_msg *m = &chat->msgs[i];
    const struct msg_row row = {.id = m->id,
                                .parent_id = m->parent >= 0 ? chat->msgs[m->parent].id : 0,
                                .role = m->role,
                                .text = buf_text(&m->text),
                                .n_text = m->text.len,
                                .created_ms = m->created_ms,
                                .prof_of = m->copied_from,
                                .prof = kept};
    return store_put_msgs(s, chat->uid, &row, 1, row.id, err);
}

/* All of the chat; answer i has a profile of i tokens. */
static int64_t save(struct store *s, const struct chat *chat)
{
    struct err err = {0};
    int64_t id = 0;
    bool ok = store_create(s, chat, NULL, NULL, 0, STORE_HEAD_NONE, &id, &(bool){false}, &err);
    for (int i = 0; i < chat->n_msgs && ok; i++) {
        struct kept_prof *kept = i && !chat->msgs[i].copied_from ? profile_of((uint64_t)i) : NULL;
        ok = put(s, chat, i, kept, &err);
        kept_prof_free(kept);
    }
    if (!ok)
        fail_msg("%s", err.text);
    return id;
}

static void assert_texts(struct store *s, const struct chat *chat)
{
    struct err err = {0};
    bool found;
    struct chat_key key = {.kind = CHAT_BY_UID, .uid = chat->uid};
    struct chat *back = store_load(s, &key, NULL, &found, &err);
    if (!back)
        fail_msg("%s", err.text);
    assert_int_equal(back->n_msgs, chat->n_msgs);
    for (int i = 0; i < chat->n_msgs; i++)
        assert_string_equal(buf_text(&back->msgs[i].text), buf_text(&chat->msgs[i].text));
    chat_free(back);
}

static void run_sql(const char *path, const char *sql)
{
    sqlite3 *db;
    char *why = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK)
        fail_msg("%s: %s", sql, why);
    sqlite3_close(db);
}

static int64_t number_of(const char *path, const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return n;
}

static void store_prof__get__returns_what_was_put(void **state)
{
    const char *path = temp_path(state, "chat.db");
    struct store *s = open_ok(path, STORE_READ_WRITE);
    struct chat *chat = two_answers();
    save(s, chat);
    assert_null(get(s, chat->msgs[0].id));
    assert_null(get(s, 4711));
    assert_kept(s, chat->msgs[1].id, 1);
    assert_kept(s, chat->msgs[2].id, 2);
    store_close(s);
    s = open_ok(path, STORE_READ_ONLY);
    assert_kept(s, chat->msgs[2].id, 2);
    store_close(s);
    chat_free(chat);
}

/* A message that is saved once more without a profile has the old one; with one, the new one. */
static void store_prof__put__again(void **state)
{
    struct store *s = open_ok(temp_path(state, "chat.db"), STORE_READ_WRITE);
    struct chat *chat = two_answers();
    save(s, chat);
    buf_puts(&chat->msgs[1].text, ", longer");
    assert_true(put(s, chat, 1, NULL, NULL));
    assert_kept(s, chat->msgs[1].id, 1);
    struct kept_prof *kept = profile_of(9);
    assert_true(put(s, chat, 1, kept, NULL));
    kept_prof_free(kept);
    assert_kept(s, chat->msgs[1].id, 9);
    assert_texts(s, chat);
    store_close(s);
    chat_free(chat);
}

static void store_prof__delete__takes_it_along(void **state)
{
    const char *path = temp_path(state, "chat.db");
    struct store *s = open_ok(path, STORE_READ_WRITE);
    struct chat *gone = two_answers(), *stays = two_answers();
    int64_t id = save(s, gone);
    save(s, stays);
    bool found;
    assert_true(store_delete(s, id, &found, NULL));
    assert_null(get(s, gone->msgs[1].id));
    assert_kept(s, stays->msgs[1].id, 1);
    store_close(s);
    assert_int_equal(number_of(path, "SELECT count(*) FROM prof"), 2);
    chat_free(gone);
    chat_free(stays);
}

/* A fork has the profiles of its answers, and keeps them when the first chat is deleted. */
static void store_prof__copy__stays_with_the_copy(void **state)
{
    struct store *s = open_ok(temp_path(state, "chat.db"), STORE_READ_WRITE);
    struct chat *chat = two_answers(), *fork = two_answers();
    int64_t id = save(s, chat);
    for (int i = 0; i < fork->n_msgs; i++)
        fork->msgs[i].copied_from = chat->msgs[i].id;
    save(s, fork);
    bool found;
    assert_true(store_delete(s, id, &found, NULL));
    assert_kept(s, fork->msgs[1].id, 1);
    assert_kept(s, fork->msgs[2].id, 2);
    assert_null(get(s, fork->msgs[0].id));
    assert_true(put(s, fork, 1, NULL, NULL)); /* what it is a copy of is not there any more */
    assert_kept(s, fork->msgs[1].id, 1);
    store_close(s);
    chat_free(chat);
    chat_free(fork);
}

/* ---- an older file ---- */

static void store_prof__open__an_older_file_has_none_and_gets_room(void **state)
{
    char *path = mem_strdup(temp_path(state, "chat.db"));
    struct store *s = open_ok(path, STORE_READ_WRITE);
    struct chat *chat = two_answers();
    save(s, chat);
    store_close(s);
    run_sql(path, "DROP TABLE prof; PRAGMA user_version=2");

    s = open_ok(path, STORE_READ_ONLY);
    assert_null(get(s, chat->msgs[1].id));
    assert_texts(s, chat);
    store_close(s);
    struct stat st;
    assert_int_not_equal(stat(temp_path(state, "chat.db.old"), &st), 0);

    s = open_ok(path, STORE_READ_WRITE);
    assert_int_equal(stat(temp_path(state, "chat.db.old"), &st), 0);
    assert_int_equal(number_of(temp_path(state, "chat.db.old"), "PRAGMA user_version"), 2);
    assert_null(get(s, chat->msgs[1].id));
    assert_texts(s, chat);
    struct kept_prof *kept = profile_of(5);
    assert_true(put(s, chat, 2, kept, NULL));
    kept_prof_free(kept);
    assert_kept(s, chat->msgs[2].id, 5);
    store_close(s);
    chat_free(chat);
    mem_free(path);
}

/* ---- the text goes first ---- */

/* Puts the first answer, longer, with a profile that cannot be stored. */
static void put_without(struct store *s, struct chat *chat, struct kept_prof *kept)
{
    struct err err = {0};
    buf_puts(&chat->msgs[1].text, ", longer");
    if (!put(s, chat, 1, kept, &err))
        fail_msg("%s", err.text);
    kept_prof_free(kept);
    assert_texts(s, chat);
}

static void store_prof__put__a_missing_table_costs_no_text(void **state)
{
    const char *path = temp_path(state, "chat.db");
    struct store *s = open_ok(path, STORE_READ_WRITE);
    struct chat *chat = two_answers();
    save(s, chat);
    run_sql(path, "DROP TABLE prof");
    put_without(s, chat, profile_of(3));
    store_close(s);
    chat_free(chat);
}

static void store_prof__put__a_full_disk_costs_no_text(void **state)
{
    struct store *s = open_ok(temp_path(state, "chat.db"), STORE_READ_WRITE);
    struct chat *chat = two_answers();
    save(s, chat);
    struct kept_prof *kept = profile_of(3);
    prof_free(kept->prof);
    kept->prof = prof_new(&(struct prof_shape){400, 128, 8}, NULL);
    for (uint32_t layer = 0; layer < 400; layer++)
        for (uint32_t e = 0; e < 128; e++)
            prof_pairs(kept->prof, PROF_DECODE, layer)[e] = 1 + layer + e;
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_prepare_v2(s->db, "PRAGMA page_count", -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    char limit[64];
    snprintf(limit, sizeof limit, "PRAGMA max_page_count=%d", sqlite3_column_int(stmt, 0) + 3);
    sqlite3_finalize(stmt);
    assert_int_equal(sqlite3_exec(s->db, limit, NULL, NULL, NULL), SQLITE_OK);
    put_without(s, chat, kept);
    assert_kept(s, chat->msgs[1].id, 1); /* the one from before */
    store_close(s);
    chat_free(chat);
}

static void store_prof__put__one_that_is_too_large_costs_no_text(void **state)
{
    struct store *s = open_ok(temp_path(state, "chat.db"), STORE_READ_WRITE);
    struct chat *chat = two_answers();
    save(s, chat);
    struct kept_prof *kept = profile_of(3);
    prof_free(kept->prof);
    kept->prof = prof_new(&(struct prof_shape){PROF_MAX_LAYERS, PROF_MAX_EXPERTS, 1}, NULL);
    for (size_t i = 0; i < (size_t)PROF_MAX_LAYERS * PROF_MAX_EXPERTS; i++)
        kept->prof->pairs[i] = 1;
    put_without(s, chat, kept);
    store_close(s);
    chat_free(chat);
}

/* A file that another program holds is no reason to give a profile up: the whole is tried again later. */
static void store_prof__put__waits_with_the_text_for_a_lock(void **state)
{
    const char *path = temp_path(state, "chat.db");
    atomic_bool hurry = true;
    struct err err = {0};
    struct store *s = store_open_until(path, STORE_READ_WRITE, &hurry, &err);
    struct chat *chat = two_answers();
    save(s, chat);
    sqlite3 *other;
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    struct kept_prof *kept = profile_of(6);
    assert_false(put(s, chat, 1, kept, &err));
    assert_true(store_may_retry(s));
    assert_non_null(strstr(err.text, "another program holds it"));
    sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL);
    /* A reader lets us write and not commit. */
    assert_int_equal(sqlite3_exec(other, "BEGIN; SELECT * FROM msg", NULL, NULL, NULL), SQLITE_OK);
    assert_false(put(s, chat, 1, kept, &err));
    assert_true(store_may_retry(s));
    sqlite3_close(other);
    assert_true(put(s, chat, 1, kept, &err));
    kept_prof_free(kept);
    assert_kept(s, chat->msgs[1].id, 6);
    store_close(s);
    chat_free(chat);
}

/* ---- rows another hand wrote ---- */

static void store_prof__get__survives_odd_rows(void **state)
{
    const char *path = temp_path(state, "chat.db");
    struct store *s = open_ok(path, STORE_READ_WRITE);
    struct chat *chat = two_answers();
    save(s, chat);
    run_sql(path,
            "UPDATE prof SET build=CAST(zeroblob(100000) AS TEXT), model=CAST(x'ff41' AS TEXT), threads=-5,"
            " pos=1<<40, tok_s=9e999");
    struct kept_prof *kept = get(s, chat->msgs[1].id);
    assert_true(strlen(kept->build) <= 4 * KEPT_PROF_MAX_TEXT);
    assert_string_equal(kept->model, "\xEF\xBF\xBD"
                                     "A");
    assert_int_equal(kept->n_threads, 0);
    assert_int_equal(kept->pos, UINT32_MAX);
    assert_true(kept->tokens_per_s == 0);
    kept_prof_free(kept);
    static const char *const damaged[] = {
        "x''", "x'00'", "x'02'", "x'0102'", "zeroblob(3000000)", "packed || x'00'"};
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        char sql[80];
        struct err err = {0};
        snprintf(sql, sizeof sql, "UPDATE prof SET packed=CAST(%s AS BLOB)", damaged[i]);
        run_sql(path, sql);
        assert_false(store_get_prof(s, chat->msgs[1].id, &kept, &err));
        assert_null(kept);
        assert_int_equal(err.code, ERR_DATABASE);
        assert_non_null(strstr(err.text, "profile kept with this answer"));
    }
    assert_texts(s, chat);
    store_close(s);
    chat_free(chat);
}

/* ---- the chat-db thread ---- */

static struct chat_db *open_db(const char *path)
{
    struct err err = {0};
    struct chat_db *db = chat_db_open(path, &err);
    if (!db || chat_db_wait_open(db, PATIENCE_MS, &err) != CHAT_DB_OPEN)
        fail_msg("%s", err.text);
    return db;
}

static void wait_prof(struct chat_db *db, struct chat_db_event *event)
{
    for (;;) {
        if (chat_db_next_event(db, event)) {
            if (event->type == CHAT_DB_PROF)
                return;
            chat_db_event_fini(event);
            continue;
        }
        struct pollfd p = {.fd = chat_db_event_fd(db), .events = POLLIN};
        assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    }
}

/* Asked for behind the answer it belongs to, it is there; what has none, or a damaged one, is answered too.
 */
static void chat_db__get_prof__is_answered_in_order(void **state)
{
    const char *path = temp_path(state, "chat.db");
    struct chat_db *db = open_db(path);
    struct chat *chat = two_answers();
    struct chat_db_event event;
    chat_db_create(db, chat, NULL);
    chat_db_put(db, chat, 0, NULL);
    chat_db_put_answer(db, chat, 2, NULL, profile_of(8));
    chat_db_get_prof(db, chat->msgs[2].id);
    chat_db_get_prof(db, chat->msgs[1].id);
    wait_prof(db, &event);
    assert_int_equal(event.id, chat->msgs[2].id);
    assert_int_equal(event.error.code, ERR_NONE);
    assert_profile(event.kept, 8);
    chat_db_event_fini(&event);
    wait_prof(db, &event);
    assert_int_equal(event.id, chat->msgs[1].id);
    assert_null(event.kept);
    assert_int_equal(event.error.code, ERR_NONE);
    chat_db_event_fini(&event);
    run_sql(path, "UPDATE prof SET packed=x'01'");
    chat_db_get_prof(db, chat->msgs[2].id);
    wait_prof(db, &event);
    assert_null(event.kept);
    assert_int_equal(event.error.code, ERR_DATABASE);
    chat_db_event_fini(&event);
    assert_true(chat_db_close(db, PATIENCE_MS, NULL));
    chat_free(chat);
}

/* While the file is locked, what is put later takes the place of what waits: the profile goes along. */
static void chat_db__put_answer__keeps_the_profile_of_what_it_replaces(void **state)
{
    const char *path = temp_path(state, "chat.db");
    struct chat_db *db = open_db(path);
    struct chat *chat = two_answers();
    chat_db_create(db, chat, NULL);
    chat_db_put(db, chat, 0, NULL);
    assert_true(chat_db_flush(db, PATIENCE_MS, NULL));
    sqlite3 *other;
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    chat_db_set_head(db, chat); /* this one runs, and waits for the lock */
    for (int i = 0; i < 3; i++) {
        buf_puts(&chat->msgs[2].text, ", longer");
        if (i == 1)
            chat_db_put_answer(db, chat, 2, NULL, profile_of(4));
        else
            chat_db_put_one(db, chat, 2, NULL);
    }
    sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_close(other);
    assert_true(chat_db_close(db, PATIENCE_MS, NULL));
    struct store *s = open_ok(path, STORE_READ_ONLY);
    assert_kept(s, chat->msgs[2].id, 4);
    assert_texts(s, chat);
    store_close(s);
    chat_free(chat);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, temp_dir_setup, temp_dir_teardown)
    const struct CMUnitTest tests[] = {
        CASE(store_prof__get__returns_what_was_put),
        CASE(store_prof__put__again),
        CASE(store_prof__delete__takes_it_along),
        CASE(store_prof__copy__stays_with_the_copy),
        CASE(store_prof__open__an_older_file_has_none_and_gets_room),
        CASE(store_prof__put__a_missing_table_costs_no_text),
        CASE(store_prof__put__a_full_disk_costs_no_text),
        CASE(store_prof__put__one_that_is_too_large_costs_no_text),
        CASE(store_prof__put__waits_with_the_text_for_a_lock),
        CASE(store_prof__get__survives_odd_rows),
        CASE(chat_db__get_prof__is_answered_in_order),
        CASE(chat_db__put_answer__keeps_the_profile_of_what_it_replaces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
