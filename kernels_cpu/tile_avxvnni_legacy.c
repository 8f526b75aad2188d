/* Tiles of types of 32 weights with AVX-VNNI. */
#include "kernels_cpu/tile_avxvnni.h"

#include "kernels_cpu/tile_vnni_256.h"

#include "kernels_cpu/tile_legacy_body.h"

LEGACY_TILE(avxvnni, q4_0, OFFSET_32, N_DWORDS, tile_avxvnni_offset_32)
LEGACY_TILE(avxvnni, q4_1, MIN_32, N_DWORDS, tile_avxvnni_min_32)
LEGACY_TILE(avxvnni, q5_0, OFFSET_32, N_DWORDS, tile_avxvnni_offset_32)
LEGACY_TILE(avxvnni, q5_1, MIN_32, N_DWORDS, tile_avxvnni_min_32)
LEGACY_TILE(avxvnni, q8_0, OFFSET_32, N_DWORDS, tile_avxvnni_offset_32)
LEGACY_TILE(avxvnni, iq4_nl, OFFSET_32, N_DWORDS, tile_avxvnni_offset_32)
