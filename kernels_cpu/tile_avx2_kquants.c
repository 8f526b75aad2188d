/* Tiles of types of 256 weights with AVX2. */
#include "kernels_cpu/tile_avx2.h"

#include "kernels_cpu/tile_words_256.h"
#include "kernels_cpu/tile_kquants_body.h"

KQUANT_TILE(avx2, q2_k, MIN_16, N_DWORDS, tile_avx2_min_16_below_4)
KQUANT_TILE(avx2, q3_k, OFFSET_16, N_DWORDS, tile_avx2_offset_16_below_8)
KQUANT_TILE(avx2, q4_k, MIN_32, N_DWORDS, tile_avx2_min_below_16)
KQUANT_TILE(avx2, q5_k, MIN_32, N_DWORDS, tile_avx2_min_below_32)
KQUANT_TILE(avx2, q6_k, OFFSET_16, N_DWORDS, tile_avx2_offset_16_below_64)
KQUANT_TILE(avx2, iq4_xs, OFFSET_32, N_DWORDS_SIGNED, tile_avx2_offset_signed)
