/* Tiles of quantised weights times columns, with AVX2. */
#include "kernels_cpu/tile_words_256.h"

#include "kernels_cpu/tile_floats_256_body.h"

/* The compiler would add everything at the end, pairwise, and has no registers for that. */
ALWAYS_INLINE __m256i added_now(__m256i x)
{
    __asm__("" : "+x"(x));
    return x;
}

ALWAYS_INLINE __m256i widened(__m256i words, struct super_form form)
{
    return _mm256_madd_epi16(words, _mm256_set1_epi16((short)form.factor));
}

/* All 32 weights, whose products 16 bits hold. */
ALWAYS_INLINE void sums_below_16(const struct record_rows *w, struct super_form form, const struct places *p,
                                 size_t n, __m256i sum[PAIR][MAX_COLS])
{
    UNROLLED
    for (size_t i = 0; i < 8; i++) {
        __m256i q[PAIR] = {row_dwords(w, i, 0), row_dwords(w, i, 1)};
        UNROLLED
        for (size_t c = 0; c < n; c++) {
            __m256i y = broadcast_int(bytes_at(p->a->q, 8 * p->at[c] + 4 * i));
            UNROLLED
            for (size_t v = 0; v < PAIR; v++) {
                __m256i x = _mm256_maddubs_epi16(q[v], y);
                sum[v][c] = i ? added_now(_mm256_add_epi16(sum[v][c], x)) : x;
            }
        }
    }
    UNROLLED
    for (size_t c = 0; c < n; c++) {
        UNROLLED
        for (size_t v = 0; v < PAIR; v++)
            sum[v][c] = widened(sum[v][c], form);
    }
}

ALWAYS_INLINE void sums_signed(const struct record_rows *w, const int16_t words[MAX_COLS][QUANT_BLOCK],
                               size_t n, __m256i sum[PAIR][MAX_COLS])
{
    UNROLLED
    for (size_t i = 0; i < N_DWORDS_SIGNED; i++) {
        __m256i q[PAIR] = {row_dwords(w, i, 0), row_dwords(w, i, 1)};
        UNROLLED
        for (size_t c = 0; c < n; c++) {
            __m256i y = broadcast_int(words[c] + 2 * i);
            UNROLLED
            for (size_t v = 0; v < PAIR; v++) {
                __m256i x = _mm256_madd_epi16(q[v], y);
                sum[v][c] = i ? added_now(_mm256_add_epi32(sum[v][c], x)) : x;
            }
        }
    }
}

/* Weights 16 * half .. + 15, column by column: their eight vectors stay in registers. */
struct half {
    __m256i q[4][PAIR];
};

ALWAYS_INLINE struct half load_half(const struct record_rows *w, size_t half)
{
    struct half h;
    UNROLLED
    for (size_t i = 0; i < 4; i++) {
        h.q[i][0] = row_dwords(w, 4 * half + i, 0);
        h.q[i][1] = row_dwords(w, 4 * half + i, 1);
    }
    return h;
}

ALWAYS_INLINE void half_sums(const struct half *h, struct super_form form, const int8_t *y, __m256i sum[PAIR])
{
    const size_t n_together = form.n_short == BELOW_64 ? 2 : 4;
    UNROLLED
    for (size_t first = 0; first < 4; first += n_together) {
        __m256i words[PAIR];
        UNROLLED
        for (size_t i = first; i < first + n_together; i++) {
            __m256i four = broadcast_int(y + 4 * i);
            UNROLLED
            for (size_t v = 0; v < PAIR; v++) {
                __m256i x = _mm256_maddubs_epi16(h->q[i][v], four);
                words[v] = i > first ? added_now(_mm256_add_epi16(words[v], x)) : x;
            }
        }
        UNROLLED
        for (size_t v = 0; v < PAIR; v++) {
            __m256i x = widened(words[v], form);
            sum[v] = first ? added_now(_mm256_add_epi32(sum[v], x)) : x;
        }
    }
}

/* Columns as words, for signed weights. */
struct extra_columns {
    _Alignas(32) int16_t words[MAX_COLS][QUANT_BLOCK];
};

ALWAYS_INLINE void fill_extra(const struct places *p, struct super_form form, size_t n,
                              struct extra_columns *extra)
{
    if (form.n_short != SIGNED)
        return;
    UNROLLED
    for (size_t c = 0; c < n; c++) {
        const __m128i *q = bytes_at(p->a->q, 8 * p->at[c]);
        _mm256_store_si256((void *)extra->words[c], _mm256_cvtepi8_epi16(_mm_loadu_si128(q)));
        _mm256_store_si256((void *)(extra->words[c] + 16), _mm256_cvtepi8_epi16(_mm_loadu_si128(q + 1)));
    }
}

/* A scale for all 32 weights. */
ALWAYS_INLINE void add_sums_32(const struct record_rows *w, struct super_form form, const struct places *p,
                               size_t n, __m256i sum[PAIR][MAX_COLS], __m256 acc[PAIR][MAX_COLS])
{
    UNROLLED
    for (size_t c = 0; c < n; c++) {
        __m256i start = start_32(p, c, form.kind == OFFSET_32 && form.n_short != SIGNED);
        UNROLLED
        for (size_t v = 0; v < PAIR; v++) {
            __m256i x = _mm256_add_epi32(sum[v][c], start);
            acc[v][c] = add_scaled(w, AT_SCALE, v, x, column_d(p, c), acc[v][c]);
            if (form.kind == MIN_32)
                acc[v][c] = add_min_32(w, v, p, c, acc[v][c]);
        }
    }
}

/* A half with a scale of its own. */
ALWAYS_INLINE void add_half_16(const struct record_rows *w, struct super_form form, const struct places *p,
                               size_t n, size_t j, size_t half, __m256 acc[PAIR][MAX_COLS])
{
    struct half h = load_half(w, half);
    UNROLLED
    for (size_t c = 0; c < n; c++) {
        __m256i sum[PAIR], start = start_16(p, c, form.kind == OFFSET_16, j, half);
        half_sums(&h, form, bytes_at(p->a->q, 8 * p->at[c] + 16 * half), sum);
        UNROLLED
        for (size_t v = 0; v < PAIR; v++) {
            __m256i x = _mm256_add_epi32(sum[v], start);
            acc[v][c] = add_scaled(w, half ? AT_SCALE_2 : AT_SCALE, v, x, column_d(p, c), acc[v][c]);
        }
    }
}

/* The block of two vectors of rows. */
ALWAYS_INLINE void add_rows(const struct record_rows *w, struct super_form form, const struct places *p,
                            const struct extra_columns *extra, size_t n, size_t j, __m256 acc[PAIR][MAX_COLS])
{
    __m256i sum[PAIR][MAX_COLS];
    if (form.kind == OFFSET_16 || form.kind == MIN_16) {
        add_half_16(w, form, p, n, j, 0, acc);
        add_half_16(w, form, p, n, j, 1, acc);
        if (form.kind == MIN_16)
            add_mins_16(w, p, n, acc);
        return;
    }
    if (form.n_short == SIGNED) {
        sums_signed(w, extra->words, n, sum);
    } else if (form.n_short == BELOW_16) {
        sums_below_16(w, form, p, n, sum);
    } else {
        UNROLLED
        for (size_t half = 0; half < 2; half++) {
            struct half h = load_half(w, half);
            UNROLLED
            for (size_t c = 0; c < n; c++) {
                __m256i x[PAIR];
                half_sums(&h, form, bytes_at(p->a->q, 8 * p->at[c] + 16 * half), x);
                UNROLLED
                for (size_t v = 0; v < PAIR; v++)
                    sum[v][c] = half ? _mm256_add_epi32(sum[v][c], x[v]) : x[v];
            }
        }
    }
    add_sums_32(w, form, p, n, sum, acc);
}

#include "kernels_cpu/tile_walk_256_body.h"

#define MULTIPLY(name, kind, n_short, factor, n_dwords)                                                      \
    void tile_avx2_##name(const uint8_t *records, const struct dot_cols *a, const uint32_t *index, size_t n, \
                          struct tile_ahead *ahead, float *out)                                              \
    {                                                                                                        \
        const struct tile_form tile = {{kind, n_short, factor}, n_dwords, N_##kind};                         \
        multiply(records, tile, a, index, n, ahead, out);                                                    \
    }

MULTIPLY(offset_below_16, OFFSET_32, BELOW_16, 16, N_DWORDS)
MULTIPLY(offset_below_32, OFFSET_32, BELOW_32, 8, N_DWORDS)
MULTIPLY(offset_signed, OFFSET_32, SIGNED, 1, N_DWORDS_SIGNED)
MULTIPLY(min_below_16, MIN_32, BELOW_16, 1, N_DWORDS)
MULTIPLY(min_below_32, MIN_32, BELOW_32, 1, N_DWORDS)
MULTIPLY(offset_16_below_8, OFFSET_16, BELOW_32, 8, N_DWORDS)
MULTIPLY(offset_16_below_64, OFFSET_16, BELOW_64, 1, N_DWORDS)
MULTIPLY(min_16_below_4, MIN_16, BELOW_32, 1, N_DWORDS)
