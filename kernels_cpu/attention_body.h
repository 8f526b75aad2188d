/* attention_body.h: scores, softmax and weighted V of one page, written once for every vector width and KV
 * type.
 *
 * Included by attention_float_body.h and attention_i8_body.h, which define before it: `query`, the type of a
 * query row's elements; struct page, with the query rows q [rows, head_dim] in it; and
 *   load_keys(page, i)            LANES elements of K from index i on
 *   scores_of(page, r, j, sums)   the scores of row r from its sums at positions j .. j + K_STEP
 *   fetch_ahead(t, page, j)       asks for V and the next K of positions j .. j + K_STEP
 *   weigh_row(t, r, page)         turns a row's scores into weights
 *   add_values(rows, n, page)     adds the weighted V to n rows.
 * The file of the instruction set has defined LANES, ROW_STEP (2 or 4 query rows share what is loaded of K
 * and V, as many as fit the registers), FEW_ROWS (below it a page is waited for, and so fetched ahead),
 * `vec`, vec_zero, vec_load and vec_mul_add(a, b, c) = a*b + c.
 *
 * Whether a row is alone or beside others changes no bit of it: its sums run over the same lanes in the same
 * order. */
#ifndef FERRUM_ATTENTION_BODY_H
#define FERRUM_ATTENTION_BODY_H

#include "kernels_cpu/attention_page_avx2.h"

/* Scores of n rows (1, 2 or ROW_STEP) against positions j .. j + K_STEP. */
VEC_INLINE void score_block(struct rows rows, size_t n, const struct page *page, size_t j)
{
    size_t dim = rows.t->head_dim;
    const query *q = page->q + rows.first * dim;
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
        _mm_storeu_ps(&rows.t->scores[rows.first + r][j], scores_of(page, rows.first + r, j, acc[r]));
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

VEC_INLINE void value_rows(struct attn_tile *t, size_t first, size_t last, const struct page *page)
{
    size_t r = first;
    for (; r + ROW_STEP <= last; r += ROW_STEP)
        add_values((struct rows){t, r}, ROW_STEP, page);
    if (ROW_STEP > 2 && r + 2 <= last) {
        add_values((struct rows){t, r}, 2, page);
        r += 2;
    }
    if (r < last)
        add_values((struct rows){t, r}, 1, page);
}

/* Rows first .. first + n all see something of the page. While scores are made, few rows fetch V and the next
 * K. */
VEC_INLINE void page_rows(struct attn_tile *t, size_t first, size_t n, struct page *page)
{
    size_t last = first + n, end = t->end[last - 1];
    for (size_t j = t->begin[first] / K_STEP * K_STEP; j < end; j += K_STEP) {
        if (n < FEW_ROWS)
            fetch_ahead(t, page, j);
        score_rows(t, first, last, page, j);
    }
    for (size_t r = first; r < last; r++)
        weigh_row(t, r, page);
    value_rows(t, first, last, page);
}

#endif
