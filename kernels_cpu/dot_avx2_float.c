/* f32, f16 and bf16 weights with AVX2: the vectors of dot_float_body.h, 8 floats wide. */
#include "kernels_cpu/dot_avx2.h"

#include "kernels_cpu/dot_x86.h"

#define LANES 8
#define N_CHAINS 4
#define SEGMENT SIZE_MAX

typedef __m256 vec;

ALWAYS_INLINE vec vec_zero(void)
{
    return _mm256_setzero_ps();
}

ALWAYS_INLINE vec vec_load(const float *x)
{
    return _mm256_loadu_ps(x);
}

ALWAYS_INLINE vec vec_fma(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

ALWAYS_INLINE vec vec_add(vec a, vec b)
{
    return _mm256_add_ps(a, b);
}

ALWAYS_INLINE float vec_sum(vec a)
{
    return add_lanes(a);
}

ALWAYS_INLINE vec vec_weights_f32(const uint8_t *w, size_t i)
{
    return _mm256_loadu_ps((const float *)(const void *)(w + 4 * i));
}

ALWAYS_INLINE __m128i load_halves(const uint8_t *w, size_t i)
{
    return _mm_loadu_si128((const void *)(w + 2 * i));
}

ALWAYS_INLINE vec vec_weights_f16(const uint8_t *w, size_t i)
{
    return _mm256_cvtph_ps(load_halves(w, i));
}

ALWAYS_INLINE vec vec_weights_bf16(const uint8_t *w, size_t i)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_halves(w, i)), 16));
}

#include "kernels_cpu/dot_float_body.h"

void dot_avx2_f32(const uint8_t *w, const struct dot_cols *a, float *out)
{
    dot_columns(w, (struct reader){vec_weights_f32, one_f32, 4}, a, out);
}

void dot_avx2_f16(const uint8_t *w, const struct dot_cols *a, float *out)
{
    dot_columns(w, (struct reader){vec_weights_f16, one_f16, 2}, a, out);
}

void dot_avx2_bf16(const uint8_t *w, const struct dot_cols *a, float *out)
{
    dot_columns(w, (struct reader){vec_weights_bf16, one_bf16, 2}, a, out);
}
