/* attention_float_body.h: V of f16 and f32, written once for every vector width.
 *
 * Included by one file per instruction set, which defines before it LANES floats in a `vec`, ROW_STEP (see
 * attention_values_body.h), vec_load, vec_store, vec_mul_add(a, b, c) = a*b + c, vec_all(p): the float at p
 * in every lane, vec_f16(p): LANES halves widened. A page of f16 that many rows read is widened once: that is
 * cheaper than once per ROW_STEP rows. */
#ifndef FERRUM_ATTENTION_FLOAT_BODY_H
#define FERRUM_ATTENTION_FLOAT_BODY_H

#include "kernels_cpu/attention_values_body.h"

struct page {
    const void *k, *v; /* rows of one head, f16 or f32 */
    bool f16;
    const void *next_k, *next_v; /* to be fetched ahead while this page is worked on, or NULL */
    struct ahead *ahead;         /* the same where many rows do it, or NULL */
};

/* Elements i .. i + LANES of an array of f16 or f32. */
VEC_INLINE vec load_lanes(const void *p, size_t i, bool f16)
{
    return f16 ? vec_f16((const uint16_t *)p + i) : vec_load((const float *)p + i);
}

/* What begin .. end of this page's elements is in the next one's K or V. */
VEC_INLINE void fetch_next(const void *next, const struct page *page, size_t begin, size_t end)
{
    size_t bytes = page->f16 ? sizeof(uint16_t) : sizeof(float);
    prefetch(next, begin * bytes, end * bytes);
}

/* Adds sum over [begin, end) of score * V to n_vec (1, 2 or 4) vectors of n rows from column d on. */
VEC_INLINE void value_block(struct rows rows, size_t n, const struct page *page, size_t d, size_t n_vec,
                            size_t begin, size_t end)
{
    struct attn_tile *t = rows.t;
    size_t dim = t->head_dim;
    float *out = t->acc + rows.first * dim + d;
    vec acc[ROW_STEP][4];
#pragma GCC unroll 24
    for (size_t i = 0; i < n * n_vec; i++)
        acc[i / n_vec][i % n_vec] = vec_load(out + i / n_vec * dim + i % n_vec * LANES);
    const float *weight = t->scores[rows.first] + begin;
    for (size_t j = begin; j < end; j++, weight++) {
        vec row[4];
        fetch_next(page->next_v, page, j * dim + d, j * dim + d + n_vec * LANES);
#pragma GCC unroll 4
        for (size_t x = 0; x < n_vec; x++)
            row[x] = load_lanes(page->v, j * dim + d + x * LANES, page->f16);
#pragma GCC unroll 24
        for (size_t i = 0; i < n * n_vec; i++)
            acc[i / n_vec][i % n_vec] = vec_mul_add(vec_all(weight + i / n_vec * KV_BLOCK_TOKENS),
                                                    row[i % n_vec], acc[i / n_vec][i % n_vec]);
    }
#pragma GCC unroll 24
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
    bool alike = begin[0] == all_begin && end[n - 1] == all_end, apart = all_begin >= all_end;
    for (size_t i = 0; !alike && i < n; i++)
        add_range((struct rows){rows.t, rows.first + i}, 1, page, begin[i], apart ? end[i] : all_begin);
    if (apart)
        return;
    add_range(rows, n, page, all_begin, all_end);
    for (size_t i = 0; !alike && i < n; i++)
        add_range((struct rows){rows.t, rows.first + i}, 1, page, all_end, end[i]);
}

VEC_INLINE void widen(float *out, const void *in, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i += LANES)
        vec_store(out + i, vec_f16((const uint16_t *)in + i));
}

#endif
