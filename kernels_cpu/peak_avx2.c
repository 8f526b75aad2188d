/* The arithmetic peak with AVX2. */
#include "kernels_cpu/peak.h"

#include "kernels_cpu/dot_x86.h"

/* More chains than the latency of one multiply-add needs, and no more than there are registers for. */
#define N_CHAINS 12

static _Thread_local volatile int sink;

/* The way of tiles of weights below 16 but for a vpmaddwd in eight: vpmaddubsw and vpaddw for 32 products.
 * The sum is an operand of the first, so that the compiler cannot take it out of the loop. */
size_t peak_avx2_int8(size_t n)
{
    __m256i x = _mm256_set1_epi8(1), acc[N_CHAINS];
    UNROLLED
    for (int c = 0; c < N_CHAINS; c++)
        acc[c] = _mm256_set1_epi16((short)c);
    for (size_t i = 0; i < n; i++) {
        UNROLLED
        for (int c = 0; c < N_CHAINS; c++)
            acc[c] = _mm256_add_epi16(acc[c], _mm256_maddubs_epi16(acc[c], x));
    }
    UNROLLED
    for (int c = 1; c < N_CHAINS; c++)
        acc[0] = _mm256_xor_si256(acc[0], acc[c]);
    sink = _mm256_cvtsi256_si32(acc[0]);
    return n * N_CHAINS * 32;
}

size_t peak_avx2_f32(size_t n)
{
    __m256 x = _mm256_set1_ps(0.5f), acc[N_CHAINS];
    UNROLLED
    for (int c = 0; c < N_CHAINS; c++)
        acc[c] = _mm256_set1_ps((float)c);
    for (size_t i = 0; i < n; i++) {
        UNROLLED
        for (int c = 0; c < N_CHAINS; c++)
            acc[c] = _mm256_fmadd_ps(acc[c], x, x);
    }
    UNROLLED
    for (int c = 1; c < N_CHAINS; c++)
        acc[0] = _mm256_add_ps(acc[0], acc[c]);
    sink = (int)_mm256_cvtss_f32(acc[0]);
    return n * N_CHAINS * 8;
}
