/* kv_db.h: kv.db, the cache of KV blocks (engine/base/kv_block.h): one SQLite file that may be deleted at any
 * time.
 *
 * One struct kv_db is one connection and belongs to the thread that uses it. Blocking calls: the program's
 * engine reaches it through kv_io.h, which runs it on a thread of its own; subcommands use it directly.
 * Schema: kv_schema.c. page_size 16384, journal TRUNCATE, synchronous NORMAL: a committed block survives
 * kill -9, and a power cut may cost blocks, never a wrong one, since every block is verified before use
 * (length, checksum, tokens). A file that is damaged, foreign, of another version or page size is not
 * repaired but renamed to kv.db.bad and made anew (under the program's own lock file, when nobody else has it
 * open). Everything read from it is bounded and checked. Errors are ERR_DATABASE, one sentence. */
#ifndef FERRUM_KV_DB_H
#define FERRUM_KV_DB_H

#include "engine/base/err.h"
#include "engine/base/kv_block.h"

struct kv_db;

struct kv_db_options {
    const char *path;     /* .../kv.db; its directory is made 0700, files 0600 */
    uint64_t limit_bytes; /* of all blocks; 0: the default, min(16 GiB, 10 % of the free space) */
    uint64_t least_bytes; /* the limit is never below this (two contexts in use); the free-space check wins */
    bool just_look;       /* opening evicts nothing: for whoever does not know what a chat's limit is; without
                             limit_bytes it is that of the program that opened the file last to use it */
};

/* *note (may be NULL) gets a sentence when something was put aside: the old file was not usable. ERR_DATABASE
 * too for a network file system (NFS, SMB, sshfs...), where SQLite's locks cannot be relied on. */
struct kv_db *kv_db_open(const struct kv_db_options *options, struct err *note, struct err *err);
void kv_db_close(struct kv_db *db);

/* The space blocks are put to and found in from now on (made when absent; label is for people), and the name
 * of what computes ("cpu avx512 r4"). exact: only blocks of that name are found. */
bool kv_db_set_space(struct kv_db *db, const struct kv_space *space, const char *label, const char *numerics,
                     bool exact, struct err *err);

/* Stores n blocks in one transaction, those already there cost nothing; replaces tails that the new blocks
 * continue; evicts what the limit asks for, never these. *written: bytes of new blocks. */
bool kv_db_put(struct kv_db *db, const struct kv_block *const *blocks, size_t n, uint64_t *written,
               struct err *err);
/* See struct kv_shelf. */
size_t kv_db_find(struct kv_db *db, const struct kv_hash *parent, const int32_t *ids, size_t n,
                  const unsigned char owner[KV_OWNER_BYTES], struct kv_found *out, size_t max,
                  struct err *err);
bool kv_db_fetch(struct kv_db *db, const struct kv_found *found, const int32_t *tokens, void *bytes,
                 size_t n_bytes, struct err *err);
/* Measured costs, kept in the space's row (0: unknown). Fetching is measured by kv_db_fetch, and kept when
 * prefilling is noted. */
bool kv_db_prefill_ns(struct kv_db *db, double *ns_per_token, struct err *err);
bool kv_db_note_prefill(struct kv_db *db, double ns_per_token, struct err *err);

/* A chat is deleted: blocks that only it uses go for good (zeroed, secure_delete=ON), then pages are given
 * back. */
bool kv_db_forget_owner(struct kv_db *db, const unsigned char owner[KV_OWNER_BYTES], uint64_t *n_blocks,
                        struct err *err);
/* Removes what was put aside (PATH.bad): it may hold blocks and ids of deleted chats. kv_db_forget_owner does
 * so. */
bool kv_db_drop_aside(const char *path, uint64_t *n_bytes, struct err *err);
/* Evicts leaf-first, least recently used first, until limit and free space are kept. At start, and by put. */
bool kv_db_enforce(struct kv_db *db, uint64_t *n_evicted, struct err *err);
/* Gives a slice of free pages back to the system, some 64 MiB of them excepted, which the next blocks will
 * fill; for idle time. *more: there are others. */
bool kv_db_tidy(struct kv_db *db, bool *more, struct err *err);

struct kv_db_space_stat {
    char label[96], kv_type[16];
    uint64_t n_blocks, n_bytes, n_tokens;
};
struct kv_db_stat {
    uint64_t n_blocks, n_bytes, n_tokens;         /* of all spaces; tokens: rows kept */
    uint64_t file_bytes, limit_bytes, free_bytes; /* free: of the file system */
    uint64_t n_evicted;                           /* since the file was made */
    struct kv_db_space_stat *spaces;              /* [n_spaces], mem_free */
    size_t n_spaces;
};
bool kv_db_stat(struct kv_db *db, struct kv_db_stat *out, struct err *err);

/* Reads every block; the damaged and those behind them are dropped. progress (may be NULL) is called after
 * each; false ends it early. */
struct kv_db_verdict {
    uint64_t n_blocks, n_bytes, n_damaged, n_dropped;
};
bool kv_db_verify(struct kv_db *db, bool (*progress)(void *arg, uint64_t done, uint64_t total), void *arg,
                  struct kv_db_verdict *out, struct err *err);
/* Drops all blocks and gives the space back. What was put aside stays (kv_db_drop_aside). On a full disk,
 * with nobody else there, by emptying the file: db takes nothing but kv_db_close then. */
bool kv_db_clear(struct kv_db *db, uint64_t *n_bytes, struct err *err);

#endif
