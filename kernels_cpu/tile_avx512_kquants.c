/* Expanding rows of types of 256 weights to tiles, 16 rows at a time in the lanes of a vector: bytes are
 * brought together while they are packed (load_rows), so that there is little to move. */
#include "kernels_cpu/tile_avx512.h"

#include "kernels_cpu/tile_512.h"

ALWAYS_INLINE void put_mins_32(const struct records *to, size_t j, __m512 dmin, __m512 min)
{
    put_floats(to, j, AT_MIN, _mm512_mul_ps(_mm512_sub_ps(_mm512_setzero_ps(), dmin), min));
}

/* Q4_K and Q5_K: d, dmin and the packed scales are the first 16 bytes; as bytes_q4_k, for 16 rows. */
ALWAYS_INLINE void put_scales_mins(struct rows_16 rows, const struct records *to)
{
    __m512i x[4];
    load_rows(rows, 0, x);
    __m512 d = low_halves(x[0]), dmin = high_halves(x[0]);
    __m512i scale[2] = {and_all(x[1], 0x3F), or_bits(and_all(x[3], 0x0F), _mm512_srli_epi32(x[1], 2), 0x30)};
    __m512i min[2] = {and_all(x[2], 0x3F),
                      or_bits(and_all(_mm512_srli_epi32(x[3], 4), 0x0F), _mm512_srli_epi32(x[2], 2), 0x30)};
    UNROLLED
    for (unsigned j = 0; j < 8; j++) {
        put_scale(to, j, AT_SCALE, _mm512_mul_ps(d, unsigned_byte(scale[j / 4], j % 4)));
        put_mins_32(to, j, dmin, unsigned_byte(min[j / 4], j % 4));
    }
}

ALWAYS_INLINE void unpack_q4_k(struct rows_16 rows, size_t n, const struct records *to)
{
    (void)n;
    put_scales_mins(rows, to);
    UNROLLED
    for (size_t part = 0; part < 8; part++) { /* 16 bytes: half of two blocks */
        size_t j = part / 2 * 2, dword = part % 2 * 4;
        __m512i x[4];
        load_rows(rows, offsetof(struct block_q4_k, qs) + 16 * part, x);
        UNROLLED
        for (size_t i = 0; i < 4; i++) {
            put_q(to, j, dword + i, and_all(x[i], 15));
            put_q(to, j + 1, dword + i, and_all(_mm512_srli_epi32(x[i], 4), 15));
        }
    }
}

/* Bit j of every byte to bit 4; what comes from elsewhere is masked away later. */
ALWAYS_INLINE __m512i bit_to_4(__m512i x, unsigned j)
{
    return j < 4 ? _mm512_slli_epi32(x, 4 - j) : _mm512_srli_epi32(x, j - 4);
}

ALWAYS_INLINE void unpack_q5_k(struct rows_16 rows, size_t n, const struct records *to)
{
    (void)n;
    put_scales_mins(rows, to);
    UNROLLED
    for (size_t half = 0; half < 2; half++) {
        __m512i fifth[4];
        load_rows(rows, offsetof(struct block_q5_k, qh) + 16 * half, fifth);
        UNROLLED
        for (unsigned j = 0; j < 8; j += 2) {
            __m512i x[4];
            load_rows(rows, offsetof(struct block_q5_k, qs) + 16 * j + 16 * half, x);
            UNROLLED
            for (size_t i = 0; i < 4; i++) {
                put_q(to, j, 4 * half + i, or_bits(and_all(x[i], 15), bit_to_4(fifth[i], j), 16));
                put_q(to, j + 1, 4 * half + i,
                      or_bits(and_all(_mm512_srli_epi32(x[i], 4), 15), bit_to_4(fifth[i], j + 1), 16));
            }
        }
    }
}

/* 16 scales of a signed byte, times d. */
ALWAYS_INLINE void put_scales_16(const struct records *to, __m512 d, const __m512i bytes[4])
{
    UNROLLED
    for (unsigned s = 0; s < 16; s++)
        put_scale(to, s / 2, s % 2 ? AT_SCALE_2 : AT_SCALE,
                  _mm512_mul_ps(d, signed_byte(bytes[s / 4], s % 4)));
}

ALWAYS_INLINE void unpack_q6_k(struct rows_16 rows, size_t n, const struct records *to)
{
    (void)n;
    __m512i scales[4], end[4];
    load_rows(rows, offsetof(struct block_q6_k, scales), scales);
    load_rows(rows, sizeof(struct block_q6_k) - 16, end);
    put_scales_16(to, high_halves(end[3]), scales);
    UNROLLED
    for (size_t part = 0; part < 4; part++) { /* 16 bytes of each half of 64 low ones, with 16 high ones */
        size_t j = part / 2 * 4, dword = part % 2 * 4, at = 64 * (part / 2) + 16 * (part % 2);
        __m512i x[4], y[4], high[4];
        load_rows(rows, offsetof(struct block_q6_k, ql) + at, x);
        load_rows(rows, offsetof(struct block_q6_k, ql) + at + 32, y);
        load_rows(rows, offsetof(struct block_q6_k, qh) + 16 * part, high);
        UNROLLED
        for (size_t i = 0; i < 4; i++) {
            put_q(to, j, dword + i, or_bits(and_all(x[i], 15), _mm512_slli_epi32(high[i], 4), 0x30));
            put_q(to, j + 1, dword + i, or_bits(and_all(y[i], 15), _mm512_slli_epi32(high[i], 2), 0x30));
            put_q(to, j + 2, dword + i, or_bits(and_all(_mm512_srli_epi32(x[i], 4), 15), high[i], 0x30));
            put_q(to, j + 3, dword + i,
                  or_bits(and_all(_mm512_srli_epi32(y[i], 4), 15), _mm512_srli_epi32(high[i], 2), 0x30));
        }
    }
}

ALWAYS_INLINE void unpack_q2_k(struct rows_16 rows, size_t n, const struct records *to)
{
    (void)n;
    __m512i scales[4], end[4];
    load_rows(rows, offsetof(struct block_q2_k, scales), scales);
    load_rows(rows, sizeof(struct block_q2_k) - 16, end);
    __m512 d = low_halves(end[3]), dmin = high_halves(end[3]);
    UNROLLED
    for (unsigned j = 0; j < 8; j++) {
        __m512i pair = _mm512_srli_epi32(scales[j / 2], 16 * (j % 2));
        __m512i scale = and_all(pair, 15), min = and_all(_mm512_srli_epi32(pair, 4), 15);
        put_scale(to, j, AT_SCALE, _mm512_mul_ps(d, unsigned_byte(scale, 0)));
        put_scale(to, j, AT_SCALE_2, _mm512_mul_ps(d, unsigned_byte(scale, 1)));
        __m512i second = _mm512_and_si512(_mm512_slli_epi32(min, 8), _mm512_set1_epi32(0xFF0000));
        min = _mm512_or_si512(_mm512_and_si512(min, _mm512_set1_epi32(255)), second);
        put_floats(to, j, AT_MINS, _mm512_castsi512_ps(min));
        put_scale(to, j, AT_DMIN, dmin);
    }
    UNROLLED
    for (size_t part = 0; part < 4; part++) { /* 16 bytes: half of four blocks */
        __m512i x[4];
        load_rows(rows, offsetof(struct block_q2_k, qs) + 16 * part, x);
        UNROLLED
        for (unsigned i = 0; i < 16; i++)
            put_q(to, part / 2 * 4 + i / 4, part % 2 * 4 + i % 4,
                  and_all(_mm512_srli_epi32(x[i % 4], 2 * (i / 4)), 3));
    }
}

/* The scales are those of bytes_q3_k: low nibbles, and pairs of bits above them. */
ALWAYS_INLINE void put_scales_q3_k(struct rows_16 rows, const struct records *to)
{
    __m512i x[4], end[4], scales[4];
    load_rows(rows, offsetof(struct block_q3_k, scales) - 4, x);
    load_rows(rows, sizeof(struct block_q3_k) - 16, end);
    UNROLLED
    for (unsigned i = 0; i < 4; i++) {
        __m512i low = and_all(_mm512_srli_epi32(x[1 + i % 2], 4 * (i / 2)), 15);
        __m512i high = _mm512_slli_epi32(and_all(_mm512_srli_epi32(x[3], 2 * i), 3), 4);
        scales[i] = _mm512_sub_epi8(_mm512_or_si512(low, high), _mm512_set1_epi8(32));
    }
    put_scales_16(to, _mm512_mul_ps(high_halves(end[3]), _mm512_set1_ps(0.125f)), scales);
}

/* Eight times q, as in its dot kernel. */
ALWAYS_INLINE void unpack_q3_k(struct rows_16 rows, size_t n, const struct records *to)
{
    (void)n;
    put_scales_q3_k(rows, to);
    UNROLLED
    for (size_t half = 0; half < 2; half++) {
        __m512i third[4];
        load_rows(rows, offsetof(struct block_q3_k, hmask) + 16 * half, third);
        __m512i x[4];
        UNROLLED
        for (unsigned j = 0; j < 8; j++) {
            if (j % 4 == 0)
                load_rows(rows, offsetof(struct block_q3_k, qs) + 8 * j + 16 * half, x);
            UNROLLED
            for (size_t i = 0; i < 4; i++) {
                __m512i low = _mm512_slli_epi32(and_all(_mm512_srli_epi32(x[i], 2 * (j % 4)), 3), 3);
                __m512i high =
                    j < 5 ? _mm512_slli_epi32(third[i], 5 - j) : _mm512_srli_epi32(third[i], j - 5);
                put_q(to, j, 4 * half + i, or_bits(low, high, 0x20));
            }
        }
    }
}

ALWAYS_INLINE void unpack_iq4_xs(struct rows_16 rows, size_t n, const struct records *to)
{
    (void)n;
    const __m512i levels = /* plus 128 */
        _mm512_xor_si512(_mm512_broadcast_i32x4(iq4_levels()), _mm512_set1_epi8((char)0x80));
    __m512i head[4];
    load_rows(rows, 0, head);
    __m512 d = low_halves(head[0]);
    UNROLLED
    for (unsigned j = 0; j < 8; j++) {
        __m512i low = _mm512_and_si512(_mm512_srli_epi32(head[1], 4 * j), _mm512_set1_epi32(15));
        __m512i high = _mm512_and_si512(_mm512_srli_epi32(head[0], 16 + 2 * j), _mm512_set1_epi32(3));
        __m512i scale =
            _mm512_sub_epi32(_mm512_or_si512(low, _mm512_slli_epi32(high, 4)), _mm512_set1_epi32(32));
        put_scale(to, j, AT_SCALE, _mm512_mul_ps(d, _mm512_cvtepi32_ps(scale)));
        __m512i x[4];
        load_rows(rows, offsetof(struct block_iq4_xs, qs) + 16 * j, x);
        UNROLLED
        for (size_t i = 0; i < 4; i++) {
            put_q(to, j, i, _mm512_shuffle_epi8(levels, and_all(x[i], 15)));
            put_q(to, j, 4 + i, _mm512_shuffle_epi8(levels, and_all(_mm512_srli_epi32(x[i], 4), 15)));
        }
    }
}

#define TILE_KERNEL(type, kind, multiply)                                                                    \
    static void expand_##type(const uint8_t *rows, size_t row_bytes, size_t k, uint8_t *tile)                \
    {                                                                                                        \
        expand_tile(rows, row_bytes, k, sizeof(struct block_##type), RECORD_BYTES(N_##kind), unpack_##type,  \
                    tile);                                                                                   \
    }                                                                                                        \
    const struct tile_kernel tile_avx512_##type = {expand_##type, multiply, TILE_ROWS,                       \
                                                   RECORD_BYTES(N_##kind)};

TILE_KERNEL(q2_k, MIN_16, tile_multiply_min_16)
TILE_KERNEL(q3_k, OFFSET_16, tile_multiply_offset_16)
TILE_KERNEL(q4_k, MIN_32, tile_multiply_min_32)
TILE_KERNEL(q5_k, MIN_32, tile_multiply_min_32)
TILE_KERNEL(q6_k, OFFSET_16, tile_multiply_offset_16)
TILE_KERNEL(iq4_xs, OFFSET_32, tile_multiply_offset_32)
