/* attention_i8_avx512.c: one page of attention over int8 K and V, for AVX-512 with VNNI: products of 16-bit
 * pairs are added up by the instruction that makes them, and four query rows share what is loaded. */
#include "kernels_cpu/attention_avx512.h"

#include "kernels_cpu/attention_i8_page.h"

#define ROW_STEP 4

VEC_INLINE __m128i sum_4(const __m512i x[4])
{
    __m256i half[4];
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++)
        half[i] = _mm256_add_epi32(_mm512_castsi512_si256(x[i]), _mm512_extracti64x4_epi64(x[i], 1));
    __m256i s = _mm256_hadd_epi32(_mm256_hadd_epi32(half[0], half[1]), _mm256_hadd_epi32(half[2], half[3]));
    return _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
}

VEC_INLINE __m512i load_32(const int8_t *p)
{
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)p));
}

/* Scores of n rows (1, 2 or 4) against positions j..j+4. */
VEC_INLINE void score_block(struct rows rows, size_t n, const struct row_16 *r16, const struct i8_page *page,
                            size_t j)
{
    size_t dim = rows.t->head_dim;
    const int16_t *q = r16->q + rows.first * dim;
    __m512i acc[ROW_STEP][K_STEP];
#pragma GCC unroll 16
    for (size_t i = 0; i < n * K_STEP; i++)
        acc[i / K_STEP][i % K_STEP] = _mm512_setzero_si512();
    for (size_t d = 0; d < dim; d += 32) {
        __m512i k[K_STEP];
#pragma GCC unroll 4
        for (size_t p = 0; p < K_STEP; p++)
            k[p] = load_32(page->k + (j + p) * dim + d);
#pragma GCC unroll 16
        for (size_t i = 0; i < n * K_STEP; i++)
            acc[i / K_STEP][i % K_STEP] = _mm512_dpwssd_epi32(acc[i / K_STEP][i % K_STEP], k[i % K_STEP],
                                                              _mm512_loadu_si512(q + i / K_STEP * dim + d));
    }
#pragma GCC unroll 4
    for (size_t r = 0; r < n; r++) {
        __m128 scale = _mm_mul_ps(_mm_set1_ps(r16->q_scale[rows.first + r]), _mm_loadu_ps(page->k_scale + j));
        _mm_storeu_ps(&rows.t->scores[rows.first + r][j], _mm_mul_ps(_mm_cvtepi32_ps(sum_4(acc[r])), scale));
    }
}

/* Thirty-two columns of V's rows j and j + 1, the two of a column side by side: columns 0..8 and 16..24, then
 * 8..16 and 24..32. */
VEC_INLINE void load_pairs(const int8_t *v, size_t dim, __m512i out[2])
{
    __m256i a = _mm256_loadu_si256((const __m256i *)v), b = _mm256_loadu_si256((const __m256i *)(v + dim));
    out[0] = _mm512_cvtepi8_epi16(_mm256_unpacklo_epi8(a, b));
    out[1] = _mm512_cvtepi8_epi16(_mm256_unpackhi_epi8(a, b));
}

/* Adds sums * scale to 32 columns; the sums lie as load_pairs has them. */
VEC_INLINE void add_columns(float *out, const __m512i sums[2], __m512 scale)
{
    __m512 low = _mm512_cvtepi32_ps(_mm512_shuffle_i64x2(sums[0], sums[1], 0x44));
    __m512 high = _mm512_cvtepi32_ps(_mm512_shuffle_i64x2(sums[0], sums[1], 0xEE));
    _mm512_storeu_ps(out, _mm512_fmadd_ps(low, scale, _mm512_loadu_ps(out)));
    _mm512_storeu_ps(out + 16, _mm512_fmadd_ps(high, scale, _mm512_loadu_ps(out + 16)));
}

/* Adds weights times V over positions [begin, end), both even, to n_vec (2 or 4) vectors of n rows (1, 2 or
 * 4) from column d on. */
VEC_INLINE void value_block(struct rows rows, size_t n, const struct row_16 *r16, const int8_t *v, size_t d,
                            size_t n_vec, size_t begin, size_t end)
{
    size_t dim = rows.t->head_dim;
    __m512i acc[ROW_STEP][4];
#pragma GCC unroll 16
    for (size_t i = 0; i < n * n_vec; i++)
        acc[i / n_vec][i % n_vec] = _mm512_setzero_si512();
    for (size_t j = begin; j < end; j += 2) {
        __m512i pair[4];
#pragma GCC unroll 2
        for (size_t x = 0; x < n_vec; x += 2)
            load_pairs(v + j * dim + d + x * 16, dim, pair + x);
#pragma GCC unroll 16
        for (size_t i = 0; i < n * n_vec; i++)
            acc[i / n_vec][i % n_vec] =
                _mm512_dpwssd_epi32(acc[i / n_vec][i % n_vec], pair[i % n_vec],
                                    _mm512_set1_epi32(weight_pair(r16, rows.first + i / n_vec, j)));
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < n * n_vec; i += 2)
        add_columns(rows.t->acc + (rows.first + i / n_vec) * dim + d + i % n_vec * 16,
                    &acc[i / n_vec][i % n_vec], _mm512_set1_ps(r16->weight_scale[rows.first + i / n_vec]));
}

/* Positions only some of the rows see have the weight 0 in the others. */
VEC_INLINE void add_values(struct rows rows, size_t n, const struct row_16 *r16, const int8_t *v)
{
    const struct attn_tile *t = rows.t;
    size_t dim = t->head_dim, d = 0, begin = t->begin[rows.first] / 2 * 2;
    size_t end = (t->end[rows.first + n - 1] + 1) / 2 * 2;
    for (; d + 64 <= dim; d += 64)
        value_block(rows, n, r16, v, d, 4, begin, end);
    if (d < dim)
        value_block(rows, n, r16, v, d, 2, begin, end);
}

/* Scores of rows first .. last. While they are made, V and the next K are fetched for few rows, which wait
 * for them. */
static void score_rows(struct attn_tile *t, size_t first, size_t last, const struct row_16 *r16,
                       const struct i8_page *page)
{
    for (size_t j = t->begin[first] / K_STEP * K_STEP; j < t->end[last - 1]; j += K_STEP) {
        size_t r = first;
        if (last - first < FEW_ROWS)
            fetch_ahead(t, page, j);
        for (; r + 4 <= last; r += 4)
            score_block((struct rows){t, r}, 4, r16, page, j);
        if (r + 2 <= last) {
            score_block((struct rows){t, r}, 2, r16, page, j);
            r += 2;
        }
        if (r < last)
            score_block((struct rows){t, r}, 1, r16, page, j);
    }
}

void attn_page_i8_avx512(struct attn_tile *t, const void *k, const void *v)
{
    size_t first, n = rows_that_see(t, &first), last = first + n;
    struct i8_page page = page_at(t, k, v);
    struct row_16 r16;
    if (n == 0)
        return;
    round_queries(t, first, last, &r16);
    score_rows(t, first, last, &r16, &page);
    weigh_rows(t, first, last, &r16, page.v_scale);
    size_t r = first;
    for (; r + 4 <= last; r += 4)
        add_values((struct rows){t, r}, 4, &r16, page.v);
    if (r + 2 <= last) {
        add_values((struct rows){t, r}, 2, &r16, page.v);
        r += 2;
    }
    if (r < last)
        add_values((struct rows){t, r}, 1, &r16, page.v);
}
