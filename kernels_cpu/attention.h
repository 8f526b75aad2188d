/* attention.h: causal attention over the paged cache (op_attention, engine/backend.h) on all threads.
 * Thread rule: one call at a time. Results do not depend on the number of threads, nor a row on the number of
 * tokens or of sequences in the call. */
#ifndef FERRUM_ATTENTION_H
#define FERRUM_ATTENTION_H

#include "engine/backend.h"
#include "kernels_cpu/kernels.h"
#include "kernels_cpu/pool.h"

struct attn; /* scratch memory of the threads */

struct attn *attn_new(int n_threads, struct err *err);
void attn_free(struct attn *a);

/* Allocates nothing; pool has the attn's number of threads. */
void attn_run(struct attn *a, struct pool *pool, const struct cpu_kernels *kernels,
              const struct op_attention *op);

#endif
