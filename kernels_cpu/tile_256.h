/* tile_256.h: private to the files of tiles 256 bits wide: the vectors of tile_records.h and of the *_body.h
 * that expand, 8 rows wide. */
#ifndef FERRUM_TILE_256_H
#define FERRUM_TILE_256_H

#include "kernels_cpu/dot_super_avx2.h"

#define TILE_ROWS 32
#define LANES 8

/* 8 rows of which 16 bytes are looked at together; vector v holds bytes 4v .. 4v + 3 of every row. */
struct rows_8 {
    const uint8_t *first;
    size_t bytes; /* from a row to the next */
};

typedef __m256 vec;
typedef __m256i vec_int;
typedef struct rows_8 lane_rows;

ALWAYS_INLINE void vec_store(float *p, vec x)
{
    _mm256_store_ps(p, x);
}

ALWAYS_INLINE void vec_storeu(float *p, vec x)
{
    _mm256_storeu_ps(p, x);
}

ALWAYS_INLINE void vec_int_store(void *p, vec_int x)
{
    _mm256_store_si256(p, x);
}

ALWAYS_INLINE vec vec_add(vec a, vec b)
{
    return _mm256_add_ps(a, b);
}

ALWAYS_INLINE vec vec_mul(vec a, vec b)
{
    return _mm256_mul_ps(a, b);
}

ALWAYS_INLINE vec vec_scale(vec x, float by)
{
    return _mm256_mul_ps(x, _mm256_set1_ps(by));
}

ALWAYS_INLINE vec vec_from_ints(vec_int x)
{
    return _mm256_cvtepi32_ps(x);
}

ALWAYS_INLINE vec vec_from_bits(vec_int x)
{
    return _mm256_castsi256_ps(x);
}

ALWAYS_INLINE __m256i two_rows(struct rows_8 rows, size_t r, size_t at)
{
    const uint8_t *p = rows.first + r * rows.bytes + at;
    return _mm256_set_m128i(_mm_loadu_si128((const void *)(p + 4 * rows.bytes)),
                            _mm_loadu_si128((const void *)p));
}

ALWAYS_INLINE void load_rows(struct rows_8 rows, size_t at, __m256i v[4])
{
    __m256i a = two_rows(rows, 0, at), b = two_rows(rows, 1, at);
    __m256i c = two_rows(rows, 2, at), d = two_rows(rows, 3, at);
    __m256i low01 = _mm256_unpacklo_epi32(a, b), high01 = _mm256_unpackhi_epi32(a, b);
    __m256i low23 = _mm256_unpacklo_epi32(c, d), high23 = _mm256_unpackhi_epi32(c, d);
    v[0] = _mm256_unpacklo_epi64(low01, low23);
    v[1] = _mm256_unpackhi_epi64(low01, low23);
    v[2] = _mm256_unpacklo_epi64(high01, high23);
    v[3] = _mm256_unpackhi_epi64(high01, high23);
}

/* The f16 in the low (high) half of every dword. */
ALWAYS_INLINE __m256 low_halves(__m256i x)
{
    __m256i words = _mm256_and_si256(x, _mm256_set1_epi32(0xFFFF));
    words = _mm256_permute4x64_epi64(_mm256_packus_epi32(words, words), 0x08);
    return _mm256_cvtph_ps(_mm256_castsi256_si128(words));
}

ALWAYS_INLINE __m256 high_halves(__m256i x)
{
    return low_halves(_mm256_srli_epi32(x, 16));
}

ALWAYS_INLINE __m256i and_all(__m256i x, int byte)
{
    return _mm256_and_si256(x, _mm256_set1_epi8((char)byte));
}

/* a | (b & byte) */
ALWAYS_INLINE __m256i or_bits(__m256i a, __m256i b, int byte)
{
    return _mm256_or_si256(a, and_all(b, byte));
}

/* Byte i of every dword. */
ALWAYS_INLINE __m256 unsigned_byte(__m256i x, int i)
{
    return _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(x, 8 * i), _mm256_set1_epi32(255)));
}

ALWAYS_INLINE __m256 signed_byte(__m256i x, int i)
{
    return _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(x, 24 - 8 * i), 24));
}

/* Dwords moved left (right where n is below 0) by a constant. */
ALWAYS_INLINE vec_int moved(vec_int x, int n)
{
    if (n == 0)
        return x;
    return n > 0 ? _mm256_slli_epi32(x, n) : _mm256_srli_epi32(x, -n);
}

ALWAYS_INLINE vec_int set_dwords(int x)
{
    return _mm256_set1_epi32(x);
}

ALWAYS_INLINE vec_int sub_dwords(vec_int a, vec_int b)
{
    return _mm256_sub_epi32(a, b);
}

ALWAYS_INLINE vec_int sub_bytes(vec_int x, int byte)
{
    return _mm256_sub_epi8(x, _mm256_set1_epi8((char)byte));
}

/* The levels of IQ4 types for a byte each. */
ALWAYS_INLINE vec_int iq4_level(vec_int index)
{
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(iq4_levels()), index);
}

/* Four bits from bit 4i on to four bytes, `bit` where they are set. */
ALWAYS_INLINE vec_int spread_bits(vec_int bits, int i, int bit)
{
    const __m256i each = _mm256_set1_epi32(0x08040201);
    const __m256i byte = _mm256_broadcastsi128_si256(_mm_setr_epi32(0, 0x04040404, 0x08080808, 0x0C0C0C0C));
    __m256i x = _mm256_shuffle_epi8(moved(bits, -4 * i), byte);
    return and_all(_mm256_cmpeq_epi8(_mm256_and_si256(x, each), each), bit);
}

#include "kernels_cpu/tile_records.h"

#endif
