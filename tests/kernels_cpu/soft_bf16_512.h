/* soft_bf16_512.h: private to the soft_bf16_*.c: AVX512_BF16 without AVX512_BF16, under the names of the
 * intrinsics; and other names for the kernels. */
#ifndef FERRUM_SOFT_BF16_512_H
#define FERRUM_SOFT_BF16_512_H

#include <immintrin.h>
#include <stdint.h>

/* Subnormal operands and results are zeros, nearest even, all exceptions masked: bits of MXCSR. */
#define FLUSH_MXCSR 0x9FC0u

/* The upper products first, each with a rounding of its own. One statement of assembly: nothing may come
 * between it and MXCSR. */
static inline __m512 soft_dpbf16(__m512 acc, __m512i a, __m512i b)
{
    const __m512i upper = _mm512_set1_epi32((int)0xFFFF0000u);
    __m512 a1 = _mm512_castsi512_ps(_mm512_and_si512(a, upper));
    __m512 b1 = _mm512_castsi512_ps(_mm512_and_si512(b, upper));
    __m512 a0 = _mm512_castsi512_ps(_mm512_slli_epi32(a, 16));
    __m512 b0 = _mm512_castsi512_ps(_mm512_slli_epi32(b, 16));
    uint32_t flush = FLUSH_MXCSR, before;
    __asm__ volatile("vstmxcsr %1\n\t"
                     "vldmxcsr %2\n\t"
                     "vfmadd231ps %4, %3, %0\n\t"
                     "vfmadd231ps %6, %5, %0\n\t"
                     "vldmxcsr %1"
                     : "+&v"(acc), "=&m"(before)
                     : "m"(flush), "v"(a1), "v"(b1), "v"(a0), "v"(b0));
    return acc;
}

static inline uint16_t soft_round(uint32_t bits)
{
    uint32_t magnitude = bits & 0x7FFFFFFFu;
    if (magnitude < 0x00800000u)
        return (uint16_t)(bits >> 16 & 0x8000u);
    if (magnitude > 0x7F800000u)
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

/* The values of `low` come first. */
static inline __m512i soft_cvtne2ps(__m512 high, __m512 low)
{
    uint32_t bits[32];
    uint16_t to[32];
    _mm512_storeu_ps(bits, low);
    _mm512_storeu_ps(bits + 16, high);
    for (int i = 0; i < 32; i++)
        to[i] = soft_round(bits[i]);
    return _mm512_loadu_si512(to);
}

#define _mm512_dpbf16_ps(acc, a, b) soft_dpbf16(acc, (__m512i)(a), (__m512i)(b))
#define _mm512_cvtne2ps_pbh(high, low) soft_cvtne2ps(high, low)

#define dot_avx512bf16_bf16 soft_bf16_dot_row
#define tile_avx512bf16_bf16 soft_bf16_tile
#define act_round_avx512bf16 soft_bf16_round_column
#define act_round_chains_avx512bf16 soft_bf16_round_chains

#endif
