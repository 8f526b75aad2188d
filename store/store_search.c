/* store_search.c: the index of words over the messages of all chats, kept and asked. It holds no text but
 * that of msg; a row of it is taken out by saying the very text it was made from, so every change of a
 * message goes remove, change, add. */
#include <string.h>

#include "engine/base/mem.h"
#include "store/store.h"
#include "store/store_internal.h"

void chat_hits_fini(struct chat_hits *hits)
{
    for (size_t i = 0; i < hits->n; i++) {
        mem_free(hits->items[i].title);
        mem_free(hits->items[i].snippet);
    }
    mem_free(hits->items);
    *hits = (struct chat_hits){0};
}

/* ---- kept ---- */

/* The whole of it, or the index stays what it was. */
static bool rebuild(struct store *s, struct err *err)
{
    if (store_exec(s,
                   "SAVEPOINT rebuild; INSERT INTO msg_fts(msg_fts) VALUES('delete-all');" INDEX_FILL
                   "RELEASE rebuild",
                   err))
        return true;
    if (!sqlite3_get_autocommit(s->db))
        sqlite3_exec(s->db, "ROLLBACK TO rebuild; RELEASE rebuild", NULL, NULL, NULL);
    return false;
}

/* Whether what failed last may be done without in this transaction: not where it would have succeeded at
 * another time (a full disk, a lock), nor where SQLite has undone the whole. */
static bool may_do_without(const struct store *s)
{
    return !store_may_retry(s) && !sqlite3_get_autocommit(s->db);
}

/* A damaged index must not stand in the way of the words themselves: it is made anew (*is_new), and where
 * even that fails, done without. */
static bool index_run(struct store *s, const char *sql, int64_t id, bool *is_new, struct err *err)
{
    struct err why = {0};
    *is_new = false;
    if (s->index_is_broken || store_run_for(s, sql, id, "indexing words", &why))
        return true;
    if (may_do_without(s)) {
        *is_new = rebuild(s, &why);
        s->index_is_broken = !*is_new && may_do_without(s);
    }
    if (*is_new || s->index_is_broken)
        return true;
    s->index_undid = !store_may_retry(s);
    if (err)
        *err = why;
    return false;
}

static bool index_remove(struct store *s, const char *sql, int64_t id, struct err *err)
{
    bool is_new;
    if (!index_run(s, sql, id, &is_new, err))
        return false;
    return !is_new || index_run(s, sql, id, &is_new, err); /* the new index has what is to be removed */
}

bool index_remove_msg(struct store *s, int64_t msg, struct err *err)
{
    return index_remove(s,
                        "INSERT INTO msg_fts(msg_fts,rowid,text) SELECT 'delete',id,text FROM msg"
                        " WHERE id=?1 AND status<>1",
                        msg, err);
}

bool index_add_msg(struct store *s, int64_t msg, struct err *err)
{
    return index_run(s, "INSERT INTO msg_fts(rowid,text) SELECT id,text FROM msg WHERE id=?1 AND status<>1",
                     msg, &(bool){false}, err);
}

bool index_remove_chat(struct store *s, int64_t conv, struct err *err)
{
    /* Deleted words stay in the index until its parts are merged. */
    return index_remove(s,
                        "INSERT INTO msg_fts(msg_fts,rowid,text) SELECT 'delete',id,text FROM msg"
                        " WHERE conv=?1 AND status<>1",
                        conv, err) &&
           index_run(s, "INSERT INTO msg_fts(msg_fts) SELECT 'optimize' WHERE ?1", conv, &(bool){false}, err);
}

static bool repair(struct store *s)
{
    struct err ignored = {0};
    return store_begin(s, &ignored) && store_end(s, rebuild(s, &ignored), &ignored);
}

/* Twice at most: an index that was made anew and is damaged again is given up. */
bool index_settle(struct store *s)
{
    if (!s->index_undid)
        return false;
    s->index_undid = false;
    s->index_is_broken = s->index_is_mended || !repair(s);
    s->index_is_mended = true;
    return true;
}

/* ---- asked ---- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* FTS5 has a query language; people have words. Each becomes a quoted string, the last one a beginning: all
 * must occur. */
static void make_query(const char *words, struct buf *out)
{
    bool in_word = false;
    for (; *words; words++) {
        if (is_space(*words) == in_word)
            buf_append(out, in_word ? "\" " : "\"", in_word ? 2 : 1);
        in_word = !is_space(*words);
        if (in_word)
            buf_append(out, *words == '"' ? "\"\"" : words, *words == '"' ? 2 : 1);
    }
    if (in_word)
        buf_append(out, "\"*", 2);
}

static void add_hit(sqlite3_stmt *stmt, struct chat_hits *out)
{
    out->items = mem_need_resize(out->items, out->n + 1, sizeof *out->items);
    out->items[out->n++] =
        (struct chat_hit){.chat_id = sqlite3_column_int64(stmt, 0),
                          .title = store_column_string(stmt, 1),
                          .msg_id = sqlite3_column_int64(stmt, 2),
                          .role = sqlite3_column_int(stmt, 3) == CHAT_USER ? CHAT_USER : CHAT_ASSISTANT,
                          .created_ms = sqlite3_column_int64(stmt, 4),
                          .snippet = store_column_string(stmt, 5)};
}

static bool search(struct store *s, const struct buf *query, int limit, struct chat_hits *out,
                   struct err *err)
{
    sqlite3_stmt *stmt =
        store_prepare(s,
                      "SELECT c.id,c.title,m.id,m.role,m.created,snippet(msg_fts,0,'','','…',16) FROM msg_fts"
                      " JOIN msg m ON m.id=msg_fts.rowid JOIN conv c ON c.id=m.conv"
                      " WHERE msg_fts MATCH ?1 ORDER BY rank, m.created DESC LIMIT ?2",
                      err);
    if (!stmt)
        return false;
    int rc;
    sqlite3_bind_text64(stmt, 1, buf_text(query), query->len, SQLITE_STATIC, SQLITE_UTF8);
    sqlite3_bind_int(stmt, 2, limit);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
        add_hit(stmt, out);
    if (rc != SQLITE_DONE) {
        store_fail(s, err, "searching");
        chat_hits_fini(out);
    }
    sqlite3_finalize(stmt);
    return rc == SQLITE_DONE;
}

bool store_search(struct store *s, const char *words, int limit, struct chat_hits *out, struct err *err)
{
    store_assert_owner(s);
    *out = (struct chat_hits){0};
    struct buf query = {0};
    make_query(words, &query);
    bool ok = !query.len || search(s, &query, limit, out, err) ||
              ((sqlite3_errcode(s->db) & 0xFF) == SQLITE_CORRUPT && repair(s) &&
               search(s, &query, limit, out, err));
    buf_fini(&query);
    return ok;
}
