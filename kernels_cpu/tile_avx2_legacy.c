/* Tiles of types of 32 weights with AVX2. */
#include "kernels_cpu/tile_avx2.h"

#include "kernels_cpu/tile_words_256.h"
#include "kernels_cpu/tile_legacy_body.h"

LEGACY_TILE(avx2, q4_0, OFFSET_32, N_DWORDS, tile_avx2_offset_below_16)
LEGACY_TILE(avx2, q4_1, MIN_32, N_DWORDS, tile_avx2_min_below_16)
LEGACY_TILE(avx2, q5_0, OFFSET_32, N_DWORDS, tile_avx2_offset_below_32)
LEGACY_TILE(avx2, q5_1, MIN_32, N_DWORDS, tile_avx2_min_below_32)
LEGACY_TILE(avx2, q8_0, OFFSET_32, N_DWORDS_SIGNED, tile_avx2_offset_signed)
LEGACY_TILE(avx2, iq4_nl, OFFSET_32, N_DWORDS_SIGNED, tile_avx2_offset_signed)
