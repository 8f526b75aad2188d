/* tile_floats_256_body.h: private to the files that multiply tiles of quantised weights 256 bits wide: what
 * is in work, and the floats made of integers.
 *
 * Two vectors of 8 rows by up to four columns are in work, so that an activation (four bytes, broadcast) and
 * a weight serve several products. No lane is ever added to another. The floats of all columns stay in
 * memory. The file that includes it has included the header of its layout, defines add_rows, which makes the
 * integers, and then includes tile_walk_256_body.h. */
#ifndef FERRUM_TILE_FLOATS_256_BODY_H
#define FERRUM_TILE_FLOATS_256_BODY_H

#include "kernels_cpu/tile_256.h"

#define LEVELS 3 /* of the tree above the eight running sums */
#define MAX_COLS 4
#define MIN_COLS 3
#define LINES_AHEAD 2 /* per record */
#define SLICE 4       /* records of a tile walked by all columns before the next ones: some 6 KiB */
#define PAIR 2        /* vectors in work */

#include "kernels_cpu/tile_sums_body.h"

/* Where the columns are: block b of column c has its d at at[c] + 4b bytes of a->d, everything else likewise.
 */
struct places {
    const struct dot_cols *a;
    size_t at[MAX_COLS];
};

/* Two vectors of rows of a record: its dwords and its floats are ROW_DWORDS_BYTES apart. */
struct record_rows {
    const uint8_t *q, *floats;
};

ALWAYS_INLINE const void *bytes_at(const void *p, size_t n)
{
    return (const char *)p + n;
}

ALWAYS_INLINE __m256 broadcast_float(const void *p)
{
    return _mm256_broadcast_ss(p);
}

ALWAYS_INLINE __m256i broadcast_int(const void *p)
{
    return _mm256_castps_si256(_mm256_broadcast_ss(p));
}

ALWAYS_INLINE __m256i row_dwords(const struct record_rows *w, size_t dword, size_t v)
{
    return _mm256_load_si256(bytes_at(w->q, dword * ROW_DWORDS_BYTES + 4 * LANES * v));
}

ALWAYS_INLINE __m256 row_floats(const struct record_rows *w, size_t which, size_t v)
{
    return _mm256_load_ps(bytes_at(w->floats, which * ROW_DWORDS_BYTES + 4 * LANES * v));
}

/* acc + (the integers, without the constant they started from) * scale * dy */
ALWAYS_INLINE __m256 add_scaled(const struct record_rows *w, size_t which, size_t v, __m256i sum, __m256 dy,
                                __m256 acc)
{
    __m256 x =
        _mm256_fmadd_ps(_mm256_castsi256_ps(sum), row_floats(w, which, v), row_floats(w, which + 1, v));
    return _mm256_fmadd_ps(x, dy, acc);
}

ALWAYS_INLINE __m256 column_d(const struct places *p, size_t c)
{
    return broadcast_float(bytes_at(p->a->d, p->at[c]));
}

/* acc + mins times s, of a column. */
ALWAYS_INLINE __m256 add_min_32(const struct record_rows *w, size_t v, const struct places *p, size_t c,
                                __m256 acc)
{
    return _mm256_fmadd_ps(row_floats(w, AT_MIN, v), broadcast_float(bytes_at(p->a->s, p->at[c])), acc);
}

/* Where the integers of a block begin. */
ALWAYS_INLINE __m256i start_32(const struct places *p, size_t c, bool has_offset)
{
    return has_offset ? broadcast_int(bytes_at(p->a->start_32, p->at[c])) : _mm256_set1_epi32(DOT_MAGIC_BITS);
}

/* Those of a half; j: the block's number within 256 weights, of which start_16 has two rows of 8. */
ALWAYS_INLINE __m256i start_16(const struct places *p, size_t c, bool has_offset, size_t j, size_t half)
{
    return has_offset ? broadcast_int(bytes_at(p->a->start_16 + 8 * half, 2 * p->at[c] - 4 * j))
                      : _mm256_set1_epi32(DOT_MAGIC_BITS);
}

ALWAYS_INLINE void add_mins_16(const struct record_rows *w, const struct places *p, size_t n,
                               __m256 acc[PAIR][MAX_COLS])
{
    UNROLLED
    for (size_t c = 0; c < n; c++) {
        __m256i sums = broadcast_int(bytes_at(p->a->sums, p->at[c]));
        UNROLLED
        for (size_t v = 0; v < PAIR; v++) {
            __m256i sum = _mm256_madd_epi16(_mm256_castps_si256(row_floats(w, AT_MINS, v)), sums);
            sum = _mm256_add_epi32(sum, _mm256_set1_epi32(DOT_MAGIC_BITS));
            __m256 x = _mm256_fmadd_ps(_mm256_castsi256_ps(sum), row_floats(w, AT_DMIN, v),
                                       row_floats(w, AT_DMIN_BASE, v));
            acc[v][c] = _mm256_fnmadd_ps(x, column_d(p, c), acc[v][c]);
        }
    }
}

#endif
