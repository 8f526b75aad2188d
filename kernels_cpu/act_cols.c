#include "kernels_cpu/act_cols.h"

#include <string.h>

/* Below this many values quantising on one thread is quicker than waking the others. */
#define QUANTISE_ALONE ((size_t)16 << 10)
#define N_ARRAYS 5
#define ALIGNMENT ((size_t)64)

/* Of one column as ACT_Q8 and as ACT_Q8_LANES. */
static size_t column_bytes(size_t k)
{
    k = k < 32 ? 32 : k;
    return 2 * k + 2 * (k / 32) * sizeof(float) + (k / 16) * sizeof(int16_t);
}

size_t act_cols_bytes(size_t m, size_t k)
{
    return m * column_bytes(k) + N_ARRAYS * ALIGNMENT;
}

size_t act_cols_fitting(size_t n_bytes, size_t k)
{
    return (n_bytes - N_ARRAYS * ALIGNMENT) / column_bytes(k);
}

static bool wants_q8(const struct act_cols *c)
{
    return c->wants[ACT_Q8] || c->wants[ACT_Q8_LANES];
}

static uint8_t *take(uint8_t **free_bytes, size_t n_bytes)
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
    c->cols[ACT_F32] = (struct dot_cols){.n = m, .k = k, .x = a};
    struct dot_cols *q = &c->cols[ACT_Q8];
    *q = (struct dot_cols){.n = m, .k = k};
    if (!wants_q8(c))
        return;
    q->q = (int8_t *)take(&scratch, m * k);
    q->d = (float *)(void *)take(&scratch, m * (k / 32) * sizeof(float));
    q->s = (float *)(void *)take(&scratch, m * (k / 32) * sizeof(float));
    q->sums = (int16_t *)(void *)take(&scratch, m * (k / 16) * sizeof(int16_t));
    c->cols[ACT_Q8_LANES] = *q;
    if (c->wants[ACT_Q8_LANES])
        c->cols[ACT_Q8_LANES].q = (int8_t *)take(&scratch, m * k);
}

/* The scratch behind the const views of a column. */
static void quantise_column(const struct act_cols *c, size_t i)
{
    size_t k = c->k;
    const struct dot_cols *q = &c->cols[ACT_Q8];
    c->set->quantise(c->a + i * k, k, (int8_t *)q->q + i * k, (float *)q->d + i * (k / 32),
                     (float *)q->s + i * (k / 32), (int16_t *)q->sums + i * (k / 16));
    if (c->wants[ACT_Q8_LANES])
        c->set->lanes(q->q + i * k, k, (int8_t *)c->cols[ACT_Q8_LANES].q + i * k);
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
    if (!wants_q8(c))
        return;
    if (c->m * c->k <= QUANTISE_ALONE)
        quantise_task(c, 0, 1);
    else
        pool_run(pool, quantise_task, c);
}

struct dot_cols act_cols_view(const struct act_cols *c, enum act_format format, size_t first, size_t n)
{
    const struct dot_cols *all = &c->cols[format];
    struct dot_cols part = {.n = n, .k = c->k};
    if (format == ACT_F32) {
        part.x = all->x + first * c->k;
        return part;
    }
    part.q = all->q + first * c->k;
    part.d = all->d + first * (c->k / 32);
    part.s = all->s + first * (c->k / 32);
    part.sums = all->sums + first * (c->k / 16);
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
    const struct dot_cols *to = &out->cols[ACT_Q8], *from = &c->cols[ACT_Q8];
    for (size_t i = 0; i < n; i++) {
        if (c->wants[ACT_F32])
            copy_item(out->cols[ACT_F32].x, i, c->a, index[i], k * sizeof(float));
        if (c->wants[ACT_Q8])
            copy_item(to->q, i, from->q, index[i], k);
        if (c->wants[ACT_Q8_LANES])
            copy_item(out->cols[ACT_Q8_LANES].q, i, c->cols[ACT_Q8_LANES].q, index[i], k);
        if (!wants_q8(c))
            continue;
        copy_item(to->d, i, from->d, index[i], k / 32 * sizeof(float));
        copy_item(to->s, i, from->s, index[i], k / 32 * sizeof(float));
        copy_item(to->sums, i, from->sums, index[i], k / 16 * sizeof(int16_t));
    }
}
