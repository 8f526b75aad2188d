/* kv_db.c: opens kv.db, or a new one in its place; the space in use; measured costs. */
#include "store/kv_db.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "store/kv_internal.h"

#define SPARE_BYTES (64 << 20)
#define GIB ((uint64_t)1 << 30)
#define MIXED_NUMERICS "%s behind other kernels"

static const struct sql_words words = {
    "set XDG_CACHE_HOME (or --data-dir) to choose another place",
    "check the permissions of the file and its directory, or set XDG_CACHE_HOME (or --data-dir)",
    "it is a cache: the next start puts it aside and makes a new one",
};

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static bool set_limits(struct kv_db *db, const struct kv_db_options *options, struct err *err)
{
    uint64_t free_bytes, all_bytes;
    int64_t n_pages;
    if (!kv_disk_space(db->sql.path, &free_bytes, &all_bytes, err) ||
        !sql_number(&db->sql, "PRAGMA page_count", &n_pages, err))
        return false;
    /* As if the file were not there: else it would shrink its own limit by growing. */
    uint64_t without = free_bytes + (uint64_t)n_pages * KV_PAGE_BYTES;
    db->limit_bytes = options->limit_bytes ? options->limit_bytes : least(16 * GIB, without / 10);
    db->spare_bytes = SPARE_BYTES;
    db->limit_is_default = !options->limit_bytes && db->limit_bytes >= options->least_bytes;
    if (db->limit_bytes < options->least_bytes)
        db->limit_bytes = options->least_bytes;
    db->floor_bytes = least(GIB, all_bytes / 20);
    return true;
}

bool kv_is_full(const struct kv_db *db)
{
    return (db->sql.code & 0xFF) == SQLITE_FULL || db->sql.code == SQLITE_IOERR_WRITE;
}

bool kv_can_read_on(const struct kv_db *db)
{
    return sql_is_busy(&db->sql) || kv_is_full(db);
}

bool kv_has_moved(const struct kv_db *db)
{
    int has_moved = 0;
    return db->sql.db &&
           sqlite3_file_control(db->sql.db, "main", SQLITE_FCNTL_HAS_MOVED, &has_moved) == SQLITE_OK &&
           has_moved;
}

/* The limit in force is kept in the file where it is not the default one, for those who just look. */
static bool keep_limit(struct kv_db *db, const struct kv_db_options *options, struct err *err)
{
    int64_t kept, limit = db->limit_is_default ? 0 : (int64_t)db->limit_bytes;
    if (!sql_number(&db->sql, "SELECT ifnull((SELECT value FROM kv_stat WHERE name='limit'),0)", &kept, err))
        return false;
    if (options->just_look && !options->limit_bytes && kept > 0)
        db->limit_bytes = (uint64_t)kept;
    if (options->just_look || kept == limit)
        return true;
    return sql_run_with(&db->sql, "INSERT OR REPLACE INTO kv_stat VALUES('limit',?1)", &limit, 1, err) ||
           kv_can_read_on(db);
}

/* Neither the limit's row nor eviction is worth a long wait, and where they cannot be written they are left:
 * whoever stores blocks makes room first. */
static bool put_in_order(struct kv_db *db, const struct kv_db_options *options, struct err *err)
{
    uint64_t n_evicted;
    db->sql.busy_ms = KV_BRIEF_MS;
    bool ok = keep_limit(db, options, err) &&
              (options->just_look || kv_db_enforce(db, &n_evicted, err) || kv_can_read_on(db));
    db->sql.busy_ms = KV_BUSY_MS;
    return ok;
}

/* Opens what is there. Failing with sql.was_damaged: not a file to go on with. */
static bool open_file(struct kv_db *db, const struct kv_db_options *options, struct err *err)
{
    db->sql.was_damaged = false;
    if (!sql_make_file(options->path, &words, err) || !sql_open(&db->sql, options->path, err))
        return false;
    if (!kv_schema_prepare(&db->sql, err)) {
        if ((db->sql.code & 0xFF) == SQLITE_ERROR) { /* a file format of another SQLite */
            err_set(err, ERR_DATABASE, "%s: in a format that this SQLite does not read; %s", options->path,
                    db->sql.words->damaged);
            sql_note_damage(&db->sql);
        }
        return false;
    }
    return sql_exec(&db->sql,
                    "PRAGMA journal_mode=TRUNCATE; PRAGMA synchronous=NORMAL; PRAGMA secure_delete=FAST;"
                    "PRAGMA cache_size=-65536;",
                    err) &&
           set_limits(db, options, err) && put_in_order(db, options, err);
}

/* The file cannot be used: another takes its place, if nobody else has it open. why: what was wrong. */
static bool replace_file(struct kv_db *db, const struct kv_db_options *options, struct err *note,
                         struct err *err)
{
    struct err why = {0};
    struct sql_words past = words; /* the sentence tells what was done, not what will be */
    past.damaged = "it was put aside";
    if (!kv_lock_alone(db->lock_fd))
        return err_prefix(err, "another program has it open, so it is not replaced");
    /* Between the two locks another program may have replaced it already. */
    db->sql.words = &past;
    bool ok = open_file(db, options, &why);
    db->sql.words = &words;
    if (!ok && !db->sql.was_damaged)
        *err = why;
    if (!ok && db->sql.was_damaged) {
        sql_close(&db->sql);
        ok = kv_put_aside(options->path, err) && open_file(db, options, err);
        if (ok)
            err_set(note, ERR_DATABASE, "%s as %s.bad, and a new cache was begun", why.text, options->path);
    }
    kv_lock_share_again(db->lock_fd);
    return ok;
}

struct kv_db *kv_db_open(const struct kv_db_options *options, struct err *note, struct err *err)
{
    bool busy;
    return kv_db_try_open(options, NULL, note, &busy, err);
}

struct kv_db *kv_db_try_open(const struct kv_db_options *options, const atomic_bool *stop, struct err *note,
                             bool *busy, struct err *err)
{
    struct err trouble = {0};
    struct kv_db *db = mem_need(sizeof *db);
    db->slice = mem_need(KV_SLICE_BYTES);
    db->sql.words = &words;
    db->sql.busy_ms = KV_BUSY_MS;
    db->sql.stop = stop;
    db->lock_fd = -1;
    if (note)
        err_clear(note);
    bool ok = sql_make_directories(options->path, &words, &trouble) &&
              kv_check_place(options->path, &trouble) &&
              (db->lock_fd = kv_lock_shared(options->path, &trouble)) >= 0;
    if (ok && !open_file(db, options, &trouble)) {
        bool replace = db->sql.was_damaged;
        sql_close(&db->sql);
        ok = replace && replace_file(db, options, note, &trouble);
    }
    if (ok)
        return db;
    if (err)
        *err = trouble;
    *busy = sql_is_busy(&db->sql);
    kv_db_close(db);
    return NULL;
}

void kv_db_close(struct kv_db *db)
{
    if (!db)
        return;
    struct err ignored;
    char *path = db->sql.path && !kv_has_moved(db) ? mem_strdup(db->sql.path) : NULL;
    sql_close(&db->sql);
    /* Damage met while in use: the next start shall not meet it again. */
    if (path && db->sql.was_damaged && kv_lock_alone(db->lock_fd))
        kv_put_aside(path, &ignored);
    if (db->lock_fd >= 0)
        close(db->lock_fd);
    mem_free(path);
    mem_free(db->slice);
    mem_free(db);
}

static bool put_space(struct kv_db *db, const struct kv_space *space, const char *label, struct err *err)
{
    sqlite3_stmt *stmt = sql_prepare(&db->sql,
                                     "INSERT INTO kv_space(root,fp,kv_type,token_bytes,label)"
                                     " VALUES(?1,?2,?3,?4,?5) ON CONFLICT(root) DO UPDATE SET label=?5"
                                     " RETURNING id",
                                     err);
    if (!stmt)
        return false;
    sqlite3_bind_blob(stmt, 1, db->root.bytes, KV_HASH_BYTES, SQLITE_STATIC);
    sqlite3_bind_blob(stmt, 2, space->fingerprint, sizeof space->fingerprint, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 3, space->kv_type, (int)strnlen(space->kv_type, sizeof space->kv_type),
                      SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 4, space->token_bytes);
    sqlite3_bind_text(stmt, 5, label, -1, SQLITE_STATIC);
    return sql_number_of(&db->sql, stmt, &db->space, err);
}

static bool put_numerics(struct kv_db *db, const char *name, int64_t *id, struct err *err)
{
    sqlite3_stmt *stmt = sql_prepare(&db->sql,
                                     "INSERT INTO kv_numerics(name) VALUES(?1)"
                                     " ON CONFLICT(name) DO UPDATE SET name=?1 RETURNING id",
                                     err);
    if (!stmt)
        return false;
    sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
    return sql_number_of(&db->sql, stmt, id, err);
}

/* The id of the row that query finds for ?1 text and ?2 the root; 0: there is none. */
static bool look_up(struct kv_db *db, const char *query, const char *text, int64_t *id, struct err *err)
{
    bool row = false;
    sqlite3_stmt *stmt = sql_prepare(&db->sql, query, err);
    if (!stmt)
        return false;
    sqlite3_bind_text(stmt, 1, text, -1, SQLITE_STATIC);
    sqlite3_bind_blob(stmt, 2, db->root.bytes, KV_HASH_BYTES, SQLITE_STATIC); /* no ?2: ignored */
    bool ok = sql_step(&db->sql, stmt, &row, err);
    *id = row ? sqlite3_column_int64(stmt, 0) : 0;
    sqlite3_finalize(stmt);
    return ok;
}

/* What an earlier start made: *all that blocks need, *label_too. A start that finds both writes nothing. */
static bool find_rows(struct kv_db *db, const char *label, const char *numerics, const char *mixed, bool *all,
                      bool *label_too, struct err *err)
{
    static const char space[] = "SELECT id FROM kv_space WHERE root=?2";
    static const char labelled[] = "SELECT id FROM kv_space WHERE label=?1 AND root=?2";
    static const char kernels[] = "SELECT id FROM kv_numerics WHERE name=?1";
    int64_t same_label;
    bool ok = look_up(db, space, label, &db->space, err) && look_up(db, labelled, label, &same_label, err) &&
              look_up(db, kernels, numerics, &db->numerics, err) &&
              look_up(db, kernels, mixed, &db->mixed, err);
    *all = ok && db->space && db->numerics && db->mixed;
    *label_too = *all && same_label;
    return ok;
}

static bool make_rows(struct kv_db *db, const struct kv_space *space, const char *label, const char *numerics,
                      const char *mixed, struct err *err)
{
    if (!sql_begin(&db->sql, true, err))
        return false;
    bool ok = put_space(db, space, label, err) && put_numerics(db, numerics, &db->numerics, err) &&
              put_numerics(db, mixed, &db->mixed, err);
    return sql_end(&db->sql, ok, err);
}

static bool read_cost(struct kv_db *db, const char *query, double *out, struct err *err)
{
    bool row = false;
    sqlite3_stmt *stmt = sql_prepare_with(&db->sql, query, &db->space, 1, err);
    bool ok = stmt && sql_step(&db->sql, stmt, &row, err);
    double value = row ? sqlite3_column_double(stmt, 0) : 0;
    *out = value > 0 && value < 1e12 ? value : 0;
    sqlite3_finalize(stmt);
    return ok;
}

bool kv_db_set_space(struct kv_db *db, const struct kv_space *space, const char *label, const char *numerics,
                     bool exact, struct err *err)
{
    char mixed[256];
    double fetch_ns = 0;
    bool all, label_too;
    snprintf(mixed, sizeof mixed, MIXED_NUMERICS, numerics);
    db->space = 0;
    db->root = kv_space_hash(space);
    db->token_bytes = space->token_bytes;
    db->exact = exact;
    db->sql.code = SQLITE_OK;
    bool ok =
        find_rows(db, label, numerics, mixed, &all, &label_too, err) &&
        (label_too || make_rows(db, space, label, numerics, mixed, err) || (all && kv_can_read_on(db))) &&
        read_cost(db, "SELECT fetch_ns FROM kv_space WHERE id=?1", &fetch_ns, err);
    if (!ok)
        db->space = 0;
    else if (db->fetch_ns_per_byte == 0)
        db->fetch_ns_per_byte = fetch_ns;
    return ok;
}

bool kv_db_prefill_ns(struct kv_db *db, double *ns_per_token, struct err *err)
{
    return read_cost(db, "SELECT prefill_ns FROM kv_space WHERE id=?1", ns_per_token, err);
}

bool kv_db_note_prefill(struct kv_db *db, double ns_per_token, struct err *err)
{
    sqlite3_stmt *stmt =
        sql_prepare(&db->sql, "UPDATE kv_space SET prefill_ns=?1, fetch_ns=?2 WHERE id=?3", err);
    if (!stmt)
        return false;
    sqlite3_bind_double(stmt, 1, ns_per_token);
    sqlite3_bind_double(stmt, 2, db->fetch_ns_per_byte);
    sqlite3_bind_int64(stmt, 3, db->space);
    return sql_run(&db->sql, stmt, err);
}
