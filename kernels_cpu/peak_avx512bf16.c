/* The arithmetic peak of AVX512_BF16. */
#include "kernels_cpu/peak.h"

#include "kernels_cpu/dot_x86_512.h"

/* More chains than the latency of one instruction needs. */
#define N_CHAINS 12

static _Thread_local volatile int sink;

size_t peak_avx512bf16_bf16(size_t n)
{
    __m512i halves = _mm512_set1_epi16(0x3F00);
    __m512 acc[N_CHAINS];
    UNROLLED
    for (int c = 0; c < N_CHAINS; c++)
        acc[c] = _mm512_set1_ps((float)c);
    for (size_t i = 0; i < n; i++) {
        UNROLLED
        for (int c = 0; c < N_CHAINS; c++)
            acc[c] = _mm512_dpbf16_ps(acc[c], (__m512bh)halves, (__m512bh)halves);
    }
    UNROLLED
    for (int c = 1; c < N_CHAINS; c++)
        acc[0] = _mm512_add_ps(acc[0], acc[c]);
    sink = (int)_mm512_cvtss_f32(acc[0]);
    return n * N_CHAINS * 32;
}
