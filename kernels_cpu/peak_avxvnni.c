/* The arithmetic peak with AVX-VNNI. */
#include "kernels_cpu/peak.h"

#include "kernels_cpu/dot_x86.h"

/* More chains than the latency of one multiply-add needs, and no more than there are registers for. */
#define N_CHAINS 12

static _Thread_local volatile int sink;

size_t peak_avxvnni_int8(size_t n)
{
    __m256i x = _mm256_set1_epi8(1), acc[N_CHAINS];
    UNROLLED
    for (int c = 0; c < N_CHAINS; c++)
        acc[c] = _mm256_set1_epi32(c);
    for (size_t i = 0; i < n; i++) {
        UNROLLED
        for (int c = 0; c < N_CHAINS; c++)
            acc[c] = _mm256_dpbusd_avx_epi32(acc[c], x, x);
    }
    UNROLLED
    for (int c = 1; c < N_CHAINS; c++)
        acc[0] = _mm256_xor_si256(acc[0], acc[c]);
    sink = _mm256_cvtsi256_si32(acc[0]);
    return n * N_CHAINS * 32;
}
