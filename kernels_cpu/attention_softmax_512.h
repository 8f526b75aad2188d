/* attention_softmax_512.h: the softmax of one row over one page, for AVX-512. */
#ifndef FERRUM_ATTENTION_SOFTMAX_512_H
#define FERRUM_ATTENTION_SOFTMAX_512_H

#include <math.h>

#include "kernels_cpu/attention_page_avx2.h"

#define SCORE_VECS (KV_BLOCK_TOKENS / 16)

/* exp(x) for x <= 0, relative error below 2e-7: x = n*ln2 + r with |r| <= ln2/2, a polynomial for exp(r)
 * (1 + r + r^2 * p, p through five Chebyshev nodes: 1e-8), times 2^n. Below -87.33 (results under the
 * smallest normal number) it is 0, so exp(-inf) = 0; exp(0) = 1, and NaN stays NaN. */
VEC_INLINE __m512 exp_512(__m512 x)
{
    /* Adding 1.5 * 2^23 rounds to an integer. */
    const __m512 round = _mm512_set1_ps(12582912.0f);
    __m512 n = _mm512_sub_ps(_mm512_fmadd_ps(x, _mm512_set1_ps(1.44269504f), round), round);
    /* ln2 in two parts: the upper has so few bits that n times it is exact */
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
    __m512 y = _mm512_set1_ps(1.39261759e-3f);
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(8.36317334e-3f));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(4.16665561e-2f));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1.66665778e-1f));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(0.5f));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1.0f));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1.0f));
    return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(-87.33f), _CMP_NLT_UQ), y, n);
}

/* The bits [begin, end) of 64. */
VEC_INLINE uint64_t seen_bits(size_t begin, size_t end)
{
    return begin >= end ? 0 : ~UINT64_C(0) >> (64 - (end - begin)) << begin;
}

/* Multiplies what a row has so far by exp(its max - max). */
VEC_INLINE void rescale_row(struct attn_tile *t, size_t r, float max)
{
    float *acc = t->acc + r * t->head_dim;
    __m512 factor = exp_512(_mm512_set1_ps(t->max[r] - max));
    for (size_t d = 0; d < t->head_dim; d += 16)
        _mm512_storeu_ps(acc + d, _mm512_mul_ps(_mm512_loadu_ps(acc + d), factor));
    t->sum[r] *= _mm512_cvtss_f32(factor);
    t->max[r] = max;
}

/* A row's scores, -INFINITY where it sees nothing. */
VEC_INLINE void load_scores(const struct attn_tile *t, size_t r, __m512 s[SCORE_VECS])
{
    uint64_t seen = seen_bits(t->begin[r], t->end[r]);
#pragma GCC unroll 4
    for (size_t i = 0; i < SCORE_VECS; i++)
        s[i] = _mm512_loadu_ps(t->scores[r] + 16 * i);
    if (~seen) {
#pragma GCC unroll 4
        for (size_t i = 0; i < SCORE_VECS; i++)
            s[i] = _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), (__mmask16)(seen >> 16 * i), s[i]);
    }
}

VEC_INLINE float largest_score(const struct attn_tile *t, size_t r)
{
    __m512 s[SCORE_VECS], max = _mm512_set1_ps(t->max[r]);
    load_scores(t, r, s);
#pragma GCC unroll 4
    for (size_t i = 0; i < SCORE_VECS; i++)
        max = _mm512_max_ps(max, s[i]);
    return _mm512_reduce_max_ps(max);
}

/* Turns a row's scores into exp(score - max), 0 where it sees nothing, and rescales what it has so far when
 * its max changes: else the factor is 1. */
VEC_INLINE void exp_row(struct attn_tile *t, size_t r, float largest)
{
    __m512 s[SCORE_VECS], max = _mm512_set1_ps(largest);
    if (largest != t->max[r])
        rescale_row(t, r, largest);
    load_scores(t, r, s);
#pragma GCC unroll 4
    for (size_t i = 0; i < SCORE_VECS; i++) {
        s[i] = exp_512(_mm512_sub_ps(s[i], max));
        _mm512_storeu_ps(t->scores[r] + 16 * i, s[i]);
    }
    t->sum[r] += _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s[0], s[1]), _mm512_add_ps(s[2], s[3])));
}

/* First all maxima, then the rest: both wait for results that pass through many instructions, and so many
 * rows are under way at once. */
VEC_INLINE void softmax_rows(struct attn_tile *t, size_t first, size_t last)
{
    float largest[ATTN_TILE_ROWS];
    for (size_t r = first; r < last; r++)
        largest[r] = largest_score(t, r);
    for (size_t r = first; r < last; r++)
        exp_row(t, r, largest[r]);
}

VEC_INLINE void softmax_row(struct attn_tile *t, size_t r)
{
    softmax_rows(t, r, r + 1);
}

#endif
