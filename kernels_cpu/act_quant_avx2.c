/* The quantisers with AVX2; bit for bit those of act_quant.c. */
#include "kernels_cpu/act_quant.h"

#include <math.h>
#include <string.h>

#include "engine/half.h"
#include "kernels_cpu/dot_x86.h"

/* Magnitudes compared as integers: NaN sorts above everything there. */
ALWAYS_INLINE uint32_t amax_bits(const float *x)
{
    const __m256i magnitude = _mm256_set1_epi32(0x7FFFFFFF);
    __m256i max = _mm256_setzero_si256();
    for (size_t i = 0; i < 32; i += 8)
        max = _mm256_max_epi32(max, _mm256_and_si256(_mm256_loadu_si256((const void *)(x + i)), magnitude));
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(max), _mm256_extracti128_si256(max, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4E));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xB1));
    return (uint32_t)_mm_cvtsi128_si32(m);
}

/* 32 values to 32 bytes in natural order. */
ALWAYS_INLINE __m256i round32(const float *x, __m256 inverse)
{
    __m256i v[4];
    for (int i = 0; i < 4; i++)
        v[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), inverse));
    __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
    return _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/* 32 values with one scale. */
ALWAYS_INLINE float quantise(const float *x, int8_t *q)
{
    uint32_t bits = amax_bits(x);
    float amax = f32_from_bits(bits);
    if (bits >= 0x7F800000u || amax < ACT_TINY) {
        memset(q, 0, 32);
        return bits >= 0x7F800000u ? NAN : 0.0f;
    }
    _mm256_storeu_si256((void *)q, round32(x, _mm256_set1_ps(127.0f / amax)));
    return amax / 127.0f;
}

/* Sums of the two halves of 32 bytes, in lanes 0 and 1. */
ALWAYS_INLINE __m128i sums16(const int8_t *q)
{
    __m256i x = _mm256_loadu_si256((const void *)q);
    __m256i s = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), x), _mm256_set1_epi16(1));
    __m128i halves = _mm_hadd_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
    return _mm_hadd_epi32(halves, halves);
}

void act_quant_avx2(const float *x, size_t k, int8_t *q, float *d, float *s, int16_t *sums)
{
    for (size_t i = 0; i < k / 32; i++, q += 32) {
        d[i] = quantise(x + 32 * i, q);
        __m128i two = sums16(q);
        sums[2 * i] = (int16_t)_mm_cvtsi128_si32(two);
        sums[2 * i + 1] = (int16_t)_mm_extract_epi32(two, 1);
        s[i] = d[i] * (float)(sums[2 * i] + sums[2 * i + 1]);
    }
}

void act_lanes_avx2(const int8_t *q, const int16_t *sums, size_t k, int8_t *lanes, int32_t *start_32,
                    int32_t *start_16)
{
    (void)q;
    (void)lanes;
    for (size_t b = 0; b < k / QUANT_BLOCK; b++)
        start_32[b] = DOT_MAGIC_BITS - 128 * (sums[2 * b] + sums[2 * b + 1]);
    for (size_t i = 0; i + QUANT_SUPER <= k; i += QUANT_SUPER, sums += 16, start_16 += 16) {
        for (size_t j = 0; j < 8; j++) {
            start_16[j] = DOT_MAGIC_BITS - 32 * sums[2 * j];
            start_16[8 + j] = DOT_MAGIC_BITS - 32 * sums[2 * j + 1];
        }
    }
}
