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
    const atomic_bool *stop;      /* see store_open_until */
    bool may_retry, chat_is_gone; /* of the last failure */
};

/* Sets up an empty file, or checks that an old one is ours and of our version. */
bool schema_prepare(struct store *s, bool writable, struct err *err);

/* Fills err from SQLite's last error: "chat.db: <what>: <SQLite's words>; <advice>". Returns false. */
bool store_fail(struct store *s, struct err *err, const char *what);

/* A prepared statement of sql, or NULL with err. Finalise with sqlite3_finalize (takes NULL). */
sqlite3_stmt *store_prepare(struct store *s, const char *sql, struct err *err);
bool store_exec(struct store *s, const char *sql, struct err *err);

/* Steps a statement that returns no row, finalises it. */
bool store_run(struct store *s, sqlite3_stmt *stmt, const char *what, struct err *err);

/* BEGIN IMMEDIATE, and its end: COMMIT when ok, else (or when the commit fails) ROLLBACK. Returns whether
 * committed. */
bool store_begin(struct store *s, struct err *err);
bool store_end(struct store *s, bool ok, struct err *err);

void store_assert_owner(const struct store *s);

#endif
