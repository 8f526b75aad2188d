/* tile_512.h: private to the AVX-512 files of tiles: the vectors of tile_records.h and of the *_body.h that
 * expand, 16 rows wide. */
#ifndef FERRUM_TILE_512_H
#define FERRUM_TILE_512_H

#include "kernels_cpu/dot_super_512.h"

#if !defined(TILE_ROWS)
#define TILE_ROWS 64 /* of quantised weights */
#endif
#define LANES 16

typedef __m512 vec;
typedef __m512i vec_int;
typedef struct rows_16 lane_rows;

ALWAYS_INLINE void vec_store(float *p, vec x)
{
    _mm512_store_ps(p, x);
}

ALWAYS_INLINE void vec_storeu(float *p, vec x)
{
    _mm512_storeu_ps(p, x);
}

ALWAYS_INLINE void vec_int_store(void *p, vec_int x)
{
    _mm512_store_si512(p, x);
}

ALWAYS_INLINE vec vec_add(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}

ALWAYS_INLINE vec vec_mul(vec a, vec b)
{
    return _mm512_mul_ps(a, b);
}

ALWAYS_INLINE vec vec_scale(vec x, float by)
{
    return _mm512_mul_ps(x, _mm512_set1_ps(by));
}

ALWAYS_INLINE vec vec_from_ints(vec_int x)
{
    return _mm512_cvtepi32_ps(x);
}

ALWAYS_INLINE vec vec_from_bits(vec_int x)
{
    return _mm512_castsi512_ps(x);
}

/* 16 rows of which 16 bytes are looked at together; vector v holds bytes 4v .. 4v + 3 of every row. */
struct rows_16 {
    const uint8_t *first;
    size_t bytes; /* from a row to the next */
};

ALWAYS_INLINE __m512i four_rows(struct rows_16 rows, size_t r, size_t at)
{
    const uint8_t *p = rows.first + r * rows.bytes + at;
    __m512i x = _mm512_castsi128_si512(_mm_loadu_si128((const void *)p));
    x = _mm512_inserti32x4(x, _mm_loadu_si128((const void *)(p + 4 * rows.bytes)), 1);
    x = _mm512_inserti32x4(x, _mm_loadu_si128((const void *)(p + 8 * rows.bytes)), 2);
    return _mm512_inserti32x4(x, _mm_loadu_si128((const void *)(p + 12 * rows.bytes)), 3);
}

ALWAYS_INLINE void load_rows(struct rows_16 rows, size_t at, __m512i v[4])
{
    __m512i a = four_rows(rows, 0, at), b = four_rows(rows, 1, at);
    __m512i c = four_rows(rows, 2, at), d = four_rows(rows, 3, at);
    __m512i low01 = _mm512_unpacklo_epi32(a, b), high01 = _mm512_unpackhi_epi32(a, b);
    __m512i low23 = _mm512_unpacklo_epi32(c, d), high23 = _mm512_unpackhi_epi32(c, d);
    v[0] = _mm512_unpacklo_epi64(low01, low23);
    v[1] = _mm512_unpackhi_epi64(low01, low23);
    v[2] = _mm512_unpacklo_epi64(high01, high23);
    v[3] = _mm512_unpackhi_epi64(high01, high23);
}

/* The f16 in the low (high) half of every dword. */
ALWAYS_INLINE __m512 low_halves(__m512i x)
{
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(x));
}

ALWAYS_INLINE __m512 high_halves(__m512i x)
{
    return low_halves(_mm512_srli_epi32(x, 16));
}

ALWAYS_INLINE __m512i and_all(__m512i x, int byte)
{
    return _mm512_and_si512(x, _mm512_set1_epi8((char)byte));
}

/* a | (b & byte) */
ALWAYS_INLINE __m512i or_bits(__m512i a, __m512i b, int byte)
{
    return _mm512_ternarylogic_epi32(a, b, _mm512_set1_epi8((char)byte), 0xF8);
}

/* Byte i of every dword. */
ALWAYS_INLINE __m512 unsigned_byte(__m512i x, int i)
{
    return _mm512_cvtepi32_ps(
        _mm512_and_si512(_mm512_srli_epi32(x, 8 * (unsigned)i), _mm512_set1_epi32(255)));
}

ALWAYS_INLINE __m512 signed_byte(__m512i x, int i)
{
    return _mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(x, 24 - 8 * (unsigned)i), 24));
}

/* Dwords moved left (right where n is below 0) by a constant. */
ALWAYS_INLINE vec_int moved(vec_int x, int n)
{
    if (n == 0)
        return x;
    return n > 0 ? _mm512_slli_epi32(x, (unsigned)n) : _mm512_srli_epi32(x, (unsigned)-n);
}

ALWAYS_INLINE vec_int set_dwords(int x)
{
    return _mm512_set1_epi32(x);
}

ALWAYS_INLINE vec_int sub_dwords(vec_int a, vec_int b)
{
    return _mm512_sub_epi32(a, b);
}

ALWAYS_INLINE vec_int sub_bytes(vec_int x, int byte)
{
    return _mm512_sub_epi8(x, _mm512_set1_epi8((char)byte));
}

/* The levels of IQ4 types for a byte each. */
ALWAYS_INLINE vec_int iq4_level(vec_int index)
{
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(iq4_levels()), index);
}

/* Four bits from bit 4i on to four bytes, `bit` where they are set. */
ALWAYS_INLINE vec_int spread_bits(vec_int bits, int i, int bit)
{
    const __m512i bytes = _mm512_set_epi32(
        0x01010101, 0x01010100, 0x01010001, 0x01010000, 0x01000101, 0x01000100, 0x01000001, 0x01000000,
        0x00010101, 0x00010100, 0x00010001, 0x00010000, 0x00000101, 0x00000100, 0x00000001, 0x00000000);
    const __m512i table = _mm512_sub_epi8(_mm512_setzero_si512(), bytes); /* all bits of a byte */
    return and_all(_mm512_permutexvar_epi32(moved(bits, -4 * i), table), bit);
}

#include "kernels_cpu/tile_records.h"

/* vpdpbusd takes any unsigned byte: weights lie so that their offset is 128 per 32 or 32 per 16. */
#define N_DWORDS 8
#define UPPER_BITS(n) (n)

/* Four signed bytes a row. */
ALWAYS_INLINE void put_signed(const struct records *to, size_t j, size_t dword, vec_int q)
{
    put_dword(to, j, dword, _mm512_xor_si512(q, _mm512_set1_epi8((char)0x80)));
}

/* Blocks' own kernels differ in how they expand alone. */
tile_multiply_fn tile_multiply_offset_32, tile_multiply_min_32, tile_multiply_offset_16, tile_multiply_min_16;

#endif
