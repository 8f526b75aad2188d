/* Tiles of types of 32 weights with AVX2. */
#include "kernels_cpu/tile_avx2.h"

#include "kernels_cpu/tile_words_256.h"
#include "kernels_cpu/tile_legacy_body.h"

#define TILE_KERNEL(type, kind, n_dwords, by)                                                                \
    static void expand_##type(const uint8_t *rows, size_t row_bytes, size_t k, uint8_t *tile)                \
    {                                                                                                        \
        expand_tile(rows, row_bytes, k, 8 * sizeof(struct block_##type), n_dwords, N_##kind, blocks_##type,  \
                    tile);                                                                                   \
    }                                                                                                        \
    const struct tile_kernel tile_avx2_##type = {.expand = expand_##type,                                    \
                                                 .multiply = by,                                             \
                                                 .rows = TILE_ROWS,                                          \
                                                 .bytes_per_32 = RECORD_BYTES(n_dwords, N_##kind)};

TILE_KERNEL(q4_0, OFFSET_32, N_DWORDS, tile_avx2_offset_below_16)
TILE_KERNEL(q4_1, MIN_32, N_DWORDS, tile_avx2_min_below_16)
TILE_KERNEL(q5_0, OFFSET_32, N_DWORDS, tile_avx2_offset_below_32)
TILE_KERNEL(q5_1, MIN_32, N_DWORDS, tile_avx2_min_below_32)
TILE_KERNEL(q8_0, OFFSET_32, N_DWORDS_SIGNED, tile_avx2_offset_signed)
TILE_KERNEL(iq4_nl, OFFSET_32, N_DWORDS_SIGNED, tile_avx2_offset_signed)
