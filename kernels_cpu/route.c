#include "kernels_cpu/route.h"

#include <math.h>
#include <string.h>

static bool is_taken(const int32_t *ids, size_t n, int32_t id)
{
    for (size_t i = 0; i < n; i++)
        if (ids[i] == id)
            return true;
    return false;
}

/* The largest logit not taken yet, the lower id where two are equal; NaN is never larger than anything. */
static int32_t next_expert(const float *logits, size_t n_experts, const int32_t *ids, size_t n)
{
    int32_t best = -1;
    for (int32_t e = 0; (size_t)e < n_experts; e++)
        if ((best < 0 || logits[e] > logits[best] || isnan(logits[best])) && !is_taken(ids, n, e))
            best = e;
    return best;
}

static void route_token(const float *logits, int32_t *ids, float *weights, const struct op_route *op)
{
    float max = logits[0], sum = 0, used = 0;
    for (size_t e = 1; e < op->n_experts; e++)
        max = logits[e] > max ? logits[e] : max;
    for (size_t e = 0; e < op->n_experts; e++)
        sum += expf(logits[e] - max);
    for (size_t s = 0; s < op->n_used; s++) {
        ids[s] = next_expert(logits, op->n_experts, ids, s);
        weights[s] = expf(logits[ids[s]] - max) / sum;
        used += weights[s];
    }
    for (size_t s = 0; s < op->n_used; s++)
        weights[s] = (op->renormalise ? weights[s] / used : weights[s]) * op->scale;
}

void cpu_route(const float *logits, int32_t *ids, float *weights, const struct op_route *op)
{
    for (size_t t = 0; t < op->n_tokens; t++)
        route_token(logits + t * op->n_experts, ids + t * op->n_used, weights + t * op->n_used, op);
}

void cpu_bucket_pairs(const int32_t *ids, size_t n_pairs, size_t n_experts, uint32_t *start, uint32_t *pairs)
{
    memset(start, 0, (n_experts + 1) * sizeof *start);
    for (size_t p = 0; p < n_pairs; p++)
        start[ids[p] + 1]++;
    for (size_t e = 0; e < n_experts; e++)
        start[e + 1] += start[e];
    /* start[e] runs to the end of its bucket while it is filled, then all move back by one. */
    for (size_t p = 0; p < n_pairs; p++)
        pairs[start[ids[p]]++] = (uint32_t)p;
    memmove(start + 1, start, n_experts * sizeof *start);
    start[0] = 0;
}
