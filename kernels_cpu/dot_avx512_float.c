/* f32, f16 and bf16 weights with AVX-512: the vectors of dot_float_body.h, 16 floats wide. */
#include "kernels_cpu/dot_avx512.h"

#include "kernels_cpu/dot_x86_512.h"

#define LANES 16
#define N_CHAINS FLOAT_CHAINS
#define SEGMENT FLOAT_SEGMENT

typedef __m512 vec;

ALWAYS_INLINE vec vec_zero(void)
{
    return _mm512_setzero_ps();
}

ALWAYS_INLINE vec vec_load(const float *x)
{
    return _mm512_loadu_ps(x);
}

ALWAYS_INLINE vec vec_fma(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

ALWAYS_INLINE vec vec_add(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}

ALWAYS_INLINE float vec_sum(vec a)
{
    return add_all(a, _mm256_setzero_ps());
}

ALWAYS_INLINE vec vec_weights_f32(const uint8_t *w, size_t i)
{
    return _mm512_loadu_ps((const float *)(const void *)(w + 4 * i));
}

ALWAYS_INLINE __m256i load_halves(const uint8_t *w, size_t i)
{
    return _mm256_loadu_si256((const void *)(w + 2 * i));
}

ALWAYS_INLINE vec vec_weights_f16(const uint8_t *w, size_t i)
{
    return _mm512_cvtph_ps(load_halves(w, i));
}

ALWAYS_INLINE vec vec_weights_bf16(const uint8_t *w, size_t i)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load_halves(w, i)), 16));
}

#include "kernels_cpu/dot_float_body.h"

void dot_avx512_f32(const uint8_t *w, const struct dot_cols *a, float *out)
{
    dot_columns(w, (struct reader){vec_weights_f32, one_f32, 4}, a, out);
}

void dot_avx512_f16(const uint8_t *w, const struct dot_cols *a, float *out)
{
    dot_columns(w, (struct reader){vec_weights_f16, one_f16, 2}, a, out);
}

void dot_avx512_bf16(const uint8_t *w, const struct dot_cols *a, float *out)
{
    dot_columns(w, (struct reader){vec_weights_bf16, one_bf16, 2}, a, out);
}
