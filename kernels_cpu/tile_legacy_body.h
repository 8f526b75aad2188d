/* tile_legacy_body.h: rows of types of 32 weights to tiles, written once for every vector width; see
 * tile_kquants_body.h. */
#ifndef FERRUM_TILE_LEGACY_BODY_H
#define FERRUM_TILE_LEGACY_BODY_H

#include "engine/quant_blocks.h"
#include "kernels_cpu/tile_records.h"

/* Block number j of the rows, to record j. */
typedef void unpack_block_fn(lane_rows rows, const struct records *to, size_t j);

ALWAYS_INLINE void unpack_blocks(lane_rows rows, size_t n, const struct records *to, size_t block_bytes,
                                 unpack_block_fn *unpack)
{
    for (size_t j = 0; j < n; j++, rows.first += block_bytes)
        unpack(rows, to, j);
}

/* What a block begins with: d, or d and m. */
ALWAYS_INLINE void put_head(lane_rows rows, const struct records *to, size_t j, float factor)
{
    vec_int x[4];
    load_rows(rows, 0, x);
    put_scale(to, j, AT_SCALE, vec_scale(low_halves(x[0]), factor));
}

ALWAYS_INLINE void put_head_min(lane_rows rows, const struct records *to, size_t j)
{
    vec_int x[4];
    load_rows(rows, 0, x);
    put_scale(to, j, AT_SCALE, low_halves(x[0]));
    put_floats(to, j, AT_MIN, high_halves(x[0]));
}

ALWAYS_INLINE void unpack_q4_0(lane_rows rows, const struct records *to, size_t j)
{
    vec_int x[4];
    put_head(rows, to, j, 1.0f / 16);
    load_rows(rows, offsetof(struct block_q4_0, qs), x);
    UNROLLED
    for (size_t i = 0; i < 4; i++) {
        put_dword(to, j, i, and_all(moved(x[i], UPPER_BITS(4)), 15 << UPPER_BITS(4)));
        put_dword(to, j, 4 + i, and_all(moved(x[i], UPPER_BITS(4) - 4), 15 << UPPER_BITS(4)));
    }
}

ALWAYS_INLINE void unpack_q4_1(lane_rows rows, const struct records *to, size_t j)
{
    vec_int x[4];
    put_head_min(rows, to, j);
    load_rows(rows, offsetof(struct block_q4_1, qs), x);
    UNROLLED
    for (size_t i = 0; i < 4; i++) {
        put_dword(to, j, i, and_all(x[i], 15));
        put_dword(to, j, 4 + i, and_all(moved(x[i], -4), 15));
    }
}

/* Moved left by `shift`; the fifth bits above. */
ALWAYS_INLINE void put_five_bits(const struct records *to, size_t j, const vec_int x[4], vec_int fifth,
                                 int shift)
{
    UNROLLED
    for (int i = 0; i < 4; i++) {
        vec_int low = moved(and_all(x[i], 15), shift), high = moved(and_all(moved(x[i], -4), 15), shift);
        put_dword(to, j, (size_t)i, low | spread_bits(fifth, i, 16 << shift));
        put_dword(to, j, 4 + (size_t)i, high | spread_bits(fifth, 4 + i, 16 << shift));
    }
}

ALWAYS_INLINE void unpack_q5_0(lane_rows rows, const struct records *to, size_t j)
{
    vec_int head[4], x[4];
    put_head(rows, to, j, 1.0f / 8);
    load_rows(rows, offsetof(struct block_q5_0, qh), head);
    load_rows(rows, offsetof(struct block_q5_0, qs), x);
    put_five_bits(to, j, x, head[0], UPPER_BITS(3));
}

ALWAYS_INLINE void unpack_q5_1(lane_rows rows, const struct records *to, size_t j)
{
    vec_int head[4], x[4];
    put_head_min(rows, to, j);
    load_rows(rows, offsetof(struct block_q5_1, qh), head);
    load_rows(rows, offsetof(struct block_q5_1, qs), x);
    put_five_bits(to, j, x, head[0], 0);
}

ALWAYS_INLINE void unpack_q8_0(lane_rows rows, const struct records *to, size_t j)
{
    put_head(rows, to, j, 1);
    UNROLLED
    for (size_t half = 0; half < 2; half++) {
        vec_int x[4];
        load_rows(rows, offsetof(struct block_q8_0, qs) + 16 * half, x);
        UNROLLED
        for (size_t i = 0; i < 4; i++)
            put_signed(to, j, 4 * half + i, x[i]);
    }
}

ALWAYS_INLINE void unpack_iq4_nl(lane_rows rows, const struct records *to, size_t j)
{
    vec_int x[4];
    put_head(rows, to, j, 1);
    load_rows(rows, offsetof(struct block_iq4_nl, qs), x);
    UNROLLED
    for (size_t i = 0; i < 4; i++) {
        put_signed(to, j, i, iq4_level(and_all(x[i], 15)));
        put_signed(to, j, 4 + i, iq4_level(and_all(moved(x[i], -4), 15)));
    }
}

#define LEGACY_TILE(isa, type, kind, n_dwords, by)                                                           \
    ALWAYS_INLINE void blocks_##type(lane_rows rows, size_t n, const struct records *to)                     \
    {                                                                                                        \
        unpack_blocks(rows, n, to, sizeof(struct block_##type), unpack_##type);                              \
    }                                                                                                        \
    QUANT_TILE(isa, type, 8 * sizeof(struct block_##type), blocks_##type, kind, n_dwords, by)

#endif
