/* tile_avxvnni.h: tiles (see tile.h) of quantised weights for AVX2, FMA and F16C with AVX-VNNI, whose
 * vpdpbusd does the work of three operations. They have the bits of tile_avx2.h. x86-64 only. */
#ifndef FERRUM_TILE_AVXVNNI_H
#define FERRUM_TILE_AVXVNNI_H

#include "kernels_cpu/tile.h"

extern const struct tile_kernel tile_avxvnni_q4_0, tile_avxvnni_q4_1, tile_avxvnni_q5_0, tile_avxvnni_q5_1,
    tile_avxvnni_q8_0, tile_avxvnni_iq4_nl;
extern const struct tile_kernel tile_avxvnni_q2_k, tile_avxvnni_q3_k, tile_avxvnni_q4_k, tile_avxvnni_q5_k,
    tile_avxvnni_q6_k, tile_avxvnni_iq4_xs;

#endif
