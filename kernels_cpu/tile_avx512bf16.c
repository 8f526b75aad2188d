/* Tiles of bf16 weights with AVX512_BF16: pairs as they lie. */
#include "engine/half.h"
#include "kernels_cpu/dot_avx512bf16.h"

#define TILE_ROWS 48
#define BLOCK 32

#include "kernels_cpu/tile_512.h"

ALWAYS_INLINE const float *chains_of(const struct dot_cols *a)
{
    return (const void *)a->bf16_chains;
}

ALWAYS_INLINE float rest_value(const struct dot_cols *a, size_t at)
{
    return bf16_to_f32(a->bf16_chains[at]);
}

ALWAYS_INLINE __m512 add_items(__m512 acc, __m512 w, __m512 y)
{
    return _mm512_dpbf16_ps(acc, (__m512bh)w, (__m512bh)y);
}

#include "kernels_cpu/tile_floats_512_body.h"

ALWAYS_INLINE __m512 many_pairs(const uint8_t *w)
{
    return _mm512_castsi512_ps(_mm512_loadu_si512(w));
}

static float one_weight(const uint8_t *w)
{
    uint16_t h;
    memcpy(&h, w, sizeof h);
    return bf16_to_f32(h);
}

static void expand(const uint8_t *rows, size_t row_bytes, size_t k, uint8_t *tile)
{
    expand_floats(rows, row_bytes, k, (struct widener){many_pairs, one_weight, 2}, (float *)(void *)tile);
}

const struct tile_kernel tile_avx512bf16_bf16 = {.expand = expand,
                                                 .multiply = multiply_floats,
                                                 .rows = ROWS,
                                                 .bytes_per_32 = 16 * ROWS * sizeof(float),
                                                 .more_bytes = (N_SUMS * GAP + BLOCK * ROWS) * sizeof(float),
                                                 .segment = PAIR_SEGMENT};
