/* attention_avx512.c: one page of attention over f16 or f32, for AVX-512: the 32 wide registers hold the sums
 * of four query rows at once, which share what is loaded of K and V.
 *
 * Whether a row is alone or one of four changes no bit of it: its sums run over the same lanes in the same
 * order. A page of f16 that many rows read is widened once. */
#include "kernels_cpu/attention_avx512.h"

#include "kernels_cpu/attention_page_avx2.h"

#define WIDEN_ROWS 9 /* from here on, converting the page once is cheaper than once per four rows */
#define ROW_STEP 4

/* Elements i..i+16 of an array of f16 or f32. */
VEC_INLINE __m512 load_16(const void *p, size_t i, bool f16)
{
    if (f16)
        return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)((const uint16_t *)p + i)));
    return _mm512_loadu_ps((const float *)p + i);
}

/* The sums of four vectors. */
VEC_INLINE __m128 sum_4(const __m512 x[4])
{
    __m256 half[4];
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++)
        half[i] = _mm256_add_ps(_mm512_castps512_ps256(x[i]), _mm512_extractf32x8_ps(x[i], 1));
    __m256 s = _mm256_hadd_ps(_mm256_hadd_ps(half[0], half[1]), _mm256_hadd_ps(half[2], half[3]));
    return _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
}

/* Scores of n rows (1, 2 or 4) against positions j..j+4. */
VEC_INLINE void score_block(struct rows rows, size_t n, const void *k, size_t j, bool f16)
{
    struct attn_tile *t = rows.t;
    size_t dim = t->head_dim;
    const float *q = t->q + rows.first * dim;
    __m512 acc[ROW_STEP][K_STEP];
#pragma GCC unroll 16
    for (size_t i = 0; i < n * K_STEP; i++)
        acc[i / K_STEP][i % K_STEP] = _mm512_setzero_ps();
    for (size_t d = 0; d < dim; d += 16) {
        __m512 kv[K_STEP];
#pragma GCC unroll 4
        for (size_t p = 0; p < K_STEP; p++)
            kv[p] = load_16(k, (j + p) * dim + d, f16);
#pragma GCC unroll 16
        for (size_t i = 0; i < n * K_STEP; i++)
            acc[i / K_STEP][i % K_STEP] = _mm512_fmadd_ps(_mm512_loadu_ps(q + i / K_STEP * dim + d),
                                                          kv[i % K_STEP], acc[i / K_STEP][i % K_STEP]);
    }
#pragma GCC unroll 4
    for (size_t r = 0; r < n; r++)
        _mm_storeu_ps(&t->scores[rows.first + r][j], sum_4(acc[r]));
}

/* Adds sum over [begin, end) of score * V to n_vec (1, 2 or 4) vectors of n rows (1, 2 or 4) from column d
 * on. */
VEC_INLINE void value_block(struct rows rows, size_t n, const void *v, size_t d, size_t n_vec, size_t begin,
                            size_t end, bool f16)
{
    struct attn_tile *t = rows.t;
    size_t dim = t->head_dim;
    float *out = t->acc + rows.first * dim + d;
    __m512 acc[ROW_STEP][4];
#pragma GCC unroll 16
    for (size_t i = 0; i < n * n_vec; i++)
        acc[i / n_vec][i % n_vec] = _mm512_loadu_ps(out + i / n_vec * dim + i % n_vec * 16);
    for (size_t j = begin; j < end; j++) {
        __m512 row[4];
#pragma GCC unroll 4
        for (size_t x = 0; x < n_vec; x++)
            row[x] = load_16(v, j * dim + d + x * 16, f16);
#pragma GCC unroll 16
        for (size_t i = 0; i < n * n_vec; i++)
            acc[i / n_vec][i % n_vec] = _mm512_fmadd_ps(_mm512_set1_ps(t->scores[rows.first + i / n_vec][j]),
                                                        row[i % n_vec], acc[i / n_vec][i % n_vec]);
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < n * n_vec; i++)
        _mm512_storeu_ps(out + i / n_vec * dim + i % n_vec * 16, acc[i / n_vec][i % n_vec]);
}

/* The columns of V in runs of 64, then 32 and 16. */
VEC_INLINE void add_values(struct rows rows, size_t n, const void *v, size_t begin, size_t end, bool f16)
{
    size_t dim = rows.t->head_dim, d = 0;
    if (begin >= end)
        return;
    for (; d + 64 <= dim; d += 64)
        value_block(rows, n, v, d, 4, begin, end, f16);
    if (d + 32 <= dim) {
        value_block(rows, n, v, d, 2, begin, end, f16);
        d += 32;
    }
    if (d < dim)
        value_block(rows, n, v, d, 1, begin, end, f16);
}

/* Neighbours see almost the same positions: what only some see is added to each alone, in its order. */
VEC_INLINE void add_values_of(struct rows rows, size_t n, const void *v, bool f16)
{
    const size_t *begin = rows.t->begin + rows.first, *end = rows.t->end + rows.first;
    size_t all_begin = begin[n - 1], all_end = end[0];
    bool apart = all_begin >= all_end;
    for (size_t i = 0; i < n; i++)
        add_values((struct rows){rows.t, rows.first + i}, 1, v, begin[i], apart ? end[i] : all_begin, f16);
    if (apart)
        return;
    add_values(rows, n, v, all_begin, all_end, f16);
    for (size_t i = 0; i < n; i++)
        add_values((struct rows){rows.t, rows.first + i}, 1, v, all_end, end[i], f16);
}

VEC_INLINE void score_rows(struct attn_tile *t, size_t first, size_t last, const void *k, size_t j, bool f16)
{
    size_t r = first;
    for (; r + 4 <= last; r += 4)
        score_block((struct rows){t, r}, 4, k, j, f16);
    if (r + 2 <= last) {
        score_block((struct rows){t, r}, 2, k, j, f16);
        r += 2;
    }
    if (r < last)
        score_block((struct rows){t, r}, 1, k, j, f16);
}

VEC_INLINE void value_rows(struct attn_tile *t, size_t first, size_t last, const void *v, bool f16)
{
    size_t r = first;
    for (; r + 4 <= last; r += 4)
        add_values_of((struct rows){t, r}, 4, v, f16);
    if (r + 2 <= last) {
        add_values_of((struct rows){t, r}, 2, v, f16);
        r += 2;
    }
    if (r < last)
        add_values((struct rows){t, r}, 1, v, t->begin[r], t->end[r], f16);
}

/* Rows first .. first + n all see something of the page. While scores are made, V and the next K are fetched.
 */
VEC_INLINE void page_rows(struct attn_tile *t, size_t first, size_t n, const void *k, const void *v, bool f16)
{
    size_t row_bytes = t->head_dim * (f16 ? sizeof(uint16_t) : sizeof(float));
    size_t last = first + n, end = t->end[last - 1];
    for (size_t j = t->begin[first] / K_STEP * K_STEP; j < end; j += K_STEP) {
        if (n < WIDEN_ROWS) {
            prefetch(v, j * row_bytes, (j + K_STEP) * row_bytes);
            prefetch(t->next_k, j * row_bytes, (j + K_STEP) * row_bytes);
        }
        score_rows(t, first, last, k, j, f16);
    }
    for (size_t r = first; r < last; r++)
        softmax_row(t, r);
    value_rows(t, first, last, v, f16);
}

void attn_page_f32_avx512(struct attn_tile *t, const void *k, const void *v)
{
    size_t first, n = rows_that_see(t, &first);
    if (n > 0)
        page_rows(t, first, n, k, v, false);
}

static void widen(float *out, const uint16_t *in, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i += 16)
        _mm512_storeu_ps(out + i, load_16(in, i, true));
}

void attn_page_f16_avx512(struct attn_tile *t, const void *k, const void *v)
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
