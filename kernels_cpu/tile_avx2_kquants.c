/* Tiles of types of 256 weights with AVX2. */
#include "kernels_cpu/tile_avx2.h"

#include "kernels_cpu/tile_words_256.h"
#include "kernels_cpu/tile_kquants_body.h"

#define TILE_KERNEL(type, kind, n_dwords, by)                                                                \
    static void expand_##type(const uint8_t *rows, size_t row_bytes, size_t k, uint8_t *tile)                \
    {                                                                                                        \
        expand_tile(rows, row_bytes, k, sizeof(struct block_##type), n_dwords, N_##kind, unpack_##type,      \
                    tile);                                                                                   \
    }                                                                                                        \
    const struct tile_kernel tile_avx2_##type = {.expand = expand_##type,                                    \
                                                 .multiply = by,                                             \
                                                 .rows = TILE_ROWS,                                          \
                                                 .bytes_per_32 = RECORD_BYTES(n_dwords, N_##kind)};

TILE_KERNEL(q2_k, MIN_16, N_DWORDS, tile_avx2_min_16_below_4)
TILE_KERNEL(q3_k, OFFSET_16, N_DWORDS, tile_avx2_offset_16_below_8)
TILE_KERNEL(q4_k, MIN_32, N_DWORDS, tile_avx2_min_below_16)
TILE_KERNEL(q5_k, MIN_32, N_DWORDS, tile_avx2_min_below_32)
TILE_KERNEL(q6_k, OFFSET_16, N_DWORDS, tile_avx2_offset_16_below_64)
TILE_KERNEL(iq4_xs, OFFSET_32, N_DWORDS_SIGNED, tile_avx2_offset_signed)
