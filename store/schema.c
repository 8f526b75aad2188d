/* schema.c: the tables of chat.db and the numbers that say which file this is.
 *
 * A message row is never deleted but with its chat; regenerating and editing add siblings. seg keeps the
 * exact token ids a message added to the model's input; form 0 is what the model saw live (other forms come
 * with templates that rewrite history). */
#include "store/store_internal.h"

#define APPLICATION_ID 0x46654368 /* "FeCh" */
#define SCHEMA_VERSION 1

static const char schema_v1[] =
    "CREATE TABLE model(id INTEGER PRIMARY KEY, fp BLOB NOT NULL UNIQUE CHECK(length(fp)=32), name TEXT NOT "
    "NULL,"
    " path TEXT NOT NULL) STRICT;"
    "CREATE TABLE conv(id INTEGER PRIMARY KEY AUTOINCREMENT, uid BLOB NOT NULL UNIQUE CHECK(length(uid)=16),"
    " name TEXT UNIQUE, title TEXT NOT NULL DEFAULT '', head INTEGER, model INTEGER REFERENCES model(id),"
    " created INTEGER NOT NULL, updated INTEGER NOT NULL) STRICT;"
    "CREATE INDEX conv_updated ON conv(updated);"
    "CREATE TABLE msg(id INTEGER PRIMARY KEY, conv INTEGER NOT NULL REFERENCES conv(id) ON DELETE CASCADE,"
    " parent INTEGER, role INTEGER NOT NULL, status INTEGER NOT NULL, text TEXT NOT NULL, think TEXT,"
    " params TEXT, stats TEXT, created INTEGER NOT NULL) STRICT;"
    "CREATE INDEX msg_conv ON msg(conv);"
    "CREATE TABLE seg(msg INTEGER NOT NULL REFERENCES msg(id) ON DELETE CASCADE, form INTEGER NOT NULL,"
    " tok BLOB NOT NULL, PRIMARY KEY(msg, form)) STRICT, WITHOUT ROWID;"
    /* conv 0 is the chat that has no row yet: its draft outlives a restart too. */
    "CREATE TABLE draft(conv INTEGER PRIMARY KEY, text TEXT NOT NULL, cursor INTEGER NOT NULL) STRICT;";

static bool read_number(struct store *s, const char *sql, int64_t *out, struct err *err)
{
    sqlite3_stmt *stmt = store_prepare(s, sql, err);
    if (!stmt)
        return false;
    bool ok = sqlite3_step(stmt) == SQLITE_ROW;
    if (ok)
        *out = sqlite3_column_int64(stmt, 0);
    else
        store_fail(s, err, "reading its header");
    sqlite3_finalize(stmt);
    return ok;
}

static bool create(struct store *s, struct err *err)
{
    char numbers[96];
    sqlite3_snprintf(sizeof numbers, numbers, "PRAGMA application_id=%d; PRAGMA user_version=%d;",
                     APPLICATION_ID, SCHEMA_VERSION);
    /* Two programs may meet here: the second finds the tables made when it gets the lock. */
    if (!store_exec(s, "BEGIN EXCLUSIVE", err))
        return false;
    int64_t n_tables;
    bool ok = read_number(s, "SELECT count(*) FROM sqlite_schema", &n_tables, err);
    if (ok && n_tables == 0)
        ok = store_exec(s, schema_v1, err) && store_exec(s, numbers, err);
    return store_end(s, ok, err);
}

bool schema_prepare(struct store *s, bool writable, struct err *err)
{
    int64_t application_id, version, n_tables;
    if (!read_number(s, "SELECT count(*) FROM sqlite_schema", &n_tables, err))
        return false;
    if (n_tables == 0 && writable && !create(s, err))
        return false;
    if (n_tables == 0 && !writable)
        return err_set(err, ERR_DATABASE,
                       "%s: the file is empty; it becomes a chat database with the first chat", s->path);
    if (!read_number(s, "PRAGMA application_id", &application_id, err) ||
        !read_number(s, "PRAGMA user_version", &version, err))
        return false;
    if (application_id != APPLICATION_ID)
        return err_set(err, ERR_DATABASE,
                       "%s: an SQLite file of another program (application_id %lld, expected %d); "
                       "choose another --data-dir or move the file away",
                       s->path, (long long)application_id, APPLICATION_ID);
    if (version < 1 || (version > SCHEMA_VERSION && writable))
        return err_set(err, ERR_DATABASE,
                       "%s: written by another version of ferrum-chat (schema %lld, this program knows %d); "
                       "use that version, or another --data-dir; nothing was changed",
                       s->path, (long long)version, SCHEMA_VERSION);
    return true;
}
