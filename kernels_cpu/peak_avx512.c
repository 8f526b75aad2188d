/* The arithmetic peak with AVX-512 VNNI. */
#include "kernels_cpu/peak.h"

#include "kernels_cpu/dot_x86_512.h"

/* More chains than the latency of one multiply-add needs. */
#define N_CHAINS 12

static _Thread_local volatile int sink;

size_t peak_avx512_int8(size_t n)
{
    __m512i x = _mm512_set1_epi8(1), acc[N_CHAINS];
    UNROLLED
    for (int c = 0; c < N_CHAINS; c++)
        acc[c] = _mm512_set1_epi32(c);
    for (size_t i = 0; i < n; i++) {
        UNROLLED
        for (int c = 0; c < N_CHAINS; c++)
            acc[c] = _mm512_dpbusd_epi32(acc[c], x, x);
    }
    UNROLLED
    for (int c = 1; c < N_CHAINS; c++)
        acc[0] = _mm512_xor_si512(acc[0], acc[c]);
    sink = _mm512_cvtsi512_si32(acc[0]);
    return n * N_CHAINS * 64;
}

size_t peak_avx512_f32(size_t n)
{
    __m512 x = _mm512_set1_ps(0.5f), acc[N_CHAINS];
    UNROLLED
    for (int c = 0; c < N_CHAINS; c++)
        acc[c] = _mm512_set1_ps((float)c);
    for (size_t i = 0; i < n; i++) {
        UNROLLED
        for (int c = 0; c < N_CHAINS; c++)
            acc[c] = _mm512_fmadd_ps(acc[c], x, x);
    }
    UNROLLED
    for (int c = 1; c < N_CHAINS; c++)
        acc[0] = _mm512_add_ps(acc[0], acc[c]);
    sink = (int)_mm512_cvtss_f32(acc[0]);
    return n * N_CHAINS * 16;
}
