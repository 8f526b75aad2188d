/* attention_float_body.h: pages of f16 and f32, written once for every vector width.
 *
 * Included by one file per instruction set, which defines before it what attention_body.h lists (LANES floats
 * in a `vec`) and vec_store, vec_all(p): the float at p in every lane, vec_f16(p): LANES halves widened,
 * sum_4(x): the sums of four vectors. A page of f16 that FEW_ROWS or more read is widened once: that is
 * cheaper than once per ROW_STEP rows. */
#ifndef FERRUM_ATTENTION_FLOAT_BODY_H
#define FERRUM_ATTENTION_FLOAT_BODY_H

#include "kernels_cpu/attention_page_avx2.h"

typedef float query;

struct page {
    const void *k, *v; /* rows of one head, f16 or f32 */
    const query *q;
    bool f16;
};

/* Elements i .. i + LANES of an array of f16 or f32. */
VEC_INLINE vec load_lanes(const void *p, size_t i, bool f16)
{
    return f16 ? vec_f16((const uint16_t *)p + i) : vec_load((const float *)p + i);
}

VEC_INLINE vec load_keys(const struct page *page, size_t i)
{
    return load_lanes(page->k, i, page->f16);
}

VEC_INLINE __m128 scores_of(const struct page *page, size_t r, size_t j, const vec sums[K_STEP])
{
    (void)page;
    (void)r;
    (void)j;
    return sum_4(sums);
}

VEC_INLINE void fetch_ahead(const struct attn_tile *t, const struct page *page, size_t j)
{
    size_t row_bytes = t->head_dim * (page->f16 ? sizeof(uint16_t) : sizeof(float));
    prefetch(page->v, j * row_bytes, (j + K_STEP) * row_bytes);
    prefetch(t->next_k, j * row_bytes, (j + K_STEP) * row_bytes);
}

VEC_INLINE void weigh_row(struct attn_tile *t, size_t r, const struct page *page)
{
    (void)page;
    softmax_row(t, r);
}

/* Adds sum over [begin, end) of score * V to n_vec (1, 2 or 4) vectors of n rows from column d on. */
VEC_INLINE void value_block(struct rows rows, size_t n, const struct page *page, size_t d, size_t n_vec,
                            size_t begin, size_t end)
{
    struct attn_tile *t = rows.t;
    size_t dim = t->head_dim;
    float *out = t->acc + rows.first * dim + d;
    vec acc[ROW_STEP][4];
#pragma GCC unroll 16
    for (size_t i = 0; i < n * n_vec; i++)
        acc[i / n_vec][i % n_vec] = vec_load(out + i / n_vec * dim + i % n_vec * LANES);
    for (size_t j = begin; j < end; j++) {
        vec row[4];
#pragma GCC unroll 4
        for (size_t x = 0; x < n_vec; x++)
            row[x] = load_lanes(page->v, j * dim + d + x * LANES, page->f16);
#pragma GCC unroll 16
        for (size_t i = 0; i < n * n_vec; i++)
            acc[i / n_vec][i % n_vec] = vec_mul_add(vec_all(&t->scores[rows.first + i / n_vec][j]),
                                                    row[i % n_vec], acc[i / n_vec][i % n_vec]);
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < n * n_vec; i++)
        vec_store(out + i / n_vec * dim + i % n_vec * LANES, acc[i / n_vec][i % n_vec]);
}

/* The columns of V in runs of 4 vectors, then 2 and 1. */
VEC_INLINE void add_range(struct rows rows, size_t n, const struct page *page, size_t begin, size_t end)
{
    size_t dim = rows.t->head_dim, d = 0;
    if (begin >= end)
        return;
    for (; d + 4 * LANES <= dim; d += 4 * LANES)
        value_block(rows, n, page, d, 4, begin, end);
    if (d + 2 * LANES <= dim) {
        value_block(rows, n, page, d, 2, begin, end);
        d += 2 * LANES;
    }
    if (d < dim)
        value_block(rows, n, page, d, 1, begin, end);
}

/* Neighbours see almost the same positions: what only some see is added to each alone, in its order. */
VEC_INLINE void add_values(struct rows rows, size_t n, const struct page *page)
{
    const size_t *begin = rows.t->begin + rows.first, *end = rows.t->end + rows.first;
    size_t all_begin = begin[n - 1], all_end = end[0];
    bool apart = n == 1 || all_begin >= all_end;
    for (size_t i = 0; i < n; i++)
        add_range((struct rows){rows.t, rows.first + i}, 1, page, begin[i], apart ? end[i] : all_begin);
    if (apart)
        return;
    add_range(rows, n, page, all_begin, all_end);
    for (size_t i = 0; i < n; i++)
        add_range((struct rows){rows.t, rows.first + i}, 1, page, all_end, end[i]);
}

#include "kernels_cpu/attention_body.h"

VEC_INLINE void page_f32(struct attn_tile *t, const void *k, const void *v)
{
    size_t first, n = rows_that_see(t, &first);
    struct page page = {k, v, t->q, false};
    if (n > 0)
        page_rows(t, first, n, &page);
}

static void widen(float *out, const uint16_t *in, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i += LANES)
        vec_store(out + i, vec_f16(in + i));
}

VEC_INLINE void page_f16(struct attn_tile *t, const void *k, const void *v)
{
    size_t first, n = rows_that_see(t, &first), dim = t->head_dim;
    struct page page = {k, v, t->q, true}, wide = {t->k_wide, t->v_wide, t->q, false};
    if (n == 0)
        return;
    if (n < FEW_ROWS) {
        page_rows(t, first, n, &page);
        return;
    }
    /* Whole score blocks, which may read rows of K that nobody sees */
    size_t end = t->end[first + n - 1];
    size_t k_end = (end + K_STEP - 1) / K_STEP * K_STEP;
    widen(t->k_wide, k, t->begin[first] / K_STEP * K_STEP * dim, k_end * dim);
    widen(t->v_wide, v, t->begin[first] * dim, end * dim);
    page_rows(t, first, n, &wide);
}

#endif
