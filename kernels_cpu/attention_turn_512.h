/* attention_turn_512.h: 16 vectors of 16 elements of 32 bits, turned: what lets positions be lanes. Only for
 * files compiled with AVX-512. */
#ifndef FERRUM_ATTENTION_TURN_512_H
#define FERRUM_ATTENTION_TURN_512_H

#include "kernels_cpu/vec_avx2.h"

/* Rows become columns. */
VEC_INLINE void turn_16(__m512 x[16])
{
    __m512 a[16], b[16];
#pragma GCC unroll 8
    for (size_t i = 0; i < 16; i += 2) {
        a[i] = _mm512_unpacklo_ps(x[i], x[i + 1]);
        a[i + 1] = _mm512_unpackhi_ps(x[i], x[i + 1]);
    }
    /* b[4 i + c]: in every fourth of the vector a column, 4 fourth + c, of rows 4 i .. 4 i + 4 */
#pragma GCC unroll 8
    for (size_t i = 0; i < 16; i += 2) {
        __m512d low = _mm512_castps_pd(a[i / 4 * 4 + i % 4 / 2]);
        __m512d high = _mm512_castps_pd(a[i / 4 * 4 + i % 4 / 2 + 2]);
        b[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
        b[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
    }
#pragma GCC unroll 4
    for (size_t c = 0; c < 4; c++) {
        __m512 even_top = _mm512_shuffle_f32x4(b[c], b[4 + c], 0x88);
        __m512 odd_top = _mm512_shuffle_f32x4(b[c], b[4 + c], 0xDD);
        __m512 even_low = _mm512_shuffle_f32x4(b[8 + c], b[12 + c], 0x88);
        __m512 odd_low = _mm512_shuffle_f32x4(b[8 + c], b[12 + c], 0xDD);
        x[c] = _mm512_shuffle_f32x4(even_top, even_low, 0x88);
        x[4 + c] = _mm512_shuffle_f32x4(odd_top, odd_low, 0x88);
        x[8 + c] = _mm512_shuffle_f32x4(even_top, even_low, 0xDD);
        x[12 + c] = _mm512_shuffle_f32x4(odd_top, odd_low, 0xDD);
    }
}

#endif
