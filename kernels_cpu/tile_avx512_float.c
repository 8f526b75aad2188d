/* Tiles of f32, f16 and bf16 weights with AVX-512: widened to f32.
 *
 * The dot kernel (dot_float_body.h) has four vectors of 16 running sums: weight 64i + 16j + l belongs to sum
 * l of vector j; the blocks of 16 beyond the last 64 to vector 0; what is beyond the last 16 is added one by
 * one to the total. A tile and its columns (act_chains_fn) hold one sum's weights side by side, the sums in
 * the order in which the tree of add_all wants them, then the rest. */
#include "kernels_cpu/tile_avx512.h"

#include <math.h>

#include "engine/half.h"

#define LEVELS 6
#define LINES_AHEAD 8 /* per running sum */

#include "kernels_cpu/tile_sums_512.h"

#define ROWS TILE_ROWS
#define N_SUMS 64
#define STEP 64

/* Sum number n of the order: lane and vector of the dot kernel. Neighbours in the tree: vectors 0 + 1 and 2 +
 * 3, then those two, then lanes 8, 4, 2 and 1 apart. */
ALWAYS_INLINE size_t sum_lane(size_t n)
{
    return (n >> 2 & 1) * 8 + (n >> 3 & 1) * 4 + (n >> 4 & 1) * 2 + (n >> 5 & 1);
}

ALWAYS_INLINE size_t sum_vector(size_t n)
{
    return n & 3;
}

/* Weights of sum n in a row of k. */
ALWAYS_INLINE size_t sum_length(size_t k, size_t n)
{
    return k / STEP + (sum_vector(n) == 0 ? k % STEP / 16 : 0);
}

/* Where weight i of sum n is in the row. */
ALWAYS_INLINE size_t weight_at(size_t k, size_t n, size_t i)
{
    size_t n_steps = k / STEP;
    return i < n_steps ? STEP * i + 16 * sum_vector(n) + sum_lane(n)
                       : STEP * n_steps + 16 * (i - n_steps) + sum_lane(n);
}

void act_chains_avx512(const float *x, size_t k, float *chains)
{
    size_t at = 0;
    for (size_t n = 0; n < N_SUMS; n++)
        for (size_t i = 0; i < sum_length(k, n); i++)
            chains[at++] = x[weight_at(k, n, i)];
    for (; at < k; at++)
        chains[at] = x[at];
}

/* How a type is widened: 16 weights of 16 rows from byte `at` on, a vector per weight; or one. */
struct widener {
    void (*many)(struct rows_16 rows, size_t at, __m512 x[16]);
    float (*one)(const uint8_t *w);
    size_t bytes;
};

ALWAYS_INLINE void many_f32(struct rows_16 rows, size_t at, __m512 x[16])
{
    UNROLLED
    for (size_t i = 0; i < 4; i++) {
        __m512i v[4];
        load_rows(rows, at + 16 * i, v);
        UNROLLED
        for (size_t d = 0; d < 4; d++)
            x[4 * i + d] = _mm512_castsi512_ps(v[d]);
    }
}

ALWAYS_INLINE void many_f16(struct rows_16 rows, size_t at, __m512 x[16])
{
    UNROLLED
    for (size_t i = 0; i < 2; i++) {
        __m512i v[4];
        load_rows(rows, at + 16 * i, v);
        UNROLLED
        for (size_t d = 0; d < 4; d++) {
            x[8 * i + 2 * d] = low_halves(v[d]);
            x[8 * i + 2 * d + 1] = high_halves(v[d]);
        }
    }
}

ALWAYS_INLINE void many_bf16(struct rows_16 rows, size_t at, __m512 x[16])
{
    UNROLLED
    for (size_t i = 0; i < 2; i++) {
        __m512i v[4];
        load_rows(rows, at + 16 * i, v);
        UNROLLED
        for (size_t d = 0; d < 4; d++) {
            x[8 * i + 2 * d] = _mm512_castsi512_ps(_mm512_slli_epi32(v[d], 16));
            x[8 * i + 2 * d + 1] =
                _mm512_castsi512_ps(_mm512_and_si512(v[d], _mm512_set1_epi32((int)0xFFFF0000u)));
        }
    }
}

static float one_f32(const uint8_t *w)
{
    return f32_from_bits(load_u32(w));
}

static uint16_t load_half(const uint8_t *w)
{
    uint16_t h;
    memcpy(&h, w, sizeof h);
    return h;
}

static float one_f16(const uint8_t *w)
{
    return f16_to_f32(load_half(w));
}

static float one_bf16(const uint8_t *w)
{
    return bf16_to_f32(load_half(w));
}

/* First place of the 16 sums of vector j, by lane. */
static void sum_places(size_t k, size_t place[4][16])
{
    size_t at = 0;
    for (size_t n = 0; n < N_SUMS; n++) {
        place[sum_vector(n)][sum_lane(n)] = at;
        at += sum_length(k, n);
    }
}

/* Rows whose distance is a power of two would push each other out of the first-level cache: pieces of 16 rows
 * are copied side by side first. */
#define PIECE_BYTES 512
#define PIECE_STRIDE (PIECE_BYTES + 64)

ALWAYS_INLINE struct rows_16 copy_piece(struct rows_16 rows, size_t at, size_t n_bytes, uint8_t *piece)
{
    for (size_t r = 0; r < 16; r++)
        memcpy(piece + r * PIECE_STRIDE, rows.first + r * rows.bytes + at, n_bytes);
    return (struct rows_16){piece, PIECE_STRIDE};
}

ALWAYS_INLINE void expand_floats(const uint8_t *rows, size_t row_bytes, size_t k, struct widener widen,
                                 float *tile)
{
    size_t place[4][16], n_steps = k / STEP, n_16 = k / 16, piece_16 = PIECE_BYTES / (16 * widen.bytes);
    uint8_t piece[16 * PIECE_STRIDE];
    sum_places(k, place);
    for (size_t r = 0; r < ROWS; r += 16) {
        struct rows_16 all = {rows + r * row_bytes, row_bytes}, some = all;
        for (size_t b = 0; b < n_16; b++) { /* 16 weights: one of each sum of a vector */
            size_t left = n_16 - b < piece_16 ? n_16 - b : piece_16;
            if (b % piece_16 == 0)
                some = copy_piece(all, 16 * b * widen.bytes, 16 * left * widen.bytes, piece);
            bool whole = b < 4 * n_steps;
            const size_t *first = place[whole ? b % 4 : 0];
            size_t i = whole ? b / 4 : n_steps + b - 4 * n_steps;
            __m512 x[16];
            widen.many(some, 16 * (b % piece_16) * widen.bytes, x);
            UNROLLED
            for (size_t lane = 0; lane < 16; lane++)
                _mm512_store_ps(tile + (first[lane] + i) * ROWS + r, x[lane]);
        }
    }
    for (size_t i = 16 * n_16; i < k; i++)
        for (size_t r = 0; r < ROWS; r++)
            tile[i * ROWS + r] = widen.one(rows + r * row_bytes + i * widen.bytes);
}

/* A running sum of `count` weights, number `step`, times n columns, which is a constant where this is called;
 * at: where its weights are in a column. */
ALWAYS_INLINE void add_sum(const float *tile, const struct dot_cols *a, size_t n, size_t step, size_t at,
                           size_t count, struct tile_ahead *ahead, struct group *g)
{
    const float *x[MAX_COLS];
    struct sums acc;
    UNROLLED
    for (size_t c = 0; c < n; c++) {
        x[c] = a->chains + g->index[c] * a->k + at;
        UNROLLED
        for (size_t v = 0; v < VECS; v++)
            acc.of[v][c] = _mm512_setzero_ps();
    }
    for (size_t i = 0; i < count; i++, tile += ROWS) {
        __m512 w[VECS];
        UNROLLED
        for (size_t v = 0; v < VECS; v++)
            w[v] = _mm512_load_ps(tile + 16 * v);
        UNROLLED
        for (size_t c = 0; c < n; c++) {
            __m512 y = _mm512_set1_ps(x[c][i]);
            UNROLLED
            for (size_t v = 0; v < VECS; v++)
                acc.of[v][c] = _mm512_fmadd_ps(w[v], y, acc.of[v][c]);
        }
    }
    fetch_ahead(ahead, LINES_AHEAD);
    add_up(g->waiting, step, n, &acc, g->out);
}

/* The weights from `at` on, which belong to no running sum. */
static void add_rest(const float *tile, const struct dot_cols *a, size_t at, const uint32_t *index, size_t n,
                     float *out)
{
    for (size_t i = at; i < a->k; i++, tile += ROWS)
        for (size_t c = 0; c < n; c++)
            for (size_t r = 0; r < ROWS; r++)
                out[c * ROWS + r] = fmaf(tile[r], a->chains[index[c] * a->k + i], out[c * ROWS + r]);
}

/* The weights of a running sum stay in the first-level cache while all columns are multiplied with them. */
static void multiply_floats(const uint8_t *bytes, const struct dot_cols *a, const uint32_t *index, size_t n,
                            struct tile_ahead *ahead, float *out)
{
    const float *tile = (const void *)bytes;
    struct group groups[MAX_GROUPS];
    size_t n_groups = make_groups(index, n, out, groups), at = 0;
    for (size_t step = 0; step < N_SUMS; step++) {
        size_t count = sum_length(a->k, step);
        for (struct group *g = groups; g < groups + n_groups; g++) {
            switch (g->n) {
            case 6:
                add_sum(tile, a, 6, step, at, count, ahead, g);
                break;
            case 5:
                add_sum(tile, a, 5, step, at, count, ahead, g);
                break;
            case 4:
                add_sum(tile, a, 4, step, at, count, ahead, g);
                break;
            default:
                add_sum(tile, a, 1, step, at, count, ahead, g);
            }
        }
        at += count;
        tile += count * ROWS;
    }
    add_rest(tile, a, at, index, n, out);
}

#define TILE_KERNEL(type, size)                                                                              \
    static void expand_##type(const uint8_t *rows, size_t row_bytes, size_t k, uint8_t *tile)                \
    {                                                                                                        \
        expand_floats(rows, row_bytes, k, (struct widener){many_##type, one_##type, size},                   \
                      (float *)(void *)tile);                                                                \
    }                                                                                                        \
    const struct tile_kernel tile_avx512_##type = {expand_##type, multiply_floats, ROWS,                     \
                                                   32 * ROWS * sizeof(float)};

TILE_KERNEL(f32, 4)
TILE_KERNEL(f16, 2)
TILE_KERNEL(bf16, 2)
