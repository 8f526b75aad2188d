/* tile_512.h: private to the AVX-512 files of tiles: how quantised weights lie in a tile.
 *
 * A tile is a sequence of records, one per block of 32 weights of a row, in the order in which the running
 * sums of dot_super_512.h are walked: first all blocks 8i + tile_order[0], then all 8i + tile_order[1] ...
 * Sum j is finished before sum j + 1 begins, and added to the others as add_lanes does. A lane is a row. */
#ifndef FERRUM_TILE_512_H
#define FERRUM_TILE_512_H

#include "kernels_cpu/dot_super_512.h"
#include "kernels_cpu/tile.h"

#define TILE_ROWS 64

/* What follows the weights in a record: vectors of a float per row. base is scale * -DOT_MAGIC. */
enum { AT_SCALE, AT_BASE, AT_MIN, N_OFFSET_32 = 2, N_MIN_32 = 3 };
enum { AT_SCALE_2 = 2, AT_BASE_2, AT_MINS, AT_DMIN, AT_DMIN_BASE, N_OFFSET_16 = 4, N_MIN_16 = 7 };

struct tile_row_floats {
    float of_row[TILE_ROWS];
};

struct tile_record {
    uint8_t q[8][TILE_ROWS][4]; /* unsigned; dword i of all rows */
    struct tile_row_floats more[];
};

#define RECORD_BYTES(n_more) (sizeof(struct tile_record) + (size_t)(n_more) * sizeof(struct tile_row_floats))

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
ALWAYS_INLINE __m512 unsigned_byte(__m512i x, unsigned i)
{
    return _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32(x, 8 * i), _mm512_set1_epi32(255)));
}

ALWAYS_INLINE __m512 signed_byte(__m512i x, unsigned i)
{
    return _mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(x, 24 - 8 * i), 24));
}

/* The eight records of a super-block (fewer where a row ends), for 16 rows of the tile. */
struct records {
    uint8_t *of[8];
};

ALWAYS_INLINE void put_q(const struct records *to, size_t j, size_t dword, __m512i q)
{
    _mm512_store_si512(to->of[j] + dword * TILE_ROWS * 4, q);
}

ALWAYS_INLINE void put_floats(const struct records *to, size_t j, size_t which, __m512 x)
{
    _mm512_store_ps((float *)(void *)(to->of[j] + sizeof(struct tile_record)) + which * TILE_ROWS, x);
}

/* The scale of 32 weights, or of the first (AT_SCALE) or second (AT_SCALE_2) 16. */
ALWAYS_INLINE void put_scale(const struct records *to, size_t j, size_t which, __m512 scale)
{
    put_floats(to, j, which, scale);
    put_floats(to, j, which + 1, _mm512_mul_ps(scale, _mm512_set1_ps(-DOT_MAGIC)));
}

/* One super-block of 16 rows; legacy types: n blocks of 32 in a row. */
typedef void tile_unpack_fn(struct rows_16 rows, size_t n, const struct records *to);

/* Calls unpack for all rows and super-blocks; block_bytes: of 256 weights. */
ALWAYS_INLINE void expand_tile(const uint8_t *rows, size_t row_bytes, size_t k, size_t block_bytes,
                               size_t record_bytes, tile_unpack_fn *unpack, uint8_t *tile)
{
    size_t n_blocks = k / QUANT_BLOCK, place[8];
    for (size_t j = 0; j < 8; j++)
        place[j] = tile_place(n_blocks, 0, j);
    for (size_t r = 0; r < TILE_ROWS; r += 16) {
        for (size_t i = 0; 8 * i < n_blocks; i++) {
            struct records to;
            for (size_t j = 0; j < 8; j++)
                to.of[j] = tile + (place[j] + i) * record_bytes + r * 4;
            size_t n = n_blocks - 8 * i < 8 ? n_blocks - 8 * i : 8;
            unpack((struct rows_16){rows + r * row_bytes + i * block_bytes, row_bytes}, n, &to);
        }
    }
}

/* Some of what is ahead, to the second-level cache. */
ALWAYS_INLINE void fetch_ahead(struct tile_ahead *ahead, int n_lines)
{
    const uint8_t *at = ahead->at;
    if (at >= ahead->end)
        return;
    UNROLLED
    for (int i = 0; i < n_lines; i++)
        _mm_prefetch((const char *)at + 64 * i, _MM_HINT_T1);
    ahead->at = at + 64 * n_lines;
}

/* Blocks' own kernels differ in how they expand alone. */
tile_multiply_fn tile_multiply_offset_32, tile_multiply_min_32, tile_multiply_offset_16, tile_multiply_min_16;

#endif
