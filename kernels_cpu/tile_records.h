/* tile_records.h: private to the files of tiles: how quantised weights lie in a tile, for every vector width.
 *
 * Included by one header per width (tile_256.h, tile_512.h), which defines before it: TILE_ROWS; LANES; `vec`
 * (a float for each of LANES rows), `vec_int` (a dword each); `lane_rows`, with `first` and `bytes` from a
 * row to the next; vec_store, vec_int_store, vec_scale(x, by).
 *
 * A tile is a sequence of records, one per block of 32 weights of a row, in the order in which the running
 * sums of the dot kernel (dot_x86.h) are walked: first all blocks 8i + tile_order[0], then all 8i +
 * tile_order[1] ... Sum j is finished before sum j + 1 begins, and added to the others as add_lanes does. A
 * lane is a row. A record has the weights, dword by dword of all rows, then vectors of a float per row. */
#ifndef FERRUM_TILE_RECORDS_H
#define FERRUM_TILE_RECORDS_H

#include "kernels_cpu/dot_x86.h"
#include "kernels_cpu/tile.h"

/* What follows the weights in a record. base is scale * -DOT_MAGIC. */
enum { AT_SCALE, AT_BASE, AT_MIN, N_OFFSET_32 = 2, N_MIN_32 = 3 };
enum { AT_SCALE_2 = 2, AT_BASE_2, AT_MINS, AT_DMIN, AT_DMIN_BASE, N_OFFSET_16 = 4, N_MIN_16 = 7 };

#define ROW_DWORDS_BYTES ((size_t)TILE_ROWS * 4) /* a dword of all rows, or a float */

/* n_dwords of weights per row: 8, or 16 where they lie as words. */
#define RECORD_BYTES(n_dwords, n_floats) (((n_dwords) + (n_floats)) * ROW_DWORDS_BYTES)

/* Pairs in this order make the tree of add_lanes: (0 + 4) + (2 + 6) and (1 + 5) + (3 + 7). */
static const uint8_t tile_order[8] = {0, 4, 2, 6, 1, 5, 3, 7};

/* The record of block 8i + j among n_blocks. */
ALWAYS_INLINE size_t tile_place(size_t n_blocks, size_t i, size_t j)
{
    size_t at = i;
    for (size_t step = 0; tile_order[step] != j; step++)
        at += (n_blocks + 7 - tile_order[step]) / 8;
    return at;
}

/* The eight records of a super-block (fewer where a row ends), for LANES rows of the tile. */
struct records {
    uint8_t *of[8];
    size_t floats_at;
};

ALWAYS_INLINE void put_dword(const struct records *to, size_t j, size_t dword, vec_int q)
{
    vec_int_store(to->of[j] + dword * ROW_DWORDS_BYTES, q);
}

ALWAYS_INLINE void put_floats(const struct records *to, size_t j, size_t which, vec x)
{
    vec_store((float *)(void *)(to->of[j] + to->floats_at + which * ROW_DWORDS_BYTES), x);
}

/* The scale of 32 weights, or of the first (AT_SCALE) or second (AT_SCALE_2) 16. */
ALWAYS_INLINE void put_scale(const struct records *to, size_t j, size_t which, vec scale)
{
    put_floats(to, j, which, scale);
    put_floats(to, j, which + 1, vec_scale(scale, -DOT_MAGIC));
}

/* One super-block of LANES rows; legacy types: n blocks of 32 in a row. */
typedef void tile_unpack_fn(lane_rows rows, size_t n, const struct records *to);

/* Calls unpack for all rows and super-blocks; block_bytes: of 256 weights. */
ALWAYS_INLINE void expand_tile(const uint8_t *rows, size_t row_bytes, size_t k, size_t block_bytes,
                               size_t n_dwords, size_t n_floats, tile_unpack_fn *unpack, uint8_t *tile)
{
    size_t n_blocks = k / QUANT_BLOCK, place[8];
    for (size_t j = 0; j < 8; j++)
        place[j] = tile_place(n_blocks, 0, j);
    for (size_t r = 0; r < TILE_ROWS; r += LANES) {
        for (size_t i = 0; 8 * i < n_blocks; i++) {
            struct records to = {.floats_at = n_dwords * ROW_DWORDS_BYTES};
            for (size_t j = 0; j < 8; j++)
                to.of[j] = tile + (place[j] + i) * RECORD_BYTES(n_dwords, n_floats) + r * 4;
            size_t n = n_blocks - 8 * i < 8 ? n_blocks - 8 * i : 8;
            unpack((lane_rows){rows + r * row_bytes + i * block_bytes, row_bytes}, n, &to);
        }
    }
}

/* The kernel tile_`isa`_`type`; bytes_256 of 256 weights go through `unpack`, a tile is multiplied by `by`.
 */
#define QUANT_TILE(isa, type, bytes_256, unpack, kind, n_dwords, by)                                         \
    static void expand_##type(const uint8_t *rows, size_t row_bytes, size_t k, uint8_t *tile)                \
    {                                                                                                        \
        expand_tile(rows, row_bytes, k, bytes_256, n_dwords, N_##kind, unpack, tile);                        \
    }                                                                                                        \
    const struct tile_kernel tile_##isa##_##type = {.expand = expand_##type,                                 \
                                                    .multiply = by,                                          \
                                                    .rows = TILE_ROWS,                                       \
                                                    .bytes_per_32 = RECORD_BYTES(n_dwords, N_##kind)};

/* Some of what is ahead, to the second-level cache. */
ALWAYS_INLINE void fetch_ahead(struct tile_ahead *ahead, int n_lines)
{
    if (ahead->at >= ahead->end) {
        if (!ahead->n_more)
            return;
        ahead->n_more--;
        ahead->end += ahead->stride;
        ahead->at = ahead->end - ahead->row_bytes;
    }
    const uint8_t *at = ahead->at;
    UNROLLED
    for (int i = 0; i < n_lines; i++)
        _mm_prefetch((const char *)at + 64 * i, _MM_HINT_T1);
    ahead->at = at + 64 * n_lines;
}

#endif
