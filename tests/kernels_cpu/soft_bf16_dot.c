/* The sources themselves, under other names; and what a lane does, for a closer look. */
#include "tests/kernels_cpu/soft_bf16_512.h"

#include "tests/kernels_cpu/soft_bf16.h"

#include "kernels_cpu/act_round_avx512bf16.c"
#include "kernels_cpu/dot_avx512bf16.c"

const struct dot_set *soft_bf16_set(void)
{
    static struct dot_set set;
    set = *dot_set_get(CPU_AVX512);
    set.round = soft_bf16_round_column;
    set.round_chains = soft_bf16_round_chains;
    set.dot[DTYPE_BF16] = soft_bf16_dot_row;
    set.tile[DTYPE_BF16] = &soft_bf16_tile;
    return &set;
}

void soft_bf16_dot(const uint16_t a[32], const uint16_t b[32], float acc[16])
{
    __m512i x = _mm512_loadu_si512(a), y = _mm512_loadu_si512(b);
    _mm512_storeu_ps(acc, soft_dpbf16(_mm512_loadu_ps(acc), x, y));
}

void soft_bf16_round(const float x[32], uint16_t to[32])
{
    _mm512_storeu_si512(to, soft_cvtne2ps(_mm512_loadu_ps(x + 16), _mm512_loadu_ps(x)));
}
