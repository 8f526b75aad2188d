/* attention_avx2.c: scores, softmax and weighted V of one page, for AVX2 with FMA and F16C.
 *
 * Two query rows share what is loaded of K and V. Whether a row is alone or one of two changes no bit of it:
 * its sums run over the same lanes in the same order. A page of f16 that many rows read is widened once. */
#include "kernels_cpu/attention_avx2.h"

#include "kernels_cpu/attention_page_avx2.h"

#define WIDEN_ROWS 5 /* from here on, converting the page once is cheaper than once per two rows */

/* Elements i..i+8 of an array of f16 or f32. */
VEC_INLINE __m256 load_8(const void *p, size_t i, bool f16)
{
    if (f16)
        return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)((const uint16_t *)p + i)));
    return _mm256_loadu_ps((const float *)p + i);
}

/* The sums of four vectors. */
VEC_INLINE __m128 sum_4(const __m256 x[4])
{
    __m256 s = _mm256_hadd_ps(_mm256_hadd_ps(x[0], x[1]), _mm256_hadd_ps(x[2], x[3]));
    return _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
}

/* Scores of n rows (1 or 2) against positions j..j+4. */
VEC_INLINE void score_block(struct rows rows, size_t n, const void *k, size_t j, bool f16)
{
    struct attn_tile *t = rows.t;
    size_t dim = t->head_dim;
    const float *q = t->q + rows.first * dim;
    __m256 acc[2][K_STEP];
#pragma GCC unroll 8
    for (size_t i = 0; i < n * K_STEP; i++)
        acc[i / K_STEP][i % K_STEP] = _mm256_setzero_ps();
    for (size_t d = 0; d < dim; d += 8) {
        __m256 kv[K_STEP];
#pragma GCC unroll 4
        for (size_t p = 0; p < K_STEP; p++)
            kv[p] = load_8(k, (j + p) * dim + d, f16);
#pragma GCC unroll 8
        for (size_t i = 0; i < n * K_STEP; i++)
            acc[i / K_STEP][i % K_STEP] = _mm256_fmadd_ps(_mm256_loadu_ps(q + i / K_STEP * dim + d),
                                                          kv[i % K_STEP], acc[i / K_STEP][i % K_STEP]);
    }
#pragma GCC unroll 2
    for (size_t r = 0; r < n; r++)
        _mm_storeu_ps(&t->scores[rows.first + r][j], sum_4(acc[r]));
}

/* Adds sum over [begin, end) of score * V to n_vec vectors of n rows (1 or 2) from column d on. */
VEC_INLINE void value_block(struct rows rows, size_t n, const void *v, size_t d, size_t n_vec, size_t begin,
                            size_t end, bool f16)
{
    struct attn_tile *t = rows.t;
    size_t dim = t->head_dim;
    float *out = t->acc + rows.first * dim + d;
    __m256 acc[2][4];
#pragma GCC unroll 8
    for (size_t i = 0; i < n * n_vec; i++)
        acc[i / n_vec][i % n_vec] = _mm256_loadu_ps(out + i / n_vec * dim + i % n_vec * 8);
    for (size_t j = begin; j < end; j++) {
        __m256 row[4];
#pragma GCC unroll 4
        for (size_t x = 0; x < n_vec; x++)
            row[x] = load_8(v, j * dim + d + x * 8, f16);
#pragma GCC unroll 8
        for (size_t i = 0; i < n * n_vec; i++)
            acc[i / n_vec][i % n_vec] =
                _mm256_fmadd_ps(_mm256_broadcast_ss(&t->scores[rows.first + i / n_vec][j]), row[i % n_vec],
                                acc[i / n_vec][i % n_vec]);
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < n * n_vec; i++)
        _mm256_storeu_ps(out + i / n_vec * dim + i % n_vec * 8, acc[i / n_vec][i % n_vec]);
}

/* The columns of V in runs of 32, then 16 and 8. */
VEC_INLINE void add_values(struct rows rows, size_t n, const void *v, size_t begin, size_t end, bool f16)
{
    size_t dim = rows.t->head_dim, d = 0;
    if (begin >= end)
        return;
    for (; d + 32 <= dim; d += 32)
        value_block(rows, n, v, d, 4, begin, end, f16);
    if (d + 16 <= dim) {
        value_block(rows, n, v, d, 2, begin, end, f16);
        d += 16;
    }
    if (d < dim)
        value_block(rows, n, v, d, 1, begin, end, f16);
}

/* Two neighbours see almost the same positions: what only one sees is added to it alone, in its order. */
VEC_INLINE void add_values_of_two(struct rows rows, const void *v, bool f16)
{
    const size_t *begin = rows.t->begin + rows.first, *end = rows.t->end + rows.first;
    struct rows second = {rows.t, rows.first + 1};
    if (begin[1] >= end[0]) {
        add_values(rows, 1, v, begin[0], end[0], f16);
        add_values(second, 1, v, begin[1], end[1], f16);
        return;
    }
    add_values(rows, 1, v, begin[0], begin[1], f16);
    add_values(rows, 2, v, begin[1], end[0], f16);
    add_values(second, 1, v, end[0], end[1], f16);
}

/* Rows first .. first + n all see something of the page. While scores are made, V and the
 * next K are fetched. */
VEC_INLINE void page_rows(struct attn_tile *t, size_t first, size_t n, const void *k, const void *v, bool f16)
{
    size_t row_bytes = t->head_dim * (f16 ? sizeof(uint16_t) : sizeof(float));
    size_t last = first + n, begin = t->begin[first] / K_STEP * K_STEP, end = t->end[last - 1];
    for (size_t j = begin; j < end; j += K_STEP) {
        size_t r = first;
        if (n < WIDEN_ROWS) {
            prefetch(v, j * row_bytes, (j + K_STEP) * row_bytes);
            prefetch(t->next_k, j * row_bytes, (j + K_STEP) * row_bytes);
        }
        for (; r + 2 <= last; r += 2)
            score_block((struct rows){t, r}, 2, k, j, f16);
        if (r < last)
            score_block((struct rows){t, r}, 1, k, j, f16);
    }
    for (size_t r = first; r < last; r++)
        softmax_row(t, r);
    size_t r = first;
    for (; r + 2 <= last; r += 2)
        add_values_of_two((struct rows){t, r}, v, f16);
    if (r < last)
        add_values((struct rows){t, r}, 1, v, t->begin[r], t->end[r], f16);
}

void attn_page_f32_avx2(struct attn_tile *t, const void *k, const void *v)
{
    size_t first, n = rows_that_see(t, &first);
    if (n > 0)
        page_rows(t, first, n, k, v, false);
}

static void widen(float *out, const uint16_t *in, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i += 8)
        _mm256_storeu_ps(out + i, load_8(in, i, true));
}

void attn_page_f16_avx2(struct attn_tile *t, const void *k, const void *v)
{
    size_t first, n = rows_that_see(t, &first), dim = t->head_dim;
    if (n == 0)
        return;
    if (n < WIDEN_ROWS) {
        page_rows(t, first, n, k, v, true);
        return;
    }
    /* Whole score blocks, which may read rows of K that nobody sees */
    size_t end = t->end[first + n - 1];
    size_t k_end = (end + K_STEP - 1) / K_STEP * K_STEP;
    widen(t->k_wide, k, t->begin[first] / K_STEP * K_STEP * dim, k_end * dim);
    widen(t->v_wide, v, t->begin[first] * dim, end * dim);
    page_rows(t, first, n, t->k_wide, t->v_wide, false);
}
