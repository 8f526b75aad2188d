/* tile_avx512.h: the tiles (see tile.h) for AVX-512 F, BW, VL, DQ with VNNI. x86-64 only. */
#ifndef FERRUM_TILE_AVX512_H
#define FERRUM_TILE_AVX512_H

#include "kernels_cpu/tile.h"

extern const struct tile_kernel tile_avx512_f32, tile_avx512_f16, tile_avx512_bf16;
extern const struct tile_kernel tile_avx512_q4_0, tile_avx512_q4_1, tile_avx512_q5_0, tile_avx512_q5_1,
    tile_avx512_q8_0, tile_avx512_iq4_nl;
extern const struct tile_kernel tile_avx512_q2_k, tile_avx512_q3_k, tile_avx512_q4_k, tile_avx512_q5_k,
    tile_avx512_q6_k, tile_avx512_iq4_xs;

#endif
