#include "kernels_cpu/act_cols.h"

#include <string.h>

/* Below this many values quantising on one thread is quicker than waking the others. */
#define QUANTISE_ALONE ((size_t)16 << 10)
#define N_ARRAYS 6
#define ALIGNMENT ((size_t)64)

/* Of one column in both integer formats. */
static size_t column_bytes(size_t k)
{
    k = k < 256 ? 256 : k;
    return 2 * k + 2 * (k / 32) * sizeof(float) + (k / 256) * sizeof(float) + (k / 16) * sizeof(int16_t);
}

size_t act_cols_bytes(size_t m, size_t k)
{
    return m * column_bytes(k) + N_ARRAYS * ALIGNMENT;
}

size_t act_cols_fitting(size_t n_bytes, size_t k)
{
    return (n_bytes - N_ARRAYS * ALIGNMENT) / column_bytes(k);
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
    for (int f = 0; f < ACT_FORMAT_N; f++)
        c->cols[f] = (struct dot_cols){.n = m, .k = k};
    c->cols[ACT_F32].x = a;
    if (c->wants[ACT_Q32]) {
        c->cols[ACT_Q32].q = (int8_t *)take(&scratch, m * k);
        c->cols[ACT_Q32].d = (float *)(void *)take(&scratch, m * (k / 32) * sizeof(float));
        c->cols[ACT_Q32].s = (float *)(void *)take(&scratch, m * (k / 32) * sizeof(float));
    }
    if (c->wants[ACT_Q256]) {
        c->cols[ACT_Q256].q = (int8_t *)take(&scratch, m * k);
        c->cols[ACT_Q256].d = (float *)(void *)take(&scratch, m * (k / 256) * sizeof(float));
        c->cols[ACT_Q256].sums = (int16_t *)(void *)take(&scratch, m * (k / 16) * sizeof(int16_t));
    }
}

/* The scratch behind the const views of a column. */
static void quantise_column(const struct act_cols *c, size_t i)
{
    size_t k = c->k;
    const float *x = c->a + i * k;
    const struct dot_cols *c32 = &c->cols[ACT_Q32], *c256 = &c->cols[ACT_Q256];
    if (c->wants[ACT_Q32])
        c->set->quant_32(x, k, (int8_t *)c32->q + i * k, (float *)c32->d + i * (k / 32),
                         (float *)c32->s + i * (k / 32));
    if (c->wants[ACT_Q256])
        c->set->quant_256(x, k, (int8_t *)c256->q + i * k, (float *)c256->d + i * (k / 256),
                          (int16_t *)c256->sums + i * (k / 16));
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
    if (!c->wants[ACT_Q32] && !c->wants[ACT_Q256])
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
    if (format == ACT_Q32) {
        part.d = all->d + first * (c->k / 32);
        part.s = all->s + first * (c->k / 32);
    } else {
        part.d = all->d + first * (c->k / 256);
        part.sums = all->sums + first * (c->k / 16);
    }
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
    const struct dot_cols *to32 = &out->cols[ACT_Q32], *from32 = &c->cols[ACT_Q32];
    const struct dot_cols *to256 = &out->cols[ACT_Q256], *from256 = &c->cols[ACT_Q256];
    for (size_t i = 0; i < n; i++) {
        if (c->wants[ACT_F32])
            copy_item(out->cols[ACT_F32].x, i, c->a, index[i], k * sizeof(float));
        if (c->wants[ACT_Q32]) {
            copy_item(to32->q, i, from32->q, index[i], k);
            copy_item(to32->d, i, from32->d, index[i], k / 32 * sizeof(float));
            copy_item(to32->s, i, from32->s, index[i], k / 32 * sizeof(float));
        }
        if (c->wants[ACT_Q256]) {
            copy_item(to256->q, i, from256->q, index[i], k);
            copy_item(to256->d, i, from256->d, index[i], k / 256 * sizeof(float));
            copy_item(to256->sums, i, from256->sums, index[i], k / 16 * sizeof(int16_t));
        }
    }
}
