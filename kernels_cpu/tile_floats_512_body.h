/* tile_floats_512_body.h: tiles of weights that are multiplied as floats, or as pairs of bf16, with AVX-512.
 *
 * The dot kernel (dot_float_body.h) has two vectors of 16 running sums. With floats weight 32i + 16j + l
 * belongs to sum l of vector j, the last block of 16 of an odd number to vector 0; what is beyond the last 16
 * is added one by one to the total. With pairs the same goes for pairs. So a tile and its columns consist of
 * *items*, a float or a pair, and BLOCK weights are 16 items. They hold one sum's items side by side, the
 * sums in the order in which the tree of add_all wants them, then the rest, weight by weight. Between the
 * sums of a tile is a line of nothing: places a power of two apart would push each other out of the
 * first-level cache.
 *
 * Included by one file per kind of item, which defines before it: TILE_ROWS, BLOCK, and chains_of(a): the
 * columns' items, as bits of floats; rest_value(a, at): value number `at` of the columns, one behind the
 * items, as a float; and add_items(acc, w, y): acc and the products of 16 items. */
#ifndef FERRUM_TILE_FLOATS_512_BODY_H
#define FERRUM_TILE_FLOATS_512_BODY_H

#include <math.h>

#include "kernels_cpu/attention_turn_512.h"
#include "kernels_cpu/dot_avx512.h"

#define LEVELS 5
#define MAX_COLS 8 /* by three vectors of rows in registers */
#define MIN_COLS 4

#include "kernels_cpu/tile_sums_body.h"

#define ROWS TILE_ROWS
#define N_VECS FLOAT_CHAINS
#define N_SUMS (16 * N_VECS)
#define GAP 16 /* floats */
/* Per group of columns and 16 items of a sum, which are a line of a column. */
#define LINES_AHEAD 4
#define LINE 16
/* Items between two branches: what counts and compares takes ports of the multiply-adds. */
#define ITEMS_AT_ONCE 4

/* Sum number n of the order: lane and vector of the dot kernel. Neighbours in the tree: vectors 0 + 1, then
 * lanes 8, 4, 2 and 1 apart. */
ALWAYS_INLINE size_t sum_lane(size_t n)
{
    return (n >> 1 & 1) * 8 + (n >> 2 & 1) * 4 + (n >> 3 & 1) * 2 + (n >> 4 & 1);
}

ALWAYS_INLINE size_t sum_vector(size_t n)
{
    return n & 1;
}

/* Items of sum n in a row of k: it has one of every N_VECS-th block, from the one of its vector on. */
ALWAYS_INLINE size_t sum_length(size_t k, size_t n)
{
    return (k / BLOCK + N_VECS - 1 - sum_vector(n)) / N_VECS;
}

/* First item of the sums of vector j, by lane, as if all were side by side; and their number. */
static void sum_places(size_t k, size_t place[N_VECS][16], size_t number[N_VECS][16])
{
    size_t at = 0;
    for (size_t n = 0; n < N_SUMS; n++) {
        place[sum_vector(n)][sum_lane(n)] = at;
        number[sum_vector(n)][sum_lane(n)] = n;
        at += sum_length(k, n);
    }
}

/* How a type is widened: a block to items, or one weight to a float; bytes of a weight. */
struct widener {
    __m512 (*many)(const uint8_t *w);
    float (*one)(const uint8_t *w);
    size_t bytes;
};

/* Rows are fetched so many bytes before they are read: by all 16 of a group, whose places may be a power of
 * two apart, to the second level. */
#define FETCH_BYTES 1024

/* A block of 16 rows to the 16 sums of a vector. fetch: how far ahead, or 0. */
ALWAYS_INLINE void expand_block(struct rows_16 rows, struct widener widen, size_t fetch,
                                const size_t place[16], float *to)
{
    __m512 x[16];
    UNROLLED
    for (size_t r = 0; r < 16; r++) {
        if (fetch)
            _mm_prefetch((const char *)rows.first + fetch, _MM_HINT_T1);
        x[r] = widen.many(rows.first);
        rows.first += rows.bytes;
        __asm__("" : "+r"(rows.first)); /* one pointer instead of 16 */
    }
    turn_16(x);
    UNROLLED
    for (size_t lane = 0; lane < 16; lane++)
        _mm512_store_ps(to + place[lane], x[lane]);
}

ALWAYS_INLINE void expand_floats(const uint8_t *rows, size_t row_bytes, size_t k, struct widener widen,
                                 float *tile)
{
    const size_t block_bytes = BLOCK * widen.bytes;
    size_t place[N_VECS][16], number[N_VECS][16], n_blocks = k / BLOCK, n_bytes = k * widen.bytes;
    sum_places(k, place, number);
    for (size_t j = 0; j < N_VECS; j++)
        for (size_t lane = 0; lane < 16; lane++)
            place[j][lane] = place[j][lane] * ROWS + number[j][lane] * GAP;
    for (size_t r = 0; r < ROWS; r += 16) {
        struct rows_16 some = {rows + r * row_bytes, row_bytes};
        float *to = tile + r;
        size_t b = 0;
        for (; b + N_VECS <= n_blocks; b += N_VECS, to += ROWS) {
            size_t at = b * block_bytes + FETCH_BYTES; /* of these rows, or of the next 16 */
            size_t fetch = FETCH_BYTES + (at < n_bytes ? 0 : 16 * row_bytes - n_bytes);
            UNROLLED
            for (size_t j = 0; j < N_VECS; j++, some.first += block_bytes)
                expand_block(some, widen, j * block_bytes % 64 ? 0 : fetch, place[j], to);
        }
        for (size_t j = 0; b + j < n_blocks; j++, some.first += block_bytes)
            expand_block(some, widen, 0, place[j], to);
    }
    tile += n_blocks * 16 * ROWS + N_SUMS * GAP;
    for (size_t i = n_blocks * BLOCK; i < k; i++, tile += ROWS)
        for (size_t r = 0; r < ROWS; r++)
            tile[r] = widen.one(rows + r * row_bytes + i * widen.bytes);
}

/* A running sum: n items of all rows, 12 KiB at most, and of a column c at x + c * n; the columns of the next
 * sum are to_next floats further. */
struct run {
    const float *w, *x;
    size_t n, to_next, step; /* step: its number */
};

ALWAYS_INLINE void near(const void *p)
{
    _mm_prefetch(p, _MM_HINT_T0);
}

/* Item i of n columns, whose weights are at w. */
ALWAYS_INLINE void add_item(struct sums *acc, size_t n, const float *w, const float *const x[MAX_COLS],
                            size_t i)
{
    __m512 q[VECS];
    UNROLLED
    for (size_t v = 0; v < VECS; v++)
        q[v] = _mm512_load_ps(w + 16 * v);
    UNROLLED
    for (size_t c = 0; c < n; c++) {
        __m512 y = _mm512_set1_ps(x[c][i]);
        UNROLLED
        for (size_t v = 0; v < VECS; v++)
            acc->of[v][c] = add_items(acc->of[v][c], q[v], y);
    }
}

/* A run times n columns, which is a constant where this is called. */
ALWAYS_INLINE void add_run(const struct run *run, size_t n, struct tile_ahead *ahead, struct group *g)
{
    const float *x[MAX_COLS], *w = run->w;
    struct sums acc;
    UNROLLED
    for (size_t c = 0; c < n; c++) {
        x[c] = run->x + g->index[c] * run->n;
        UNROLLED
        for (size_t v = 0; v < VECS; v++)
            acc.of[v][c] = _mm512_setzero_ps();
    }
    for (size_t i = 0; i < run->n;) {
        size_t end = run->n - i < LINE ? run->n : i + LINE;
        fetch_ahead(ahead, LINES_AHEAD);
        UNROLLED
        for (size_t c = 0; c < n; c++)
            near(x[c] + run->to_next + i);
        for (; i + ITEMS_AT_ONCE <= end; i += ITEMS_AT_ONCE, w += ITEMS_AT_ONCE * ROWS) {
            UNROLLED
            for (size_t j = 0; j < ITEMS_AT_ONCE; j++)
                add_item(&acc, n, w + j * ROWS, x, i + j);
        }
        for (; i < end; i++, w += ROWS)
            add_item(&acc, n, w, x, i);
    }
    add_up(g->waiting, run->step, n, &acc, g->out);
}

/* The weights behind the last block, which belong to no running sum. */
static void add_rest(const float *tile, const struct dot_cols *a, const uint32_t *index, size_t n, float *out)
{
    size_t rest = a->k % BLOCK, first = a->n * (a->k - rest);
    for (size_t i = 0; i < rest; i++, tile += ROWS)
        for (size_t c = 0; c < n; c++)
            for (size_t r = 0; r < ROWS; r++)
                out[c * ROWS + r] =
                    fmaf(tile[r], rest_value(a, first + index[c] * rest + i), out[c * ROWS + r]);
}

static void add_run_to_all(const struct run *run, struct tile_ahead *ahead, struct group *groups,
                           size_t n_groups)
{
    for (size_t i = 0; i < n_groups; i++) {
        switch (groups[i].n) {
        case 8:
            add_run(run, 8, ahead, &groups[i]);
            break;
        case 7:
            add_run(run, 7, ahead, &groups[i]);
            break;
        case 6:
            add_run(run, 6, ahead, &groups[i]);
            break;
        case 5:
            add_run(run, 5, ahead, &groups[i]);
            break;
        case 4:
            add_run(run, 4, ahead, &groups[i]);
            break;
        default:
            add_run(run, 1, ahead, &groups[i]);
        }
    }
}

/* The items of a run stay in the first-level cache while all columns are multiplied with them. */
static void multiply_floats(const uint8_t *bytes, const struct dot_cols *a, const uint32_t *index, size_t n,
                            struct tile_ahead *ahead, float *out)
{
    const float *tile = (const void *)bytes, *chain = chains_of(a);
    struct group groups[MAX_GROUPS];
    size_t n_groups = make_groups(index, n, out, groups);
    for (size_t step = 0; step < N_SUMS; step++) {
        size_t length = sum_length(a->k, step);
        struct run run = {.w = tile, .x = chain, .n = length, .to_next = length * a->n, .step = step};
        add_run_to_all(&run, ahead, groups, n_groups);
        tile += length * ROWS + GAP;
        chain += length * a->n;
    }
    add_rest(tile, a, index, n, out);
}

#endif
