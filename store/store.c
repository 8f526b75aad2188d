/* store.c: opens and closes chat.db and gives the other files of the room their statements and transactions.
 */
#include "store/store.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "store/sql.h"
#include "store/store_internal.h"

#define BUSY_TIMEOUT_MS 5000 /* how long a call waits for a lock of another program */
#define BUSY_NAP_MS 20
#define MAX_VALUE_BYTES (256 << 20) /* nothing in the file may be longer than this */

void store_assert_owner(const struct store *s)
{
    assert(pthread_equal(s->owner, pthread_self()));
    (void)s;
}

static const struct sql_words words = {
    "use --data-dir to choose another place",
    "check the permissions of the file and its directory, or use --data-dir",
    "the file is damaged or no chat database; move it away (keep it: sqlite3's .recover may save its text)",
};

/* Whether the same call may succeed later without anybody changing what it asks for. */
static bool is_passing(int code)
{
    static const int passing[] = {SQLITE_BUSY, SQLITE_LOCKED,   SQLITE_FULL, SQLITE_IOERR, SQLITE_READONLY,
                                  SQLITE_PERM, SQLITE_CANTOPEN, SQLITE_AUTH, SQLITE_NOMEM, SQLITE_INTERRUPT};
    for (size_t i = 0; i < sizeof passing / sizeof passing[0]; i++)
        if ((code & 0xFF) == passing[i])
            return true;
    return false;
}

bool store_fail(struct store *s, struct err *err, const char *what)
{
    int code = sqlite3_extended_errcode(s->db);
    s->code = code;
    s->may_retry = is_passing(code);
    return err_set(err, ERR_DATABASE, "%s: %s: %s; %s", s->path, what, sqlite3_errmsg(s->db),
                   sql_advice(code, &words));
}

sqlite3_stmt *store_prepare(struct store *s, const char *sql, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL) != SQLITE_OK)
        store_fail(s, err, "reading its tables");
    return stmt;
}

bool store_exec(struct store *s, const char *sql, struct err *err)
{
    if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return store_fail(s, err, "writing to it");
    return true;
}

bool store_run(struct store *s, sqlite3_stmt *stmt, const char *what, struct err *err)
{
    bool ok = sqlite3_step(stmt) == SQLITE_DONE;
    if (!ok)
        store_fail(s, err, what);
    sqlite3_finalize(stmt);
    return ok;
}

bool store_run_for(struct store *s, const char *sql, int64_t id, const char *what, struct err *err)
{
    sqlite3_stmt *stmt = store_prepare(s, sql, err);
    if (!stmt)
        return false;
    sqlite3_bind_int64(stmt, 1, id);
    return store_run(s, stmt, what, err);
}

bool store_has_moved(const struct store *s)
{
    int has_moved = 0;
    return sqlite3_file_control(s->db, "main", SQLITE_FCNTL_HAS_MOVED, &has_moved) == SQLITE_OK && has_moved;
}

bool store_may_retry(const struct store *s)
{
    return s->may_retry;
}

bool store_chat_is_gone(const struct store *s)
{
    return s->chat_is_gone;
}

bool store_id_is_taken(const struct store *s)
{
    return s->id_is_taken;
}

/* SQLite's busy handler: another program holds the lock; called again after each nap. */
static int wait_for_lock(void *arg, int n_naps)
{
    const struct store *s = arg;
    if (n_naps >= BUSY_TIMEOUT_MS / BUSY_NAP_MS || (s->stop && atomic_load(s->stop)))
        return 0;
    struct timespec nap = {.tv_nsec = BUSY_NAP_MS * 1000000L};
    nanosleep(&nap, NULL);
    return 1;
}

bool store_begin(struct store *s, struct err *err)
{
    store_assert_owner(s);
    s->may_retry = s->chat_is_gone = s->id_is_taken = s->index_undid = false;
    s->code = SQLITE_OK;
    if (sqlite3_exec(s->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
        return store_fail(s, err, "beginning to write");
    return true;
}

bool store_end(struct store *s, bool ok, struct err *err)
{
    if (ok && sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        ok = store_fail(s, err, "saving");
    if (!ok && !sqlite3_get_autocommit(s->db))
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return ok;
}

static bool set_up(struct store *s, bool writable, struct err *err)
{
    sqlite3_extended_result_codes(s->db, 1);
    sqlite3_busy_handler(s->db, wait_for_lock, s);
    sqlite3_limit(s->db, SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES);
    sqlite3_limit(s->db, SQLITE_LIMIT_ATTACHED, 0);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    static const char for_all[] = "PRAGMA foreign_keys=ON; PRAGMA cell_size_check=ON; PRAGMA mmap_size=0;"
                                  "PRAGMA temp_store=MEMORY; PRAGMA cache_size=-8000;";
    static const char for_writers[] =
        "PRAGMA journal_mode=TRUNCATE; PRAGMA synchronous=FULL; PRAGMA secure_delete=ON;";
    if (sqlite3_exec(s->db, for_all, NULL, NULL, NULL) != SQLITE_OK)
        return store_fail(s, err, "opening it");
    if (writable && sqlite3_exec(s->db, for_writers, NULL, NULL, NULL) != SQLITE_OK)
        return store_fail(s, err, "opening it");
    return schema_prepare(s, writable, err);
}

/* Whether SQLite can have a journal beside the file: one that is there, or one that it may make. */
static bool may_have_journal(const char *path)
{
    struct buf journal = {0}, directory = {0};
    const char *slash = strrchr(path, '/');
    buf_printf(&journal, "%s-journal", path);
    buf_append(&directory, slash ? path : ".", slash ? (size_t)(slash - path) + 1 : 1);
    bool ok = access(buf_text(&journal), R_OK | W_OK) == 0 ||
              (errno == ENOENT && access(buf_text(&directory), W_OK | X_OK) == 0);
    buf_fini(&journal);
    buf_fini(&directory);
    return ok;
}

/* A connection to the file, set up; closed when that fails. */
static bool connect_to(struct store *s, bool writable, struct err *err)
{
    int flags = SQLITE_OPEN_NOMUTEX | (writable ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY);
    bool ok = sqlite3_open_v2(s->path, &s->db, flags, NULL) == SQLITE_OK || store_fail(s, err, "opening it");
    /* SQLite silently falls back to reading when the file may not be written, and finds out at the first turn
     * that it has no journal: say so now. */
    if (ok && writable && (sqlite3_db_readonly(s->db, "main") == 1 || !may_have_journal(s->path)))
        ok = err_set(
            err, ERR_DATABASE,
            "%s: may be read but not written; check its permissions and those of its directory, or use "
            "--data-dir",
            s->path);
    if (ok && set_up(s, writable, err))
        return true;
    sqlite3_close(s->db);
    s->db = NULL;
    return false;
}

/* A program that was killed while it wrote left half a change, and a journal to undo it by. Whoever only
 * reads may not undo it: a connection that writes, and changes nothing else, does. */
static bool undo_half_written(struct store *s, struct err *err)
{
    int rc = sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_READWRITE, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_extended_result_codes(s->db, 1);
        sqlite3_busy_handler(s->db, wait_for_lock, s);
        /* Whoever has the file alone undoes without deleting the journal, which the directory may forbid. */
        rc = sqlite3_exec(s->db, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA schema_version", NULL, NULL, NULL);
    }
    bool ok = rc == SQLITE_OK;
    if (!ok)
        store_fail(s, err, "undoing what a killed program had half written");
    if ((rc & 0xFF) == SQLITE_READONLY || (rc & 0xFF) == SQLITE_CANTOPEN || rc == SQLITE_IOERR_DELETE)
        err_set(
            err, ERR_DATABASE,
            "%s: a program was killed while it wrote, and the file cannot be read before that is undone, for "
            "which the file and its directory must be writable; make them so, or copy the file and "
            "%s-journal "
            "together to another --data-dir",
            s->path, s->path);
    sqlite3_close(s->db);
    s->db = NULL;
    return ok;
}

struct store *store_open(const char *path, enum store_mode mode, struct err *err)
{
    return store_open_until(path, mode, NULL, err);
}

struct store *store_open_until(const char *path, enum store_mode mode, const atomic_bool *stop,
                               struct err *err)
{
    bool writable = mode == STORE_READ_WRITE;
    bool absent;
    struct err trouble = {0};
    if (!sql_check_file(path, &words, &absent, err) ||
        (absent && writable && !sql_make_file(path, &words, err)))
        return NULL;
    struct store *s = mem_need(sizeof *s);
    s->path = mem_strdup(path);
    s->owner = pthread_self();
    s->stop = stop;
    bool ok = connect_to(s, writable, &trouble);
    if (!ok && (s->code == SQLITE_READONLY_ROLLBACK || s->code == SQLITE_IOERR_DELETE))
        ok = undo_half_written(s, &trouble) && connect_to(s, writable, &trouble);
    if (ok)
        return s;
    if (err)
        *err = trouble;
    store_close(s);
    return NULL;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    store_assert_owner(s);
    sqlite3_close(s->db);
    mem_free(s->path);
    mem_free(s);
}
