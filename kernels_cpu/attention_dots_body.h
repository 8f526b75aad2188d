/* attention_dots_body.h: scores as dot products with K as it lies in the page, then softmax and weighted V:
 * AVX2 and NEON, and few rows of int8. Written once for every vector width and KV type.
 *
 * Included by one file per instruction set and KV type, which defines before it what attention_values_body.h
 * needs; LANES, `vec`, vec_zero, vec_load and
 * vec_mul_add(a, b, c) = a*b + c; `query`, the type of a query row's elements; struct page; and
 *   queries(t)                     the query rows [rows, head_dim]
 *   load_keys(page, i)             LANES elements of K from index i on
 *   put_scores(t, page, r, j, sums) the scores of row r from its sums at positions j .. j + K_STEP
 *   fetch_keys(page, dim, j, end)  asks for the next K of positions j .. end, where it waits
 *   weigh_row(t, r, page)          turns a row's scores into weights.
 *
 * Whether a row is alone or beside others changes no bit of it: its sums run over the same lanes in the same
 * order. */
#ifndef FERRUM_ATTENTION_DOTS_BODY_H
#define FERRUM_ATTENTION_DOTS_BODY_H

#include "kernels_cpu/attention_values_body.h"

/* Scores of n rows (1, 2 or ROW_STEP) against positions j .. j + K_STEP. */
VEC_INLINE void score_block(struct rows rows, size_t n, const struct page *page, size_t j)
{
    size_t dim = rows.t->head_dim;
    const query *q = queries(rows.t) + rows.first * dim;
    vec acc[ROW_STEP][K_STEP];
#pragma GCC unroll 16
    for (size_t i = 0; i < n * K_STEP; i++)
        acc[i / K_STEP][i % K_STEP] = vec_zero();
    for (size_t d = 0; d < dim; d += LANES) {
        vec k[K_STEP];
#pragma GCC unroll 4
        for (size_t p = 0; p < K_STEP; p++)
            k[p] = load_keys(page, (j + p) * dim + d);
#pragma GCC unroll 16
        for (size_t i = 0; i < n * K_STEP; i++)
            acc[i / K_STEP][i % K_STEP] =
                vec_mul_add(vec_load(q + i / K_STEP * dim + d), k[i % K_STEP], acc[i / K_STEP][i % K_STEP]);
    }
#pragma GCC unroll 4
    for (size_t r = 0; r < n; r++)
        put_scores(rows.t, page, rows.first + r, j, acc[r]);
}

VEC_INLINE void score_rows(struct attn_tile *t, size_t first, size_t last, const struct page *page, size_t j)
{
    size_t r = first;
    for (; r + ROW_STEP <= last; r += ROW_STEP)
        score_block((struct rows){t, r}, ROW_STEP, page, j);
    if (ROW_STEP > 2 && r + 2 <= last) {
        score_block((struct rows){t, r}, 2, page, j);
        r += 2;
    }
    if (r < last)
        score_block((struct rows){t, r}, 1, page, j);
}

/* Rows first .. first + n all see something of the page. */
VEC_INLINE void page_rows(struct attn_tile *t, size_t first, size_t n, const struct page *page)
{
    size_t last = first + n, end = t->end[last - 1];
    for (size_t j = t->begin[first] / K_STEP * K_STEP; j < end; j += K_STEP) {
        fetch_keys(page, t->head_dim, j, j + K_STEP);
        score_rows(t, first, last, page, j);
    }
    for (size_t r = first; r < last; r++)
        weigh_row(t, r, page);
    value_rows(t, first, last, page);
}

#endif
