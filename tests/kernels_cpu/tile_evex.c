/* The sources themselves, under other names. */
#include "tests/kernels_cpu/tile_evex.h"

#include <immintrin.h>

#define _mm256_dpbusd_avx_epi32 _mm256_dpbusd_epi32

#define tile_avxvnni_offset_32 tile_evex_offset_32
#define tile_avxvnni_min_32 tile_evex_min_32
#define tile_avxvnni_offset_16 tile_evex_offset_16
#define tile_avxvnni_min_16 tile_evex_min_16
#define tile_avxvnni_q4_0 tile_evex_q4_0
#define tile_avxvnni_q4_1 tile_evex_q4_1
#define tile_avxvnni_q5_0 tile_evex_q5_0
#define tile_avxvnni_q5_1 tile_evex_q5_1
#define tile_avxvnni_q8_0 tile_evex_q8_0
#define tile_avxvnni_iq4_nl tile_evex_iq4_nl
#define tile_avxvnni_q2_k tile_evex_q2_k
#define tile_avxvnni_q3_k tile_evex_q3_k
#define tile_avxvnni_q4_k tile_evex_q4_k
#define tile_avxvnni_q5_k tile_evex_q5_k
#define tile_avxvnni_q6_k tile_evex_q6_k
#define tile_avxvnni_iq4_xs tile_evex_iq4_xs

#include "kernels_cpu/tile_avxvnni.c"
#undef MULTIPLY
#include "kernels_cpu/tile_avxvnni_kquants.c"
#include "kernels_cpu/tile_avxvnni_legacy.c"

const struct tile_kernel *tile_evex(enum dtype type)
{
    static const struct tile_kernel *const tiles[DTYPE_N] = {
        [DTYPE_Q4_0] = &tile_evex_q4_0,     [DTYPE_Q4_1] = &tile_evex_q4_1,
        [DTYPE_Q5_0] = &tile_evex_q5_0,     [DTYPE_Q5_1] = &tile_evex_q5_1,
        [DTYPE_Q8_0] = &tile_evex_q8_0,     [DTYPE_Q2_K] = &tile_evex_q2_k,
        [DTYPE_Q3_K] = &tile_evex_q3_k,     [DTYPE_Q4_K] = &tile_evex_q4_k,
        [DTYPE_Q5_K] = &tile_evex_q5_k,     [DTYPE_Q6_K] = &tile_evex_q6_k,
        [DTYPE_IQ4_NL] = &tile_evex_iq4_nl, [DTYPE_IQ4_XS] = &tile_evex_iq4_xs,
    };
    return tiles[type];
}
