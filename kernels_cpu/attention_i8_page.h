/* attention_i8_page.h: what the pages of attention over int8 share: the page, and query rows and weights of V
 * as 16-bit numbers. Only for files compiled with AVX2, FMA, F16C.
 *
 * The sums are made of integers: a query row is rounded to 16 bits (of its own largest magnitude), and so are
 * the weights of V, exp(score - max) times V's scale; both errors are far below the 8 bits of K and V.
 * Integers add up exactly, so the bits of a row do not depend on what is computed beside it. No sum can
 * overflow: 512 * 128 * 32767 < 2^31. */
#ifndef FERRUM_ATTENTION_I8_PAGE_H
#define FERRUM_ATTENTION_I8_PAGE_H

#include <float.h>
#include <string.h>

#include "kernels_cpu/attention_page_avx2.h"

#define FEW_ROWS 5 /* below it, the page is waited for and fetched ahead */
#define LARGEST 32767.0f

struct i8_page {
    const int8_t *k, *v;
    const float *k_scale, *v_scale;
};

/* Rows of 16-bit numbers, each times its scale. They lie in the tile's scratch. */
struct row_16 {
    int16_t *q, *weight; /* [rows, head_dim], [rows, KV_BLOCK_TOKENS] */
    float q_scale[ATTN_TILE_ROWS], weight_scale[ATTN_TILE_ROWS];
};

VEC_INLINE struct i8_page page_at(const struct attn_tile *t, const void *k, const void *v)
{
    const char *k_end = (const char *)k + KV_BLOCK_TOKENS * t->head_dim;
    const char *v_end = (const char *)v + KV_BLOCK_TOKENS * t->head_dim;
    return (struct i8_page){k, v, (const float *)(const void *)k_end, (const float *)(const void *)v_end};
}

/* Rounds x[n] (n % 16 == 0) to 16 bits and returns the scale: NaN for a row that is not finite, 0 for one
 * that is all but 0. */
VEC_INLINE float round_to_16(int16_t *out, const float *x, size_t n)
{
    float largest = vec_largest(x, n);
    float inverse = largest >= FLT_MIN * LARGEST && largest <= FLT_MAX ? LARGEST / largest : 0;
    __m256 factor = _mm256_set1_ps(inverse);
    for (size_t i = 0; i < n; i += 16) {
        __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i), factor));
        __m256i b = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i + 8), factor));
        __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xD8);
        _mm256_storeu_si256((__m256i *)(out + i), both);
    }
    return inverse > 0 ? largest / LARGEST : largest <= FLT_MAX ? 0 : NAN;
}

VEC_INLINE void round_queries(const struct attn_tile *t, size_t first, size_t last, struct row_16 *r16)
{
    size_t dim = t->head_dim;
    r16->q = (int16_t *)(void *)t->k_wide;
    r16->weight = (int16_t *)(void *)t->v_wide;
    for (size_t r = first; r < last; r++)
        r16->q_scale[r] = round_to_16(r16->q + r * dim, t->q + r * dim, dim);
}

/* What row r gives to each row of V: 0 to those it does not see, whatever their scales are. */
VEC_INLINE void weigh_row(struct attn_tile *t, size_t r, struct row_16 *r16, const float *v_scale)
{
    float *p = t->scores[r];
    for (size_t j = 0; j < KV_BLOCK_TOKENS; j += 8) {
        __m256 scale = _mm256_and_ps(_mm256_loadu_ps(v_scale + j), seen_mask(j, t->begin[r], t->end[r]));
        _mm256_storeu_ps(p + j, _mm256_mul_ps(_mm256_loadu_ps(p + j), scale));
    }
    r16->weight_scale[r] = round_to_16(r16->weight + r * KV_BLOCK_TOKENS, p, KV_BLOCK_TOKENS);
}

VEC_INLINE void weigh_rows(struct attn_tile *t, size_t first, size_t last, struct row_16 *r16,
                           const float *v_scale)
{
    for (size_t r = first; r < last; r++) {
        softmax_row(t, r);
        weigh_row(t, r, r16, v_scale);
    }
}

/* The weights of positions j and j + 1 of a row. */
VEC_INLINE int32_t weight_pair(const struct row_16 *r16, size_t r, size_t j)
{
    int32_t both;
    memcpy(&both, r16->weight + r * KV_BLOCK_TOKENS + j, sizeof both);
    return both;
}

/* V and the next K, values and scales of positions j .. j + K_STEP. */
VEC_INLINE void fetch_ahead(const struct attn_tile *t, const struct i8_page *page, size_t j)
{
    size_t dim = t->head_dim, end = j + K_STEP;
    prefetch(page->v, j * dim, end * dim);
    prefetch(t->next_k, j * dim, end * dim);
    prefetch(page->v_scale, j * sizeof(float), end * sizeof(float));
    if (t->next_k)
        prefetch((const char *)t->next_k + KV_BLOCK_TOKENS * dim, j * sizeof(float), end * sizeof(float));
}

#endif
