/* Tiles of types of 256 weights with AVX-VNNI. */
#include "kernels_cpu/tile_avxvnni.h"

#include "kernels_cpu/tile_vnni_256.h"
#include "kernels_cpu/tile_kquants_body.h"

KQUANT_TILE(avxvnni, q2_k, MIN_16, N_DWORDS, tile_avxvnni_min_16)
KQUANT_TILE(avxvnni, q3_k, OFFSET_16, N_DWORDS, tile_avxvnni_offset_16)
KQUANT_TILE(avxvnni, q4_k, MIN_32, N_DWORDS, tile_avxvnni_min_32)
KQUANT_TILE(avxvnni, q5_k, MIN_32, N_DWORDS, tile_avxvnni_min_32)
KQUANT_TILE(avxvnni, q6_k, OFFSET_16, N_DWORDS, tile_avxvnni_offset_16)
KQUANT_TILE(avxvnni, iq4_xs, OFFSET_32, N_DWORDS, tile_avxvnni_offset_32)
