/* dot_avx512.h: the kernels (see dot_kernel.h) for AVX-512 F, BW, VL, DQ with VNNI, beside AVX2. x86-64 only.
 *
 * vpdpbusd multiplies unsigned by signed bytes into int32, four products a lane, without a limit that could
 * be reached; so weights are unsigned here, and what was subtracted comes back as a min. */
#ifndef FERRUM_DOT_AVX512_H
#define FERRUM_DOT_AVX512_H

#include "kernels_cpu/dot_kernel.h"

/* Float weights, in the dot kernels and in tiles: vectors of running sums; weights that are added up by
 * themselves, so that a tile of them stays in the second-level cache. */
#define FLOAT_CHAINS 2
#define FLOAT_SEGMENT ((size_t)2048)

dot_fn dot_avx512_f32, dot_avx512_f16, dot_avx512_bf16;
dot_fn dot_avx512_q4_0, dot_avx512_q4_1, dot_avx512_q5_0, dot_avx512_q5_1, dot_avx512_q8_0, dot_avx512_iq4_nl;
dot_fn dot_avx512_q2_k, dot_avx512_q3_k, dot_avx512_q4_k, dot_avx512_q5_k, dot_avx512_q6_k, dot_avx512_iq4_xs;

#endif
