/* kv_io.h: the kv-io thread: it owns the program's one connection to kv.db and serves the engine's shelf.
 *
 * Invariants
 *  1. offer never waits and never allocates: a bounded ring takes blocks, and a full ring refuses.
 *  2. Blocks are written in the order offered, several per transaction; questions (find, fetch) go first, but
 *     see the blocks offered before them.
 *  3. Trouble (disk full, I/O error, damaged file) switches saving off with one sentence; the chat goes on,
 * and everything offered later is refused at once. A locked file is tried again. A file that was deleted or
 * moved away is begun anew, with a sentence, and the engine offers again what it has.
 *  4. kv_io_close writes what the ring holds as long as its time limit allows, then drops the rest.
 * Thread rule: the shelf's functions are for the engine's thread, the others for app's; kv_io_stats for any.
 */
#ifndef FERRUM_KV_IO_H
#define FERRUM_KV_IO_H

#include "store/kv_db.h"

struct kv_io;

struct kv_io_options {
    struct kv_db_options db;
    struct kv_space space;
    const char *label;    /* of the space, for people: "qwen3-0.6b q4_k_m" */
    const char *numerics; /* what computes until the shelf's note_kernels says otherwise: "cpu avx512 r4" */
    bool exact;           /* --kv-exact */
};

/* Starts the thread, which opens the file by itself (kv_io_stats tells what came of it). Copies options. */
struct kv_io *kv_io_open(const struct kv_io_options *options, struct err *err);
/* False when something was not written in limit_ms. The engine must be gone. NULL is fine. */
bool kv_io_close(struct kv_io *io, int limit_ms);

const struct kv_shelf *kv_io_shelf(struct kv_io *io); /* lives as long as io */

/* A chat was deleted (see kv_db_forget_owner); runs when its turn comes. */
void kv_io_forget(struct kv_io *io, const unsigned char owner[KV_OWNER_BYTES]);
/* An owner of whom the file holds nothing any more since it was forgotten; each once. False: none. */
bool kv_io_next_forgotten(struct kv_io *io, unsigned char owner[KV_OWNER_BYTES]);
/* The program ends: what is not written in limit_ms from now is dropped, so that an engine that is being
 * closed gets its pages back in time; nothing is taken any more after that. */
void kv_io_hurry(struct kv_io *io, int limit_ms);
/* Waits until everything offered so far is written (tests, one-turn runs); false: not in limit_ms. */
bool kv_io_flush(struct kv_io *io, int limit_ms);

struct kv_io_stats {
    uint64_t written_bytes, n_written; /* new blocks of this run */
    uint64_t ahead_bytes;              /* of those, what was computed for a turn to come */
    uint64_t n_refused;                /* offers that found the ring full */
    uint64_t kept_blocks, kept_bytes;  /* of the whole file, counted when the thread was at rest last, and
                                          with what this program stored and took away since */
    uint64_t limit_bytes;              /* 0: not known yet */
    bool off;                          /* saving is switched off; why says so */
    struct err why;                    /* or a note: the old file was put aside */
};
void kv_io_stats(struct kv_io *io, struct kv_io_stats *out);

#endif
