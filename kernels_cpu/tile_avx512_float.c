/* Tiles of f32, f16 and bf16 weights with AVX-512: widened to f32. */
#include "kernels_cpu/tile_avx512.h"

#include "engine/half.h"

#define TILE_ROWS 48
#define BLOCK 16

#include "kernels_cpu/tile_512.h"

ALWAYS_INLINE const float *chains_of(const struct dot_cols *a)
{
    return a->chains;
}

ALWAYS_INLINE float rest_value(const struct dot_cols *a, size_t at)
{
    return a->chains[at];
}

ALWAYS_INLINE __m512 add_items(__m512 acc, __m512 w, __m512 y)
{
    return _mm512_fmadd_ps(w, y, acc);
}

#include "kernels_cpu/tile_floats_512_body.h"

void act_chains_avx512(const float *x, size_t k, size_t m, size_t column, float *chains)
{
    size_t place[N_VECS][16], number[N_VECS][16];
    sum_places(k, place, number);
    for (size_t j = 0; j < N_VECS; j++) {
        size_t length = sum_length(k, j), i = 0;
        float *to[16];
        for (size_t lane = 0; lane < 16; lane++)
            to[lane] = chains + m * place[j][lane] + column * length;
        for (; i + 16 <= length; i += 16) {
            __m512 v[16];
            UNROLLED
            for (size_t l = 0; l < 16; l++)
                v[l] = _mm512_loadu_ps(x + 16 * (N_VECS * (i + l) + j));
            turn_16(v);
            UNROLLED
            for (size_t l = 0; l < 16; l++)
                _mm512_storeu_ps(to[l] + i, v[l]);
        }
        for (; i < length; i++)
            for (size_t lane = 0; lane < 16; lane++)
                to[lane][i] = x[16 * (N_VECS * i + j) + lane];
    }
    size_t rest = k % BLOCK;
    if (rest)
        memcpy(chains + m * (k - rest) + column * rest, x + k - rest, rest * sizeof *x);
}

ALWAYS_INLINE __m512 many_f32(const uint8_t *w)
{
    return _mm512_loadu_ps((const float *)(const void *)w);
}

ALWAYS_INLINE __m512 many_f16(const uint8_t *w)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)w));
}

ALWAYS_INLINE __m512 many_bf16(const uint8_t *w)
{
    __m512i x = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)w));
    return _mm512_castsi512_ps(_mm512_slli_epi32(x, 16));
}

static float one_f32(const uint8_t *w)
{
    return f32_from_bits(load_u32(w));
}

static uint16_t load_half(const uint8_t *w)
{
    uint16_t h;
    memcpy(&h, w, sizeof h);
    return h;
}

static float one_f16(const uint8_t *w)
{
    return f16_to_f32(load_half(w));
}

static float one_bf16(const uint8_t *w)
{
    return bf16_to_f32(load_half(w));
}

#define TILE_KERNEL(type, size)                                                                              \
    static void expand_##type(const uint8_t *rows, size_t row_bytes, size_t k, uint8_t *tile)                \
    {                                                                                                        \
        expand_floats(rows, row_bytes, k, (struct widener){many_##type, one_##type, size},                   \
                      (float *)(void *)tile);                                                                \
    }                                                                                                        \
    const struct tile_kernel tile_avx512_##type = {.expand = expand_##type,                                  \
                                                   .multiply = multiply_floats,                              \
                                                   .rows = ROWS,                                             \
                                                   .bytes_per_32 = 32 * ROWS * sizeof(float),                \
                                                   .more_bytes = N_SUMS * GAP * sizeof(float),               \
                                                   .segment = FLOAT_SEGMENT};

TILE_KERNEL(f32, 4)
TILE_KERNEL(f16, 2)
TILE_KERNEL(bf16, 2)
