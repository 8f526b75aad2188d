/* route.h: chooses experts, and sorts (token, expert) pairs by expert. Pure functions on host memory; single
 * thread. */
#ifndef FERRUM_ROUTE_H
#define FERRUM_ROUTE_H

#include "engine/backend.h"

/* op_route; pointers are host memory. */
void cpu_route(const float *logits, int32_t *ids, float *weights, const struct op_route *op);

/* ids[P] of experts to buckets: the pairs of expert e are pairs[start[e] .. start[e+1]), ascending. start has
 * n_experts + 1 entries, pairs P. */
void cpu_bucket_pairs(const int32_t *ids, size_t n_pairs, size_t n_experts, uint32_t *start, uint32_t *pairs);

#endif
