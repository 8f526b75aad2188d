/* store_read.c: what reads chat.db. Rows are data from outside: lengths, roles, parents and text are checked,
 * and what is odd is made harmless without losing text. */
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "store/store.h"
#include "store/store_internal.h"

#define MAX_MSGS 1000000
#define INFO_COLUMNS                                                                                         \
    "c.id,c.uid,c.name,c.title,m.name,m.path,m.fp,c.created,c.updated,(SELECT count(*) FROM msg WHERE "      \
    "conv=c.id),"                                                                                            \
    "c.head FROM conv c LEFT JOIN model m ON m.id=c.model "

void chat_info_fini(struct chat_info *info)
{
    mem_free(info->name);
    mem_free(info->title);
    mem_free(info->model_name);
    mem_free(info->model_path);
    *info = (struct chat_info){0};
}

void chat_list_fini(struct chat_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        chat_info_fini(&list->items[i]);
    mem_free(list->items);
    *list = (struct chat_list){0};
}

/* A column as valid UTF-8. */
static void column_text(sqlite3_stmt *stmt, int column, struct buf *out)
{
    const char *text = (const char *)sqlite3_column_text(stmt, column);
    int n = sqlite3_column_bytes(stmt, column);
    if (text && n > 0)
        utf8_append_clean(out, text, (size_t)n);
}

char *store_column_string(sqlite3_stmt *stmt, int column)
{
    if (sqlite3_column_type(stmt, column) == SQLITE_NULL)
        return NULL;
    struct buf text = {0};
    column_text(stmt, column, &text);
    return buf_take(&text);
}

static void column_bytes(sqlite3_stmt *stmt, int column, unsigned char *out, size_t n)
{
    const void *blob = sqlite3_column_blob(stmt, column);
    if (blob && sqlite3_column_bytes(stmt, column) == (int)n)
        memcpy(out, blob, n);
}

static void read_info(sqlite3_stmt *stmt, struct chat_info *info)
{
    *info = (struct chat_info){.id = sqlite3_column_int64(stmt, 0)};
    column_bytes(stmt, 1, info->uid, sizeof info->uid);
    info->name = store_column_string(stmt, 2);
    info->title = store_column_string(stmt, 3);
    if (!info->title)
        info->title = mem_strdup("");
    info->model_name = store_column_string(stmt, 4);
    info->model_path = store_column_string(stmt, 5);
    column_bytes(stmt, 6, info->model_fingerprint, sizeof info->model_fingerprint);
    info->created_ms = sqlite3_column_int64(stmt, 7);
    info->updated_ms = sqlite3_column_int64(stmt, 8);
    info->n_msgs = sqlite3_column_int(stmt, 9);
}

bool store_list(struct store *s, struct chat_list *out, struct err *err)
{
    store_assert_owner(s);
    *out = (struct chat_list){0};
    sqlite3_stmt *stmt = store_prepare(s, "SELECT " INFO_COLUMNS "ORDER BY c.updated DESC, c.id DESC", err);
    if (!stmt)
        return false;
    size_t cap = 0;
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (out->n == cap) {
            cap = cap ? cap * 2 : 32;
            out->items = mem_need_resize(out->items, cap, sizeof *out->items);
        }
        read_info(stmt, &out->items[out->n++]);
    }
    bool ok = rc == SQLITE_DONE;
    if (!ok) {
        store_fail(s, err, "listing the chats");
        chat_list_fini(out);
    }
    sqlite3_finalize(stmt);
    return ok;
}

static sqlite3_stmt *prepare_lookup(struct store *s, const struct chat_key *key, struct err *err)
{
    static const char *const where[] = {
        [CHAT_BY_ID] = "SELECT " INFO_COLUMNS "WHERE c.id=?1",
        [CHAT_BY_NAME] = "SELECT " INFO_COLUMNS "WHERE c.name=?1",
        [CHAT_BY_UID] = "SELECT " INFO_COLUMNS "WHERE c.uid=?1",
        [CHAT_LATEST] = "SELECT " INFO_COLUMNS "ORDER BY c.updated DESC, c.id DESC LIMIT 1",
    };
    sqlite3_stmt *stmt = store_prepare(s, where[key->kind], err);
    if (!stmt)
        return NULL;
    if (key->kind == CHAT_BY_ID)
        sqlite3_bind_int64(stmt, 1, key->id);
    if (key->kind == CHAT_BY_NAME)
        sqlite3_bind_text(stmt, 1, key->name, -1, SQLITE_STATIC);
    if (key->kind == CHAT_BY_UID)
        sqlite3_bind_blob(stmt, 1, key->uid, CHAT_UID_BYTES, SQLITE_STATIC);
    return stmt;
}

/* The index of a message id among the n ascending messages read so far, -1 if it is not there. */
static int find_msg(const struct chat *chat, int64_t id)
{
    int low = 0, high = chat->n_msgs - 1;
    while (low <= high) {
        int middle = low + (high - low) / 2;
        if (chat->msgs[middle].id == id)
            return middle;
        if (chat->msgs[middle].id < id)
            low = middle + 1;
        else
            high = middle - 1;
    }
    return -1;
}

static enum chat_status status_of(int stored)
{
    if (stored == CHAT_DONE || stored == CHAT_INTERRUPTED || stored == CHAT_ERROR)
        return (enum chat_status)stored;
    return CHAT_INTERRUPTED; /* streaming when the program died */
}

static void read_msg(sqlite3_stmt *stmt, struct chat *chat)
{
    int parent =
        sqlite3_column_type(stmt, 1) == SQLITE_NULL ? -1 : find_msg(chat, sqlite3_column_int64(stmt, 1));
    int role = sqlite3_column_int(stmt, 2);
    if (role < CHAT_SYSTEM || role > CHAT_ASSISTANT)
        role = CHAT_USER;
    int at = chat_add(chat, parent, (enum chat_role)role, NULL, 0);
    struct chat_msg *msg = &chat->msgs[at];
    msg->id = sqlite3_column_int64(stmt, 0);
    msg->status = status_of(sqlite3_column_int(stmt, 3));
    column_text(stmt, 4, &msg->text);
    column_text(stmt, 5, &msg->think);
    msg->params = store_column_string(stmt, 6);
    msg->stats = store_column_string(stmt, 7);
    msg->created_ms = sqlite3_column_int64(stmt, 8);
    const void *blob = sqlite3_column_blob(stmt, 9);
    int n_bytes = sqlite3_column_bytes(stmt, 9);
    if (blob && n_bytes > 0 && n_bytes % (int)sizeof(int32_t) == 0)
        chat_msg_add_tokens(msg, blob, (size_t)n_bytes / sizeof(int32_t));
}

static bool read_msgs(struct store *s, struct chat *chat, int64_t head, struct err *err)
{
    sqlite3_stmt *stmt = store_prepare(s,
                                       "SELECT m.id,m.parent,m.role,m.status,m.text,m.think,m.params,m.stats,"
                                       "m.created,g.tok FROM msg m LEFT JOIN seg g ON g.msg=m.id AND g.form=0"
                                       " WHERE m.conv=?1 ORDER BY m.id",
                                       err);
    if (!stmt)
        return false;
    sqlite3_bind_int64(stmt, 1, chat->id);
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW && chat->n_msgs < MAX_MSGS)
        read_msg(stmt, chat);
    bool ok = rc == SQLITE_DONE || rc == SQLITE_ROW;
    if (!ok)
        store_fail(s, err, "reading a chat");
    sqlite3_finalize(stmt);
    /* A head that is not there must not hide the chat: its newest message stands in. */
    int at = find_msg(chat, head);
    chat->head = head == STORE_HEAD_NONE ? -1 : at >= 0 ? at : chat->n_msgs - 1;
    return ok;
}

struct chat *store_load(struct store *s, const struct chat_key *key, struct chat_info *info, bool *found,
                        struct err *err)
{
    store_assert_owner(s);
    *found = false;
    struct chat *chat = NULL;
    sqlite3_stmt *stmt = prepare_lookup(s, key, err);
    if (!stmt)
        return NULL;
    struct chat_info read = {0};
    int rc = sqlite3_step(stmt);
    int64_t head = 0;
    if (rc == SQLITE_ROW) {
        read_info(stmt, &read);
        head =
            sqlite3_column_type(stmt, 10) == SQLITE_NULL ? STORE_HEAD_NONE : sqlite3_column_int64(stmt, 10);
    } else if (rc != SQLITE_DONE) {
        store_fail(s, err, "looking a chat up");
    }
    sqlite3_finalize(stmt);
    if (rc != SQLITE_ROW)
        return NULL;

    *found = true;
    chat = chat_new();
    chat->id = read.id;
    memcpy(chat->uid, read.uid, sizeof chat->uid);
    chat->name = read.name ? mem_strdup(read.name) : NULL;
    mem_free(chat->title);
    chat->title = mem_strdup(read.title);
    if (!read_msgs(s, chat, head, err)) {
        chat_free(chat);
        chat = NULL;
    }
    if (chat && info)
        *info = read;
    else
        chat_info_fini(&read);
    return chat;
}

bool store_forgotten(struct store *s, unsigned char (*uids)[CHAT_UID_BYTES], size_t max, size_t *n,
                     struct err *err)
{
    store_assert_owner(s);
    *n = 0;
    sqlite3_stmt *stmt =
        store_prepare(s, "SELECT uid FROM forgotten WHERE length(uid)=16 ORDER BY id LIMIT ?1", err);
    if (!stmt)
        return false;
    sqlite3_bind_int64(stmt, 1, (int64_t)max);
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW && *n < max)
        memcpy(uids[(*n)++], sqlite3_column_blob(stmt, 0), CHAT_UID_BYTES);
    if (rc != SQLITE_DONE)
        store_fail(s, err, "reading which chats were deleted");
    sqlite3_finalize(stmt);
    return rc == SQLITE_DONE;
}

bool store_get_draft(struct store *s, const unsigned char uid[CHAT_UID_BYTES], struct buf *text,
                     size_t *cursor, struct err *err)
{
    store_assert_owner(s);
    const char *sql = uid ? "SELECT text,cursor FROM draft WHERE conv=(SELECT id FROM conv WHERE uid=?1)"
                          : "SELECT text,cursor FROM draft WHERE conv=0";
    sqlite3_stmt *stmt = store_prepare(s, sql, err);
    if (!stmt)
        return false;
    if (uid)
        sqlite3_bind_blob(stmt, 1, uid, CHAT_UID_BYTES, SQLITE_STATIC);
    int rc = sqlite3_step(stmt);
    *cursor = 0;
    if (rc == SQLITE_ROW) {
        column_text(stmt, 0, text);
        int64_t at = sqlite3_column_int64(stmt, 1);
        *cursor = at >= 0 && (uint64_t)at <= text->len ? (size_t)at : text->len;
    } else if (rc != SQLITE_DONE) {
        store_fail(s, err, "reading the draft");
    }
    sqlite3_finalize(stmt);
    return rc == SQLITE_ROW || rc == SQLITE_DONE;
}
