/* dot_x86_512.h: private to the AVX-512 kernel files: what they share beyond dot_x86.h. */
#ifndef FERRUM_DOT_X86_512_H
#define FERRUM_DOT_X86_512_H

#include "kernels_cpu/dot_x86.h"

ALWAYS_INLINE float add_all(__m512 x, __m256 y)
{
    __m256 halves = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    return add_lanes(_mm256_add_ps(halves, y));
}

/* Two groups of 16 bytes to 64: per group those shifted left by `low` bits, then by `high` bits (64 - n:
 * right by n); the mask takes away what crossed a byte. */
ALWAYS_INLINE __m512i nibbles_64(__m256i x, int low, int high, int mask)
{
    const __m512i shifts = _mm512_set_epi64(high, high, low, low, high, high, low, low);
    __m512i each_twice = _mm512_castsi256_si512(x);
    each_twice = _mm512_shuffle_i64x2(each_twice, each_twice, 0x50);
    return _mm512_and_si512(_mm512_rolv_epi64(each_twice, shifts), _mm512_set1_epi8((char)mask));
}

/* 256 bytes from natural order to that of act_lanes_fn. */
ALWAYS_INLINE void to_lanes(__m512i q[4])
{
    /* From two vectors, i.e. four times 32 bytes: dwords 0, 1 (2, 3) of all first halves, then of all second
     * ones; `half` then takes one dword of everything. */
    const __m512i first = _mm512_set_epi32(29, 21, 13, 5, 25, 17, 9, 1, 28, 20, 12, 4, 24, 16, 8, 0);
    const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(2));
    const __m512i low = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0);
    const __m512i high = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
    __m512i a = _mm512_permutex2var_epi32(q[0], first, q[1]),
            b = _mm512_permutex2var_epi32(q[2], first, q[3]);
    __m512i c = _mm512_permutex2var_epi32(q[0], second, q[1]),
            d = _mm512_permutex2var_epi32(q[2], second, q[3]);
    q[0] = _mm512_permutex2var_epi64(a, low, b);
    q[1] = _mm512_permutex2var_epi64(a, high, b);
    q[2] = _mm512_permutex2var_epi64(c, low, d);
    q[3] = _mm512_permutex2var_epi64(c, high, d);
}

#endif
