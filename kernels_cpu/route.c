#include "kernels_cpu/route.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels_cpu/cpu_buf.h"

/* Below this many logits the caller works alone: about 10 us. */
#define SHARE_MIN_LOGITS 2048

/* NaN comes behind every number. */
static bool is_before(float a, float b)
{
    return a > b || (isnan(b) && !isnan(a));
}

/* ids of the largest logits, in falling order; of equal ones the lower id comes first. */
static void choose(const float *logits, size_t n_experts, int32_t *ids, size_t n_used)
{
    size_t n = 0;
    for (size_t e = 0; e < n_experts; e++) {
        if (n == n_used && !is_before(logits[e], logits[ids[n - 1]]))
            continue;
        size_t at = n < n_used ? n++ : n - 1;
        for (; at > 0 && is_before(logits[e], logits[ids[at - 1]]); at--)
            ids[at] = ids[at - 1];
        ids[at] = (int32_t)e;
    }
}

static void route_token(const float *logits, int32_t *ids, float *weights, const struct op_route *op)
{
    choose(logits, op->n_experts, ids, op->n_used);
    float max = logits[ids[0]], sum = 0, used = 0;
    for (size_t e = 0; e < op->n_experts; e++)
        sum += expf(logits[e] - max);
    for (size_t s = 0; s < op->n_used; s++) {
        weights[s] = expf(logits[ids[s]] - max) / sum;
        used += weights[s];
    }
    for (size_t s = 0; s < op->n_used; s++)
        weights[s] = (op->renormalise ? weights[s] / used : weights[s]) * op->scale;
}

static void route_share(void *arg, int thread, int n_threads)
{
    const struct op_route *op = arg;
    const float *logits = cpu_buf_const_f32(op->logits);
    int32_t *ids = (int32_t *)op->ids->data + op->ids_row * op->n_used;
    float *weights = cpu_buf_f32(op->weights);
    size_t begin = op->n_tokens * (size_t)thread / (size_t)n_threads;
    size_t end = op->n_tokens * (size_t)(thread + 1) / (size_t)n_threads;
    for (size_t t = begin; t < end; t++)
        route_token(logits + t * op->n_experts, ids + t * op->n_used, weights + t * op->n_used, op);
}

void cpu_route(struct pool *pool, const struct op_route *op)
{
    struct op_route copy = *op;
    if (op->n_tokens < 2 || op->n_tokens * op->n_experts < SHARE_MIN_LOGITS)
        route_share(&copy, 0, 1);
    else
        pool_run(pool, route_share, &copy);
}

void cpu_bucket_pairs(const int32_t *ids, size_t n_pairs, size_t n_experts, uint32_t *start, uint32_t *pairs)
{
    memset(start, 0, (n_experts + 1) * sizeof *start);
    for (size_t p = 0; p < n_pairs; p++) {
        assert(ids[p] >= 0 && (size_t)ids[p] < n_experts);
        start[ids[p] + 1]++;
    }
    for (size_t e = 0; e < n_experts; e++)
        start[e + 1] += start[e];
    /* start[e] runs to the end of its bucket while it is filled, then all move back by one. */
    for (size_t p = 0; p < n_pairs; p++)
        pairs[start[ids[p]]++] = (uint32_t)p;
    memmove(start + 1, start, n_experts * sizeof *start);
    start[0] = 0;
}
