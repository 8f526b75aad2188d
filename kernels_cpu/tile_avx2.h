/* tile_avx2.h: the tiles (see tile.h) for AVX2, FMA and F16C. x86-64 only. */
#ifndef FERRUM_TILE_AVX2_H
#define FERRUM_TILE_AVX2_H

#include "kernels_cpu/tile.h"

extern const struct tile_kernel tile_avx2_f32, tile_avx2_f16, tile_avx2_bf16;
extern const struct tile_kernel tile_avx2_q4_0, tile_avx2_q4_1, tile_avx2_q5_0, tile_avx2_q5_1,
    tile_avx2_q8_0, tile_avx2_iq4_nl;
extern const struct tile_kernel tile_avx2_q2_k, tile_avx2_q3_k, tile_avx2_q4_k, tile_avx2_q5_k,
    tile_avx2_q6_k, tile_avx2_iq4_xs;

#endif
