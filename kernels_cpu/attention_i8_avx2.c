/* attention_i8_avx2.c: one page of attention over int8 K and V, for AVX2. Two query rows share what is
 * loaded.
 */
#include "kernels_cpu/attention_avx2.h"

#include "kernels_cpu/attention_i8_page.h"

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

/* Sixteen columns of V's rows j and j + 1: the two of a column side by side, columns 0..8 and 8..16. */
VEC_INLINE void load_pairs(const int8_t *v, size_t dim, __m256i out[2])
{
    __m128i a = _mm_loadu_si128((const __m128i *)v), b = _mm_loadu_si128((const __m128i *)(v + dim));
    out[0] = _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(a, b));
    out[1] = _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(a, b));
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
            __m256i w = _mm256_set1_epi32(weight_pair(r16, rows.first + i / n_vec, j));
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
    size_t last = first + n, end = t->end[last - 1];
    for (size_t j = t->begin[first] / K_STEP * K_STEP; j < end; j += K_STEP) {
        size_t r = first;
        if (n < FEW_ROWS)
            fetch_ahead(t, page, j);
        for (; r + 2 <= last; r += 2)
            score_block((struct rows){t, r}, 2, r16, page, j);
        if (r < last)
            score_block((struct rows){t, r}, 1, r16, page, j);
    }
}

void attn_page_i8_avx2(struct attn_tile *t, const void *k, const void *v)
{
    size_t first, n = rows_that_see(t, &first), last = first + n;
    struct i8_page page = page_at(t, k, v);
    struct row_16 r16;
    if (n == 0)
        return;
    round_queries(t, first, last, &r16);
    score_rows(t, first, n, &r16, &page);
    weigh_rows(t, first, last, &r16, page.v_scale);
    size_t r = first;
    for (; r + 2 <= last; r += 2)
        add_values((struct rows){t, r}, 2, &r16, page.v);
    if (r < last)
        add_values((struct rows){t, r}, 1, &r16, page.v);
}
