/* kv_internal.h: what the files of kv.db share and nobody else sees (tests excepted). One thread, the
 * owner's.
 */
#ifndef FERRUM_KV_INTERNAL_H
#define FERRUM_KV_INTERNAL_H

#include "engine/base/buf.h"
#include "store/kv_db.h"
#include "store/sql.h"

/* A commit writes some pages besides the block's own, and each of them twice: with 16 KiB that is 2 % of a
 * block of 7 MiB, with 64 KiB 10 %, and reading is as fast as memory can be copied in both. */
#define KV_PAGE_BYTES 16384
#define KV_SLICE_BYTES                                                                                       \
    ((size_t)1 << 20) /* read at a time: small enough to stop soon, and to stay in cache                     \
                       */
#define KV_BUSY_MS 2000
#define KV_BRIEF_MS 200 /* for another program's lock, by what may also be left unwritten */

struct kv_tally {
    int64_t n_blocks, n_bytes;
};

struct kv_db {
    struct sql sql;
    int lock_fd;           /* kv.db.lock, held shared; -1: none */
    uint64_t limit_bytes;  /* of all blocks */
    bool limit_is_default; /* by the disk's free space: neither given nor raised to what is in use */
    uint64_t floor_bytes;  /* of the file system's free space: left to others */
    uint64_t spare_bytes;  /* free pages that stay in the file: the next blocks take them */
    int64_t space;         /* its row; 0: none chosen */
    struct kv_hash root;
    uint32_t token_bytes;
    int64_t numerics, mixed; /* rows: this program's kernels; these behind other kernels' blocks */
    bool exact;
    int64_t other; /* the row of other kernels that was asked for last, and their name */
    char other_name[KV_KERNELS_BYTES];
    int64_t last_used;        /* strictly rising; microseconds as long as the clock goes forward */
    int64_t found[2];         /* the deepest blocks of the last find: not evicted */
    double fetch_ns_per_byte; /* by kv_db_fetch and verify; 0: not known */
    uint64_t n_new;           /* blocks stored by this connection */
    uint64_t ahead_bytes;     /* of those, what was computed for a turn to come */
    struct kv_tally tally;    /* what it stored less what it took away */
    unsigned char *slice;     /* [KV_SLICE_BYTES] */
};

/* Like kv_db_open. While *stop (borrowed for good, may be NULL) is true nothing waits for another program's
 * lock, and long calls (fetch, verify, giving pages back) end early. *busy: another program's lock was the
 * only reason, so it may succeed later. */
struct kv_db *kv_db_try_open(const struct kv_db_options *options, const atomic_bool *stop, struct err *note,
                             bool *busy, struct err *err);

/* After a failing write: the disk, or the user's share of it, is full / the file may still be read, since it
 * is that, or another program that reads too. */
bool kv_is_full(const struct kv_db *db);
bool kv_can_read_on(const struct kv_db *db);
/* Another file, or none, has the name of the one that is open: nothing may be written any more, since the
 * journal would be taken for the other file's. */
bool kv_has_moved(const struct kv_db *db);

/* ---- kv_file.c: the file among others ---- */

/* Whether SQLite's locks cannot be relied on there: f_type of statfs, and for FUSE the type of
 * /proc/self/mountinfo ("fuse.sshfs"). */
bool kv_is_network(long f_type, const char *mount_type);
/* Refuses a network file system; path's directory exists. */
bool kv_check_place(const char *path, struct err *err);
/* kv.db.lock: taken shared (waits KV_BUSY_MS); -1 with err. */
int kv_lock_shared(const char *path, struct err *err);
/* Makes the shared lock exclusive, if nobody else holds it; in between somebody may have. */
bool kv_lock_alone(int fd);
void kv_lock_share_again(int fd);
/* Renames path and its journals to path.bad; needs the exclusive lock, and no connection. */
bool kv_put_aside(const char *path, struct err *err);
/* Makes an empty file of it, without its journals; needs the exclusive lock, and no connection. */
bool kv_empty_file(const char *path, struct err *err);
/* Free and all bytes of the file system. */
bool kv_disk_space(const char *path, uint64_t *free_bytes, uint64_t *all_bytes, struct err *err);

/* ---- kv_schema.c ---- */

/* Makes the tables of an empty file. A file that is not exactly what this program makes is refused as
 * damaged. */
bool kv_schema_prepare(struct sql *sql, struct err *err);

/* ---- kv_row.c ---- */

struct kv_row {
    int64_t id, space, numerics;
    struct kv_hash hash, parent;
    uint32_t n_tokens;
    int32_t tokens[KV_BLOCK_TOKENS];
    uint64_t n_bytes, checksum;
};
#define KV_ROW_COLUMNS "id,space,numerics,hash,parent,n_tokens,n_bytes,cksum,tokens"

/* Reads a row of SELECT KV_ROW_COLUMNS. False: it contradicts itself (lengths, or a name that is not that of
 * its parent and tokens); only row->id holds then. */
bool kv_row_read(sqlite3_stmt *stmt, struct kv_row *row);
/* As many tokens as row and ids[0..n) have in common from the start. */
uint32_t kv_row_match(const struct kv_row *row, const int32_t *ids, size_t n);
/* The row of a name. *id: 0 when there is none; *sound: see kv_row_read. */
bool kv_row_find(struct kv_db *db, const struct kv_hash *hash, struct kv_row *row, bool *sound,
                 struct err *err);
uint64_t kv_checksum(const struct kv_hash *name, const void *bytes, size_t n_bytes);
/* Reads the bytes of a row to where (NULL: nowhere) and compares the checksum. True: *good tells. */
bool kv_row_load(struct kv_db *db, const struct kv_row *row, unsigned char *where, bool *good,
                 struct err *err);
/* Inside a write transaction: takes one row away / that and all behind it. */
bool kv_row_remove(struct kv_db *db, int64_t id, struct err *err);
bool kv_row_remove_chain(struct kv_db *db, int64_t id, uint64_t *n_removed, struct err *err);
/* owner uses the block, if it is (still) there. */
bool kv_note_owner(struct kv_db *db, const unsigned char *owner, int64_t id, struct err *err);
/* The time for `used`, later than any before. */
int64_t kv_now(struct kv_db *db);

/* ---- kv_forget.c ---- */

/* Appends the ids of the chats that were to be forgotten and are not yet, KV_OWNER_BYTES each. */
bool kv_forgotten(struct kv_db *db, struct buf *owners, struct err *err);

/* ---- kv_room.c ---- */

/* Inside a write transaction: evicts until need_bytes more fit the limit and the disk, but none of keep. */
bool kv_make_room(struct kv_db *db, uint64_t need_bytes, const int64_t *keep, size_t n_keep,
                  uint64_t *n_evicted, struct err *err);
bool kv_stat_add(struct kv_db *db, const char *name, int64_t delta, struct err *err);
/* Gives free pages back until there are none, or the connection is asked to hurry. */
bool kv_tidy_all(struct kv_db *db, struct err *err);

#endif
