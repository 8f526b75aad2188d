/* attention_i8_body.h: pages of int8, written once for every vector width.
 *
 * Included by one file per instruction set, which defines before it FEW_ROWS (below it a page is waited for,
 * and so the next one fetched ahead) and what attention_dots_body.h lists: LANES 16-bit numbers or LANES / 2
 * 32-bit sums in a `vec`; vec_mul_add adds two products, those of partners, to one sum. And
 *   vec_i8(p)                     LANES int8 widened
 *   vec_all(x)                    the pair of 16-bit numbers x at every two partners
 *   load_pairs(v, dim, out)       LANES columns of two rows of V, the two of a column as partners
 *   add_columns(out, sums, scale) adds sums * scale to LANES columns; the sums lie as load_pairs has them
 *   sum_4(x)                      the sums of four vectors
 *   put_scaled(out, sum_4's, scale, q_scale)    four scores
 *   FLOAT_STEP floats at a time:
 *   round_floats(out, x, factor)                x * factor rounded to 16 bits
 *   scale_seen(p, scale, j, begin, end)         p times their scales, 0 for positions outside begin .. end
 * and after it page_many, for pages that MANY_ROWS or more read; it may bring V into wide_pairs first.
 *
 * The sums are made of integers: a query row is rounded to 16 bits (of its own largest magnitude), and so are
 * the weights of V, exp(score - max) times V's scale; both errors are far below the 8 bits of K and V.
 * Integers add up exactly, so the bits of a row do not depend on what is computed beside it. No sum can
 * overflow: 512 * 128 * 32767 < 2^31. */
#ifndef FERRUM_ATTENTION_I8_BODY_H
#define FERRUM_ATTENTION_I8_BODY_H

#include <float.h>
#include <string.h>

#include "kernels_cpu/attention_values_body.h"

#define LARGEST 32767.0f

typedef int16_t query;

/* K, V and their scales; query rows and weights of V as 16-bit numbers, each row times its scale. The weights
 * lie in the tile's scratch. */
struct page {
    const int8_t *k, *v;
    const float *k_scale, *v_scale;
    const int16_t *wide_pairs;   /* NULL, or [KV_BLOCK_TOKENS / 2, 2 head_dim]: what load_pairs makes of V */
    int16_t *weight;             /* [rows, KV_BLOCK_TOKENS] */
    const void *next_k, *next_v; /* to be fetched ahead while this page is worked on, or NULL */
    struct ahead *ahead;         /* the same where many rows do it, or NULL */
};

/* Rounds x[n] (n % FLOAT_STEP == 0) to 16 bits and returns the scale: NaN for a row that is not finite, 0 for
 * one that is all but 0. */
VEC_INLINE float round_to_16(int16_t *out, const float *x, size_t n)
{
    float largest = vec_largest(x, n);
    float inverse = largest >= FLT_MIN * LARGEST && largest <= FLT_MAX ? LARGEST / largest : 0;
    for (size_t i = 0; i < n; i += FLOAT_STEP)
        round_floats(out + i, x + i, inverse);
    return inverse > 0 ? largest / LARGEST : largest <= FLT_MAX ? 0 : NAN;
}

VEC_INLINE const query *queries(const struct attn_tile *t)
{
    return t->q_rounded;
}

VEC_INLINE vec load_keys(const struct page *page, size_t i)
{
    return vec_i8(page->k + i);
}

VEC_INLINE void put_scores(struct attn_tile *t, const struct page *page, size_t r, size_t j,
                           const vec sums[K_STEP])
{
    put_scaled(&t->scores[r][j], sum_4(sums), page->k_scale + j, t->q_scale[r]);
}

/* With the scales, those of V too. */
VEC_INLINE void fetch_keys(const struct page *page, size_t dim, size_t j, size_t end)
{
    size_t scales = KV_BLOCK_TOKENS * dim;
    prefetch(page->next_k, j * dim, end * dim);
    prefetch(page->next_k, scales + j * sizeof(float), scales + end * sizeof(float));
    prefetch(page->next_v, scales + j * sizeof(float), scales + end * sizeof(float));
}

/* From its softmax, what row r gives to each row of V: 0 to those it does not see, whatever their scales are.
 */
VEC_INLINE void round_weights(struct attn_tile *t, size_t r, const struct page *page)
{
    float *p = t->scores[r];
    for (size_t j = 0; j < KV_BLOCK_TOKENS; j += FLOAT_STEP)
        scale_seen(p + j, page->v_scale + j, j, t->begin[r], t->end[r]);
    t->weight_scale[r] = round_to_16(page->weight + r * KV_BLOCK_TOKENS, p, KV_BLOCK_TOKENS);
}

VEC_INLINE void weigh_row(struct attn_tile *t, size_t r, const struct page *page)
{
    softmax_row(t, r);
    round_weights(t, r, page);
}

/* Two neighbours. */
VEC_INLINE int32_t pair_at(const int16_t *x)
{
    int32_t both;
    memcpy(&both, x, sizeof both);
    return both;
}

/* Adds weights times V over positions [begin, end), both even, to n_vec (2 or 4) vectors of n rows from
 * column d on. */
VEC_INLINE void value_block(struct rows rows, size_t n, const struct page *page, size_t d, size_t n_vec,
                            size_t begin, size_t end)
{
    size_t dim = rows.t->head_dim;
    vec acc[ROW_STEP][4];
#pragma GCC unroll 16
    for (size_t i = 0; i < n * n_vec; i++)
        acc[i / n_vec][i % n_vec] = vec_zero();
    for (size_t j = begin; j < end; j += 2) {
        vec pair[4];
        prefetch(page->next_v, j * dim + 2 * d, j * dim + 2 * d + n_vec * LANES);
        if (page->wide_pairs) {
#pragma GCC unroll 4
            for (size_t x = 0; x < n_vec; x++)
                pair[x] = vec_load(page->wide_pairs + j * dim + 2 * d + x * LANES);
        } else {
#pragma GCC unroll 2
            for (size_t x = 0; x < n_vec; x += 2)
                load_pairs(page->v + j * dim + d + x * LANES / 2, dim, pair + x);
        }
#pragma GCC unroll 16
        for (size_t i = 0; i < n * n_vec; i++)
            acc[i / n_vec][i % n_vec] =
                vec_mul_add(vec_all(pair_at(page->weight + (rows.first + i / n_vec) * KV_BLOCK_TOKENS + j)),
                            pair[i % n_vec], acc[i / n_vec][i % n_vec]);
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < n * n_vec; i += 2)
        add_columns(rows.t->acc + (rows.first + i / n_vec) * dim + d + i % n_vec * LANES / 2,
                    &acc[i / n_vec][i % n_vec], rows.t->weight_scale[rows.first + i / n_vec]);
}

/* Positions only some of the rows see have the weight 0 in the others. */
VEC_INLINE void add_values(struct rows rows, size_t n, const struct page *page)
{
    const struct attn_tile *t = rows.t;
    size_t dim = t->head_dim, d = 0, begin = t->begin[rows.first] / 2 * 2;
    size_t end = (t->end[rows.first + n - 1] + 1) / 2 * 2;
    for (; d + 2 * LANES <= dim; d += 2 * LANES)
        value_block(rows, n, page, d, 4, begin, end);
    if (d < dim)
        value_block(rows, n, page, d, 2, begin, end);
}

#include "kernels_cpu/attention_dots_body.h"

/* MANY_ROWS or more, all of which see something: made by the file of the instruction set. */
static void page_many(struct attn_tile *t, size_t first, size_t n, const struct page *page);

/* Once for all pages of a tile. */
VEC_INLINE void round_queries(struct attn_tile *t)
{
    for (size_t r = 0; !t->is_rounded && r < t->n_rows; r++)
        t->q_scale[r] = round_to_16(t->q_rounded + r * t->head_dim, t->q + r * t->head_dim, t->head_dim);
    t->is_rounded = true;
}

VEC_INLINE void page_i8(struct attn_tile *t, const void *k, const void *v)
{
    size_t first, n = rows_that_see(t, &first), dim = t->head_dim;
    struct page page = {
        .k = k,
        .v = v,
        .k_scale = (const float *)(const void *)((const char *)k + KV_BLOCK_TOKENS * dim),
        .v_scale = (const float *)(const void *)((const char *)v + KV_BLOCK_TOKENS * dim),
        .weight = (int16_t *)(void *)t->v_wide,
    };
    round_queries(t);
    if (n >= MANY_ROWS) {
        page_many(t, first, n, &page);
    } else if (n >= FEW_ROWS) {
        page_rows(t, first, n, &page);
    } else if (n > 0) {
        page.next_k = t->next_k;
        page.next_v = t->next_v;
        page_rows(t, first, n, &page);
    }
}

#endif
