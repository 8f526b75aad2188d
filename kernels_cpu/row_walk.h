/* row_walk.h: deals the rows of a product that waits for memory (few columns) to the threads.
 *
 * Each thread has one share of neighbouring rows and walks it in several streams at once, a row of each in
 * turn: one core asks for more of the memory at the same time when it reads from several places far apart
 * than when it reads from one. A thread whose share is done takes steps of another's. Before it waits it
 * names to the pool where its streams of the next product begin (pool_ahead).
 *
 * Every row is given out once, in any order, on any thread. Thread rule: one walk at a time per pool and
 * array of shares; the caller owns both. Nothing is allocated in a walk. */
#ifndef FERRUM_ROW_WALK_H
#define FERRUM_ROW_WALK_H

#include <stdatomic.h>
#include <stddef.h>

#include "kernels_cpu/pool.h"

/* Where one thread's share stands; counters of different threads keep their own cache lines. */
struct row_share {
    atomic_size_t next_step;
    char pad[128 - sizeof(atomic_size_t)];
};

/* Rows that lie somewhere in memory. */
struct row_places {
    size_t n, row_bytes; /* bytes of a row, about */
    const void *(*at)(const void *arg, size_t row);
    const void *arg;
};

struct row_walk {
    size_t n, row_bytes;                                  /* as above */
    void (*rows)(void *arg, const size_t *row, size_t n); /* what is done with n rows, n >= 1 */
    void *arg;
    struct row_share *shares; /* [threads of the pool] */
    struct pool *pool;
    struct row_places next; /* what will be walked next by the same pool; n 0: not known */
};

void row_walk_run(struct row_walk *walk);

#endif
