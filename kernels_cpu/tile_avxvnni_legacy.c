/* Tiles of types of 32 weights with AVX-VNNI. */
#include "kernels_cpu/tile_avxvnni.h"

#include "kernels_cpu/tile_vnni_256.h"

#include "kernels_cpu/tile_legacy_body.h"

#define TILE_KERNEL(type, kind, by)                                                                          \
    static void expand_##type(const uint8_t *rows, size_t row_bytes, size_t k, uint8_t *tile)                \
    {                                                                                                        \
        expand_tile(rows, row_bytes, k, 8 * sizeof(struct block_##type), N_DWORDS, N_##kind, blocks_##type,  \
                    tile);                                                                                   \
    }                                                                                                        \
    const struct tile_kernel tile_avxvnni_##type = {.expand = expand_##type,                                 \
                                                    .multiply = by,                                          \
                                                    .rows = TILE_ROWS,                                       \
                                                    .bytes_per_32 = RECORD_BYTES(N_DWORDS, N_##kind)};

TILE_KERNEL(q4_0, OFFSET_32, tile_avxvnni_offset_32)
TILE_KERNEL(q4_1, MIN_32, tile_avxvnni_min_32)
TILE_KERNEL(q5_0, OFFSET_32, tile_avxvnni_offset_32)
TILE_KERNEL(q5_1, MIN_32, tile_avxvnni_min_32)
TILE_KERNEL(q8_0, OFFSET_32, tile_avxvnni_offset_32)
TILE_KERNEL(iq4_nl, OFFSET_32, tile_avxvnni_offset_32)
