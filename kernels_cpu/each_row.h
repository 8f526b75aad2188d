/* each_row.h: does the same to each row of an operation that has no product in it, on all threads.
 *
 * Rows are dealt a few at a time, in turn, so that a thread whose core went to other work keeps the others
 * waiting for those few only. Every row is given out once, in any order, on any thread; little work stays on
 * the caller's thread. Thread rule: that of the pool. */
#ifndef FERRUM_EACH_ROW_H
#define FERRUM_EACH_ROW_H

#include <stddef.h>

#include "kernels_cpu/pool.h"

/* row_floats: what one row reads, about. */
void each_row_run(struct pool *pool, size_t n_rows, size_t row_floats, void (*row)(void *arg, size_t row),
                  void *arg);

#endif
