/* Tiles of quantised weights times columns, with AVX2. Two vectors of 8 rows by up to four columns are in
 * work, so that an activation (four bytes, broadcast) and a weight serve several products. No lane is ever
 * added to another. The floats of all columns stay in memory. */
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

/* The compiler would add everything at the end, pairwise, and has no registers for that. */
ALWAYS_INLINE __m256i added_now(__m256i x)
{
    __asm__("" : "+x"(x));
    return x;
}

ALWAYS_INLINE __m256i widened(__m256i words, struct super_form form)
{
    return _mm256_madd_epi16(words, _mm256_set1_epi16((short)form.factor));
}

/* All 32 weights, whose products 16 bits hold. */
ALWAYS_INLINE void sums_below_16(const struct record_rows *w, struct super_form form, const struct places *p,
                                 size_t n, __m256i sum[PAIR][MAX_COLS])
{
    UNROLLED
    for (size_t i = 0; i < 8; i++) {
        __m256i q[PAIR] = {row_dwords(w, i, 0), row_dwords(w, i, 1)};
        UNROLLED
        for (size_t c = 0; c < n; c++) {
            __m256i y = broadcast_int(bytes_at(p->a->q, 8 * p->at[c] + 4 * i));
            UNROLLED
            for (size_t v = 0; v < PAIR; v++) {
                __m256i x = _mm256_maddubs_epi16(q[v], y);
                sum[v][c] = i ? added_now(_mm256_add_epi16(sum[v][c], x)) : x;
            }
        }
    }
    UNROLLED
    for (size_t c = 0; c < n; c++) {
        UNROLLED
        for (size_t v = 0; v < PAIR; v++)
            sum[v][c] = widened(sum[v][c], form);
    }
}

/* Words: wide has those of the columns, 32 of each. */
ALWAYS_INLINE void sums_signed(const struct record_rows *w, const int16_t wide[MAX_COLS][QUANT_BLOCK],
                               size_t n, __m256i sum[PAIR][MAX_COLS])
{
    UNROLLED
    for (size_t i = 0; i < N_DWORDS_SIGNED; i++) {
        __m256i q[PAIR] = {row_dwords(w, i, 0), row_dwords(w, i, 1)};
        UNROLLED
        for (size_t c = 0; c < n; c++) {
            __m256i y = broadcast_int(wide[c] + 2 * i);
            UNROLLED
            for (size_t v = 0; v < PAIR; v++) {
                __m256i x = _mm256_madd_epi16(q[v], y);
                sum[v][c] = i ? added_now(_mm256_add_epi32(sum[v][c], x)) : x;
            }
        }
    }
}

/* Weights 16 * half .. + 15, column by column: their eight vectors stay in registers. */
struct half {
    __m256i q[4][PAIR];
};

ALWAYS_INLINE struct half load_half(const struct record_rows *w, size_t half)
{
    struct half h;
    UNROLLED
    for (size_t i = 0; i < 4; i++) {
        h.q[i][0] = row_dwords(w, 4 * half + i, 0);
        h.q[i][1] = row_dwords(w, 4 * half + i, 1);
    }
    return h;
}

ALWAYS_INLINE void half_sums(const struct half *h, struct super_form form, const int8_t *y, __m256i sum[PAIR])
{
    const size_t n_together = form.n_short == BELOW_64 ? 2 : 4;
    UNROLLED
    for (size_t first = 0; first < 4; first += n_together) {
        __m256i words[PAIR];
        UNROLLED
        for (size_t i = first; i < first + n_together; i++) {
            __m256i four = broadcast_int(y + 4 * i);
            UNROLLED
            for (size_t v = 0; v < PAIR; v++) {
                __m256i x = _mm256_maddubs_epi16(h->q[i][v], four);
                words[v] = i > first ? added_now(_mm256_add_epi16(words[v], x)) : x;
            }
        }
        UNROLLED
        for (size_t v = 0; v < PAIR; v++) {
            __m256i x = widened(words[v], form);
            sum[v] = first ? added_now(_mm256_add_epi32(sum[v], x)) : x;
        }
    }
}

/* acc + (the integers, without the constant they started from) * scale * dy */
ALWAYS_INLINE __m256 add_scaled(const struct record_rows *w, size_t which, size_t v, __m256i sum,
                                __m256i start, __m256 dy, __m256 acc)
{
    __m256 x = _mm256_castsi256_ps(_mm256_add_epi32(sum, start));
    x = _mm256_fmadd_ps(x, row_floats(w, which, v), row_floats(w, which + 1, v));
    return _mm256_fmadd_ps(x, dy, acc);
}

ALWAYS_INLINE __m256 column_d(const struct places *p, size_t c)
{
    return broadcast_float(bytes_at(p->a->d, p->at[c]));
}

/* A scale for all 32 weights. */
ALWAYS_INLINE void add_sums_32(const struct record_rows *w, struct super_form form, const struct places *p,
                               size_t n, __m256i sum[PAIR][MAX_COLS], __m256 acc[PAIR][MAX_COLS])
{
    UNROLLED
    for (size_t c = 0; c < n; c++) {
        __m256i start = _mm256_set1_epi32(DOT_MAGIC_BITS);
        if (form.kind == OFFSET_32 && form.n_short != SIGNED)
            start = broadcast_int(bytes_at(p->a->start_32, p->at[c]));
        UNROLLED
        for (size_t v = 0; v < PAIR; v++) {
            __m256 x = add_scaled(w, AT_SCALE, v, sum[v][c], start, column_d(p, c), acc[v][c]);
            if (form.kind == MIN_32)
                x = _mm256_fmadd_ps(row_floats(w, AT_MIN, v), broadcast_float(bytes_at(p->a->s, p->at[c])),
                                    x);
            acc[v][c] = x;
        }
    }
}

/* A half with a scale of its own; j: the block's number within 256 weights, of which start_16 has two rows of
 * 8. */
ALWAYS_INLINE void add_half_16(const struct record_rows *w, struct super_form form, const struct places *p,
                               size_t n, size_t j, size_t half, __m256 acc[PAIR][MAX_COLS])
{
    struct half h = load_half(w, half);
    UNROLLED
    for (size_t c = 0; c < n; c++) {
        __m256i sum[PAIR], start = _mm256_set1_epi32(DOT_MAGIC_BITS);
        half_sums(&h, form, bytes_at(p->a->q, 8 * p->at[c] + 16 * half), sum);
        if (form.kind == OFFSET_16)
            start = broadcast_int(bytes_at(p->a->start_16 + 8 * half, 2 * p->at[c] - 4 * j));
        UNROLLED
        for (size_t v = 0; v < PAIR; v++)
            acc[v][c] =
                add_scaled(w, half ? AT_SCALE_2 : AT_SCALE, v, sum[v], start, column_d(p, c), acc[v][c]);
    }
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

/* The block of two vectors of rows. */
ALWAYS_INLINE void add_rows(const struct record_rows *w, struct super_form form, const struct places *p,
                            const int16_t wide[MAX_COLS][QUANT_BLOCK], size_t n, size_t j,
                            __m256 acc[PAIR][MAX_COLS])
{
    __m256i sum[PAIR][MAX_COLS];
    if (form.kind == OFFSET_16 || form.kind == MIN_16) {
        add_half_16(w, form, p, n, j, 0, acc);
        add_half_16(w, form, p, n, j, 1, acc);
        if (form.kind == MIN_16)
            add_mins_16(w, p, n, acc);
        return;
    }
    if (form.n_short == SIGNED) {
        sums_signed(w, wide, n, sum);
    } else if (form.n_short == BELOW_16) {
        sums_below_16(w, form, p, n, sum);
    } else {
        UNROLLED
        for (size_t half = 0; half < 2; half++) {
            struct half h = load_half(w, half);
            UNROLLED
            for (size_t c = 0; c < n; c++) {
                __m256i x[PAIR];
                half_sums(&h, form, bytes_at(p->a->q, 8 * p->at[c] + 16 * half), x);
                UNROLLED
                for (size_t v = 0; v < PAIR; v++)
                    sum[v][c] = half ? _mm256_add_epi32(sum[v][c], x[v]) : x[v];
            }
        }
    }
    add_sums_32(w, form, p, n, sum, acc);
}

ALWAYS_INLINE void widen_columns(const struct places *p, size_t n, int16_t wide[MAX_COLS][QUANT_BLOCK])
{
    UNROLLED
    for (size_t c = 0; c < n; c++) {
        const __m128i *q = bytes_at(p->a->q, 8 * p->at[c]);
        _mm256_store_si256((void *)wide[c], _mm256_cvtepi8_epi16(_mm_loadu_si128(q)));
        _mm256_store_si256((void *)(wide[c] + 16), _mm256_cvtepi8_epi16(_mm_loadu_si128(q + 1)));
    }
}

/* What differs between the kernels. */
struct tile_form {
    struct super_form form;
    size_t n_dwords, n_floats;
};

/* Blocks [begin, end) of running sum j times n columns, which is a constant where this is called. */
ALWAYS_INLINE void add_blocks(const uint8_t *records, struct tile_form tile, const struct dot_cols *a,
                              size_t n, size_t j, size_t begin, size_t end, struct tile_ahead *ahead,
                              struct group *g)
{
    size_t n_blocks = a->k / QUANT_BLOCK;
    struct places p = {.a = a};
    _Alignas(32) int16_t wide[MAX_COLS][QUANT_BLOCK];
    UNROLLED
    for (size_t c = 0; c < n; c++)
        p.at[c] = (g->index[c] * n_blocks + 8 * begin + j) * sizeof(float);
    for (size_t i = begin; i < end; i++, records += RECORD_BYTES(tile.n_dwords, tile.n_floats)) {
        fetch_ahead(ahead, LINES_AHEAD);
        if (tile.form.n_short == SIGNED)
            widen_columns(&p, n, wide);
        for (size_t v = 0; v < VECS; v += PAIR) {
            const uint8_t *q = records + 4 * LANES * v;
            UNROLLED
            for (size_t c = 0; c < n; c++) /* nor has it for an address of every operand */
                __asm__("" : "+r"(p.at[c]));
            struct record_rows w = {q, q + tile.n_dwords * ROW_DWORDS_BYTES};
            add_rows(&w, tile.form, &p, wide, n, j, g->acc.of + v);
        }
        UNROLLED
        for (size_t c = 0; c < n; c++)
            p.at[c] += 8 * sizeof(float);
    }
}

/* Blocks [begin, end) of running sum number `step`, of which there are n. */
ALWAYS_INLINE void add_slice(const uint8_t *records, struct tile_form tile, const struct dot_cols *a,
                             size_t n, size_t step, size_t begin, size_t end, bool last,
                             struct tile_ahead *ahead, struct group *g)
{
    add_blocks(records, tile, a, n, tile_order[step], begin, end, ahead, g);
    if (last)
        add_up(g->waiting, step, n, &g->acc, g->out);
}

/* A slice of the tile stays in the first-level cache while all columns are multiplied with it. */
ALWAYS_INLINE void multiply(const uint8_t *records, struct tile_form tile, const struct dot_cols *a,
                            const uint32_t *index, size_t n, struct tile_ahead *ahead, float *out)
{
    struct group groups[MAX_GROUPS];
    size_t n_groups = make_groups(index, n, out, groups), n_blocks = a->k / QUANT_BLOCK;
    for (size_t step = 0; step < 8; step++) {
        size_t count = (n_blocks + 7 - tile_order[step]) / 8, begin = 0;
        for (size_t i = 0; i < n_groups; i++)
            memset(&groups[i].acc, 0, sizeof groups[i].acc);
        do {
            size_t end = count - begin < SLICE ? count : begin + SLICE;
            for (struct group *g = groups; g < groups + n_groups; g++) {
                switch (g->n) {
                case 4:
                    add_slice(records, tile, a, 4, step, begin, end, end == count, ahead, g);
                    break;
                case 3:
                    add_slice(records, tile, a, 3, step, begin, end, end == count, ahead, g);
                    break;
                default:
                    add_slice(records, tile, a, 1, step, begin, end, end == count, ahead, g);
                }
            }
            records += (end - begin) * RECORD_BYTES(tile.n_dwords, tile.n_floats);
            begin = end;
        } while (begin < count);
    }
}

#define MULTIPLY(name, kind, n_short, factor, n_dwords)                                                      \
    void tile_avx2_##name(const uint8_t *records, const struct dot_cols *a, const uint32_t *index, size_t n, \
                          struct tile_ahead *ahead, float *out)                                              \
    {                                                                                                        \
        const struct tile_form tile = {{kind, n_short, factor}, n_dwords, N_##kind};                         \
        multiply(records, tile, a, index, n, ahead, out);                                                    \
    }

MULTIPLY(offset_below_16, OFFSET_32, BELOW_16, 16, N_DWORDS)
MULTIPLY(offset_below_32, OFFSET_32, BELOW_32, 8, N_DWORDS)
MULTIPLY(offset_signed, OFFSET_32, SIGNED, 1, N_DWORDS_SIGNED)
MULTIPLY(min_below_16, MIN_32, BELOW_16, 1, N_DWORDS)
MULTIPLY(min_below_32, MIN_32, BELOW_32, 1, N_DWORDS)
MULTIPLY(offset_16_below_8, OFFSET_16, BELOW_32, 8, N_DWORDS)
MULTIPLY(offset_16_below_64, OFFSET_16, BELOW_64, 1, N_DWORDS)
MULTIPLY(min_16_below_4, MIN_16, BELOW_32, 1, N_DWORDS)
