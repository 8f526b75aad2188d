/* schema.c: the tables of chat.db, the numbers that say which file this is, and the way from an older schema
 * to this one.
 *
 * A message row is never deleted but with its chat; regenerating and editing add siblings. seg keeps the
 * exact token ids a message added to the model's input; form 0 is what the model saw live. msg_fts indexes
 * the words of messages that are not being written (store_search.c). prof has the profile of an answer
 * (engine/base/prof_pack.h) and goes with its message.
 *
 * Migration: one transaction that nobody else can enter; in front of it a copy of the file is made
 * (store_backup.c), which the first deletion the user asks for takes along. */
#include "store/store_internal.h"

#define APPLICATION_ID 0x46654368 /* "FeCh" */

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

/* No triggers: with trusted_schema off they may not touch a virtual table. */
static const char schema_v2[] =
    "CREATE VIRTUAL TABLE msg_fts USING fts5(text, content='msg', content_rowid='id',"
    " tokenize='unicode61 remove_diacritics 2');" INDEX_FILL
    /* Deleted chats whose blocks kv.db may still hold. */
    "CREATE TABLE forgotten(id INTEGER PRIMARY KEY, uid BLOB NOT NULL UNIQUE CHECK(length(uid)=16)) STRICT;";

static const char schema_v3[] =
    "CREATE TABLE prof(msg INTEGER PRIMARY KEY REFERENCES msg(id) ON DELETE CASCADE, build TEXT NOT NULL,"
    " fp BLOB NOT NULL CHECK(length(fp)=32), model TEXT NOT NULL, backend TEXT NOT NULL, kv_type TEXT NOT "
    "NULL, threads INTEGER NOT NULL,"
    " pos INTEGER NOT NULL, tok_s REAL NOT NULL, packed BLOB NOT NULL) STRICT;";

/* From version i+1 to i+2. */
static const char *const steps[] = {schema_v2, schema_v3};
#define SCHEMA_VERSION (1 + (int)(sizeof steps / sizeof *steps))

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

static bool set_numbers(struct store *s, struct err *err)
{
    char numbers[96];
    sqlite3_snprintf(sizeof numbers, numbers, "PRAGMA application_id=%d; PRAGMA user_version=%d;",
                     APPLICATION_ID, SCHEMA_VERSION);
    return store_exec(s, numbers, err);
}

static bool run_steps(struct store *s, int64_t version, struct err *err)
{
    for (int64_t i = version - 1; i < SCHEMA_VERSION - 1; i++)
        if (!store_exec(s, steps[i], err))
            return false;
    return set_numbers(s, err);
}

/* page_size and auto_vacuum count only before the first table exists, and setting them writes to the file:
 * nowhere else. Two programs may meet here: the second finds the work done when it gets the lock. */
static bool create(struct store *s, struct err *err)
{
    if (!store_exec(s, "PRAGMA page_size=4096; PRAGMA auto_vacuum=INCREMENTAL; BEGIN EXCLUSIVE", err))
        return false;
    int64_t n_tables;
    bool ok = read_number(s, "SELECT count(*) FROM sqlite_schema", &n_tables, err);
    if (ok && n_tables == 0)
        ok = store_exec(s, schema_v1, err) && run_steps(s, 1, err);
    return store_end(s, ok, err);
}

static bool migrate(struct store *s, struct err *err)
{
    if (!store_backup(s, err) || !store_exec(s, "BEGIN EXCLUSIVE", err))
        return false;
    int64_t version;
    bool ok = read_number(s, "PRAGMA user_version", &version, err);
    if (ok && version < SCHEMA_VERSION)
        ok = run_steps(s, version, err);
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
    s->version = writable ? SCHEMA_VERSION : (int)version;
    return version == SCHEMA_VERSION || !writable || migrate(s, err);
}
