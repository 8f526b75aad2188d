/* dot_x86_512.h: private to the AVX-512 kernel files: what they share beyond dot_x86.h. */
#ifndef FERRUM_DOT_X86_512_H
#define FERRUM_DOT_X86_512_H

#include "kernels_cpu/dot_x86.h"

ALWAYS_INLINE float add_all(__m512 x, __m256 y)
{
    __m256 halves = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    return add_lanes(_mm256_add_ps(halves, y));
}

/* Two groups of 16 bytes to 64 nibbles: per group the low ones, then the high ones. */
ALWAYS_INLINE __m512i nibbles_64(__m256i x)
{
    const __m512i shifts = _mm512_set_epi64(4, 4, 0, 0, 4, 4, 0, 0);
    __m512i each_twice = _mm512_castsi256_si512(x);
    each_twice = _mm512_shuffle_i64x2(each_twice, each_twice, 0x50);
    return _mm512_and_si512(_mm512_srlv_epi64(each_twice, shifts), _mm512_set1_epi8(15));
}

#endif
