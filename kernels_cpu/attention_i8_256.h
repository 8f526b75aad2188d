/* attention_i8_256.h: what pages of int8 do with floats (attention_i8_body.h), on 256 bits: for AVX2 and
 * AVX-512. */
#ifndef FERRUM_ATTENTION_I8_256_H
#define FERRUM_ATTENTION_I8_256_H

#include "kernels_cpu/attention_page_avx2.h"

#define FLOAT_STEP 16

VEC_INLINE void round_floats(int16_t *out, const float *x, float factor)
{
    __m256 f = _mm256_set1_ps(factor);
    __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), f));
    __m256i b = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8), f));
    _mm256_storeu_si256((__m256i *)out, _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xD8));
}

VEC_INLINE void scale_seen(float *p, const float *scale, size_t j, size_t begin, size_t end)
{
    for (size_t i = 0; i < FLOAT_STEP; i += 8) {
        __m256 s = _mm256_and_ps(_mm256_loadu_ps(scale + i), seen_mask(j + i, begin, end));
        _mm256_storeu_ps(p + i, _mm256_mul_ps(_mm256_loadu_ps(p + i), s));
    }
}

/* Four sums times their scales and q_scale. */
VEC_INLINE void put_scaled(float *out, __m128i sums, const float *scale, float q_scale)
{
    _mm_storeu_ps(out,
                  _mm_mul_ps(_mm_cvtepi32_ps(sums), _mm_mul_ps(_mm_set1_ps(q_scale), _mm_loadu_ps(scale))));
}

#endif
