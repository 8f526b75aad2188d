#include "store/sql.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/mem.h"

#define BUSY_NAP_MS 10

const char *sql_advice(int code, const struct sql_words *words)
{
    switch (code & 0xFF) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return "another program holds it; close that program or wait";
    case SQLITE_FULL:
        return "free some space on that disk";
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
    case SQLITE_AUTH:
        return words->forbidden;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return words->damaged;
    case SQLITE_IOERR:
        return "the disk does not answer; look at its health and at the system's log";
    default:
        return "please report this";
    }
}

bool sql_fail(struct sql *sql, const char *what, struct err *err)
{
    sql->code = sqlite3_extended_errcode(sql->db);
    if ((sql->code & 0xFF) == SQLITE_CORRUPT || (sql->code & 0xFF) == SQLITE_NOTADB)
        sql->was_damaged = true;
    return err_set(err, ERR_DATABASE, "%s: %s: %s; %s", sql->path, what, sqlite3_errmsg(sql->db),
                   sql_advice(sql->code, sql->words));
}

bool sql_is_busy(const struct sql *sql)
{
    return (sql->code & 0xFF) == SQLITE_BUSY || (sql->code & 0xFF) == SQLITE_LOCKED;
}

void sql_note_damage(struct sql *sql)
{
    sql->code = SQLITE_CORRUPT;
    sql->was_damaged = true;
}

bool sql_make_directories(const char *path, const struct sql_words *words, struct err *err)
{
    char *copy = mem_strdup(path);
    bool ok = true;
    for (char *slash = strchr(copy + 1, '/'); slash && ok; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(copy, 0700) != 0 && errno != EEXIST)
            ok = err_set(err, ERR_DATABASE, "%s: the directory cannot be made: %s; %s", copy, strerror(errno),
                         words->elsewhere);
        *slash = '/';
    }
    mem_free(copy);
    return ok;
}

bool sql_check_file(const char *path, const struct sql_words *words, bool *absent, struct err *err)
{
    struct stat st;
    *absent = stat(path, &st) != 0;
    if (*absent && lstat(path, &st) == 0 && S_ISLNK(st.st_mode))
        return err_set(err, ERR_DATABASE,
                       "%s: a symbolic link that leads to no file; remove the link, or make an empty file "
                       "where it leads",
                       path);
    if (*absent)
        return true;
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_DATABASE, "%s: not a regular file; move it away, or %s", path,
                       words->elsewhere);
    if (st.st_uid != geteuid())
        return err_set(err, ERR_DATABASE, "%s: belongs to another user (uid %u); %s", path,
                       (unsigned)st.st_uid, words->elsewhere);
    return true;
}

/* SQLite would create the file with the umask's rights: it is made here first, for its owner alone. Only a
 * new file is opened by hand, before any connection exists (closing a descriptor would drop SQLite's own
 * locks). */
bool sql_make_file(const char *path, const struct sql_words *words, struct err *err)
{
    bool absent;
    if (!sql_check_file(path, words, &absent, err) || (absent && !sql_make_directories(path, words, err)))
        return false;
    if (!absent)
        return true;
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 && errno != EEXIST)
        return err_set(err, ERR_DATABASE, "%s: cannot be created: %s; %s", path, strerror(errno),
                       words->elsewhere);
    if (fd >= 0)
        close(fd);
    return true;
}

/* SQLite's busy handler: another program holds the lock; called again after each nap. */
static int wait_for_lock(void *arg, int n_naps)
{
    const struct sql *sql = arg;
    if (n_naps >= sql->busy_ms / BUSY_NAP_MS || (sql->stop && atomic_load(sql->stop)))
        return 0;
    struct timespec nap = {.tv_nsec = BUSY_NAP_MS * 1000000L};
    nanosleep(&nap, NULL);
    return 1;
}

bool sql_open(struct sql *sql, const char *path, struct err *err)
{
    sql->path = mem_strdup(path);
    if (sqlite3_open_v2(path, &sql->db, SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
        return sql_fail(sql, "opening it", err);
    sqlite3_extended_result_codes(sql->db, 1);
    sqlite3_busy_handler(sql->db, wait_for_lock, sql);
    sqlite3_limit(sql->db, SQLITE_LIMIT_ATTACHED, 1);
    sqlite3_db_config(sql->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(sql->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    /* SQLite silently falls back to reading when the file may not be written: say so now. */
    if (sqlite3_db_readonly(sql->db, "main") == 1)
        return err_set(err, ERR_DATABASE, "%s: may be read but not written; %s", path, sql->words->forbidden);
    return sql_exec(sql,
                    "PRAGMA foreign_keys=ON; PRAGMA cell_size_check=ON; PRAGMA mmap_size=0;"
                    "PRAGMA temp_store=MEMORY;",
                    err);
}

void sql_close(struct sql *sql)
{
    sqlite3_close(sql->db);
    mem_free(sql->path);
    sql->db = NULL;
    sql->path = NULL;
}

bool sql_exec(struct sql *sql, const char *text, struct err *err)
{
    return sqlite3_exec(sql->db, text, NULL, NULL, NULL) == SQLITE_OK || sql_fail(sql, "writing to it", err);
}

sqlite3_stmt *sql_prepare(struct sql *sql, const char *text, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(sql->db, text, -1, &stmt, NULL) != SQLITE_OK)
        sql_fail(sql, "reading its tables", err);
    return stmt;
}

sqlite3_stmt *sql_prepare_with(struct sql *sql, const char *text, const int64_t *numbers, int n,
                               struct err *err)
{
    sqlite3_stmt *stmt = sql_prepare(sql, text, err);
    for (int i = 0; stmt && i < n; i++)
        sqlite3_bind_int64(stmt, i + 1, numbers[i]);
    return stmt;
}

bool sql_run(struct sql *sql, sqlite3_stmt *stmt, struct err *err)
{
    bool ok = sqlite3_step(stmt) == SQLITE_DONE || sql_fail(sql, "writing to it", err);
    sqlite3_finalize(stmt);
    return ok;
}

bool sql_run_with(struct sql *sql, const char *text, const int64_t *numbers, int n, struct err *err)
{
    sqlite3_stmt *stmt = sql_prepare_with(sql, text, numbers, n, err);
    return stmt && sql_run(sql, stmt, err);
}

bool sql_step(struct sql *sql, sqlite3_stmt *stmt, bool *row, struct err *err)
{
    int rc = sqlite3_step(stmt);
    *row = rc == SQLITE_ROW;
    return rc == SQLITE_ROW || rc == SQLITE_DONE || sql_fail(sql, "reading it", err);
}

bool sql_number_of(struct sql *sql, sqlite3_stmt *stmt, int64_t *out, struct err *err)
{
    bool row = false, ok = stmt && sql_step(sql, stmt, &row, err);
    if (row)
        *out = sqlite3_column_int64(stmt, 0);
    else if (ok) {
        sql_note_damage(sql);
        ok = err_set(err, ERR_DATABASE, "%s: a row is missing; %s", sql->path, sql->words->damaged);
    }
    sqlite3_finalize(stmt);
    return ok;
}

bool sql_number(struct sql *sql, const char *text, int64_t *out, struct err *err)
{
    return sql_number_of(sql, sql_prepare(sql, text, err), out, err);
}

bool sql_collect(struct sql *sql, sqlite3_stmt *stmt, struct sql_ids *out, struct err *err)
{
    size_t room = 0;
    bool row = false, ok = stmt != NULL;
    *out = (struct sql_ids){0};
    while (ok && (ok = sql_step(sql, stmt, &row, err)) && row) {
        if (out->n == room)
            out->at = mem_need_resize(out->at, room = 2 * room + 64, sizeof *out->at);
        out->at[out->n++] = sqlite3_column_int64(stmt, 0);
    }
    sqlite3_finalize(stmt);
    return ok;
}

bool sql_begin(struct sql *sql, bool write, struct err *err)
{
    sql->code = SQLITE_OK;
    return sqlite3_exec(sql->db, write ? "BEGIN IMMEDIATE" : "BEGIN", NULL, NULL, NULL) == SQLITE_OK ||
           sql_fail(sql, write ? "beginning to write" : "beginning to read", err);
}

bool sql_end(struct sql *sql, bool ok, struct err *err)
{
    if (ok && sqlite3_exec(sql->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        ok = sql_fail(sql, "saving", err);
    if (!ok && !sqlite3_get_autocommit(sql->db))
        sqlite3_exec(sql->db, "ROLLBACK", NULL, NULL, NULL);
    return ok;
}
