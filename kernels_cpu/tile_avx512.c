/* Tiles of quantised weights times columns, with AVX-512 VNNI. Two vectors of 16 rows by up to six columns
 * are in registers, as sums of integers of a block and as running sums of floats; an activation is four
 * bytes, broadcast, and read once for both vectors. No lane is ever added to another. */
#include "kernels_cpu/tile_512.h"

#define LEVELS 3      /* of the tree above the eight running sums */
#define LINES_AHEAD 4 /* per record */
#define SLICE 4       /* records of a tile walked by all columns before the next ones: some 11 KiB */

#define MAX_COLS 6 /* by four vectors of rows in registers */
#define MIN_COLS 4

#include "kernels_cpu/tile_sums_body.h"

/* See tile_records.h. */
struct tile_record {
    uint8_t q[N_DWORDS][TILE_ROWS][4]; /* unsigned */
    float more[][TILE_ROWS];
};

/* Where the columns are: block b of column c has its d at at[c] + 4b bytes of a->d, everything else likewise.
 */
struct places {
    const struct dot_cols *a;
    size_t at[MAX_COLS];
};

ALWAYS_INLINE const void *bytes_at(const void *p, size_t n)
{
    return (const char *)p + n;
}

ALWAYS_INLINE __m512 broadcast_float(const void *p)
{
    return _mm512_set1_ps(*(const float *)p);
}

ALWAYS_INLINE __m512i broadcast_int(const void *p)
{
    return _mm512_set1_epi32(*(const int32_t *)p);
}

/* Dwords [from, to) of the block, four weights each. */
ALWAYS_INLINE void multiply_dwords(const struct tile_record *w, const struct places *p, size_t n, int from,
                                   int to, __m512i sum[VECS][MAX_COLS])
{
    UNROLLED
    for (int i = from; i < to; i++) {
        __m512i q[VECS];
        UNROLLED
        for (size_t v = 0; v < VECS; v++)
            q[v] = _mm512_load_si512(w->q[i][16 * v]);
        UNROLLED
        for (size_t c = 0; c < n; c++) {
            __m512i y = broadcast_int(bytes_at(p->a->q, 8 * p->at[c] + 4 * (size_t)i));
            UNROLLED
            for (size_t v = 0; v < VECS; v++)
                sum[v][c] = _mm512_dpbusd_epi32(sum[v][c], q[v], y);
        }
    }
}

ALWAYS_INLINE __m512 row_floats(const struct tile_record *w, size_t which, size_t v)
{
    return _mm512_load_ps(w->more[which] + 16 * v);
}

/* acc += (the integers, without the constant they started from) * scale * dy */
ALWAYS_INLINE void add_scaled(const struct tile_record *w, size_t which, const struct places *p, size_t n,
                              __m512i sum[VECS][MAX_COLS], struct sums *acc)
{
    UNROLLED
    for (size_t v = 0; v < VECS; v++) {
        __m512 scale = row_floats(w, which, v), base = row_floats(w, which + 1, v);
        UNROLLED
        for (size_t c = 0; c < n; c++) {
            __m512 x = _mm512_fmadd_ps(_mm512_castsi512_ps(sum[v][c]), scale, base);
            acc->of[v][c] = _mm512_fmadd_ps(x, broadcast_float(bytes_at(p->a->d, p->at[c])), acc->of[v][c]);
        }
    }
}

ALWAYS_INLINE void add_mins_32(const struct tile_record *w, const struct places *p, size_t n,
                               struct sums *acc)
{
    UNROLLED
    for (size_t v = 0; v < VECS; v++) {
        __m512 min = row_floats(w, AT_MIN, v);
        UNROLLED
        for (size_t c = 0; c < n; c++)
            acc->of[v][c] = _mm512_fmadd_ps(min, broadcast_float(bytes_at(p->a->s, p->at[c])), acc->of[v][c]);
    }
}

ALWAYS_INLINE void add_mins_16(const struct tile_record *w, const struct places *p, size_t n,
                               struct sums *acc)
{
    UNROLLED
    for (size_t v = 0; v < VECS; v++) {
        __m512i mins = _mm512_castps_si512(row_floats(w, AT_MINS, v));
        __m512 dmin = row_floats(w, AT_DMIN, v), base = row_floats(w, AT_DMIN_BASE, v);
        UNROLLED
        for (size_t c = 0; c < n; c++) {
            __m512i sum = _mm512_madd_epi16(mins, broadcast_int(bytes_at(p->a->sums, p->at[c])));
            sum = _mm512_add_epi32(sum, _mm512_set1_epi32(DOT_MAGIC_BITS));
            __m512 x = _mm512_fmadd_ps(_mm512_castsi512_ps(sum), dmin, base);
            acc->of[v][c] = _mm512_fnmadd_ps(x, broadcast_float(bytes_at(p->a->d, p->at[c])), acc->of[v][c]);
        }
    }
}

/* Where the integers begin; j: the block's number within 256 weights, of which start_16 has two rows of 8. */
ALWAYS_INLINE void start_sums(enum super_kind kind, const struct places *p, size_t n, size_t j, bool second,
                              __m512i sum[VECS][MAX_COLS])
{
    UNROLLED
    for (size_t c = 0; c < n; c++) {
        __m512i start = _mm512_set1_epi32(DOT_MAGIC_BITS);
        if (kind == OFFSET_32)
            start = broadcast_int(bytes_at(p->a->start_32, p->at[c]));
        if (kind == OFFSET_16)
            start = broadcast_int(bytes_at(p->a->start_16 + 8 * second, 2 * p->at[c] - 4 * j));
        UNROLLED
        for (size_t v = 0; v < VECS; v++)
            sum[v][c] = start;
    }
}

ALWAYS_INLINE void add_block(const struct tile_record *w, enum super_kind kind, const struct places *p,
                             size_t n, size_t j, struct sums *acc)
{
    __m512i sum[VECS][MAX_COLS];
    start_sums(kind, p, n, j, false, sum);
    if (kind == OFFSET_16 || kind == MIN_16) {
        multiply_dwords(w, p, n, 0, 4, sum);
        add_scaled(w, AT_SCALE, p, n, sum, acc);
        start_sums(kind, p, n, j, true, sum);
        multiply_dwords(w, p, n, 4, 8, sum);
        add_scaled(w, AT_SCALE_2, p, n, sum, acc);
    } else {
        multiply_dwords(w, p, n, 0, 8, sum);
        add_scaled(w, AT_SCALE, p, n, sum, acc);
    }
    if (kind == MIN_32)
        add_mins_32(w, p, n, acc);
    if (kind == MIN_16)
        add_mins_16(w, p, n, acc);
}

/* Blocks [begin, end) of running sum j times n columns, which is a constant where this is called. */
ALWAYS_INLINE void add_blocks(const uint8_t *records, enum super_kind kind, size_t record_bytes,
                              const struct dot_cols *a, size_t n, size_t j, size_t begin, size_t end,
                              struct tile_ahead *ahead, struct group *g)
{
    size_t n_blocks = a->k / QUANT_BLOCK;
    struct places p = {.a = a};
    UNROLLED
    for (size_t c = 0; c < n; c++)
        p.at[c] = (g->index[c] * n_blocks + 8 * begin + j) * sizeof(float);
    for (size_t i = begin; i < end; i++, records += record_bytes) {
        fetch_ahead(ahead, LINES_AHEAD);
        add_block((const void *)records, kind, &p, n, j, &g->acc);
        __asm__ volatile("" ::: "memory"); /* the integers have the registers: floats stay in memory */
        UNROLLED
        for (size_t c = 0; c < n; c++)
            p.at[c] += 8 * sizeof(float);
    }
}

/* Blocks [begin, end) of running sum number `step`, of which there are n. */
ALWAYS_INLINE void add_slice(const uint8_t *records, enum super_kind kind, size_t record_bytes,
                             const struct dot_cols *a, size_t n, size_t step, size_t begin, size_t end,
                             bool last, struct tile_ahead *ahead, struct group *g)
{
    add_blocks(records, kind, record_bytes, a, n, tile_order[step], begin, end, ahead, g);
    if (last)
        add_up(g->waiting, step, n, &g->acc, g->out);
}

/* A slice of the tile stays in the first-level cache while all columns are multiplied with it. */
ALWAYS_INLINE void multiply(const uint8_t *tile, enum super_kind kind, size_t record_bytes,
                            const struct dot_cols *a, const uint32_t *index, size_t n,
                            struct tile_ahead *ahead, float *out)
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
                case 6:
                    add_slice(tile, kind, record_bytes, a, 6, step, begin, end, end == count, ahead, g);
                    break;
                case 5:
                    add_slice(tile, kind, record_bytes, a, 5, step, begin, end, end == count, ahead, g);
                    break;
                case 4:
                    add_slice(tile, kind, record_bytes, a, 4, step, begin, end, end == count, ahead, g);
                    break;
                default:
                    add_slice(tile, kind, record_bytes, a, 1, step, begin, end, end == count, ahead, g);
                }
            }
            tile += (end - begin) * record_bytes;
            begin = end;
        } while (begin < count);
    }
}

#define MULTIPLY(name, kind)                                                                                 \
    void tile_multiply_##name(const uint8_t *tile, const struct dot_cols *a, const uint32_t *index,          \
                              size_t n, struct tile_ahead *ahead, float *out)                                \
    {                                                                                                        \
        multiply(tile, kind, RECORD_BYTES(N_DWORDS, N_##kind), a, index, n, ahead, out);                     \
    }

MULTIPLY(offset_32, OFFSET_32)
MULTIPLY(min_32, MIN_32)
MULTIPLY(offset_16, OFFSET_16)
MULTIPLY(min_16, MIN_16)
