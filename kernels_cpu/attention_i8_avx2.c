/* attention_i8_avx2.c: one page of attention over int8 K and V, for AVX2.
 *
 * The sums are made of integers: a query row is rounded to 16 bits (of its own largest magnitude), and so are
 * the weights of V, exp(score - max) times V's scale; both errors are far below the 8 bits of K and V.
 * Integers add up exactly, so the bits of a row do not depend on what is computed beside it. No sum can
 * overflow: 512 * 128 * 32767 < 2^31. */
#include "kernels_cpu/attention_avx2.h"

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

static struct i8_page page_at(const struct attn_tile *t, const void *k, const void *v)
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

VEC_INLINE __m128i sum_4(const __m256i x[4])
{
    __m256i s = _mm256_hadd_epi32(_mm256_hadd_epi32(x[0], x[1]), _mm256_hadd_epi32(x[2], x[3]));
    return _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
}

/* Scores of n rows (1 or 2) against positions j..j+4. */
VEC_INLINE void score_block(struct rows rows, size_t n, const struct row_16 *r16, const struct i8_page *page,
                            size_t j)
{
    size_t dim = rows.t->head_dim;
    const int16_t *q = r16->q + rows.first * dim;
    __m256i acc[2][K_STEP];
#pragma GCC unroll 8
    for (size_t i = 0; i < n * K_STEP; i++)
        acc[i / K_STEP][i % K_STEP] = _mm256_setzero_si256();
    for (size_t d = 0; d < dim; d += 16) {
        __m256i k[K_STEP];
#pragma GCC unroll 4
        for (size_t p = 0; p < K_STEP; p++)
            k[p] = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(page->k + (j + p) * dim + d)));
#pragma GCC unroll 8
        for (size_t i = 0; i < n * K_STEP; i++) {
            __m256i x = _mm256_loadu_si256((const __m256i *)(q + i / K_STEP * dim + d));
            acc[i / K_STEP][i % K_STEP] =
                _mm256_add_epi32(acc[i / K_STEP][i % K_STEP], _mm256_madd_epi16(x, k[i % K_STEP]));
        }
    }
#pragma GCC unroll 2
    for (size_t r = 0; r < n; r++) {
        __m128 scale = _mm_mul_ps(_mm_set1_ps(r16->q_scale[rows.first + r]), _mm_loadu_ps(page->k_scale + j));
        _mm_storeu_ps(&rows.t->scores[rows.first + r][j], _mm_mul_ps(_mm_cvtepi32_ps(sum_4(acc[r])), scale));
    }
}

/* What row r gives to each row of V: 0 to those it does not see, whatever their scales are. */
VEC_INLINE void weigh_row(struct attn_tile *t, size_t r, struct row_16 *r16, const float *v_scale)
{
    float *p = t->scores[r];
    for (size_t j = t->begin[r]; j < t->end[r]; j++)
        p[j] *= v_scale[j];
    r16->weight_scale[r] = round_to_16(r16->weight + r * KV_BLOCK_TOKENS, p, KV_BLOCK_TOKENS);
}

/* Sixteen columns of V's rows j and j + 1: the two of a column side by side, columns 0..8 and 8..16. */
VEC_INLINE void load_pairs(const int8_t *v, size_t dim, __m256i out[2])
{
    __m128i a = _mm_loadu_si128((const __m128i *)v), b = _mm_loadu_si128((const __m128i *)(v + dim));
    out[0] = _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(a, b));
    out[1] = _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(a, b));
}

VEC_INLINE __m256i weights_of_pair(const int16_t *weight, size_t j)
{
    int32_t both;
    memcpy(&both, weight + j, sizeof both);
    return _mm256_set1_epi32(both);
}

/* Adds weights times V over positions [begin, end), both even, to n_vec (2 or 4) vectors of n rows (1 or 2)
 * from column d on. */
VEC_INLINE void value_block(struct rows rows, size_t n, const struct row_16 *r16, const int8_t *v, size_t d,
                            size_t n_vec, size_t begin, size_t end)
{
    size_t dim = rows.t->head_dim;
    __m256i acc[2][4];
#pragma GCC unroll 8
    for (size_t i = 0; i < n * n_vec; i++)
        acc[i / n_vec][i % n_vec] = _mm256_setzero_si256();
    for (size_t j = begin; j < end; j += 2) {
        __m256i pair[4];
#pragma GCC unroll 2
        for (size_t x = 0; x < n_vec; x += 2)
            load_pairs(v + j * dim + d + x * 8, dim, pair + x);
#pragma GCC unroll 8
        for (size_t i = 0; i < n * n_vec; i++) {
            __m256i w = weights_of_pair(r16->weight + (rows.first + i / n_vec) * KV_BLOCK_TOKENS, j);
            acc[i / n_vec][i % n_vec] =
                _mm256_add_epi32(acc[i / n_vec][i % n_vec], _mm256_madd_epi16(w, pair[i % n_vec]));
        }
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < n * n_vec; i++) {
        float *out = rows.t->acc + (rows.first + i / n_vec) * dim + d + i % n_vec * 8;
        __m256 scale = _mm256_set1_ps(r16->weight_scale[rows.first + i / n_vec]);
        _mm256_storeu_ps(
            out, _mm256_fmadd_ps(_mm256_cvtepi32_ps(acc[i / n_vec][i % n_vec]), scale, _mm256_loadu_ps(out)));
    }
}

/* Positions only one of two rows sees have the weight 0 in the other. */
VEC_INLINE void add_values(struct rows rows, size_t n, const struct row_16 *r16, const int8_t *v)
{
    const struct attn_tile *t = rows.t;
    size_t dim = t->head_dim, d = 0, begin = t->begin[rows.first] / 2 * 2;
    size_t end = (t->end[rows.first + n - 1] + 1) / 2 * 2;
    for (; d + 32 <= dim; d += 32)
        value_block(rows, n, r16, v, d, 4, begin, end);
    if (d < dim)
        value_block(rows, n, r16, v, d, 2, begin, end);
}

/* Scores of rows first .. first + n. While they are made, V and the next K are fetched. */
static void score_rows(struct attn_tile *t, size_t first, size_t n, const struct row_16 *r16,
                       const struct i8_page *page)
{
    size_t dim = t->head_dim, last = first + n, end = t->end[last - 1];
    const char *next_scale = t->next_k ? (const char *)t->next_k + KV_BLOCK_TOKENS * dim : NULL;
    for (size_t j = t->begin[first] / K_STEP * K_STEP; j < end; j += K_STEP) {
        size_t r = first;
        if (n < FEW_ROWS) {
            prefetch(page->v, j * dim, (j + K_STEP) * dim);
            prefetch(t->next_k, j * dim, (j + K_STEP) * dim);
            prefetch(page->v_scale, j * sizeof(float), (j + K_STEP) * sizeof(float));
            prefetch(next_scale, j * sizeof(float), (j + K_STEP) * sizeof(float));
        }
        for (; r + 2 <= last; r += 2)
            score_block((struct rows){t, r}, 2, r16, page, j);
        if (r < last)
            score_block((struct rows){t, r}, 1, r16, page, j);
    }
}

void attn_page_i8_avx2(struct attn_tile *t, const void *k, const void *v)
{
    size_t first, n = rows_that_see(t, &first), dim = t->head_dim, last = first + n;
    struct i8_page page = page_at(t, k, v);
    struct row_16 r16 = {.q = (int16_t *)(void *)t->k_wide, .weight = (int16_t *)(void *)t->v_wide};
    if (n == 0)
        return;
    for (size_t r = first; r < last; r++)
        r16.q_scale[r] = round_to_16(r16.q + r * dim, t->q + r * dim, dim);
    score_rows(t, first, n, &r16, &page);
    for (size_t r = first; r < last; r++) {
        softmax_row(t, r);
        weigh_row(t, r, &r16, page.v_scale);
    }
    size_t r = first;
    for (; r + 2 <= last; r += 2)
        add_values((struct rows){t, r}, 2, &r16, page.v);
    if (r < last)
        add_values((struct rows){t, r}, 1, &r16, page.v);
}
