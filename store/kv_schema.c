/* kv_schema.c: the tables of kv.db and the numbers that say which file this is.
 *
 * A block's row and its bytes are two tables with one id: changing the row never touches the bytes. Ids are
 * never used twice (AUTOINCREMENT), so an id that another program's eviction took away cannot come to mean
 * another block. A block knows its parent by name, so that it outlives a parent that is replaced. */
#include <string.h>

#include "store/kv_internal.h"

#define APPLICATION_ID 0x46654B56 /* "FeKV" */
#define SCHEMA_VERSION 1

static const char *const tables[] = {
    "CREATE TABLE kv_space(id INTEGER PRIMARY KEY, root BLOB NOT NULL UNIQUE CHECK(length(root)=16),"
    " fp BLOB NOT NULL CHECK(length(fp)=32), kv_type TEXT NOT NULL, token_bytes INTEGER NOT NULL,"
    " label TEXT NOT NULL, prefill_ns REAL NOT NULL DEFAULT 0, fetch_ns REAL NOT NULL DEFAULT 0) STRICT",
    "CREATE TABLE kv_numerics(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT",
    "CREATE TABLE kv_block(id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " space INTEGER NOT NULL REFERENCES kv_space(id),"
    " hash BLOB NOT NULL UNIQUE CHECK(length(hash)=16), parent BLOB NOT NULL CHECK(length(parent)=16),"
    " depth INTEGER NOT NULL, n_tokens INTEGER NOT NULL, n_bytes INTEGER NOT NULL, cksum INTEGER NOT NULL,"
    " numerics INTEGER NOT NULL REFERENCES kv_numerics(id), used INTEGER NOT NULL,"
    " hits INTEGER NOT NULL DEFAULT 0, n_children INTEGER NOT NULL, tokens BLOB NOT NULL) STRICT",
    "CREATE INDEX kv_block_parent ON kv_block(parent)",
    "CREATE INDEX kv_block_leaf ON kv_block(used) WHERE n_children=0",
    "CREATE TABLE kv_data(id INTEGER PRIMARY KEY REFERENCES kv_block(id) ON DELETE CASCADE,"
    " bytes BLOB NOT NULL) STRICT",
    "CREATE TABLE kv_use(owner BLOB NOT NULL CHECK(length(owner)=16),"
    " block INTEGER NOT NULL REFERENCES kv_block(id) ON DELETE CASCADE,"
    " PRIMARY KEY(owner, block)) STRICT, WITHOUT ROWID",
    "CREATE INDEX kv_use_block ON kv_use(block)",
    "CREATE TABLE kv_forgotten(owner BLOB PRIMARY KEY NOT NULL CHECK(length(owner)=16)) STRICT",
    "CREATE TABLE kv_stat(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT",
};
#define N_TABLES (sizeof tables / sizeof *tables)

static bool refuse(struct sql *sql, struct err *err, const char *found)
{
    sql_note_damage(sql);
    return err_set(err, ERR_DATABASE, "%s: %s; %s", sql->path, found, sql->words->damaged);
}

static bool create(struct sql *sql, struct err *err)
{
    char numbers[192];
    sqlite3_snprintf(sizeof numbers, numbers,
                     "PRAGMA application_id=%d; PRAGMA user_version=%d;"
                     "INSERT INTO kv_stat VALUES('bytes',0),('evicted',0);",
                     APPLICATION_ID, SCHEMA_VERSION);
    /* page_size and auto_vacuum count only before the first table exists. Two programs may meet here: the
     * second finds the tables made when it gets the lock. */
    if (!sql_exec(sql, "PRAGMA page_size=65536; PRAGMA auto_vacuum=INCREMENTAL", err) ||
        !sql_begin(sql, true, err))
        return false;
    int64_t n_tables;
    bool ok = sql_number(sql, "SELECT count(*) FROM sqlite_schema", &n_tables, err);
    for (size_t i = 0; ok && n_tables == 0 && i < N_TABLES; i++)
        ok = sql_exec(sql, tables[i], err);
    ok = ok && (n_tables != 0 || sql_exec(sql, numbers, err));
    return sql_end(sql, ok, err);
}

static bool check_numbers(struct sql *sql, struct err *err)
{
    static const struct {
        const char *pragma;
        int64_t expected;
        const char *found;
    } checks[] = {
        {"PRAGMA application_id", APPLICATION_ID, "a file of another program"},
        {"PRAGMA user_version", SCHEMA_VERSION, "written by another version of ferrum-chat"},
        {"PRAGMA page_size", KV_PAGE_BYTES, "made with another page size"},
        {"PRAGMA auto_vacuum", 2, "made without auto_vacuum"},
    };
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        int64_t value;
        if (!sql_number(sql, checks[i].pragma, &value, err))
            return false;
        if (value != checks[i].expected)
            return refuse(sql, err, checks[i].found);
    }
    return true;
}

/* The tables are ours to the letter: nothing else in the file can take part in a statement. */
static bool check_tables(struct sql *sql, struct err *err)
{
    int64_t n, n_sql;
    if (!sql_number(sql, "SELECT count(sql) FROM sqlite_schema WHERE name<>'sqlite_sequence'", &n_sql, err))
        return false;
    for (size_t i = 0; i < N_TABLES; i++) {
        sqlite3_stmt *stmt = sql_prepare(sql, "SELECT count(*) FROM sqlite_schema WHERE sql=?1", err);
        if (stmt)
            sqlite3_bind_text(stmt, 1, tables[i], -1, SQLITE_STATIC);
        if (!sql_number_of(sql, stmt, &n, err))
            return false;
        if (n != 1)
            return refuse(sql, err, "its tables are not those of this program");
    }
    return n_sql == (int64_t)N_TABLES || refuse(sql, err, "it has tables of another program");
}

bool kv_schema_prepare(struct sql *sql, struct err *err)
{
    /* Not the number of pages: setting auto_vacuum writes one, and another program may be between that and
     * the tables, or have ended there. */
    int64_t n_tables;
    if (!sql_number(sql, "SELECT count(*) FROM sqlite_schema", &n_tables, err) ||
        (n_tables == 0 && !create(sql, err)) || !check_numbers(sql, err) || !check_tables(sql, err))
        return false;
    /* A header may forbid writing though the file system does not. */
    return sqlite3_db_readonly(sql->db, "main") == 0 || refuse(sql, err, "its header forbids writing");
}
