/* attention_i8_avx512.c: one page of attention over int8 K and V, for AVX-512 with VNNI: the vectors of
 * attention_i8_body.h, 32 products wide, added up by the instruction that makes them. */
#include "kernels_cpu/attention_avx512.h"

#include "kernels_cpu/attention_i8_256.h"
#include "kernels_cpu/attention_softmax_512.h"
#include "kernels_cpu/attention_turn_512.h"
#include "kernels_cpu/vec_avx2.h"

#define LANES 32
#define ROW_STEP 4
#define FEW_ROWS 5
#define MANY_ROWS 12 /* what turning K and widening V once saves these is about what it costs */

typedef __m512i vec;

VEC_INLINE vec vec_zero(void)
{
    return _mm512_setzero_si512();
}

VEC_INLINE vec vec_load(const int16_t *x)
{
    return _mm512_loadu_si512(x);
}

VEC_INLINE vec vec_i8(const int8_t *x)
{
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)x));
}

VEC_INLINE vec vec_all(int32_t x)
{
    return _mm512_set1_epi32(x);
}

VEC_INLINE vec vec_mul_add(vec a, vec b, vec c)
{
    return _mm512_dpwssd_epi32(c, b, a);
}

VEC_INLINE __m128i sum_4(const vec x[4])
{
    __m256i half[4];
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++)
        half[i] = _mm256_add_epi32(_mm512_castsi512_si256(x[i]), _mm512_extracti64x4_epi64(x[i], 1));
    __m256i s = _mm256_hadd_epi32(_mm256_hadd_epi32(half[0], half[1]), _mm256_hadd_epi32(half[2], half[3]));
    return _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
}

/* Columns 0..8 and 16..24, then 8..16 and 24..32. */
VEC_INLINE void load_pairs(const int8_t *v, size_t dim, vec out[2])
{
    __m256i a = _mm256_loadu_si256((const __m256i *)v), b = _mm256_loadu_si256((const __m256i *)(v + dim));
    out[0] = _mm512_cvtepi8_epi16(_mm256_unpacklo_epi8(a, b));
    out[1] = _mm512_cvtepi8_epi16(_mm256_unpackhi_epi8(a, b));
}

VEC_INLINE void add_columns(float *out, const vec sums[2], float scale)
{
    __m512 low = _mm512_cvtepi32_ps(_mm512_shuffle_i64x2(sums[0], sums[1], 0x44));
    __m512 high = _mm512_cvtepi32_ps(_mm512_shuffle_i64x2(sums[0], sums[1], 0xEE));
    __m512 s = _mm512_set1_ps(scale);
    _mm512_storeu_ps(out, _mm512_fmadd_ps(low, s, _mm512_loadu_ps(out)));
    _mm512_storeu_ps(out + 16, _mm512_fmadd_ps(high, s, _mm512_loadu_ps(out + 16)));
}

#include "kernels_cpu/attention_i8_body.h"

/* ---- many rows: K is turned, so that a sum is a position and none runs across lanes ---- */

#define SUMS (LANES / 2)

/* out[head_dim / 2, KV_BLOCK_TOKENS] = the first n_vec * 16 rows of K as pairs of 16 bits, turned. */
VEC_INLINE void turn_keys(int16_t *out, const struct page *page, size_t dim, size_t n_vec)
{
    for (size_t j = 0; j < n_vec * SUMS; j += SUMS) {
        for (size_t d = 0; d < dim; d += LANES) {
            __m512 x[16];
#pragma GCC unroll 16
            for (size_t i = 0; i < 16; i++)
                x[i] = _mm512_castsi512_ps(load_keys(page, (j + i) * dim + d));
            turn_16(x);
#pragma GCC unroll 16
            for (size_t i = 0; i < 16; i++)
                _mm512_storeu_ps(out + (d + 2 * i) * KV_BLOCK_TOKENS + 2 * j, x[i]);
        }
    }
}

/* Adds LANES columns to the sums of n rows. */
VEC_INLINE void add_pairs(vec *acc, const int16_t *q, size_t n, const int16_t *keys, size_t dim, size_t n_vec)
{
    for (size_t d = 0; d < LANES; d += 2) {
        vec k[SCORE_VECS];
#pragma GCC unroll 4
        for (size_t v = 0; v < n_vec; v++)
            k[v] = vec_load(keys + d * KV_BLOCK_TOKENS + v * LANES);
#pragma GCC unroll 16
        for (size_t i = 0; i < n * n_vec; i++)
            acc[i] = vec_mul_add(vec_all(pair_at(q + i / n_vec * dim + d)), k[i % n_vec], acc[i]);
    }
}

/* The same integers as those of score_block, in another order, and the same scale. */
VEC_INLINE void score_turned(struct rows rows, size_t n, const struct page *page, const int16_t *keys,
                             size_t n_vec)
{
    size_t dim = rows.t->head_dim;
    vec acc[ROW_STEP * SCORE_VECS];
#pragma GCC unroll 16
    for (size_t i = 0; i < n * n_vec; i++)
        acc[i] = vec_zero();
    for (size_t d = 0; d < dim; d += LANES) {
        fetch_step(page->ahead);
        add_pairs(acc, rows.t->q_rounded + rows.first * dim + d, n, keys + d * KV_BLOCK_TOKENS, dim, n_vec);
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < n * n_vec; i++) {
        size_t r = rows.first + i / n_vec, j = i % n_vec * SUMS;
        __m512 scale = _mm512_mul_ps(_mm512_set1_ps(rows.t->q_scale[r]), _mm512_loadu_ps(page->k_scale + j));
        _mm512_storeu_ps(rows.t->scores[r] + j, _mm512_mul_ps(_mm512_cvtepi32_ps(acc[i]), scale));
    }
}

/* As many positions as the last of n rows sees. */
VEC_INLINE void score_seen(struct rows rows, size_t n, const struct page *page, const int16_t *keys)
{
    size_t n_vec = (rows.t->end[rows.first + n - 1] + SUMS - 1) / SUMS;
    if (n_vec == 4)
        score_turned(rows, n, page, keys, 4);
    else if (n_vec == 3)
        score_turned(rows, n, page, keys, 3);
    else if (n_vec == 2)
        score_turned(rows, n, page, keys, 2);
    else
        score_turned(rows, n, page, keys, 1);
}

/* Over whole pairs of the positions [begin, end). */
VEC_INLINE void widen_pairs(int16_t *out, const int8_t *v, size_t dim, size_t begin, size_t end)
{
    for (size_t j = begin / 2 * 2; j < end; j += 2) {
        for (size_t d = 0; d < dim; d += LANES) {
            vec pairs[2];
            load_pairs(v + j * dim + d, dim, pairs);
            _mm512_storeu_si512(out + j * dim + 2 * d, pairs[0]);
            _mm512_storeu_si512(out + j * dim + 2 * d + LANES, pairs[1]);
        }
    }
}

static void page_many(struct attn_tile *t, size_t first, size_t n, const struct page *in)
{
    size_t last = first + n, r = first, end = t->end[last - 1], dim = t->head_dim;
    int16_t *keys = (int16_t *)(void *)t->k_wide, *pairs = keys + KV_BLOCK_TOKENS * dim;
    struct ahead ahead = ahead_of(t, KV_BLOCK_TOKENS * (dim + sizeof(float)), n / ROW_STEP * (dim / LANES));
    struct page page = {.k_scale = in->k_scale,
                        .v_scale = in->v_scale,
                        .wide_pairs = pairs,
                        .weight = in->weight,
                        .ahead = &ahead};
    turn_keys(keys, in, dim, (end + SUMS - 1) / SUMS);
    widen_pairs(pairs, in->v, dim, t->begin[first], end);
    for (; r + ROW_STEP <= last; r += ROW_STEP)
        score_seen((struct rows){t, r}, ROW_STEP, &page, keys);
    for (; r < last; r++)
        score_seen((struct rows){t, r}, 1, &page, keys);
    softmax_rows(t, first, last);
    for (r = first; r < last; r++)
        round_weights(t, r, &page);
    value_rows(t, first, last, &page);
}

void attn_page_i8_avx512(struct attn_tile *t, const void *k, const void *v)
{
    page_i8(t, k, v);
}
