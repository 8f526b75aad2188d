/* kv_io_internal.h: what the kv-io thread (kv_io_thread.c) and those who leave work for it (kv_io.c) share.
 */
#ifndef FERRUM_KV_IO_INTERNAL_H
#define FERRUM_KV_IO_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "store/kv_internal.h"
#include "store/kv_io.h"

#define KV_IO_RING_SLOTS 32
#define KV_IO_BATCH_BLOCKS 8 /* of a transaction at most */

enum question_kind { QUESTION_NONE, QUESTION_FIND, QUESTION_FETCH };
enum question_state { QUESTION_ASKED, QUESTION_RUNNING, QUESTION_DONE };

struct question {
    enum question_kind kind;
    enum question_state state;
    const struct kv_hash *parent;
    const int32_t *ids;
    size_t n;
    const unsigned char *owner;
    struct kv_found *out;
    size_t max;
    const struct kv_found *found;
    void *bytes;
    size_t n_bytes;
    size_t answer; /* blocks found, or 1: fetched */
};

struct kv_io {
    pthread_t thread;
    struct kv_io_options options;
    struct kv_shelf shelf;
    struct kv_db *db;      /* the thread's alone */
    size_t batch;          /* the thread's: blocks of the next transaction */
    bool met_damage;       /* the thread's: when opening */
    struct kv_tally tally; /* the thread's: db's, as far as stats tell it */
    atomic_bool hurry;     /* the call the thread is in: wait for no lock, end early */

    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t work;   /* for the thread: there is something to do */
    pthread_cond_t change; /* for the others: an answer, a write, the end */
    struct kv_block ring[KV_IO_RING_SLOTS];
    atomic_uint *pins[KV_IO_RING_SLOTS];
    size_t first, n_ring;
    uint64_t n_offered, n_done;
    uint64_t n_dropped; /* blocks and owners nothing was done about */
    struct question question;
    unsigned char (*forget)[KV_OWNER_BYTES]; /* owners to be forgotten */
    size_t n_forget;
    unsigned char (*forgotten)[KV_OWNER_BYTES]; /* of whom nothing is left, for kv_io_next_forgotten */
    size_t n_forgotten;
    double prefill_ns, fetch_ns;
    bool prefill_is_new; /* not in the file yet */
    char kernels[KV_KERNELS_BYTES];
    bool kernels_are_new; /* the file is not told yet: until then nothing is offered or found */
    bool untidy;
    uint64_t locked_until_ns; /* another program held the file: until then nothing is looked for */
    bool stats_are_old;       /* what is said about the whole file */
    uint64_t deadline_ns;     /* after it nothing is written; 0: none */
    bool closing, abandon, ended;
    struct kv_io_stats stats;
};

/* The thread; arg is the struct kv_io. */
void *kv_io_thread(void *arg);
/* Under the mutex: whether kv_io_hurry's time is over; puts an owner on the list. */
bool kv_io_is_late(const struct kv_io *io);
void kv_io_add_forget(struct kv_io *io, const unsigned char *owner);

#endif
