/* attention_avx512.c: one page of attention over f16 or f32, for AVX-512: the vectors of
 * attention_float_body.h, 16 floats wide; the 32 registers hold the sums of six query rows at once. */
#include "kernels_cpu/attention_avx512.h"

#include "kernels_cpu/attention_softmax_512.h"
#include "kernels_cpu/attention_turn_512.h"
#include "kernels_cpu/vec_avx2.h"

#define LANES 16
#define ROW_STEP 6
#define FEW_ROWS 16

typedef __m512 vec;

VEC_INLINE vec vec_zero(void)
{
    return _mm512_setzero_ps();
}

VEC_INLINE vec vec_load(const float *x)
{
    return _mm512_loadu_ps(x);
}

VEC_INLINE void vec_store(float *out, vec x)
{
    _mm512_storeu_ps(out, x);
}

VEC_INLINE vec vec_all(const float *x)
{
    return _mm512_set1_ps(*x);
}

VEC_INLINE vec vec_f16(const uint16_t *h)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)h));
}

VEC_INLINE vec vec_mul_add(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

#include "kernels_cpu/attention_float_body.h"

/* ---- scores: K is turned, so that a lane is a position and no sum runs across lanes ---- */

/* 32 halves, as they are or widened. */
VEC_INLINE void put_halves(void *out, size_t i, __m512i x, bool is_wide)
{
    if (!is_wide) {
        _mm512_storeu_si512((uint16_t *)out + i, x);
        return;
    }
    vec_store((float *)out + i, _mm512_cvtph_ps(_mm512_castsi512_si256(x)));
    vec_store((float *)out + i + 16, _mm512_cvtph_ps(_mm512_extracti64x4_epi64(x, 1)));
}

/* out[head_dim, KV_BLOCK_TOKENS] of 32 positions from j on and 16 columns from d on. In each fourth of a
 * vector eight rows of eight columns are turned by three rounds of unpacking; what belongs to a column is
 * then brought together. */
VEC_INLINE void turn_f16(void *out, const uint16_t *k, size_t dim, size_t j, size_t d, bool is_wide)
{
    __m512i x[16], y[16];
    k += j * dim + d;
#pragma GCC unroll 16
    for (size_t i = 0; i < 16; i++)
        x[i] = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)(k + i * dim))),
                                  _mm256_loadu_si256((const __m256i *)(k + (16 + i) * dim)), 1);
#pragma GCC unroll 8
    for (size_t i = 0; i < 16; i += 2) {
        y[i] = _mm512_unpacklo_epi16(x[i], x[i + 1]);
        y[i + 1] = _mm512_unpackhi_epi16(x[i], x[i + 1]);
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; i++) {
        size_t from = i / 2 * 4 + i % 2;
        x[2 * i] = _mm512_unpacklo_epi32(y[from], y[from + 2]);
        x[2 * i + 1] = _mm512_unpackhi_epi32(y[from], y[from + 2]);
    }
    /* x[8 h + 4 i + c]: of rows 8 h + 4 i .. the columns 2 c and 2 c + 1 */
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; i++) {
        size_t from = i / 4 * 8 + i % 4;
        y[2 * i] = _mm512_unpacklo_epi64(x[from], x[from + 4]);
        y[2 * i + 1] = _mm512_unpackhi_epi64(x[from], x[from + 4]);
    }
    /* y[8 h + c]: rows 8 h .. 8 h + 8 of columns c and 8 + c; then the same of the upper 16 rows */
    const __m512i low = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
    const __m512i high = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
#pragma GCC unroll 8
    for (size_t c = 0; c < 8; c++) {
        size_t at = (d + c) * KV_BLOCK_TOKENS + j;
        put_halves(out, at, _mm512_permutex2var_epi64(y[c], low, y[8 + c]), is_wide);
        put_halves(out, at + 8 * KV_BLOCK_TOKENS, _mm512_permutex2var_epi64(y[c], high, y[8 + c]), is_wide);
    }
}

VEC_INLINE void turn_f32(float *out, const float *k, size_t dim, size_t j, size_t d)
{
    for (size_t from = j; from < j + 32; from += 16) {
        vec x[16];
#pragma GCC unroll 16
        for (size_t i = 0; i < 16; i++)
            x[i] = vec_load(k + (from + i) * dim + d);
        turn_16(x);
#pragma GCC unroll 16
        for (size_t i = 0; i < 16; i++)
            vec_store(out + (d + i) * KV_BLOCK_TOKENS + from, x[i]);
    }
}

/* out[head_dim, KV_BLOCK_TOKENS] = K of the positions before `end`, and some more, in the page's type or
 * widened. The first half of the next page's is asked for piece by piece, so that memory and this work go on
 * side by side; the scores ask for the second. */
VEC_INLINE void turn_keys(void *out, const struct page *page, size_t dim, size_t end, bool is_wide)
{
    for (size_t j = 0; j < end; j += 32) {
        for (size_t d = 0; d < dim; d += 16) {
            size_t next = (j / 32 * dim + d) * 16;
            fetch_next(page->next_k, page, next, next + 256);
            if (page->f16)
                turn_f16(out, page->k, dim, j, d, is_wide);
            else
                turn_f32(out, page->k, dim, j, d);
        }
    }
}

/* Adds 16 columns, from d on, to the scores of n rows. */
VEC_INLINE void add_columns(vec *acc, const float *q, size_t n, const struct page *page, size_t dim, size_t d,
                            size_t n_vec)
{
    for (size_t end = d + 16; d < end; d++) {
        vec k[SCORE_VECS];
        fetch_next(page->next_k, page, (dim + d) * 32, (dim + d + 1) * 32);
#pragma GCC unroll 4
        for (size_t v = 0; v < n_vec; v++)
            k[v] = load_lanes(page->k, d * KV_BLOCK_TOKENS + v * LANES, page->f16);
#pragma GCC unroll 24
        for (size_t i = 0; i < n * n_vec; i++)
            acc[i] = vec_mul_add(vec_all(q + i / n_vec * dim + d), k[i % n_vec], acc[i]);
    }
}

/* Scores of n rows (1, 2, 4 or ROW_STEP) against the first n_vec * 16 positions of the turned keys page->k: a
 * position's sum runs over the columns from the first to the last. */
VEC_INLINE void score_turned(struct rows rows, size_t n, const struct page *page, size_t n_vec)
{
    size_t dim = rows.t->head_dim;
    vec acc[ROW_STEP * SCORE_VECS];
#pragma GCC unroll 24
    for (size_t i = 0; i < n * n_vec; i++)
        acc[i] = vec_zero();
    for (size_t d = 0; d < dim; d += 16) {
        if (page->ahead)
            fetch_step(page->ahead);
        add_columns(acc, rows.t->q + rows.first * dim, n, page, dim, d, n_vec);
    }
#pragma GCC unroll 24
    for (size_t i = 0; i < n * n_vec; i++)
        vec_store(rows.t->scores[rows.first + i / n_vec] + i % n_vec * LANES, acc[i]);
}

/* As many positions as the last of n rows sees. */
VEC_INLINE void score_seen(struct rows rows, size_t n, const struct page *page)
{
    size_t n_vec = (rows.t->end[rows.first + n - 1] + LANES - 1) / LANES;
    if (n_vec == 4)
        score_turned(rows, n, page, 4);
    else if (n_vec == 3)
        score_turned(rows, n, page, 3);
    else if (n_vec == 2)
        score_turned(rows, n, page, 2);
    else
        score_turned(rows, n, page, 1);
}

VEC_INLINE void score_rows(struct attn_tile *t, size_t first, size_t last, const struct page *page)
{
    size_t r = first;
    for (; r + ROW_STEP <= last; r += ROW_STEP)
        score_seen((struct rows){t, r}, ROW_STEP, page);
    if (r + 4 <= last) {
        score_seen((struct rows){t, r}, 4, page);
        r += 4;
    }
    if (r + 2 <= last) {
        score_seen((struct rows){t, r}, 2, page);
        r += 2;
    }
    if (r < last)
        score_seen((struct rows){t, r}, 1, page);
}

/* A page that is waited for: what is widened is so on its way into a register. */
VEC_INLINE void add_few(struct attn_tile *t, size_t first, size_t last, const struct page *in)
{
    struct page page = *in;
    page.k = t->k_wide;
    turn_keys(t->k_wide, in, t->head_dim, t->end[last - 1], false);
    score_rows(t, first, last, &page);
    softmax_rows(t, first, last);
    value_rows(t, first, last, &page);
}

/* Turned keys in k_wide and values, both of f32; not inlined, since pages of f16 become such ones. */
__attribute__((noinline)) static void add_wide(struct attn_tile *t, size_t first, size_t last, const void *v,
                                               bool f16)
{
    size_t slab = KV_BLOCK_TOKENS * t->head_dim * (f16 ? sizeof(uint16_t) : sizeof(float));
    size_t n_blocks = (last - first + ROW_STEP - 1) / ROW_STEP;
    struct ahead ahead = ahead_of(t, slab, n_blocks * (t->head_dim / 16));
    struct page wide = {.k = t->k_wide, .v = v, .ahead = &ahead};
    score_rows(t, first, last, &wide);
    softmax_rows(t, first, last);
    value_rows(t, first, last, &wide);
}

/* A page of f16 is widened once: that is cheaper than once per ROW_STEP rows. */
VEC_INLINE void add_many(struct attn_tile *t, size_t first, size_t last, const struct page *in)
{
    turn_keys(t->k_wide, in, t->head_dim, t->end[last - 1], true);
    if (in->f16)
        widen(t->v_wide, in->v, t->begin[first] * t->head_dim, t->end[last - 1] * t->head_dim);
    add_wide(t, first, last, in->f16 ? t->v_wide : in->v, in->f16);
}

VEC_INLINE void add_page(struct attn_tile *t, const void *k, const void *v, bool f16)
{
    size_t first, n = rows_that_see(t, &first);
    if (n >= FEW_ROWS)
        add_many(t, first, first + n, &(struct page){.k = k, .v = v, .f16 = f16});
    else if (n > 0)
        add_few(t, first, first + n,
                &(struct page){.k = k, .v = v, .f16 = f16, .next_k = t->next_k, .next_v = t->next_v});
}

void attn_page_f32_avx512(struct attn_tile *t, const void *k, const void *v)
{
    add_page(t, k, v, false);
}

void attn_page_f16_avx512(struct attn_tile *t, const void *k, const void *v)
{
    add_page(t, k, v, true);
}
