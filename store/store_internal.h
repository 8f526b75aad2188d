/* store_internal.h: what the files of this room share and nobody else sees.
 * Everything here runs on the thread that opened the store. */
#ifndef FERRUM_STORE_INTERNAL_H
#define FERRUM_STORE_INTERNAL_H

#include <pthread.h>
#include <sqlite3.h>

#include "store/store.h"

struct store {
    sqlite3 *db;
    char *path;
    pthread_t owner;
    const atomic_bool *stop; /* see store_open_until */
    int version;             /* of the schema; a file that is only read may have an older one */
    int code;                /* SQLite's extended code of the last failure */
    bool may_retry, chat_is_gone, id_is_taken; /* of the last failure */
    bool index_is_broken;                      /* beyond repair: nothing is indexed any more */
    bool index_undid;     /* its damage made SQLite undo the transaction, of the last failure */
    bool index_is_mended; /* since the store is open, for that reason */
};

/* Sets up an empty file, or checks that an old one is ours; one of an older version is brought up to date
 * when writing. */
bool schema_prepare(struct store *s, bool writable, struct err *err);

/* Copies the file to PATH.old, 0600, complete or not at all; an older copy is replaced. Called outside
 * of transactions. */
bool store_backup(struct store *s, struct err *err);
/* Removes that copy, as far as there is one. */
void store_drop_backup(const struct store *s);

/* Fills err from SQLite's last error: "chat.db: <what>: <SQLite's words>; <advice>". Returns false. */
bool store_fail(struct store *s, struct err *err, const char *what);

/* A prepared statement of sql, or NULL with err. Finalise with sqlite3_finalize (takes NULL). */
sqlite3_stmt *store_prepare(struct store *s, const char *sql, struct err *err);
bool store_exec(struct store *s, const char *sql, struct err *err);

/* Steps a statement that returns no row, finalises it. */
bool store_run(struct store *s, sqlite3_stmt *stmt, const char *what, struct err *err);

/* The same for a statement whose only parameter is a row id. */
bool store_run_for(struct store *s, const char *sql, int64_t id, const char *what, struct err *err);

/* BEGIN IMMEDIATE, and its end: COMMIT when ok, else (or when the commit fails) ROLLBACK. Returns whether
 * committed. */
bool store_begin(struct store *s, struct err *err);
bool store_end(struct store *s, bool ok, struct err *err);

/* A column as valid UTF-8 (mem_free); NULL for NULL. */
char *store_column_string(sqlite3_stmt *stmt, int column);

void store_assert_owner(const struct store *s);

/* Inside a transaction (store_prof.c). */
bool store_put_prof(struct store *s, int64_t msg, const struct kept_prof *kept, struct err *err);
/* As far as `from` has one, and `to` none. */
bool store_copy_prof(struct store *s, int64_t from, int64_t to, struct err *err);

/* ---- the index of words (store_search.c), inside a transaction ---- */

/* Status 1 is CHAT_STREAMING: an answer that grows is indexed when it is done. */
#define INDEX_FILL "INSERT INTO msg_fts(rowid,text) SELECT id,text FROM msg WHERE status<>1;"
/* Before a message changes, and after. A damaged index is made anew or given up, which is no failure; false:
 * the transaction cannot go on (it may be undone already), as on a full disk; see index_settle. */
bool index_remove_msg(struct store *s, int64_t msg, struct err *err);
bool index_add_msg(struct store *s, int64_t msg, struct err *err);
/* Before a chat is deleted: leaves no trace of its words. */
bool index_remove_chat(struct store *s, int64_t conv, struct err *err);
/* After a change that failed: whether it was damage of the index that undid it. The index is made anew then,
 * or given up, and the change is to be made again. */
bool index_settle(struct store *s);

#endif
