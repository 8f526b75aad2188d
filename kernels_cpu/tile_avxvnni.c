/* Tiles of quantised weights times columns, with AVX-VNNI. */
#include "kernels_cpu/tile_vnni_256.h"

#include "kernels_cpu/tile_floats_256_body.h"

/* Dwords [from, to) of a block, four weights each, added to the sums of some columns. */
ALWAYS_INLINE void add_products(const struct record_rows *w, const struct places *p, size_t n, size_t from,
                                size_t to, __m256i sum[PAIR][MAX_COLS])
{
    UNROLLED
    for (size_t i = from; i < to; i++) {
        __m256i q[PAIR] = {row_dwords(w, i, 0), row_dwords(w, i, 1)};
        UNROLLED
        for (size_t c = 0; c < n; c++) {
            __m256i y = broadcast_int(bytes_at(p->a->q, 8 * p->at[c] + 4 * i));
            UNROLLED
            for (size_t v = 0; v < PAIR; v++)
                sum[v][c] = _mm256_dpbusd_avx_epi32(sum[v][c], q[v], y);
        }
    }
}

ALWAYS_INLINE void add_all_scaled(const struct record_rows *w, size_t which, const struct places *p, size_t n,
                                  __m256i sum[PAIR][MAX_COLS], __m256 acc[PAIR][MAX_COLS])
{
    UNROLLED
    for (size_t c = 0; c < n; c++) {
        UNROLLED
        for (size_t v = 0; v < PAIR; v++)
            acc[v][c] = add_scaled(w, which, v, sum[v][c], column_d(p, c), acc[v][c]);
    }
}

/* A scale for all 32 weights. */
ALWAYS_INLINE void add_block_32(const struct record_rows *w, enum super_kind kind, const struct places *p,
                                size_t n, __m256 acc[PAIR][MAX_COLS])
{
    __m256i sum[PAIR][MAX_COLS];
    UNROLLED
    for (size_t c = 0; c < n; c++)
        sum[0][c] = sum[1][c] = start_32(p, c, kind == OFFSET_32);
    add_products(w, p, n, 0, N_DWORDS, sum);
    add_all_scaled(w, AT_SCALE, p, n, sum, acc);
    UNROLLED
    for (size_t c = 0; c < n; c++) {
        UNROLLED
        for (size_t v = 0; v < PAIR; v++)
            acc[v][c] = kind == MIN_32 ? add_min_32(w, v, p, c, acc[v][c]) : acc[v][c];
    }
}

/* A half with a scale of its own. */
ALWAYS_INLINE void add_half_16(const struct record_rows *w, enum super_kind kind, const struct places *p,
                               size_t n, size_t j, size_t half, __m256 acc[PAIR][MAX_COLS])
{
    __m256i sum[PAIR][MAX_COLS];
    UNROLLED
    for (size_t c = 0; c < n; c++)
        sum[0][c] = sum[1][c] = start_16(p, c, kind == OFFSET_16, j, half);
    add_products(w, p, n, N_DWORDS / 2 * half, N_DWORDS / 2 * (half + 1), sum);
    add_all_scaled(w, half ? AT_SCALE_2 : AT_SCALE, p, n, sum, acc);
}

struct extra_columns {
    char none;
};

ALWAYS_INLINE void fill_extra(const struct places *p, struct super_form form, size_t n,
                              struct extra_columns *extra)
{
    (void)p;
    (void)form;
    (void)n;
    (void)extra;
}

/* The block of two vectors of rows. */
ALWAYS_INLINE void add_rows(const struct record_rows *w, struct super_form form, const struct places *p,
                            const struct extra_columns *extra, size_t n, size_t j, __m256 acc[PAIR][MAX_COLS])
{
    (void)extra;
    if (form.kind == OFFSET_32 || form.kind == MIN_32) {
        add_block_32(w, form.kind, p, n, acc);
        return;
    }
    add_half_16(w, form.kind, p, n, j, 0, acc);
    add_half_16(w, form.kind, p, n, j, 1, acc);
    if (form.kind == MIN_16)
        add_mins_16(w, p, n, acc);
}

#include "kernels_cpu/tile_walk_256_body.h"

#define MULTIPLY(name, kind)                                                                                 \
    void tile_avxvnni_##name(const uint8_t *records, const struct dot_cols *a, const uint32_t *index,        \
                             size_t n, struct tile_ahead *ahead, float *out)                                 \
    {                                                                                                        \
        const struct tile_form tile = {{kind, 0, 0}, N_DWORDS, N_##kind};                                    \
        multiply(records, tile, a, index, n, ahead, out);                                                    \
    }

MULTIPLY(offset_32, OFFSET_32)
MULTIPLY(min_32, MIN_32)
MULTIPLY(offset_16, OFFSET_16)
MULTIPLY(min_16, MIN_16)
