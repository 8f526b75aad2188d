/* attention_avx512.c: one page of attention over f16 or f32, for AVX-512: the vectors of
 * attention_float_body.h, 16 floats wide; the 32 registers hold the sums of four query rows at once. */
#include "kernels_cpu/attention_avx512.h"

#include "kernels_cpu/vec_avx2.h"

#define LANES 16
#define ROW_STEP 4
#define FEW_ROWS 9

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

VEC_INLINE __m128 sum_4(const vec x[4])
{
    __m256 half[4];
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++)
        half[i] = _mm256_add_ps(_mm512_castps512_ps256(x[i]), _mm512_extractf32x8_ps(x[i], 1));
    __m256 s = _mm256_hadd_ps(_mm256_hadd_ps(half[0], half[1]), _mm256_hadd_ps(half[2], half[3]));
    return _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
}

#include "kernels_cpu/attention_float_body.h"

void attn_page_f32_avx512(struct attn_tile *t, const void *k, const void *v)
{
    page_f32(t, k, v);
}

void attn_page_f16_avx512(struct attn_tile *t, const void *k, const void *v)
{
    page_f16(t, k, v);
}
