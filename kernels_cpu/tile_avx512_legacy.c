/* Expanding rows of types of 32 weights to tiles, 16 rows at a time in the lanes of a vector; the bytes are
 * moved and the scales divided as in the dot kernels (dot_avx512_legacy.c). */
#include "kernels_cpu/tile_avx512.h"

#include "kernels_cpu/tile_512.h"

/* Block number j of the rows, to record j. */
typedef void unpack_block_fn(struct rows_16 rows, const struct records *to, size_t j);

ALWAYS_INLINE void unpack_blocks(struct rows_16 rows, size_t n, const struct records *to, size_t block_bytes,
                                 unpack_block_fn *unpack)
{
    for (size_t j = 0; j < n; j++, rows.first += block_bytes)
        unpack(rows, to, j);
}

/* What a block begins with: d, or d and m. */
ALWAYS_INLINE void put_head(struct rows_16 rows, const struct records *to, size_t j, float factor)
{
    __m512i x[4];
    load_rows(rows, 0, x);
    put_scale(to, j, AT_SCALE, _mm512_mul_ps(low_halves(x[0]), _mm512_set1_ps(factor)));
}

ALWAYS_INLINE void put_head_min(struct rows_16 rows, const struct records *to, size_t j)
{
    __m512i x[4];
    load_rows(rows, 0, x);
    put_scale(to, j, AT_SCALE, low_halves(x[0]));
    put_floats(to, j, AT_MIN, high_halves(x[0]));
}

ALWAYS_INLINE void unpack_q4_0(struct rows_16 rows, const struct records *to, size_t j)
{
    __m512i x[4];
    put_head(rows, to, j, 1.0f / 16);
    load_rows(rows, offsetof(struct block_q4_0, qs), x);
    UNROLLED
    for (size_t i = 0; i < 4; i++) {
        put_q(to, j, i, and_all(_mm512_slli_epi32(x[i], 4), 0xF0));
        put_q(to, j, 4 + i, and_all(x[i], 0xF0));
    }
}

ALWAYS_INLINE void unpack_q4_1(struct rows_16 rows, const struct records *to, size_t j)
{
    __m512i x[4];
    put_head_min(rows, to, j);
    load_rows(rows, offsetof(struct block_q4_1, qs), x);
    UNROLLED
    for (size_t i = 0; i < 4; i++) {
        put_q(to, j, i, and_all(x[i], 15));
        put_q(to, j, 4 + i, and_all(_mm512_srli_epi32(x[i], 4), 15));
    }
}

/* Four bits from bit 4i on to four bytes, `bit` where they are set. */
ALWAYS_INLINE __m512i spread_bits(__m512i bits, unsigned i, int bit)
{
    const __m512i bytes = _mm512_set_epi32(
        0x01010101, 0x01010100, 0x01010001, 0x01010000, 0x01000101, 0x01000100, 0x01000001, 0x01000000,
        0x00010101, 0x00010100, 0x00010001, 0x00010000, 0x00000101, 0x00000100, 0x00000001, 0x00000000);
    const __m512i table = _mm512_sub_epi8(_mm512_setzero_si512(), bytes); /* all bits of a byte */
    __m512i x = _mm512_permutexvar_epi32(_mm512_srli_epi32(bits, 4 * i), table);
    return and_all(x, bit);
}

/* Moved left by `shift`; the fifth bits above. */
ALWAYS_INLINE void put_five_bits(const struct records *to, size_t j, const __m512i x[4], __m512i fifth,
                                 unsigned shift)
{
    UNROLLED
    for (unsigned i = 0; i < 4; i++) {
        __m512i low = _mm512_slli_epi32(and_all(x[i], 15), shift);
        __m512i high = _mm512_slli_epi32(and_all(_mm512_srli_epi32(x[i], 4), 15), shift);
        put_q(to, j, i, _mm512_or_si512(low, spread_bits(fifth, i, 16 << shift)));
        put_q(to, j, 4 + i, _mm512_or_si512(high, spread_bits(fifth, 4 + i, 16 << shift)));
    }
}

ALWAYS_INLINE void unpack_q5_0(struct rows_16 rows, const struct records *to, size_t j)
{
    __m512i head[4], x[4];
    put_head(rows, to, j, 1.0f / 8);
    load_rows(rows, offsetof(struct block_q5_0, qh), head);
    load_rows(rows, offsetof(struct block_q5_0, qs), x);
    put_five_bits(to, j, x, head[0], 3);
}

ALWAYS_INLINE void unpack_q5_1(struct rows_16 rows, const struct records *to, size_t j)
{
    __m512i head[4], x[4];
    put_head_min(rows, to, j);
    load_rows(rows, offsetof(struct block_q5_1, qh), head);
    load_rows(rows, offsetof(struct block_q5_1, qs), x);
    put_five_bits(to, j, x, head[0], 0);
}

ALWAYS_INLINE void unpack_q8_0(struct rows_16 rows, const struct records *to, size_t j)
{
    put_head(rows, to, j, 1);
    UNROLLED
    for (size_t half = 0; half < 2; half++) {
        __m512i x[4];
        load_rows(rows, offsetof(struct block_q8_0, qs) + 16 * half, x);
        UNROLLED
        for (size_t i = 0; i < 4; i++)
            put_q(to, j, 4 * half + i, _mm512_xor_si512(x[i], _mm512_set1_epi8((char)0x80)));
    }
}

ALWAYS_INLINE void unpack_iq4_nl(struct rows_16 rows, const struct records *to, size_t j)
{
    const __m512i levels = /* plus 128 */
        _mm512_xor_si512(_mm512_broadcast_i32x4(iq4_levels()), _mm512_set1_epi8((char)0x80));
    __m512i x[4];
    put_head(rows, to, j, 1);
    load_rows(rows, offsetof(struct block_iq4_nl, qs), x);
    UNROLLED
    for (size_t i = 0; i < 4; i++) {
        put_q(to, j, i, _mm512_shuffle_epi8(levels, and_all(x[i], 15)));
        put_q(to, j, 4 + i, _mm512_shuffle_epi8(levels, and_all(_mm512_srli_epi32(x[i], 4), 15)));
    }
}

#define TILE_KERNEL(type, kind, multiply)                                                                    \
    ALWAYS_INLINE void blocks_##type(struct rows_16 rows, size_t n, const struct records *to)                \
    {                                                                                                        \
        unpack_blocks(rows, n, to, sizeof(struct block_##type), unpack_##type);                              \
    }                                                                                                        \
    static void expand_##type(const uint8_t *rows, size_t row_bytes, size_t k, uint8_t *tile)                \
    {                                                                                                        \
        expand_tile(rows, row_bytes, k, 8 * sizeof(struct block_##type), RECORD_BYTES(N_##kind),             \
                    blocks_##type, tile);                                                                    \
    }                                                                                                        \
    const struct tile_kernel tile_avx512_##type = {expand_##type, multiply, TILE_ROWS,                       \
                                                   RECORD_BYTES(N_##kind)};

TILE_KERNEL(q4_0, OFFSET_32, tile_multiply_offset_32)
TILE_KERNEL(q4_1, MIN_32, tile_multiply_min_32)
TILE_KERNEL(q5_0, OFFSET_32, tile_multiply_offset_32)
TILE_KERNEL(q5_1, MIN_32, tile_multiply_min_32)
TILE_KERNEL(q8_0, OFFSET_32, tile_multiply_offset_32)
TILE_KERNEL(iq4_nl, OFFSET_32, tile_multiply_offset_32)
