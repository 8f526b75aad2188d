/* paths.h: where files of the program live: --data-dir, else the XDG directories.
 *
 * Directories are made 0700, files 0600. --private leaves every written path NULL, so that nothing can be
 * written. Ownership: struct paths owns its strings. Single thread. */
#ifndef FERRUM_PATHS_H
#define FERRUM_PATHS_H

#include <stdbool.h>

#include "app/config.h"

struct paths {
    char *config;  /* read only; NULL without a home directory */
    char *chat_db; /* the rest: NULL under --private */
    char *kv_db;   /* NULL with --no-kv-store too; kv_db.h makes its directory */
    char *history;
    char *log;
    struct err state_trouble; /* why history and log are NULL: a warning; code 0: nothing to say */
};

/* Where the config file is: known before the options are complete. */
void paths_config(struct paths *p, const struct environment *env);
/* Fills the written paths and makes their directories (not for reading: make false). Only the directory of
 * chat.db is needed; without the other one history and log are NULL. */
bool paths_init(struct paths *p, const struct options *o, const struct environment *env, bool make,
                struct err *err);
/* Where compiled OpenCL programs are kept: a cache (mem_free); NULL: nowhere. */
char *paths_cl_cache(const struct options *o, const struct environment *env);
/* mkdir -p with mode 0700; directories that are there keep their mode. The error names what is wrong and
 * where. */
bool paths_make_directories(const char *path, struct err *err);
void paths_fini(struct paths *p);

#endif
