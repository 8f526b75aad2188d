#include "kernels_cpu/act_cols.h"

#include <string.h>

#include "kernels_cpu/tile.h"

/* Below this many values quantising on one thread is quicker than waking the others. */
#define QUANTISE_ALONE ((size_t)16 << 10)
#define N_ARRAYS 10
#define ALIGNMENT ((size_t)64)

/* Of one column in every format. */
static size_t column_bytes(size_t k)
{
    k = k < 32 ? 32 : k;
    return 2 * k + 3 * (k / 32) * sizeof(float) + (k / 16) * (sizeof(int16_t) + sizeof(int32_t)) +
           k * sizeof(float) + 2 * k * sizeof(uint16_t);
}

size_t act_cols_bytes(size_t m, size_t k)
{
    return m * column_bytes(k) + N_ARRAYS * ALIGNMENT;
}

size_t act_cols_fitting(size_t n_bytes, size_t k)
{
    return (n_bytes - N_ARRAYS * ALIGNMENT) / column_bytes(k);
}

static void *take(uint8_t **free_bytes, size_t n_bytes)
{
    uint8_t *p = *free_bytes;
    *free_bytes += (n_bytes + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
    return p;
}

void act_cols_lay_out(struct act_cols *c, const struct dot_set *set, const float *a, size_t m, size_t k,
                      uint8_t *scratch)
{
    c->set = set;
    c->a = a;
    c->m = m;
    c->k = k;
    c->cols = (struct dot_cols){.n = m, .k = k, .x = a};
    if (c->wants[ACT_F32] && c->tiled && set->chains)
        c->cols.chains = take(&scratch, m * k * sizeof(float));
    if (c->wants[ACT_BF16] && !c->no_dots)
        c->cols.bf16 = take(&scratch, m * k * sizeof(uint16_t));
    if (c->wants[ACT_BF16] && c->tiled)
        c->cols.bf16_chains = take(&scratch, m * k * sizeof(uint16_t));
    if (!c->wants[ACT_Q8])
        return;
    c->cols.q = take(&scratch, m * k);
    c->cols.d = take(&scratch, m * (k / 32) * sizeof(float));
    c->cols.s = take(&scratch, m * (k / 32) * sizeof(float));
    c->cols.sums = take(&scratch, m * (k / 16) * sizeof(int16_t));
    if (!set->lanes || (set->natural_order && !c->tiled))
        return;
    if (!c->no_dots && !set->natural_order)
        c->cols.lanes = take(&scratch, m * k);
    c->cols.start_32 = take(&scratch, m * (k / 32) * sizeof(int32_t));
    c->cols.start_16 = take(&scratch, m * (k / 16) * sizeof(int32_t));
}

/* A column in the order of tiles, a segment after the other. */
static void order_column(const struct act_cols *c, size_t i)
{
    size_t k = c->k;
    const struct dot_cols *to = &c->cols;
    for (size_t at = 0, n; to->chains && at < k; at += n) {
        n = tile_segment(c->set->tile[DTYPE_F32], k - at);
        c->set->chains(c->a + i * k + at, n, c->m, i, (float *)to->chains + c->m * at);
    }
    for (size_t at = 0, n; to->bf16_chains && at < k; at += n) {
        n = tile_segment(c->set->tile[DTYPE_BF16], k - at);
        c->set->round_chains(c->a + i * k + at, n, c->m, i, (uint16_t *)to->bf16_chains + c->m * at);
    }
}

/* The scratch behind the const views of a column. */
static void quantise_column(const struct act_cols *c, size_t i)
{
    size_t k = c->k;
    const struct dot_cols *to = &c->cols;
    order_column(c, i);
    if (to->bf16)
        c->set->round(c->a + i * k, k, (uint16_t *)to->bf16 + i * k);
    if (!c->wants[ACT_Q8])
        return;
    c->set->quantise(c->a + i * k, k, (int8_t *)to->q + i * k, (float *)to->d + i * (k / 32),
                     (float *)to->s + i * (k / 32), (int16_t *)to->sums + i * (k / 16));
    if (to->start_32)
        c->set->lanes(to->q + i * k, to->sums + i * (k / 16), k,
                      to->lanes ? (int8_t *)to->lanes + i * k : NULL, (int32_t *)to->start_32 + i * (k / 32),
                      (int32_t *)to->start_16 + i * (k / 16));
}

static void quantise_task(void *arg, int thread, int n_threads)
{
    struct act_cols *c = arg;
    (void)thread;
    (void)n_threads;
    for (size_t i; (i = atomic_fetch_add_explicit(&c->next, 1, memory_order_relaxed)) < c->m;)
        quantise_column(c, i);
}

void act_cols_quantise(struct act_cols *c, struct pool *pool)
{
    if (!c->wants[ACT_Q8] && !c->wants[ACT_BF16] && !c->cols.chains)
        return;
    if (c->m * c->k <= QUANTISE_ALONE)
        quantise_task(c, 0, 1);
    else
        pool_run(pool, quantise_task, c);
}

struct dot_cols act_cols_view(const struct act_cols *c, size_t first, size_t n)
{
    size_t k = c->k;
    struct dot_cols part = {.n = n, .k = k};
    if (c->wants[ACT_F32])
        part.x = c->cols.x + first * k;
    if (c->cols.bf16)
        part.bf16 = c->cols.bf16 + first * k;
    if (!c->wants[ACT_Q8])
        return part;
    part.q = c->cols.q + first * k;
    part.d = c->cols.d + first * (k / 32);
    part.s = c->cols.s + first * (k / 32);
    part.sums = c->cols.sums + first * (k / 16);
    if (!c->cols.start_32)
        return part;
    if (c->cols.lanes)
        part.lanes = c->cols.lanes + first * k;
    part.start_32 = c->cols.start_32 + first * (k / 32);
    part.start_16 = c->cols.start_16 + first * (k / 16);
    return part;
}

struct dot_cols act_cols_segment(const struct act_cols *c, size_t at, size_t n)
{
    struct dot_cols part = c->cols;
    part.k = n;
    if (part.chains)
        part.chains += c->m * at;
    if (part.bf16_chains)
        part.bf16_chains += c->m * at;
    return part;
}

/* Item `from` of an array of items of n_bytes to place `to` of another one. */
static void copy_item(const void *out, size_t to, const void *in, size_t from, size_t n_bytes)
{
    memcpy((char *)out + to * n_bytes, (const char *)in + from * n_bytes, n_bytes);
}

void act_cols_gather(const struct act_cols *c, const uint32_t *index, size_t n, struct act_cols *out)
{
    size_t k = c->k;
    const struct dot_cols *to = &out->cols, *from = &c->cols;
    for (size_t i = 0; i < n; i++) {
        if (c->wants[ACT_F32])
            copy_item(to->x, i, from->x, index[i], k * sizeof(float));
        if (c->wants[ACT_BF16])
            copy_item(to->bf16, i, from->bf16, index[i], k * sizeof(uint16_t));
        if (!c->wants[ACT_Q8])
            continue;
        copy_item(to->q, i, from->q, index[i], k);
        copy_item(to->d, i, from->d, index[i], k / 32 * sizeof(float));
        copy_item(to->s, i, from->s, index[i], k / 32 * sizeof(float));
        copy_item(to->sums, i, from->sums, index[i], k / 16 * sizeof(int16_t));
        if (!to->start_32)
            continue;
        if (to->lanes)
            copy_item(to->lanes, i, from->lanes, index[i], k);
        copy_item(to->start_32, i, from->start_32, index[i], k / 32 * sizeof(int32_t));
        copy_item(to->start_16, i, from->start_16, index[i], k / 16 * sizeof(int32_t));
    }
}
