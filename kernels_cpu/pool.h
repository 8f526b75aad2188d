/* pool.h: the threads that compute. One pool per backend; thread 0 is the caller.
 *
 * Thread rule: one thread calls pool_run and pool_park (the engine's); fn runs on all threads at once.
 * Waiting is spin, then sched_yield, then sleep, on both sides: a token has hundreds of runs a few
 * microseconds apart, and a machine with other work must not be held up by us. All signals are blocked in the
 * workers. */
#ifndef FERRUM_POOL_H
#define FERRUM_POOL_H

#include <stddef.h>

#include "engine/base/err.h"

#define POOL_MAX_THREADS 1024
#define POOL_MAX_AHEAD 4 /* places */

struct pool;

/* 1 <= n_threads <= POOL_MAX_THREADS, the caller included; may be more than there are cores. */
struct pool *pool_new(int n_threads, struct err *err);
void pool_free(struct pool *p);
int pool_n_threads(const struct pool *p);

/* Runs fn(arg, thread, n_threads) once on every thread, and returns when all are done; what they wrote is
 * visible then. fn must not call pool_run. */
void pool_run(struct pool *p, void (*fn)(void *arg, int thread, int n_threads), void *arg);

/* Called by fn on its own thread: what that thread will read next. While it waits, for others to finish or
 * for the next run, it brings the first 64 KiB from each place into its cache, so that memory does not rest.
 * Only a hint: the places may have gone by then. */
void pool_ahead(struct pool *p, int thread, const void *const *places, size_t n);

/* The workers go to sleep at once, until the next pool_run. */
void pool_park(struct pool *p);

#endif
