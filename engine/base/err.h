/* err.h: how anything that can fail says so.
 *
 * A fallible function returns bool (or NULL) and takes `struct err *err` last. The struct lives on the
 * caller's stack; the first failure fills it, nobody else writes it. The text is one sentence for a person:
 * what, where, found, expected, what to do. `err` may be NULL when the caller does not care.
 * Thread rule: a value type, no shared state. */
#ifndef FERRUM_ERR_H
#define FERRUM_ERR_H

#include <stdbool.h>

/* The first seven values are the program's exit codes (shared with scripts: do not renumber). */
enum err_code {
    ERR_NONE = 0,
    ERR_RUNTIME = 1,
    ERR_USAGE = 2,
    ERR_MODEL = 3,     /* a model file that cannot be loaded */
    ERR_MEMORY = 4,    /* an allocation that failed */
    ERR_PROMPT = 5,    /* a prompt that does not fit the context */
    ERR_DATABASE = 6,  /* chat.db or kv.db */
    ERR_CANCELLED = 7, /* asked to stop; never an exit code */
};

struct err {
    enum err_code code;
    char text[512];
};

/* Fills *err (cut at the end of text if need be) and returns false, so that `return err_set(...)` reads well.
 */
__attribute__((format(printf, 3, 4))) bool err_set(struct err *err, enum err_code code, const char *format,
                                                   ...);

/* Puts "prefix: " before a text already set: the caller adds where it happened. Returns false. */
__attribute__((format(printf, 2, 3))) bool err_prefix(struct err *err, const char *format, ...);

void err_clear(struct err *err);

#endif
