/* cmd_sessions.c: `sessions list|show ID|export ID|delete ID|search WORDS [--json]`: saved chats without a
 * model. Profiles: sessions_prof.c. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/chat_rows.h"
#include "app/chat_tree.h"
#include "app/commands.h"
#include "app/output.h"
#include "app/sessions_parts.h"
#include "app/thought.h"
#include "engine/base/mem.h"
#include "store/kv_db.h"
#include "ui/sanitize.h"

static const char *const role_names[] = {
    [CHAT_SYSTEM] = "system", [CHAT_USER] = "user", [CHAT_ASSISTANT] = "assistant"};
static const char *const status_names[] = {[CHAT_DONE] = "done",
                                           [CHAT_STREAMING] = "streaming",
                                           [CHAT_INTERRUPTED] = "interrupted",
                                           [CHAT_ERROR] = "error"};

void sessions_print(const char *text, size_t n)
{
    struct buf clean = {0};
    if (isatty(STDOUT_FILENO))
        sanitize_append(&clean, text, n);
    else
        buf_append(&clean, text, n);
    fwrite(buf_text(&clean), 1, clean.len, stdout);
    buf_fini(&clean);
}

void sessions_print_json(json_t *root)
{
    char *text = json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    sessions_print(text, strlen(text));
    putchar('\n');
    mem_free(text);
    json_decref(root);
}

/* ---- list ---- */

static json_t *info_json(const struct chat_info *info)
{
    return json_pack("{s:I, s:s, s:s?, s:s?, s:s?, s:i, s:I, s:I}", "id", (json_int_t)info->id, "title",
                     info->title, "name", info->name, "model", info->model_name, "model_path",
                     info->model_path, "messages", (int)info->n_msgs, "created_ms",
                     (json_int_t)info->created_ms, "updated_ms", (json_int_t)info->updated_ms);
}

static bool list_chats(struct store *s, bool as_json, struct err *err)
{
    struct chat_list list = {0};
    if (s && !store_list(s, &list, err))
        return false;
    json_t *all = json_array();
    for (size_t i = 0; i < list.n; i++) {
        const struct chat_info *info = &list.items[i];
        json_array_append_new(all, info_json(info));
        if (as_json)
            continue;
        char when[17];
        char *name = sanitize_line(info->name), *title = sanitize_line(info->title),
             *model = sanitize_line(info->model_name);
        chat_row_time(info->updated_ms, when);
        printf("%6" PRId64 "  %s  %4d  %s%s%s  %s\n", info->id, when, (int)info->n_msgs, name,
               info->name ? ": " : "", title, model);
        mem_free(name);
        mem_free(title);
        mem_free(model);
    }
    if (as_json)
        sessions_print_json(all);
    else
        json_decref(all);
    chat_list_fini(&list);
    return true;
}

/* ---- show, export ---- */

static json_t *text_or_null(const char *json_text)
{
    json_t *value = json_text ? json_loads(json_text, JSON_DECODE_ANY, NULL) : NULL;
    return value ? value : json_null();
}

static json_t *msg_json(const struct chat *chat, int i, bool on_path, bool with_ids)
{
    const struct chat_msg *msg = &chat->msgs[i];
    json_t *out = json_pack(
        "{s:I, s:o, s:s, s:s, s:b, s:s%, s:s%, s:I, s:o, s:o}", "id", (json_int_t)msg->id, "parent",
        msg->parent < 0 ? json_null() : json_integer((json_int_t)chat->msgs[msg->parent].id), "role",
        role_names[msg->role], "status", status_names[msg->status], "on_path", on_path, "text",
        buf_text(&msg->text), msg->text.len, "reasoning", buf_text(&msg->think), msg->think.len, "created_ms",
        (json_int_t)msg->created_ms, "params", text_or_null(msg->params), "stats", text_or_null(msg->stats));
    if (!with_ids) {
        json_object_set_new(out, "number", json_integer(sessions_number(i)));
        return out;
    }
    json_t *ids = json_array();
    for (size_t k = 0; k < msg->n_tokens; k++)
        json_array_append_new(ids, json_integer(msg->tokens[k]));
    json_object_set_new(out, "tokens", ids);
    return out;
}

/* Which messages are on the path that the screen shows. mem_free. */
static bool *mark_path(const struct chat *chat)
{
    bool *on_path = mem_need((size_t)(chat->n_msgs + 1) * sizeof *on_path);
    memset(on_path, 0, (size_t)(chat->n_msgs + 1) * sizeof *on_path);
    for (int i = chat->head; i >= 0; i = chat->msgs[i].parent)
        on_path[i] = true;
    return on_path;
}

/* The whole tree; export has the token ids too, and not the numbers that are for people. */
static json_t *chat_json(const struct chat *chat, const struct chat_info *info, bool with_ids)
{
    json_t *root = info_json(info);
    json_t *msgs = json_array();
    bool *on_path = mark_path(chat);
    for (int i = 0; i < chat->n_msgs; i++)
        json_array_append_new(msgs, msg_json(chat, i, on_path[i], with_ids));
    json_object_set_new(root, "head",
                        chat->head < 0 ? json_null() : json_integer((json_int_t)chat->msgs[chat->head].id));
    json_object_set_new(root, "messages", msgs);
    mem_free(on_path);
    return root;
}

#define INDENT 4
#define MAX_INDENT 8 /* branches; deeper ones stand at its margin */

/* Each line of a text that stands at a margin. */
static void print_indented(const char *text, size_t n, int margin)
{
    for (const char *end; margin && (end = memchr(text, '\n', n)) != NULL; text = end + 1) {
        printf("%*s", margin, "");
        sessions_print(text, (size_t)(end - text) + 1);
        n -= (size_t)(end - text) + 1;
    }
    printf("%*s", margin, "");
    sessions_print(text, n);
    putchar('\n');
}

static void print_message(const struct chat *chat, const struct chat_tree_row *row)
{
    const struct chat_msg *msg = &chat->msgs[row->msg];
    int margin = INDENT * (row->indent < MAX_INDENT ? row->indent : MAX_INDENT);
    printf("%*s[%s #%d%s%s", margin, "", role_names[msg->role], sessions_number(row->msg),
           msg->status ? ", " : "", msg->status ? status_names[msg->status] : "");
    if (row->count > 1)
        printf(", %d of %d", row->position, row->count);
    puts(row->on_path ? "]" : "] (other branch)");
    if (msg->think.len) {
        char line[80];
        thought_line(&msg->think, line, sizeof line);
        printf("%*s%s\n", margin, "", line);
    }
    print_indented(buf_text(&msg->text), msg->text.len, margin);
}

/* The path that is shown runs down the margin; other branches stand indented before what it goes on with. */
static void print_transcript(const struct chat *chat)
{
    struct chat_tree_row *rows = chat_tree_rows(chat);
    for (int i = 0; i < chat->n_msgs; i++) {
        if (i)
            putchar('\n');
        print_message(chat, &rows[i]);
    }
    mem_free(rows);
}

static bool no_such_chat(int64_t id, struct err *err)
{
    return err_set(err, ERR_RUNTIME, "there is no chat %" PRId64 "; `ferrum-chat sessions list` shows them",
                   id);
}

struct chat *sessions_load(struct store *s, int64_t id, struct chat_info *info, struct err *err)
{
    const struct chat_key key = {.kind = CHAT_BY_ID, .id = id};
    bool found = false;
    err_clear(err);
    struct chat *chat = s ? store_load(s, &key, info, &found, err) : NULL;
    if (!chat && !err->code)
        no_such_chat(id, err);
    return chat;
}

static bool show_chat(struct store *s, int64_t id, bool as_json, bool whole, struct err *err)
{
    struct chat_info info = {0};
    struct chat *chat = sessions_load(s, id, &info, err);
    if (!chat)
        return false;
    if (as_json || whole)
        sessions_print_json(chat_json(chat, &info, whole));
    else
        print_transcript(chat);
    chat_free(chat);
    chat_info_fini(&info);
    return true;
}

/* ---- delete ---- */

#define MAX_PENDING 64 /* chats deleted before whose blocks a killed program, or a locked kv.db, left */

static bool forget_one(struct store *s, struct kv_db *db, const unsigned char uid[CHAT_UID_BYTES],
                       uint64_t *n_blocks, struct err *err)
{
    *n_blocks = 0;
    return (!db || kv_db_forget_owner(db, uid, n_blocks, err)) && store_forgotten_done(s, uid, err);
}

/* The KV blocks that only uid used, and those of chats deleted before. db NULL: there are none. */
static bool forget_all(struct store *s, struct kv_db *db, const unsigned char uid[CHAT_UID_BYTES],
                       uint64_t *n_blocks, struct err *err)
{
    unsigned char pending[MAX_PENDING][CHAT_UID_BYTES];
    size_t n = 0;
    uint64_t n_old;
    bool ok = forget_one(s, db, uid, n_blocks, err) && store_forgotten(s, pending, MAX_PENDING, &n, err);
    for (size_t i = 0; ok && i < n; i++)
        ok = forget_one(s, db, pending[i], &n_old, err);
    return ok;
}

/* What cannot be done here is said, leaves the deletion be, and is done by the next deletion or start. */
static uint64_t forget_blocks(struct store *s, const char *path, const unsigned char uid[CHAT_UID_BYTES])
{
    uint64_t n_blocks = 0, n_aside;
    struct err note = {0}, err = {0};
    struct kv_db *db = NULL;
    bool there = access(path, F_OK) == 0;
    if (there)
        db = kv_db_open(&(struct kv_db_options){.path = path, .just_look = true}, &note, &err);
    bool ok =
        (db || !there) && forget_all(s, db, uid, &n_blocks, &err) && kv_db_drop_aside(path, &n_aside, &err);
    if (!ok)
        report_line(
            "%s; KV blocks of the chat may be left there until the next start or deletion, or `ferrum-chat "
            "kv clear`, which drops all",
            err.text);
    else if (note.code)
        report_line("%s; it is removed now, for it may hold what is deleted", note.text);
    kv_db_close(db);
    return n_blocks;
}

/* Of the chat's row alone, since one whose messages are damaged can be deleted too; zeros: no such chat. */
static bool find_uid(struct store *s, int64_t id, unsigned char uid[CHAT_UID_BYTES], struct err *err)
{
    struct chat_list list = {0};
    if (!store_list(s, &list, err))
        return false;
    memset(uid, 0, CHAT_UID_BYTES);
    for (size_t i = 0; i < list.n; i++)
        if (list.items[i].id == id)
            memcpy(uid, list.items[i].uid, CHAT_UID_BYTES);
    chat_list_fini(&list);
    return true;
}

static bool delete_chat(struct store *s, int64_t id, const char *kv_path, bool as_json, struct err *err)
{
    unsigned char uid[CHAT_UID_BYTES];
    bool found = false;
    if (s && (!find_uid(s, id, uid, err) || !store_delete(s, id, &found, err)))
        return false;
    if (!found)
        return no_such_chat(id, err);
    uint64_t n_blocks = kv_path ? forget_blocks(s, kv_path, uid) : 0;
    if (as_json)
        sessions_print_json(
            json_pack("{s:I, s:I}", "deleted", (json_int_t)id, "kv_blocks", (json_int_t)n_blocks));
    else if (n_blocks)
        printf("deleted chat %" PRId64 " and %" PRIu64 " KV block%s that only it used\n", id, n_blocks,
               n_blocks == 1 ? "" : "s");
    else
        printf("deleted chat %" PRId64 "\n", id);
    return true;
}

/* ---- search ---- */

#define MAX_HITS 50

static void print_hit(const struct chat_hit *hit)
{
    char *title = sanitize_line(hit->title), *snippet = sanitize_line(hit->snippet);
    char when[17];
    chat_row_time(hit->created_ms, when);
    printf("%6" PRId64 "  %s  %s\n        %s: %s\n", hit->chat_id, when, title, role_names[hit->role],
           snippet);
    mem_free(title);
    mem_free(snippet);
}

static json_t *hit_json(const struct chat_hit *hit)
{
    return json_pack("{s:I, s:s, s:I, s:s, s:I, s:s}", "id", (json_int_t)hit->chat_id, "title", hit->title,
                     "message", (json_int_t)hit->msg_id, "role", role_names[hit->role], "created_ms",
                     (json_int_t)hit->created_ms, "snippet", hit->snippet);
}

static bool search_chats(struct store *s, const struct options *o, bool as_json, struct err *err)
{
    struct buf words = {0};
    struct chat_hits hits = {0};
    for (int i = 1; i < o->n_words; i++) {
        buf_append(&words, " ", i > 1);
        buf_append(&words, o->words[i], strlen(o->words[i]));
    }
    bool ok = !s || store_search(s, buf_text(&words), MAX_HITS, &hits, err);
    json_t *all = json_array();
    for (size_t i = 0; i < hits.n; i++) {
        json_array_append_new(all, hit_json(&hits.items[i]));
        if (!as_json)
            print_hit(&hits.items[i]);
    }
    if (ok && as_json)
        sessions_print_json(json_incref(all));
    json_decref(all);
    chat_hits_fini(&hits);
    buf_fini(&words);
    return ok;
}

/* ---- the command ---- */

static bool parse_id(const struct options *o, bool wanted, int64_t *id, struct err *err)
{
    if (o->n_words != 1 + wanted)
        return err_set(err, ERR_USAGE, "sessions %s: expected %s; usage: ferrum-chat %s", o->words[0],
                       wanted ? "one ID" : "nothing more", command_info(CMD_SESSIONS)->usage);
    if (!wanted)
        return true;
    char *end;
    errno = 0;
    long long value = strtoll(o->words[1], &end, 10);
    if (*end || errno || value < 1)
        return err_set(err, ERR_USAGE,
                       "sessions %s: found \"%.40s\", expected the number of a chat from `sessions list`",
                       o->words[0], o->words[1]);
    *id = value;
    return true;
}

/* No file yet is an empty list, not an error; *s is NULL then. */
static bool open_store(const struct paths *paths, bool writing, struct store **s, struct err *err)
{
    *s = NULL;
    if (access(paths->chat_db, F_OK) && errno == ENOENT)
        return true;
    *s = store_open(paths->chat_db, writing ? STORE_READ_WRITE : STORE_READ_ONLY, err);
    return *s != NULL;
}

bool cmd_sessions(const struct options *o, const struct paths *paths, struct err *err)
{
    const char *action = o->n_words ? o->words[0] : "";
    bool list = !strcmp(action, "list"), show = !strcmp(action, "show"), export = !strcmp(action, "export"),
         delete = !strcmp(action, "delete"), search = !strcmp(action, "search");
    int64_t id = 0;
    struct store *s;
    if (!list && !show && !export && !delete &&!(search && o->n_words > 1))
        return err_set(err, ERR_USAGE,
                       "sessions: found \"%.40s\", expected list, show, export, delete or search with words; "
                       "usage: ferrum-chat %s",
                       action, command_info(CMD_SESSIONS)->usage);
    if (!sessions_check_profile(o, action, err) || (!search && !parse_id(o, !list, &id, err)) ||
        !open_store(paths, delete || search, &s, err))
        return false;
    bool json = opt_flag(o, OPT_JSON);
    bool ok = list                        ? list_chats(s, json, err)
              : search                    ? search_chats(s, o, json, err)
              : delete                    ? delete_chat(s, id, paths->kv_db, json, err)
              : sessions_wants_profile(o) ? sessions_show_profile(s, o, id, err)
                                          : show_chat(s, id, json, export, err);
    store_close(s);
    return ok;
}
