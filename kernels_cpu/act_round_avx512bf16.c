/* Columns rounded to bf16, with AVX512_BF16. */
#include <assert.h>

#include "kernels_cpu/dot_avx512bf16.h"
#include "kernels_cpu/dot_x86_512.h"

#define BLOCK 32

ALWAYS_INLINE __m512i round_block(const float *x)
{
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + 16), _mm512_loadu_ps(x));
}

void act_round_avx512bf16(const float *x, size_t k, uint16_t *rounded)
{
    size_t i = 0;
    for (; i + BLOCK <= k; i += BLOCK)
        _mm512_storeu_si512(rounded + i, round_block(x + i));
    if (i < k) {
        float rest[BLOCK] = {0};
        uint16_t to[BLOCK];
        memcpy(rest, x + i, (k - i) * sizeof *x);
        _mm512_storeu_si512(to, round_block(rest));
        memcpy(rounded + i, to, (k - i) * sizeof *to);
    }
}

/* Pairs take the way of floats. */
void act_round_chains_avx512bf16(const float *x, size_t k, size_t m, size_t column, uint16_t *chains)
{
    uint16_t rounded[PAIR_SEGMENT];
    size_t rest = k % BLOCK, whole = k - rest;
    assert(k <= PAIR_SEGMENT);
    act_round_avx512bf16(x, k, rounded);
    act_chains_avx512((const void *)rounded, whole / 2, m, column, (void *)chains);
    if (rest)
        memcpy(chains + m * whole + column * rest, rounded + whole, rest * sizeof *rounded);
}
