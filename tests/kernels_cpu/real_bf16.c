/* The instructions that soft_bf16_512.h stands for. */
#include <immintrin.h>

#include "tests/kernels_cpu/soft_bf16.h"

void real_bf16_dot(const uint16_t a[32], const uint16_t b[32], float acc[16])
{
    __m512bh x = (__m512bh)_mm512_loadu_si512(a), y = (__m512bh)_mm512_loadu_si512(b);
    _mm512_storeu_ps(acc, _mm512_dpbf16_ps(_mm512_loadu_ps(acc), x, y));
}

void real_bf16_round(const float x[32], uint16_t to[32])
{
    _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + 16), _mm512_loadu_ps(x)));
}
