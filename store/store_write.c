/* store_write.c: what changes chat.db. Each function is one transaction. */
#include <string.h>
#include <time.h>

#include "engine/base/log.h"
#include "store/store.h"
#include "store/store_internal.h"

static int64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void bind_text(sqlite3_stmt *stmt, int column, const char *text, size_t n)
{
    if (text)
        sqlite3_bind_text64(stmt, column, text, n, SQLITE_STATIC, SQLITE_UTF8);
}

static void bind_string(sqlite3_stmt *stmt, int column, const char *text)
{
    bind_text(stmt, column, text, text ? strlen(text) : 0);
}

/* The row id of a model, made when it is new; name and path follow the newest use. 0 without a model. */
static bool put_model(struct store *s, const struct store_model *model, int64_t *id, struct err *err)
{
    *id = 0;
    if (!model)
        return true;
    sqlite3_stmt *stmt =
        store_prepare(s,
                      "INSERT INTO model(fp,name,path) VALUES(?1,?2,?3) ON CONFLICT(fp) DO UPDATE "
                      "SET name=?2, path=?3 RETURNING id",
                      err);
    if (!stmt)
        return false;
    sqlite3_bind_blob(stmt, 1, model->fingerprint, sizeof model->fingerprint, SQLITE_STATIC);
    bind_string(stmt, 2, model->name ? model->name : "");
    bind_string(stmt, 3, model->path ? model->path : "");
    bool ok = sqlite3_step(stmt) == SQLITE_ROW;
    if (ok)
        *id = sqlite3_column_int64(stmt, 0);
    else
        store_fail(s, err, "saving the model's name");
    sqlite3_finalize(stmt);
    return ok;
}

/* A time later than that of every chat; a file that another hand wrote may have the largest there is, which
 * has no later one. */
#define LATER_THAN_ALL "min(ifnull((SELECT max(updated) FROM conv),0),9223372036854775806)+1"

/* The name of --session is unique: who comes second with it gets a chat without one, and is told. */
static bool insert_conv(struct store *s, const struct chat *chat, int64_t model, bool *name_taken,
                        struct err *err)
{
    sqlite3_stmt *stmt = store_prepare(
        s,
        "INSERT INTO conv(uid,name,title,model,created,updated)"
        " VALUES(?1,(SELECT ?2 WHERE NOT EXISTS(SELECT 1 FROM conv WHERE name=?2)),?3,nullif(?4,0),?5,"
        "max(" LATER_THAN_ALL ",?5))"
        " RETURNING name IS NULL",
        err);
    if (!stmt)
        return false;
    sqlite3_bind_blob(stmt, 1, chat->uid, CHAT_UID_BYTES, SQLITE_STATIC);
    bind_string(stmt, 2, chat->name);
    bind_string(stmt, 3, chat->title);
    sqlite3_bind_int64(stmt, 4, model);
    sqlite3_bind_int64(stmt, 5, now_ms());
    bool ok = sqlite3_step(stmt) == SQLITE_ROW;
    if (ok)
        *name_taken = chat->name && sqlite3_column_int(stmt, 0);
    else
        store_fail(s, err, "creating a chat");
    sqlite3_finalize(stmt);
    return ok;
}

/* A message only grows. What does not begin with the bytes that are stored is another message's, or was read
 * by another program before they were all there: it does not take their place. */
#define GROWS(column, value)                                                                                 \
    "(ifnull(" column ",'')='' OR substr(CAST(" value " AS BLOB),1,length(CAST(" column                      \
    " AS BLOB)))=CAST(" column " AS BLOB))"

/* A message whose question was refused must not stand in the chat alone, as its head. */
static bool check_parent(struct store *s, int64_t conv, const struct msg_row *row, struct err *err)
{
    if (!row->parent_id)
        return true;
    sqlite3_stmt *stmt = store_prepare(s, "SELECT 1 FROM msg WHERE id=?1 AND conv=?2", err);
    if (!stmt)
        return false;
    sqlite3_bind_int64(stmt, 1, row->parent_id);
    sqlite3_bind_int64(stmt, 2, conv);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_DONE)
        err_set(err, ERR_DATABASE, "%s: the message before message %lld is not stored", s->path,
                (long long)row->id);
    else if (rc != SQLITE_ROW)
        store_fail(s, err, "looking a message up");
    sqlite3_finalize(stmt);
    return rc == SQLITE_ROW;
}

static bool put_msg(struct store *s, int64_t conv, const struct msg_row *row, struct err *err)
{
    if (!check_parent(s, conv, row, err) || !index_remove_msg(s, row->id, err))
        return false;
    sqlite3_stmt *stmt = store_prepare(
        s,
        "INSERT INTO msg(id,conv,parent,role,status,text,think,params,stats,created)"
        " VALUES(?1,?2,nullif(?3,0),?4,?5,?6,?7,?8,?9,?10)"
        " ON CONFLICT(id) DO UPDATE SET status=?5,text=?6,think=?7,params=?8,stats=?9"
        " WHERE conv=?2 AND role=?4 AND created=?10 AND " GROWS("text", "?6") " AND " GROWS("think", "?7"),
        err);
    if (!stmt)
        return false;
    sqlite3_bind_int64(stmt, 1, row->id);
    sqlite3_bind_int64(stmt, 2, conv);
    sqlite3_bind_int64(stmt, 3, row->parent_id);
    sqlite3_bind_int(stmt, 4, (int)row->role);
    sqlite3_bind_int(stmt, 5, (int)row->status);
    bind_text(stmt, 6, row->text ? row->text : "", row->n_text);
    bind_text(stmt, 7, row->n_think ? row->think : NULL, row->n_think);
    bind_string(stmt, 8, row->params);
    bind_string(stmt, 9, row->stats);
    sqlite3_bind_int64(stmt, 10, row->created_ms);
    if (!store_run(s, stmt, "saving a message", err))
        return false;
    bool changed = sqlite3_changes(s->db) == 1;
    if (!index_add_msg(s, row->id, err))
        return false;
    /* Without a change the id belongs to another message, of another chat or by another program, or the text
     * is older than what is stored: it may neither take the other's place, nor pass as stored when it is not.
     */
    s->id_is_taken = !changed;
    return changed ||
           err_set(err, ERR_DATABASE, "%s: the id of message %lld is that of another message already",
                   s->path, (long long)row->id);
}

/* Whether the chat is used with the model of this fingerprint: another program may have taken it to another.
 */
static bool find_model(struct store *s, int64_t conv, const unsigned char *fingerprint, bool *is_used,
                       struct err *err)
{
    sqlite3_stmt *stmt = store_prepare(
        s, "SELECT 1 FROM conv JOIN model ON model.id=conv.model WHERE conv.id=?1 AND fp=?2", err);
    if (!stmt)
        return false;
    sqlite3_bind_int64(stmt, 1, conv);
    sqlite3_bind_blob(stmt, 2, fingerprint, sizeof((struct store_model *)0)->fingerprint, SQLITE_STATIC);
    int rc = sqlite3_step(stmt);
    *is_used = rc == SQLITE_ROW;
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        store_fail(s, err, "looking a chat's model up");
    sqlite3_finalize(stmt);
    return rc == SQLITE_ROW || rc == SQLITE_DONE;
}

/* A message without ids (an answer that a stop cut to nothing), or with those of a model that the chat has
 * left, must not keep the ids of an earlier save: they may be of less text. */
static bool put_tokens(struct store *s, int64_t conv, const struct msg_row *row, struct err *err)
{
    bool has_ids = row->n_tokens > 0;
    if (has_ids && row->tokens_of && !find_model(s, conv, row->tokens_of, &has_ids, err))
        return false;
    const char *sql = has_ids ? "INSERT INTO seg(msg,form,tok) VALUES(?1,0,?2)"
                                " ON CONFLICT(msg,form) DO UPDATE SET tok=?2"
                              : "DELETE FROM seg WHERE msg=?1 AND form=0";
    sqlite3_stmt *stmt = store_prepare(s, sql, err);
    if (!stmt)
        return false;
    sqlite3_bind_int64(stmt, 1, row->id);
    if (has_ids)
        sqlite3_bind_blob64(stmt, 2, row->tokens, row->n_tokens * sizeof *row->tokens, SQLITE_STATIC);
    return store_run(s, stmt, "saving token ids", err);
}

/* The row id of a chat; a chat deleted by another program in the meantime is an error. */
static bool find_conv(struct store *s, const unsigned char *uid, int64_t *conv, struct err *err)
{
    sqlite3_stmt *stmt = store_prepare(s, "SELECT id FROM conv WHERE uid=?1", err);
    if (!stmt)
        return false;
    sqlite3_bind_blob(stmt, 1, uid, CHAT_UID_BYTES, SQLITE_STATIC);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        *conv = sqlite3_column_int64(stmt, 0);
    else if (rc == SQLITE_DONE)
        s->chat_is_gone = !err_set(err, ERR_DATABASE, "%s: the chat was deleted by another program", s->path);
    else
        store_fail(s, err, "looking a chat up");
    sqlite3_finalize(stmt);
    return rc == SQLITE_ROW;
}

/* Strictly later than any other chat's time: the most recent chat is one, even within a millisecond. An
 * answer that is saved every second changes nothing here but once a minute: each page of the file is written
 * twice. */
static bool touch_conv(struct store *s, int64_t conv, int64_t head_id, struct err *err)
{
    sqlite3_stmt *stmt = store_prepare(
        s,
        "UPDATE conv SET updated=max(" LATER_THAN_ALL ",?2), head=nullif(?3,-1) WHERE id=?1"
        " AND (head IS NOT nullif(?3,-1) OR updated<max((SELECT max(updated) FROM conv),?2-60000))",
        err);
    if (!stmt)
        return false;
    sqlite3_bind_int64(stmt, 1, conv);
    sqlite3_bind_int64(stmt, 2, now_ms());
    sqlite3_bind_int64(stmt, 3, head_id);
    return store_run(s, stmt, "saving a chat's place", err);
}

/* Messages for a chat that is there (uid), or that is made for them (create). */
struct change {
    const unsigned char *uid;
    const struct chat *create;
    const struct store_model *model; /* of create */
    int64_t *id;                     /* of create; on success */
    bool *name_taken;
    const struct msg_row *rows;
    size_t n_rows;
    int64_t head_id;
};

static bool create_or_find(struct store *s, const struct change *c, int64_t *conv, struct err *err)
{
    int64_t model_id;
    if (!c->create)
        return find_conv(s, c->uid, conv, err);
    if (!put_model(s, c->model, &model_id, err) || !insert_conv(s, c->create, model_id, c->name_taken, err))
        return false;
    *conv = sqlite3_last_insert_rowid(s->db);
    return true;
}

static bool try_rows(struct store *s, const struct change *c, bool with_profs, struct err *err)
{
    int64_t conv;
    if (!store_begin(s, err))
        return false;
    bool ok = create_or_find(s, c, &conv, err);
    for (size_t i = 0; i < c->n_rows && ok; i++)
        ok = put_msg(s, conv, &c->rows[i], err) && put_tokens(s, conv, &c->rows[i], err);
    ok = ok && ((c->create && !c->n_rows) || touch_conv(s, conv, c->head_id, err));
    for (size_t i = 0; i < c->n_rows && ok && with_profs; i++)
        ok = (!c->rows[i].prof_of || store_copy_prof(s, c->rows[i].prof_of, c->rows[i].id, err)) &&
             (!c->rows[i].prof || store_put_prof(s, c->rows[i].id, c->rows[i].prof, err));
    if (!store_end(s, ok, err))
        return false;
    if (c->create)
        *c->id = conv;
    return true;
}

static bool put_rows(struct store *s, const struct change *c, bool with_profs, struct err *err)
{
    bool ok = try_rows(s, c, with_profs, err);
    while (!ok && index_settle(s))
        ok = try_rows(s, c, with_profs, err);
    return ok;
}

static bool have_profs(const struct msg_row *rows, size_t n_rows)
{
    for (size_t i = 0; i < n_rows; i++)
        if (rows[i].prof || rows[i].prof_of)
            return true;
    return false;
}

static bool put(struct store *s, const struct change *c, struct err *err)
{
    struct err why = {0};
    bool with_profs = have_profs(c->rows, c->n_rows);
    if (put_rows(s, c, with_profs, &why))
        return true;
    bool is_locked = (s->code & 0xFF) == SQLITE_BUSY;
    if (with_profs && !s->chat_is_gone && !s->id_is_taken && !is_locked && put_rows(s, c, false, NULL)) {
        log_line("an answer is saved without its profile: %s", why.text);
        return true;
    }
    if (err)
        *err = why;
    return false;
}

bool store_create(struct store *s, const struct chat *chat, const struct store_model *model,
                  const struct msg_row *rows, size_t n_rows, int64_t head_id, int64_t *id, bool *name_taken,
                  struct err *err)
{
    const struct change c = {.create = chat,
                             .model = model,
                             .id = id,
                             .name_taken = name_taken,
                             .rows = rows,
                             .n_rows = n_rows,
                             .head_id = head_id};
    return put(s, &c, err);
}

bool store_put_msgs(struct store *s, const unsigned char uid[CHAT_UID_BYTES], const struct msg_row *rows,
                    size_t n_rows, int64_t head_id, struct err *err)
{
    const struct change c = {.uid = uid, .rows = rows, .n_rows = n_rows, .head_id = head_id};
    return put(s, &c, err);
}

bool store_rename(struct store *s, int64_t id, const char *title, struct err *err)
{
    if (!store_begin(s, err))
        return false;
    sqlite3_stmt *stmt = store_prepare(s, "UPDATE conv SET title=?2 WHERE id=?1", err);
    bool ok = stmt != NULL;
    if (ok) {
        sqlite3_bind_int64(stmt, 1, id);
        bind_string(stmt, 2, title);
        ok = store_run(s, stmt, "renaming a chat", err);
    }
    return store_end(s, ok, err);
}

/* What the old model's tokenizer made of the chat means nothing to another. */
static bool forget_tokens(struct store *s, int64_t conv, struct err *err)
{
    return store_run_for(s, "DELETE FROM seg WHERE msg IN (SELECT id FROM msg WHERE conv=?1)", conv,
                         "forgetting old token ids", err);
}

bool store_set_model(struct store *s, const unsigned char uid[CHAT_UID_BYTES],
                     const struct store_model *model, struct err *err)
{
    int64_t model_id, conv;
    if (!store_begin(s, err))
        return false;
    sqlite3_stmt *stmt = NULL;
    bool ok = find_conv(s, uid, &conv, err) && put_model(s, model, &model_id, err) &&
              forget_tokens(s, conv, err) &&
              (stmt = store_prepare(s, "UPDATE conv SET model=?2 WHERE id=?1", err)) != NULL;
    if (ok) {
        sqlite3_bind_int64(stmt, 1, conv);
        sqlite3_bind_int64(stmt, 2, model_id);
        ok = store_run(s, stmt, "saving the model's name", err);
    }
    return store_end(s, ok, err);
}

static bool try_delete(struct store *s, int64_t id, bool *found, struct err *err)
{
    *found = false;
    if (!store_begin(s, err))
        return false;
    bool ok = index_remove_chat(s, id, err) &&
              store_run_for(s, "INSERT OR IGNORE INTO forgotten(uid) SELECT uid FROM conv WHERE id=?1", id,
                            "deleting a chat", err) &&
              store_run_for(s, "DELETE FROM draft WHERE conv=?1", id, "deleting a draft", err) &&
              store_run_for(s, "DELETE FROM conv WHERE id=?1", id, "deleting a chat", err);
    *found = ok && sqlite3_changes(s->db) > 0;
    return store_end(s, ok, err);
}

bool store_delete(struct store *s, int64_t id, bool *found, struct err *err)
{
    struct err why = {0};
    bool ok = try_delete(s, id, found, &why);
    while (!ok && index_settle(s))
        ok = try_delete(s, id, found, &why);
    if (!ok && err)
        *err = why;
    if (!ok)
        return false;
    store_drop_backup(s);
    if (!store_exec(s, "PRAGMA incremental_vacuum", &why))
        log_line("the chat is deleted, the file is as large as before: %s", why.text);
    return true;
}

bool store_forgotten_done(struct store *s, const unsigned char uid[CHAT_UID_BYTES], struct err *err)
{
    if (!store_begin(s, err))
        return false;
    sqlite3_stmt *stmt = store_prepare(s, "DELETE FROM forgotten WHERE uid=?1", err);
    if (stmt)
        sqlite3_bind_blob(stmt, 1, uid, CHAT_UID_BYTES, SQLITE_STATIC);
    return store_end(s, stmt && store_run(s, stmt, "noting that a chat's blocks are gone", err), err);
}

bool store_put_draft(struct store *s, const unsigned char uid[CHAT_UID_BYTES], const char *text,
                     size_t cursor, struct err *err)
{
    if (!store_begin(s, err))
        return false;
    int64_t conv = 0;
    bool remove = text[0] == '\0';
    const char *sql = remove ? "DELETE FROM draft WHERE conv=?1"
                             : "INSERT INTO draft(conv,text,cursor) VALUES(?1,?2,?3)"
                               " ON CONFLICT(conv) DO UPDATE SET text=?2, cursor=?3";
    sqlite3_stmt *stmt = NULL;
    bool ok = (!uid || find_conv(s, uid, &conv, err)) && (stmt = store_prepare(s, sql, err)) != NULL;
    if (ok) {
        sqlite3_bind_int64(stmt, 1, conv);
        if (!remove) {
            bind_string(stmt, 2, text);
            sqlite3_bind_int64(stmt, 3, (int64_t)cursor);
        }
        ok = store_run(s, stmt, "saving the draft", err);
    }
    return store_end(s, ok, err);
}
