/* Tiles of types of 32 weights with AVX-512. */
#include "kernels_cpu/tile_avx512.h"

#include "kernels_cpu/tile_512.h"
#include "kernels_cpu/tile_legacy_body.h"

LEGACY_TILE(avx512, q4_0, OFFSET_32, N_DWORDS, tile_multiply_offset_32)
LEGACY_TILE(avx512, q4_1, MIN_32, N_DWORDS, tile_multiply_min_32)
LEGACY_TILE(avx512, q5_0, OFFSET_32, N_DWORDS, tile_multiply_offset_32)
LEGACY_TILE(avx512, q5_1, MIN_32, N_DWORDS, tile_multiply_min_32)
LEGACY_TILE(avx512, q8_0, OFFSET_32, N_DWORDS, tile_multiply_offset_32)
LEGACY_TILE(avx512, iq4_nl, OFFSET_32, N_DWORDS, tile_multiply_offset_32)
