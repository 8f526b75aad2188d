/* route.h: chooses experts, and sorts (token, expert) pairs by expert. Sorting is a pure function on host
 * memory; choosing is dealt to the threads of the pool, whose caller it needs to be. */
#ifndef FERRUM_ROUTE_H
#define FERRUM_ROUTE_H

#include "engine/backend.h"
#include "kernels_cpu/pool.h"

/* A row of ids and weights depends on its row of logits alone. */
void cpu_route(struct pool *pool, const struct op_route *op);

/* ids[P] of experts to buckets: the pairs of expert e are pairs[start[e] .. start[e+1]), ascending. start has
 * n_experts + 1 entries, pairs P. */
void cpu_bucket_pairs(const int32_t *ids, size_t n_pairs, size_t n_experts, uint32_t *start, uint32_t *pairs);

#endif
