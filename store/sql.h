/* sql.h: how a database file of this room is made, opened and asked; everything SQLite says becomes a
 * sentence.
 *
 * A struct sql is one connection and belongs to one thread. Files are 0600 in directories 0700, made with
 * O_NOFOLLOW before SQLite sees them, and only files of the user's own are taken. No WAL, no mmap, nothing
 * loaded. Errors are ERR_DATABASE: file, what was tried, SQLite's words, what to do. */
#ifndef FERRUM_SQL_H
#define FERRUM_SQL_H

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

/* What the errors of a kind of file advise. */
struct sql_words {
    const char *elsewhere; /* "use --data-dir to choose another place" */
    const char *forbidden; /* when rights are missing */
    const char *damaged;   /* when the file is damaged, or none of SQLite's */
};

struct sql {
    sqlite3 *db;
    char *path; /* owned */
    const struct sql_words *words;
    int busy_ms;             /* how long a call waits for a lock of another program */
    const atomic_bool *stop; /* borrowed, may be NULL: while true nothing waits for a lock */
    int code;                /* SQLite's extended code of the last failure */
    bool was_damaged;        /* the file's content was the reason of one */
};

/* What to do about a result code of SQLite. */
const char *sql_advice(int code, const struct sql_words *words);

/* Refuses what is there and is not a plain file of ours. *absent: nothing is there. */
bool sql_check_file(const char *path, const struct sql_words *words, bool *absent, struct err *err);
/* The same; makes the file and its directories when absent. Opens nothing
 * that is there: closing a descriptor would drop the locks of a connection of this process. */
bool sql_make_file(const char *path, const struct sql_words *words, struct err *err);
bool sql_make_directories(const char *path, const struct sql_words *words, struct err *err);

/* Opens path to read and write, and hardens the connection; words, busy_ms and stop are the caller's.
 * sql_close takes a struct that sql_open refused, or zeros. */
bool sql_open(struct sql *sql, const char *path, struct err *err);
void sql_close(struct sql *sql);

/* Fills err from SQLite's last error: "kv.db: <what>: <SQLite's words>; <advice>". Returns false. */
bool sql_fail(struct sql *sql, const char *what, struct err *err);
/* Whether the last failure was another program's lock. */
bool sql_is_busy(const struct sql *sql);
/* Records that the file's content is not what it must be. */
void sql_note_damage(struct sql *sql);

bool sql_exec(struct sql *sql, const char *text, struct err *err);
/* A prepared statement, or NULL with err. End it with sqlite3_finalize (takes NULL). */
sqlite3_stmt *sql_prepare(struct sql *sql, const char *text, struct err *err);
/* The same with n numbers bound to ?1.. */
sqlite3_stmt *sql_prepare_with(struct sql *sql, const char *text, const int64_t *numbers, int n,
                               struct err *err);
/* Steps a statement that returns no row, and finalises it. */
bool sql_run(struct sql *sql, sqlite3_stmt *stmt, struct err *err);
bool sql_run_with(struct sql *sql, const char *text, const int64_t *numbers, int n, struct err *err);
/* Steps to the next row; *row tells whether there is one. */
bool sql_step(struct sql *sql, sqlite3_stmt *stmt, bool *row, struct err *err);
/* The first column of the first row, NULL as 0; no row is an error. Finalises stmt (NULL: false). */
bool sql_number_of(struct sql *sql, sqlite3_stmt *stmt, int64_t *out, struct err *err);
bool sql_number(struct sql *sql, const char *text, int64_t *out, struct err *err);

/* The numbers of the first column of all rows; finalises stmt (NULL: false). at is mem_free'd by the caller,
 * on failure too. */
struct sql_ids {
    int64_t *at;
    size_t n;
};
bool sql_collect(struct sql *sql, sqlite3_stmt *stmt, struct sql_ids *out, struct err *err);

/* BEGIN (IMMEDIATE when writing), and its end: COMMIT when ok, else, or when that fails, ROLLBACK. Returns
 * whether committed. */
bool sql_begin(struct sql *sql, bool write, struct err *err);
bool sql_end(struct sql *sql, bool ok, struct err *err);

#endif
