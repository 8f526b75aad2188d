/* test_store.c: chat.db: what is written comes back, and every kind of bad file is a sentence, never a loss.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "store/store.h"
#include "tests/store/open_store.h"
#include "tests/store/temp_dir.h"

static struct msg_row row_of(const struct chat *chat, int i)
{
    const struct chat_msg *m = &chat->msgs[i];
    return (struct msg_row){.id = m->id,
                            .parent_id = m->parent >= 0 ? chat->msgs[m->parent].id : 0,
                            .role = m->role,
                            .status = m->status,
                            .text = buf_text(&m->text),
                            .n_text = m->text.len,
                            .think = buf_text(&m->think),
                            .n_think = m->think.len,
                            .tokens = m->tokens,
                            .n_tokens = m->n_tokens,
                            .created_ms = m->created_ms,
                            .params = m->params,
                            .stats = m->stats};
}

static int64_t save(struct store *s, const struct chat *chat)
{
    struct err err = {0};
    int64_t id = 0;
    if (!store_create(s, chat, NULL, NULL, 0, STORE_HEAD_NONE, &id, &(bool){false}, &err))
        fail_msg("%s", err.text);
    for (int i = 0; i < chat->n_msgs; i++) {
        struct msg_row row = row_of(chat, i);
        if (!store_put_msgs(s, chat->uid, &row, 1, row.id, &err))
            fail_msg("%s", err.text);
    }
    return id;
}

static struct chat *sample_chat(void)
{
    struct chat *chat = chat_new();
    mem_free(chat->title);
    chat->title = mem_strdup("Größe 漢字");
    int user = chat_add(chat, -1, CHAT_USER, "hello\0there 👩", 16);
    chat_msg_add_tokens(&chat->msgs[user], (int32_t[]){1, 151644, 0, -5}, 4);
    int first = chat_add(chat, user, CHAT_ASSISTANT, "one", 3);
    chat->msgs[first].params = mem_strdup("{\"temp\":0.8}");
    int second = chat_add(chat, user, CHAT_ASSISTANT, "two", 3);
    buf_puts(&chat->msgs[second].think, "hm");
    return chat;
}

static struct chat *load(struct store *s, struct chat_key key, struct chat_info *info)
{
    struct err err = {0};
    bool found;
    struct chat *chat = store_load(s, &key, info, &found, &err);
    if (err.code)
        fail_msg("%s", err.text);
    assert_int_equal(found, chat != NULL);
    return chat;
}

static void store__load__returns_what_was_put(void **state)
{
    struct store *s = open_ok(temp_path(state, "a/b/chat.db"));
    struct chat *chat = sample_chat();
    int64_t id = save(s, chat);
    struct chat_info info = {0};
    struct chat *back = load(s, (struct chat_key){.kind = CHAT_BY_ID, .id = id}, &info);
    assert_non_null(back);
    assert_string_equal(info.title, chat->title);
    assert_int_equal(info.n_msgs, 3);
    assert_int_equal(back->n_msgs, 3);
    assert_int_equal(back->head, 2);
    for (int i = 0; i < 3; i++) {
        const struct chat_msg *a = &chat->msgs[i], *b = &back->msgs[i];
        assert_int_equal(a->id, b->id);
        assert_int_equal(a->parent, b->parent);
        assert_int_equal(a->role, b->role);
        assert_int_equal(a->text.len, b->text.len);
        assert_memory_equal(a->text.data, b->text.data, a->text.len);
        assert_string_equal(buf_text(&a->think), buf_text(&b->think));
        assert_int_equal(a->n_tokens, b->n_tokens);
        if (a->n_tokens)
            assert_memory_equal(a->tokens, b->tokens, a->n_tokens * sizeof *a->tokens);
    }
    assert_string_equal(back->msgs[1].params, "{\"temp\":0.8}");
    chat_info_fini(&info);
    chat_free(back);
    chat_free(chat);
    store_close(s);
}

static void store__load__finds_by_name_uid_and_latest(void **state)
{
    struct store *s = open_ok(temp_path(state, "chat.db"));
    struct chat *one = sample_chat(), *two = sample_chat();
    one->name = mem_strdup("work");
    save(s, one);
    save(s, two);
    struct chat *got = load(s, (struct chat_key){.kind = CHAT_BY_NAME, .name = "work"}, NULL);
    assert_memory_equal(got->uid, one->uid, CHAT_UID_BYTES);
    chat_free(got);
    got = load(s, (struct chat_key){.kind = CHAT_BY_UID, .uid = one->uid}, NULL);
    assert_memory_equal(got->uid, one->uid, CHAT_UID_BYTES);
    chat_free(got);
    got = load(s, (struct chat_key){.kind = CHAT_LATEST}, NULL);
    assert_memory_equal(got->uid, two->uid, CHAT_UID_BYTES);
    chat_free(got);
    assert_null(load(s, (struct chat_key){.kind = CHAT_BY_NAME, .name = "nobody"}, NULL));
    assert_null(load(s, (struct chat_key){.kind = CHAT_BY_ID, .id = 99}, NULL));

    struct err err = {0};
    assert_true(store_put_msgs(s, one->uid, NULL, 0, one->msgs[1].id, &err));
    struct chat_list list;
    assert_true(store_list(s, &list, &err));
    assert_int_equal(list.n, 2);
    assert_memory_equal(list.items[0].uid, one->uid, CHAT_UID_BYTES);
    chat_list_fini(&list);
    got = load(s, (struct chat_key){.kind = CHAT_LATEST}, NULL);
    assert_int_equal(got->head, 1);
    chat_free(got);
    chat_free(one);
    chat_free(two);
    store_close(s);
}

static void store__put__updates_a_streaming_message(void **state)
{
    struct store *s = open_ok(temp_path(state, "chat.db"));
    struct chat *chat = sample_chat();
    save(s, chat);
    struct err err = {0};
    struct msg_row row = row_of(chat, 2);
    row.text = "two and more";
    row.n_text = strlen(row.text);
    row.status = CHAT_STREAMING;
    assert_true(store_put_msgs(s, chat->uid, &row, 1, row.id, &err));
    struct chat *back = load(s, (struct chat_key){.kind = CHAT_LATEST}, NULL);
    assert_string_equal(buf_text(&back->msgs[2].text), "two and more");
    /* Nobody streams any more when it is read from disk. */
    assert_int_equal(back->msgs[2].status, CHAT_INTERRUPTED);
    chat_free(back);
    chat_free(chat);
    store_close(s);
}

static void store__put__never_takes_an_id_of_another_chat(void **state)
{
    struct store *s = open_ok(temp_path(state, "chat.db"));
    struct chat *one = sample_chat(), *two = sample_chat();
    save(s, one);
    save(s, two);
    struct msg_row row = row_of(two, 0);
    row.id = one->msgs[0].id;
    struct err err = {0};
    assert_false(store_put_msgs(s, two->uid, &row, 1, 0, &err));
    assert_int_equal(err.code, ERR_DATABASE);
    chat_free(one);
    chat_free(two);
    store_close(s);
}

static bool file_contains(const char *path, const char *needle)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    static char all[1 << 20];
    size_t n = fread(all, 1, sizeof all, f);
    fclose(f);
    return memmem(all, n, needle, strlen(needle)) != NULL;
}

static void store__delete__leaves_no_text_in_the_file(void **state)
{
    const char *path = temp_path(state, "chat.db");
    struct store *s = open_ok(path);
    struct chat *chat = chat_new();
    chat_add(chat, -1, CHAT_USER, "xyzzy-secret-text", 17);
    int64_t id = save(s, chat);
    struct err err = {0};
    assert_true(store_put_draft(s, chat->uid, "plugh-secret-draft", 3, &err));
    assert_true(file_contains(path, "xyzzy-secret-text"));
    assert_true(file_contains(path, "plugh-secret-draft"));
    bool found;
    assert_true(store_delete(s, id, &found, &err));
    assert_true(found);
    assert_true(store_delete(s, id, &found, &err));
    assert_false(found);
    store_close(s);
    assert_false(file_contains(path, "xyzzy")); /* the index has words one by one */
    assert_false(file_contains(path, "plugh"));
    chat_free(chat);
}

/* ---- the index of words ---- */

static size_t n_found(struct store *s, const char *words)
{
    struct err err = {0};
    struct chat_hits hits;
    if (!store_search(s, words, 100, &hits, &err))
        fail_msg("%s", err.text);
    size_t n = hits.n;
    chat_hits_fini(&hits);
    return n;
}

static void put(struct store *s, const struct chat *chat, int i)
{
    struct err err = {0};
    struct msg_row row = row_of(chat, i);
    if (!store_put_msgs(s, chat->uid, &row, 1, row.id, &err))
        fail_msg("%s", err.text);
}

static void say(struct chat *chat, int i, const char *text, enum chat_status status)
{
    chat->msgs[i].text.len = 0;
    buf_append(&chat->msgs[i].text, text, strlen(text));
    chat->msgs[i].status = status;
}

static void store__search__follows_every_change(void **state)
{
    struct store *s = open_ok(temp_path(state, "chat.db"));
    struct chat *chat = chat_new();
    chat_add(chat, -1, CHAT_USER, "Wie heißt der Fluß in Köln?", 30);
    chat_add(chat, 0, CHAT_ASSISTANT, "", 0);
    int64_t id = save(s, chat);
    assert_int_equal(n_found(s, "koln fluß"), 1);
    assert_int_equal(n_found(s, "kol"), 1);
    assert_int_equal(n_found(s, "koln rhine"), 0);
    say(chat, 1, "The Rh", CHAT_STREAMING);
    put(s, chat, 1);
    assert_int_equal(n_found(s, "rh"), 0); /* not before it is done */
    say(chat, 1, "The Rhi", CHAT_INTERRUPTED);
    put(s, chat, 1);
    put(s, chat, 1);
    assert_int_equal(n_found(s, "rhi "), 1);
    say(chat, 1, "The Rhine and the Seine", CHAT_DONE);
    put(s, chat, 1);
    assert_int_equal(n_found(s, "rhi "), 0);
    assert_int_equal(n_found(s, "seine"), 1);
    struct err err = {0};
    bool found;
    assert_true(store_delete(s, id, &found, &err));
    assert_int_equal(n_found(s, "seine"), 0);
    store_close(s);
    chat_free(chat);
}

static void store__search__takes_any_words(void **state)
{
    struct store *s = open_ok(temp_path(state, "chat.db"));
    struct chat *chat = chat_new();
    chat_add(chat, -1, CHAT_USER, "say \"hello\" to AND NOT * (x) NEAR", 34);
    int64_t id = save(s, chat);
    const char *queries[] = {"\"hello\"", "AND NOT", "* (x)", "NEAR",        "\"",
                             "a\"b OR",   "text:x",  "^",     "say\n\thello"};
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++)
        n_found(s, queries[i]); /* whatever it finds, it is no syntax error */
    assert_int_equal(n_found(s, "say\n\thello"), 1);
    assert_int_equal(n_found(s, "NEAR not"), 1);
    assert_int_equal(n_found(s, ""), 0);
    assert_int_equal(n_found(s, "  "), 0);
    struct err err = {0};
    struct chat_hits hits;
    assert_true(store_search(s, "hello", 100, &hits, &err));
    assert_int_equal(hits.n, 1);
    assert_int_equal(hits.items[0].chat_id, id);
    assert_int_equal(hits.items[0].msg_id, chat->msgs[0].id);
    assert_non_null(strstr(hits.items[0].snippet, "hello"));
    chat_hits_fini(&hits);
    store_close(s);
    chat_free(chat);
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

static void damage_index_and_write(void **state, const char *sql, bool repairable)
{
    const char *path = temp_path(state, "chat.db");
    struct store *s = open_ok(path);
    struct chat *chat = chat_new();
    struct err err = {0};
    chat_add(chat, -1, CHAT_USER, "first word", 10);
    int64_t id = save(s, chat);
    store_close(s);
    run_sql(path, sql);
    s = open_ok(path);
    say(chat, 0, "first words and others", CHAT_DONE);
    put(s, chat, 0);
    const struct chat_key key = {.kind = CHAT_LATEST};
    bool found;
    struct chat *back = store_load(s, &key, NULL, &found, &err);
    assert_string_equal(buf_text(&back->msgs[0].text), "first words and others");
    chat_free(back);
    if (repairable) {
        assert_int_equal(n_found(s, "others"), 1);
        assert_int_equal(n_found(s, "word "), 0);
    } else {
        struct chat_hits hits;
        assert_false(store_search(s, "other", 10, &hits, &err));
    }
    assert_true(store_delete(s, id, &found, &err));
    assert_true(found);
    store_close(s);
    chat_free(chat);
}

static void store__put__repairs_a_damaged_index(void **state)
{
    damage_index_and_write(state, "UPDATE msg_fts_data SET block=x'ffffffffffffffff' WHERE id>10", true);
}

static void store__put__does_without_a_broken_index(void **state)
{
    damage_index_and_write(state, "UPDATE msg_fts_data SET block=x'ffffffffffffffff'", false);
}

/* ---- an older file ---- */

static void make_v1(const char *path, struct chat *chat)
{
    chat_add(chat, -1, CHAT_USER, "an old question", 15);
    struct store *s = open_ok(path);
    save(s, chat);
    store_close(s);
    run_sql(path, "DROP TABLE msg_fts; DROP TABLE forgotten; DROP TABLE prof; PRAGMA user_version=1");
}

static void store__open__brings_an_older_file_up_to_date(void **state)
{
    char *path = mem_strdup(temp_path(state, "chat.db"));
    struct chat *chat = chat_new();
    struct err err = {0};
    struct stat st;
    make_v1(path, chat);

    struct store *s = store_open(path, STORE_READ_ONLY, &err);
    assert_non_null(s);
    struct chat_list list;
    assert_true(store_list(s, &list, &err));
    assert_int_equal(list.n, 1);
    int64_t id = list.items[0].id;
    chat_list_fini(&list);
    store_close(s);

    s = open_ok(path);
    assert_int_equal(n_found(s, "question"), 1);
    assert_int_equal(stat(temp_path(state, "chat.db.old"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_true(file_contains(temp_path(state, "chat.db.old"), "an old question"));
    bool found;
    assert_true(store_delete(s, id, &found, &err)); /* the copy must not keep what is deleted */
    assert_int_not_equal(stat(temp_path(state, "chat.db.old"), &st), 0);
    store_close(s);
    chat_free(chat);
    mem_free(path);
}

static void store__open__without_a_copy_an_older_file_stays(void **state)
{
    char *path = mem_strdup(temp_path(state, "chat.db"));
    struct chat *chat = chat_new();
    struct err err = {0};
    make_v1(path, chat);
    assert_int_equal(mkdir(temp_path(state, "chat.db.old"), 0700), 0); /* stands in the way */
    assert_null(store_open(path, STORE_READ_WRITE, &err));
    assert_non_null(strstr(err.text, "nothing was changed"));
    assert_int_equal(rmdir(temp_path(state, "chat.db.old")), 0);
    struct store *s = open_ok(path);
    assert_int_equal(n_found(s, "question"), 1);
    store_close(s);
    chat_free(chat);
    mem_free(path);
}

static void store__create__a_taken_name_is_not_taken_again(void **state)
{
    struct store *s = open_ok(temp_path(state, "chat.db"));
    struct err err = {0};
    for (int i = 0; i < 2; i++) {
        struct chat *chat = sample_chat();
        chat->name = mem_strdup("work");
        int64_t id;
        bool taken = i == 0;
        assert_true(store_create(s, chat, NULL, NULL, 0, STORE_HEAD_NONE, &id, &taken, &err));
        assert_int_equal(taken, i == 1);
        struct chat_info info;
        struct chat *back = load(s, (struct chat_key){.kind = CHAT_BY_ID, .id = id}, &info);
        assert_int_equal(info.name == NULL, i == 1);
        chat_info_fini(&info);
        chat_free(back);
        chat_free(chat);
    }
    store_close(s);
}

static void store__set_model__forgets_the_old_ids(void **state)
{
    struct store *s = open_ok(temp_path(state, "chat.db"));
    struct chat *chat = sample_chat(), *other = sample_chat();
    save(s, chat);
    save(s, other);
    struct store_model model = {.fingerprint = {7}, .name = "new", .path = "/m.gguf"};
    struct err err = {0};
    assert_true(store_set_model(s, chat->uid, &model, &err));
    struct chat_info info;
    struct chat *back = load(s, (struct chat_key){.kind = CHAT_BY_UID, .uid = chat->uid}, &info);
    assert_string_equal(info.model_name, "new");
    assert_int_equal(back->msgs[0].n_tokens, 0);
    assert_int_equal(back->msgs[0].text.len, 16);
    chat_free(back);
    chat_info_fini(&info);
    back = load(s, (struct chat_key){.kind = CHAT_BY_UID, .uid = other->uid}, NULL);
    assert_int_equal(back->msgs[0].n_tokens, 4);
    chat_free(back);
    chat_free(chat);
    chat_free(other);
    store_close(s);
}

static void store__put__may_show_nothing(void **state)
{
    struct store *s = open_ok(temp_path(state, "chat.db"));
    struct chat *chat = sample_chat();
    save(s, chat);
    struct err err = {0};
    assert_true(store_put_msgs(s, chat->uid, NULL, 0, STORE_HEAD_NONE, &err));
    struct chat *back = load(s, (struct chat_key){.kind = CHAT_LATEST}, NULL);
    assert_int_equal(back->n_msgs, 3);
    assert_int_equal(back->head, -1);
    chat_free(back);
    chat_free(chat);
    store_close(s);
}

static void store__put__tells_a_deleted_chat_from_a_busy_file(void **state)
{
    struct store *s = open_ok(temp_path(state, "chat.db"));
    struct chat *chat = sample_chat();
    struct err err = {0};
    assert_false(store_put_msgs(s, chat->uid, NULL, 0, 0, &err));
    assert_true(store_chat_is_gone(s));
    assert_false(store_may_retry(s));
    chat_free(chat);
    store_close(s);
}

static void store__put__without_ids_forgets_earlier_ones(void **state)
{
    struct store *s = open_ok(temp_path(state, "chat.db"));
    struct chat *chat = sample_chat();
    save(s, chat);
    struct msg_row row = row_of(chat, 0);
    row.n_tokens = 0;
    struct err err = {0};
    assert_true(store_put_msgs(s, chat->uid, &row, 1, row.id, &err));
    struct chat *back = load(s, (struct chat_key){.kind = CHAT_LATEST}, NULL);
    assert_int_equal(back->msgs[0].n_tokens, 0);
    chat_free(back);
    chat_free(chat);
    store_close(s);
}

static void store__draft__survives_with_and_without_a_chat(void **state)
{
    const char *path = temp_path(state, "chat.db");
    struct store *s = open_ok(path);
    struct chat *chat = sample_chat();
    save(s, chat);
    struct err err = {0};
    assert_true(store_put_draft(s, NULL, "to nobody", 2, &err));
    assert_true(store_put_draft(s, chat->uid, "half a tho", 10, &err));
    store_close(s);
    s = open_ok(path);
    struct buf text = {0};
    size_t cursor;
    assert_true(store_get_draft(s, NULL, &text, &cursor, &err));
    assert_string_equal(buf_text(&text), "to nobody");
    assert_int_equal(cursor, 2);
    buf_truncate(&text, 0);
    assert_true(store_get_draft(s, chat->uid, &text, &cursor, &err));
    assert_string_equal(buf_text(&text), "half a tho");
    assert_true(store_put_draft(s, chat->uid, "", 0, &err));
    buf_truncate(&text, 0);
    assert_true(store_get_draft(s, chat->uid, &text, &cursor, &err));
    assert_int_equal(text.len, 0);
    buf_fini(&text);
    chat_free(chat);
    store_close(s);
}

static void write_file(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fwrite(bytes, 1, n, f);
    fclose(f);
}

static void assert_refused(const char *path, const char *expected)
{
    struct err err = {0};
    struct store *s = store_open(path, STORE_READ_WRITE, &err);
    assert_null(s);
    assert_int_equal(err.code, ERR_DATABASE);
    if (!strstr(err.text, expected))
        fail_msg("expected \"%s\" in: %s", expected, err.text);
}

static void store__open__names_what_is_wrong_with_the_file(void **state)
{
    const char *path = temp_path(state, "chat.db");
    mkdir(path, 0700);
    assert_refused(path, "not a regular file");
    rmdir(path);

    char junk[5000];
    memset(junk, 'j', sizeof junk);
    write_file(path, junk, sizeof junk);
    assert_refused(path, "damaged");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, sizeof junk); /* never overwritten */
    unlink(path);

    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE t(a); PRAGMA application_id=7", NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    assert_refused(path, "another program");
    unlink(path);

    store_close(open_ok(path));
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version=99", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_refused(path, "another version");
    /* A newer file may still be read. */
    struct err err = {0};
    struct store *s = store_open(path, STORE_READ_ONLY, &err);
    assert_non_null(s);
    store_close(s);
}

static void store__open__reading_a_missing_file_creates_nothing(void **state)
{
    const char *path = temp_path(state, "chat.db");
    struct err err = {0};
    assert_null(store_open(path, STORE_READ_ONLY, &err));
    assert_int_equal(err.code, ERR_DATABASE);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void store__open__makes_private_files(void **state)
{
    const char *path = temp_path(state, "deep/er/chat.db");
    mode_t old = umask(0);
    store_close(open_ok(path));
    umask(old);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(temp_path(state, "deep"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
}

static void store__open__read_only_file_is_a_sentence(void **state)
{
    if (geteuid() == 0) {
        print_message("skipped: root may write everything\n");
        skip();
    }
    const char *path = temp_path(state, "chat.db");
    store_close(open_ok(path));
    chmod(path, 0400);
    assert_refused(path, "may be read but not written");
}

static void store__write__fails_with_a_sentence_while_locked(void **state)
{
    const char *path = temp_path(state, "chat.db");
    struct store *s = open_ok(path);
    sqlite3 *other;
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    struct chat *chat = sample_chat();
    struct err err = {0};
    int64_t id;
    assert_false(store_create(s, chat, NULL, NULL, 0, STORE_HEAD_NONE, &id, &(bool){false}, &err));
    assert_non_null(strstr(err.text, "another program holds it"));
    assert_true(store_may_retry(s));
    sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_close(other);
    err_clear(&err);
    assert_true(store_create(s, chat, NULL, NULL, 0, STORE_HEAD_NONE, &id, &(bool){false}, &err));
    chat_free(chat);
    store_close(s);
}

/* Rows another hand wrote: odd parents, roles, text and ids are made harmless; no text is lost. */
static void store__load__survives_odd_rows(void **state)
{
    const char *path = temp_path(state, "chat.db");
    struct store *s = open_ok(path);
    struct chat *chat = sample_chat();
    int64_t id = save(s, chat);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    char sql[512];
    snprintf(sql, sizeof sql,
             "UPDATE msg SET parent=id WHERE id=%lld; UPDATE msg SET parent=12345, role=77, status=-3 WHERE "
             "id=%lld;"
             "UPDATE msg SET text=CAST(x'ff41' AS TEXT) WHERE id=%lld; UPDATE seg SET tok=x'010203';"
             "UPDATE conv SET head=424242",
             (long long)chat->msgs[0].id, (long long)chat->msgs[1].id, (long long)chat->msgs[2].id);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    struct chat *back = load(s, (struct chat_key){.kind = CHAT_BY_ID, .id = id}, NULL);
    assert_int_equal(back->n_msgs, 3);
    assert_int_equal(back->msgs[0].parent, -1);
    assert_int_equal(back->msgs[1].parent, -1);
    assert_int_equal(back->msgs[1].role, CHAT_USER);
    assert_int_equal(back->msgs[1].status, CHAT_INTERRUPTED);
    assert_string_equal(buf_text(&back->msgs[2].text), "\xEF\xBF\xBD"
                                                       "A");
    assert_int_equal(back->msgs[0].n_tokens, 0);
    assert_int_equal(back->head, 2);
    chat_free(back);
    chat_free(chat);
    store_close(s);
}

/* The last time there is has no later one: what is saved beside such a row is saved all the same. */
static void store__put__behind_the_last_time_there_is(void **state)
{
    const char *path = temp_path(state, "chat.db");
    struct store *s = open_ok(path);
    struct chat *one = sample_chat(), *two = sample_chat();
    save(s, one);
    run_sql(path, "UPDATE conv SET updated=9223372036854775807");
    save(s, two);
    put(s, one, 2);
    store_close(s);
    chat_free(one);
    chat_free(two);
}

/* Flips bytes all over a real file: opening and reading answer or refuse, and never crash. */
static void store__read__flipped_bytes_never_crash(void **state)
{
    const char *path = temp_path(state, "chat.db");
    struct store *s = open_ok(path);
    struct chat *chat = sample_chat();
    save(s, chat);
    chat_free(chat);
    store_close(s);
    static unsigned char good[1 << 20];
    FILE *f = fopen(path, "rb");
    size_t n = fread(good, 1, sizeof good, f);
    fclose(f);
    for (size_t at = 0; at < n; at += 97) {
        good[at] ^= 0x5A;
        write_file(path, good, n);
        good[at] ^= 0x5A;
        struct err err = {0};
        struct store *damaged = store_open(path, STORE_READ_WRITE, &err);
        if (!damaged) {
            assert_true(err.text[0] != '\0');
            continue;
        }
        bool found;
        struct chat_key key = {.kind = CHAT_LATEST};
        chat_free(store_load(damaged, &key, NULL, &found, &err));
        store_close(damaged);
    }
}

/* A writer is killed at random moments; every turn it reported as saved must be there. */
static void store__kill__loses_no_committed_message(void **state)
{
    srand(7);
    for (int round = 0; round < 20; round++) {
        char name[32];
        snprintf(name, sizeof name, "kill%d.db", round);
        const char *path = temp_path(state, name);
        int report[2];
        assert_int_equal(pipe(report), 0);
        pid_t child = fork();
        if (child == 0) {
            struct err err = {0};
            struct store *s = store_open(path, STORE_READ_WRITE, &err);
            struct chat *chat = chat_new();
            int64_t id;
            if (!s || !store_create(s, chat, NULL, NULL, 0, STORE_HEAD_NONE, &id, &(bool){false}, &err))
                _exit(1);
            for (int i = 0; i < 1000; i++) {
                chat_add(chat, i - 1, i % 2 ? CHAT_ASSISTANT : CHAT_USER, "text of a turn", 14);
                struct msg_row row = row_of(chat, i);
                if (!store_put_msgs(s, chat->uid, &row, 1, row.id, &err))
                    _exit(1);
                if (write(report[1], &row.id, sizeof row.id) != sizeof row.id)
                    _exit(1);
            }
            _exit(0);
        }
        close(report[1]);
        int64_t last = 0, got;
        int wanted = 1 + rand() % 30, n = 0;
        while (n < wanted && read(report[0], &got, sizeof got) == sizeof got) {
            last = got;
            n++;
        }
        usleep((useconds_t)(rand() % 3000));
        kill(child, SIGKILL);
        while (read(report[0], &got, sizeof got) == sizeof got) {
            last = got;
            n++;
        }
        close(report[0]);
        waitpid(child, NULL, 0);
        struct store *s = open_ok(path);
        struct chat *back = load(s, (struct chat_key){.kind = CHAT_LATEST}, NULL);
        assert_in_range(back->n_msgs, n, n + 1);
        assert_int_equal(back->msgs[n - 1].id, last);
        chat_free(back);
        store_close(s);
    }
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, temp_dir_setup, temp_dir_teardown)
    const struct CMUnitTest tests[] = {
        CASE(store__load__returns_what_was_put),
        CASE(store__load__finds_by_name_uid_and_latest),
        CASE(store__put__updates_a_streaming_message),
        CASE(store__put__never_takes_an_id_of_another_chat),
        CASE(store__create__a_taken_name_is_not_taken_again),
        CASE(store__set_model__forgets_the_old_ids),
        CASE(store__put__may_show_nothing),
        CASE(store__put__tells_a_deleted_chat_from_a_busy_file),
        CASE(store__put__without_ids_forgets_earlier_ones),
        CASE(store__delete__leaves_no_text_in_the_file),
        CASE(store__search__follows_every_change),
        CASE(store__search__takes_any_words),
        CASE(store__put__repairs_a_damaged_index),
        CASE(store__put__does_without_a_broken_index),
        CASE(store__open__brings_an_older_file_up_to_date),
        CASE(store__open__without_a_copy_an_older_file_stays),
        CASE(store__draft__survives_with_and_without_a_chat),
        CASE(store__open__names_what_is_wrong_with_the_file),
        CASE(store__open__reading_a_missing_file_creates_nothing),
        CASE(store__open__makes_private_files),
        CASE(store__open__read_only_file_is_a_sentence),
        CASE(store__write__fails_with_a_sentence_while_locked),
        CASE(store__load__survives_odd_rows),
        CASE(store__put__behind_the_last_time_there_is),
        CASE(store__read__flipped_bytes_never_crash),
        CASE(store__kill__loses_no_committed_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
