/* tile_kquants_body.h: rows of types of 256 weights to tiles, written once for every vector width.
 *
 * Included by one file per instruction set after its tile_256.h or tile_512.h. LANES rows are expanded
 * together, one in each lane: bytes are brought together while they are packed (load_rows), so that there is
 * little to move. The scales are divided as in the dot kernels; UPPER_BITS(n) is how far weights of few bits
 * are moved up for that. */
#ifndef FERRUM_TILE_KQUANTS_BODY_H
#define FERRUM_TILE_KQUANTS_BODY_H

#include "engine/quant_blocks.h"
#include "kernels_cpu/tile_records.h"

/* Q4_K and Q5_K: d, dmin and the packed scales are the first 16 bytes; as bytes_q4_k, for all rows. */
ALWAYS_INLINE void put_scales_mins(lane_rows rows, const struct records *to)
{
    vec_int x[4];
    load_rows(rows, 0, x);
    vec d = low_halves(x[0]), minus_dmin = vec_scale(high_halves(x[0]), -1);
    vec_int scale[2] = {and_all(x[1], 0x3F), or_bits(and_all(x[3], 0x0F), moved(x[1], -2), 0x30)};
    vec_int min[2] = {and_all(x[2], 0x3F), or_bits(and_all(moved(x[3], -4), 0x0F), moved(x[2], -2), 0x30)};
    UNROLLED
    for (int j = 0; j < 8; j++) {
        put_scale(to, (size_t)j, AT_SCALE, vec_mul(d, unsigned_byte(scale[j / 4], j % 4)));
        put_floats(to, (size_t)j, AT_MIN, vec_mul(minus_dmin, unsigned_byte(min[j / 4], j % 4)));
    }
}

ALWAYS_INLINE void unpack_q4_k(lane_rows rows, size_t n, const struct records *to)
{
    (void)n;
    put_scales_mins(rows, to);
    UNROLLED
    for (size_t part = 0; part < 8; part++) { /* 16 bytes: half of two blocks */
        size_t j = part / 2 * 2, dword = part % 2 * 4;
        vec_int x[4];
        load_rows(rows, offsetof(struct block_q4_k, qs) + 16 * part, x);
        UNROLLED
        for (size_t i = 0; i < 4; i++) {
            put_dword(to, j, dword + i, and_all(x[i], 15));
            put_dword(to, j + 1, dword + i, and_all(moved(x[i], -4), 15));
        }
    }
}

ALWAYS_INLINE void unpack_q5_k(lane_rows rows, size_t n, const struct records *to)
{
    (void)n;
    put_scales_mins(rows, to);
    UNROLLED
    for (size_t half = 0; half < 2; half++) {
        vec_int fifth[4];
        load_rows(rows, offsetof(struct block_q5_k, qh) + 16 * half, fifth);
        UNROLLED
        for (size_t j = 0; j < 8; j += 2) {
            vec_int x[4];
            load_rows(rows, offsetof(struct block_q5_k, qs) + 16 * j + 16 * half, x);
            UNROLLED
            for (size_t i = 0; i < 4; i++) {
                put_dword(to, j, 4 * half + i, or_bits(and_all(x[i], 15), moved(fifth[i], 4 - (int)j), 16));
                put_dword(to, j + 1, 4 * half + i,
                          or_bits(and_all(moved(x[i], -4), 15), moved(fifth[i], 3 - (int)j), 16));
            }
        }
    }
}

/* 16 scales of a signed byte, times d. */
ALWAYS_INLINE void put_scales_16(const struct records *to, vec d, const vec_int bytes[4])
{
    UNROLLED
    for (int s = 0; s < 16; s++)
        put_scale(to, (size_t)s / 2, s % 2 ? AT_SCALE_2 : AT_SCALE,
                  vec_mul(d, signed_byte(bytes[s / 4], s % 4)));
}

ALWAYS_INLINE void unpack_q6_k(lane_rows rows, size_t n, const struct records *to)
{
    (void)n;
    vec_int scales[4], end[4];
    load_rows(rows, offsetof(struct block_q6_k, scales), scales);
    load_rows(rows, sizeof(struct block_q6_k) - 16, end);
    put_scales_16(to, high_halves(end[3]), scales);
    UNROLLED
    for (size_t part = 0; part < 4; part++) { /* 16 bytes of each half of 64 low ones, with 16 high ones */
        size_t j = part / 2 * 4, dword = part % 2 * 4, at = 64 * (part / 2) + 16 * (part % 2);
        vec_int x[4], y[4], high[4];
        load_rows(rows, offsetof(struct block_q6_k, ql) + at, x);
        load_rows(rows, offsetof(struct block_q6_k, ql) + at + 32, y);
        load_rows(rows, offsetof(struct block_q6_k, qh) + 16 * part, high);
        UNROLLED
        for (size_t i = 0; i < 4; i++) {
            put_dword(to, j, dword + i, or_bits(and_all(x[i], 15), moved(high[i], 4), 0x30));
            put_dword(to, j + 1, dword + i, or_bits(and_all(y[i], 15), moved(high[i], 2), 0x30));
            put_dword(to, j + 2, dword + i, or_bits(and_all(moved(x[i], -4), 15), high[i], 0x30));
            put_dword(to, j + 3, dword + i, or_bits(and_all(moved(y[i], -4), 15), moved(high[i], -2), 0x30));
        }
    }
}

ALWAYS_INLINE void unpack_q2_k(lane_rows rows, size_t n, const struct records *to)
{
    (void)n;
    vec_int scales[4], end[4];
    load_rows(rows, offsetof(struct block_q2_k, scales), scales);
    load_rows(rows, sizeof(struct block_q2_k) - 16, end);
    vec d = low_halves(end[3]), dmin = high_halves(end[3]);
    UNROLLED
    for (int j = 0; j < 8; j++) {
        vec_int pair = moved(scales[j / 2], -16 * (j % 2));
        vec_int scale = and_all(pair, 15), min = and_all(moved(pair, -4), 15);
        put_scale(to, (size_t)j, AT_SCALE, vec_mul(d, unsigned_byte(scale, 0)));
        put_scale(to, (size_t)j, AT_SCALE_2, vec_mul(d, unsigned_byte(scale, 1)));
        min = (min & set_dwords(255)) | (moved(min, 8) & set_dwords(0xFF0000));
        put_floats(to, (size_t)j, AT_MINS, vec_from_bits(min));
        put_scale(to, (size_t)j, AT_DMIN, dmin);
    }
    UNROLLED
    for (size_t part = 0; part < 4; part++) { /* 16 bytes: half of four blocks */
        vec_int x[4];
        load_rows(rows, offsetof(struct block_q2_k, qs) + 16 * part, x);
        UNROLLED
        for (size_t i = 0; i < 16; i++)
            put_dword(to, part / 2 * 4 + i / 4, part % 2 * 4 + i % 4,
                      and_all(moved(x[i % 4], -2 * (int)(i / 4)), 3));
    }
}

/* The scales are those of bytes_q3_k: low nibbles, and pairs of bits above them. */
ALWAYS_INLINE void put_scales_q3_k(lane_rows rows, const struct records *to)
{
    vec_int x[4], end[4], scales[4];
    load_rows(rows, offsetof(struct block_q3_k, scales) - 4, x);
    load_rows(rows, sizeof(struct block_q3_k) - 16, end);
    UNROLLED
    for (int i = 0; i < 4; i++) {
        vec_int low = and_all(moved(x[1 + i % 2], -4 * (i / 2)), 15);
        scales[i] = sub_bytes(low | moved(and_all(moved(x[3], -2 * i), 3), 4), 32);
    }
    put_scales_16(to, vec_scale(high_halves(end[3]), 0.125f), scales);
}

ALWAYS_INLINE void unpack_q3_k(lane_rows rows, size_t n, const struct records *to)
{
    (void)n;
    put_scales_q3_k(rows, to);
    UNROLLED
    for (size_t half = 0; half < 2; half++) {
        vec_int third[4], x[4];
        load_rows(rows, offsetof(struct block_q3_k, hmask) + 16 * half, third);
        UNROLLED
        for (size_t j = 0; j < 8; j++) {
            if (j % 4 == 0)
                load_rows(rows, offsetof(struct block_q3_k, qs) + 8 * j + 16 * half, x);
            UNROLLED
            for (size_t i = 0; i < 4; i++) {
                vec_int low = moved(and_all(moved(x[i], -2 * (int)(j % 4)), 3), UPPER_BITS(3));
                put_dword(to, j, 4 * half + i,
                          or_bits(low, moved(third[i], UPPER_BITS(3) + 2 - (int)j), 4 << UPPER_BITS(3)));
            }
        }
    }
}

ALWAYS_INLINE void unpack_iq4_xs(lane_rows rows, size_t n, const struct records *to)
{
    (void)n;
    vec_int head[4];
    load_rows(rows, 0, head);
    vec d = low_halves(head[0]);
    UNROLLED
    for (int j = 0; j < 8; j++) {
        vec_int low = moved(head[1], -4 * j) & set_dwords(15);
        vec_int high = moved(head[0], -16 - 2 * j) & set_dwords(3);
        vec_int scale = sub_dwords(low | moved(high, 4), set_dwords(32));
        put_scale(to, (size_t)j, AT_SCALE, vec_mul(d, vec_from_ints(scale)));
        vec_int x[4];
        load_rows(rows, offsetof(struct block_iq4_xs, qs) + 16 * (size_t)j, x);
        UNROLLED
        for (size_t i = 0; i < 4; i++) {
            put_signed(to, (size_t)j, i, iq4_level(and_all(x[i], 15)));
            put_signed(to, (size_t)j, 4 + i, iq4_level(and_all(moved(x[i], -4), 15)));
        }
    }
}

#define KQUANT_TILE(isa, type, kind, n_dwords, by)                                                           \
    QUANT_TILE(isa, type, sizeof(struct block_##type), unpack_##type, kind, n_dwords, by)

#endif
