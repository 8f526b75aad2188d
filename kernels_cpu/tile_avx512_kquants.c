/* Tiles of types of 256 weights with AVX-512. */
#include "kernels_cpu/tile_avx512.h"

#include "kernels_cpu/tile_512.h"
#include "kernels_cpu/tile_kquants_body.h"

KQUANT_TILE(avx512, q2_k, MIN_16, N_DWORDS, tile_multiply_min_16)
KQUANT_TILE(avx512, q3_k, OFFSET_16, N_DWORDS, tile_multiply_offset_16)
KQUANT_TILE(avx512, q4_k, MIN_32, N_DWORDS, tile_multiply_min_32)
KQUANT_TILE(avx512, q5_k, MIN_32, N_DWORDS, tile_multiply_min_32)
KQUANT_TILE(avx512, q6_k, OFFSET_16, N_DWORDS, tile_multiply_offset_16)
KQUANT_TILE(avx512, iq4_xs, OFFSET_32, N_DWORDS, tile_multiply_offset_32)
