/* f32, f16 and bf16 weights with AVX2: products in f32. Four running vectors per column hide the latency of
 * the fused multiply-add; up to three columns share a widened weight, as many as fit the registers. */
#include "kernels_cpu/dot_avx2.h"

#include <math.h>

#include "engine/half.h"
#include "kernels_cpu/dot_x86.h"

#define N_CHAINS 4
#define LANES 8
#define STEP (N_CHAINS * LANES)

/* How a type reads eight weights, or one, at an element index. */
struct reader {
    __m256 (*eight)(const uint8_t *w, size_t i);
    float (*one)(const uint8_t *w, size_t i);
    size_t bytes;
};

ALWAYS_INLINE __m256 eight_f32(const uint8_t *w, size_t i)
{
    return _mm256_loadu_ps((const float *)(const void *)(w + 4 * i));
}

ALWAYS_INLINE float one_f32(const uint8_t *w, size_t i)
{
    return f32_from_bits(load_u32(w + 4 * i));
}

ALWAYS_INLINE __m128i load_halves(const uint8_t *w, size_t i)
{
    return _mm_loadu_si128((const void *)(w + 2 * i));
}

ALWAYS_INLINE uint16_t load_half(const uint8_t *w, size_t i)
{
    uint16_t h;
    memcpy(&h, w + 2 * i, sizeof h);
    return h;
}

ALWAYS_INLINE __m256 eight_f16(const uint8_t *w, size_t i)
{
    return _mm256_cvtph_ps(load_halves(w, i));
}

ALWAYS_INLINE float one_f16(const uint8_t *w, size_t i)
{
    return f16_to_f32(load_half(w, i));
}

ALWAYS_INLINE __m256 eight_bf16(const uint8_t *w, size_t i)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_halves(w, i)), 16));
}

ALWAYS_INLINE float one_bf16(const uint8_t *w, size_t i)
{
    return bf16_to_f32(load_half(w, i));
}

/* n columns at x, each k long. The last k % STEP weights follow in eights, then one by one. */
ALWAYS_INLINE void dot_floats(const uint8_t *w, struct reader read, const float *x, size_t k, size_t n,
                              float *out)
{
    __m256 acc[3][N_CHAINS];
    size_t i = 0;
    UNROLLED
    for (size_t c = 0; c < n; c++)
        acc[c][0] = acc[c][1] = acc[c][2] = acc[c][3] = _mm256_setzero_ps();
    for (; i + STEP <= k; i += STEP) {
        prefetch_ahead(w + i * read.bytes, STEP * read.bytes);
        UNROLLED
        for (size_t j = 0; j < N_CHAINS; j++) {
            __m256 weights = read.eight(w, i + LANES * j);
            UNROLLED
            for (size_t c = 0; c < n; c++)
                acc[c][j] = _mm256_fmadd_ps(weights, _mm256_loadu_ps(x + c * k + i + LANES * j), acc[c][j]);
        }
    }
    for (; i + LANES <= k; i += LANES) {
        __m256 weights = read.eight(w, i);
        UNROLLED
        for (size_t c = 0; c < n; c++)
            acc[c][0] = _mm256_fmadd_ps(weights, _mm256_loadu_ps(x + c * k + i), acc[c][0]);
    }
    UNROLLED
    for (size_t c = 0; c < n; c++) {
        __m256 sum = _mm256_add_ps(_mm256_add_ps(acc[c][0], acc[c][1]), _mm256_add_ps(acc[c][2], acc[c][3]));
        out[c] = add_lanes(sum);
        for (size_t j = i; j < k; j++)
            out[c] = fmaf(read.one(w, j), x[c * k + j], out[c]);
    }
}

ALWAYS_INLINE void dot_columns(const uint8_t *w, struct reader read, const struct dot_cols *a, float *out)
{
    size_t c = 0;
    for (; c + 3 <= a->n; c += 3)
        dot_floats(w, read, a->x + c * a->k, a->k, 3, out + c);
    if (a->n - c == 2)
        dot_floats(w, read, a->x + c * a->k, a->k, 2, out + c);
    else if (a->n - c == 1)
        dot_floats(w, read, a->x + c * a->k, a->k, 1, out + c);
}

void dot_avx2_f32(const uint8_t *w, const struct dot_cols *a, float *out)
{
    dot_columns(w, (struct reader){eight_f32, one_f32, 4}, a, out);
}

void dot_avx2_f16(const uint8_t *w, const struct dot_cols *a, float *out)
{
    dot_columns(w, (struct reader){eight_f16, one_f16, 2}, a, out);
}

void dot_avx2_bf16(const uint8_t *w, const struct dot_cols *a, float *out)
{
    dot_columns(w, (struct reader){eight_bf16, one_bf16, 2}, a, out);
}
