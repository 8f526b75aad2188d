/* Tiles of f32, f16 and bf16 weights with AVX2: widened to f32.
 *
 * The dot kernel (dot_float_body.h) has four chains of a vector of 8 running sums: weight 32i + 8j + l
 * belongs to lane l of chain j; the blocks of 8 beyond the last 32 to chain 0; what is beyond the last 8 is
 * added one by one to the total. Lanes are weights here, too, so that columns are read as they lie: four rows
 * by three columns are in registers, and a chain is finished before the next one begins. */
#include "kernels_cpu/tile_avx2.h"

#include <math.h>

#include "engine/half.h"
#include "kernels_cpu/dot_x86.h"

#define ROWS 32
#define LANES 8
#define N_CHAINS 4
#define QUAD 4 /* rows in work */
#define MAX_COLS 3
#define SLICE ((size_t)16) /* blocks of 8 weights: 16 KiB of a tile */
#define LINES_AHEAD 2      /* per slice of a quad */

#define BLOCK_FLOATS (ROWS * LANES)

/* Blocks of chain j in a row of k. */
ALWAYS_INLINE size_t chain_length(size_t k, size_t j)
{
    return k / (N_CHAINS * LANES) + (j == 0 ? k % (N_CHAINS * LANES) / LANES : 0);
}

/* The weight with which block i of chain j begins. */
ALWAYS_INLINE size_t weight_at(size_t k, size_t j, size_t i)
{
    size_t n_steps = k / (N_CHAINS * LANES);
    return i < n_steps ? LANES * (N_CHAINS * i + j) : LANES * (N_CHAINS * n_steps + i - n_steps);
}

/* Blocks of a chain that all columns walk before the next ones; those beyond the last 32 weights, which lie
 * side by side, are a slice of their own. */
struct span {
    size_t first, end;
};

ALWAYS_INLINE struct span slice_at(size_t k, size_t j, size_t i)
{
    size_t n_steps = k / (N_CHAINS * LANES);
    if (i >= n_steps)
        return (struct span){n_steps, chain_length(k, j)};
    size_t first = i / SLICE * SLICE;
    return (struct span){first, n_steps - first < SLICE ? n_steps : first + SLICE};
}

/* A tile: chain by chain, slice by slice; in a slice quad by quad, of a quad block by block 8 weights of each
 * row. Where block i of a chain has those of a quad's first row: */
ALWAYS_INLINE size_t place_in_chain(size_t k, size_t j, size_t i, size_t quad)
{
    struct span s = slice_at(k, j, i);
    return s.first * BLOCK_FLOATS + (quad * (s.end - s.first) + i - s.first) * QUAD * LANES;
}

/* How a type is widened: 8 weights, or one. */
struct widener {
    __m256 (*many)(const uint8_t *w);
    float (*one)(const uint8_t *w);
    size_t bytes;
};

ALWAYS_INLINE __m256 many_f32(const uint8_t *w)
{
    return _mm256_loadu_ps((const float *)(const void *)w);
}

ALWAYS_INLINE __m256 many_f16(const uint8_t *w)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const void *)w));
}

ALWAYS_INLINE __m256 many_bf16(const uint8_t *w)
{
    __m128i halves = _mm_loadu_si128((const void *)w);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}

ALWAYS_INLINE float one_f32(const uint8_t *w)
{
    return f32_from_bits(load_u32(w));
}

ALWAYS_INLINE float one_f16(const uint8_t *w)
{
    return f16_to_f32((uint16_t)load_u16(w));
}

ALWAYS_INLINE float one_bf16(const uint8_t *w)
{
    return bf16_to_f32((uint16_t)load_u16(w));
}

ALWAYS_INLINE void expand_floats(const uint8_t *rows, size_t row_bytes, size_t k, struct widener widen,
                                 float *tile)
{
    float *chain[N_CHAINS] = {tile};
    for (size_t j = 1; j < N_CHAINS; j++)
        chain[j] = chain[j - 1] + chain_length(k, j - 1) * BLOCK_FLOATS;
    for (size_t quad = 0; quad < ROWS / QUAD; quad++) {
        for (size_t j = 0; j < N_CHAINS; j++) {
            for (size_t i = 0; i < chain_length(k, j); i++) {
                const uint8_t *w = rows + quad * QUAD * row_bytes + weight_at(k, j, i) * widen.bytes;
                float *to = chain[j] + place_in_chain(k, j, i, quad);
                UNROLLED
                for (size_t r = 0; r < QUAD; r++)
                    _mm256_store_ps(to + LANES * r, widen.many(w + r * row_bytes));
            }
        }
    }
    for (size_t i = k / LANES * LANES; i < k; i++)
        for (size_t r = 0; r < ROWS; r++)
            tile[i * ROWS + r] = widen.one(rows + r * row_bytes + i * widen.bytes);
}

/* The sums of a column with all rows: of the chain at hand, of the chains 0 and 1, of chain 2. */
struct column_sums {
    __m256 acc[ROWS], first[ROWS], third[ROWS];
};

/* Blocks of chain j at hand: n of them of every quad at w; of column c from x + c * k on, step floats apart.
 */
struct slice {
    const float *w, *x;
    size_t n, k, step, j;
    bool first, last; /* of its chain */
};

ALWAYS_INLINE void load_sums(__m256 acc[QUAD][MAX_COLS], const struct slice *s, size_t n,
                             const struct column_sums *sums, size_t row)
{
    UNROLLED
    for (size_t r = 0; r < QUAD; r++) {
        UNROLLED
        for (size_t c = 0; c < n; c++)
            acc[r][c] = s->first ? _mm256_setzero_ps() : sums[c].acc[row + r];
    }
}

/* add_lanes of four vectors. */
ALWAYS_INLINE __m128 add_lanes_of_four(const __m256 x[QUAD])
{
    __m128 s[QUAD];
    UNROLLED
    for (size_t r = 0; r < QUAD; r++)
        s[r] = _mm_add_ps(_mm256_castps256_ps128(x[r]), _mm256_extractf128_ps(x[r], 1));
    __m128 low = _mm_add_ps(_mm_movelh_ps(s[0], s[1]), _mm_movehl_ps(s[1], s[0]));
    __m128 high = _mm_add_ps(_mm_movelh_ps(s[2], s[3]), _mm_movehl_ps(s[3], s[2]));
    return _mm_add_ps(_mm_shuffle_ps(low, high, 0x88), _mm_shuffle_ps(low, high, 0xDD));
}

/* A slice of one column is done. When a chain is finished, it is added to the others: (0 + 1) + (2 + 3). */
ALWAYS_INLINE void keep_sums(const __m256 acc[QUAD], const struct slice *s, struct column_sums *sums,
                             size_t row, float *out)
{
    if (s->last && s->j == N_CHAINS - 1) {
        __m256 total[QUAD];
        UNROLLED
        for (size_t r = 0; r < QUAD; r++)
            total[r] = _mm256_add_ps(sums->first[row + r], _mm256_add_ps(sums->third[row + r], acc[r]));
        _mm_storeu_ps(out + row, add_lanes_of_four(total));
        return;
    }
    UNROLLED
    for (size_t r = 0; r < QUAD; r++) {
        if (!s->last)
            sums->acc[row + r] = acc[r];
        else if (s->j == 0)
            sums->first[row + r] = acc[r];
        else if (s->j == 1)
            sums->first[row + r] = _mm256_add_ps(sums->first[row + r], acc[r]);
        else
            sums->third[row + r] = acc[r];
    }
}

/* A slice of four rows times n columns, which is a constant where this is called. */
ALWAYS_INLINE void add_quad(const struct slice *s, const uint32_t *index, size_t n, size_t row,
                            struct column_sums *sums, float *out)
{
    const float *x[MAX_COLS], *w = s->w + row * s->n * LANES;
    __m256 acc[QUAD][MAX_COLS];
    UNROLLED
    for (size_t c = 0; c < n; c++)
        x[c] = s->x + index[c] * s->k;
    load_sums(acc, s, n, sums, row);
    for (size_t i = 0, at = 0; i < s->n; i++, at += s->step, w += QUAD * LANES) {
        __m256 y[MAX_COLS];
        UNROLLED
        for (size_t c = 0; c < n; c++)
            y[c] = _mm256_loadu_ps(x[c] + at);
        UNROLLED
        for (size_t r = 0; r < QUAD; r++) {
            __m256 q = _mm256_load_ps(w + LANES * r);
            UNROLLED
            for (size_t c = 0; c < n; c++)
                acc[r][c] = _mm256_fmadd_ps(q, y[c], acc[r][c]);
        }
    }
    UNROLLED
    for (size_t c = 0; c < n; c++) {
        const __m256 column[QUAD] = {acc[0][c], acc[1][c], acc[2][c], acc[3][c]};
        keep_sums(column, s, &sums[c], row, out + c * ROWS);
    }
}

/* Some lines of what is ahead, to the second-level cache. */
ALWAYS_INLINE void fetch_lines(struct tile_ahead *ahead)
{
    if (ahead->at >= ahead->end)
        return;
    UNROLLED
    for (int i = 0; i < LINES_AHEAD; i++)
        _mm_prefetch((const char *)ahead->at + 64 * i, _MM_HINT_T1);
    ahead->at += 64 * LINES_AHEAD;
}

ALWAYS_INLINE void add_quads(const struct slice *s, const uint32_t *index, size_t n, struct column_sums *sums,
                             float *out, struct tile_ahead *ahead)
{
    for (size_t row = 0; row < ROWS; row += QUAD) {
        fetch_lines(ahead);
        add_quad(s, index, n, row, sums, out);
    }
}

/* A slice times all columns: three together, or two, rather than one alone. */
static void add_slice(const struct slice *s, const uint32_t *index, size_t n, struct column_sums *sums,
                      float *out, struct tile_ahead *ahead)
{
    for (size_t some; n; n -= some, index += some, sums += some, out += some * ROWS) {
        some = n == 4 ? 2 : n < MAX_COLS ? n : MAX_COLS;
        if (some == 3)
            add_quads(s, index, 3, sums, out, ahead);
        else if (some == 2)
            add_quads(s, index, 2, sums, out, ahead);
        else
            add_quads(s, index, 1, sums, out, ahead);
    }
}

/* The weights from `at` on, which belong to no chain. */
static void add_rest(const float *tile, const struct dot_cols *a, size_t at, const uint32_t *index, size_t n,
                     float *out)
{
    for (size_t i = at; i < a->k; i++)
        for (size_t c = 0; c < n; c++)
            for (size_t r = 0; r < ROWS; r++)
                out[c * ROWS + r] = fmaf(tile[i * ROWS + r], a->x[index[c] * a->k + i], out[c * ROWS + r]);
}

static void multiply_floats(const uint8_t *bytes, const struct dot_cols *a, const uint32_t *index, size_t n,
                            struct tile_ahead *ahead, float *out)
{
    const float *tile = (const void *)bytes, *chain = tile;
    struct column_sums sums[TILE_MAX_COLS];
    for (size_t j = 0; j < N_CHAINS; j++) {
        size_t length = chain_length(a->k, j), i = 0;
        do {
            struct span span = slice_at(a->k, j, i);
            bool rest = span.first == a->k / (N_CHAINS * LANES);
            const struct slice s = {.w = chain + place_in_chain(a->k, j, i, 0),
                                    .x = a->x + weight_at(a->k, j, i),
                                    .n = span.end - span.first,
                                    .k = a->k,
                                    .step = rest ? LANES : N_CHAINS * LANES,
                                    .j = j,
                                    .first = i == 0,
                                    .last = span.end == length};
            add_slice(&s, index, n, sums, out, ahead);
            i = span.end;
        } while (i < length);
        chain += length * BLOCK_FLOATS;
    }
    add_rest(tile, a, a->k / LANES * LANES, index, n, out);
}

#define TILE_KERNEL(type, size)                                                                              \
    static void expand_##type(const uint8_t *rows, size_t row_bytes, size_t k, uint8_t *tile)                \
    {                                                                                                        \
        expand_floats(rows, row_bytes, k, (struct widener){many_##type, one_##type, size},                   \
                      (float *)(void *)tile);                                                                \
    }                                                                                                        \
    const struct tile_kernel tile_avx2_##type = {.expand = expand_##type,                                    \
                                                 .multiply = multiply_floats,                                \
                                                 .rows = ROWS,                                               \
                                                 .bytes_per_32 = 32 * ROWS * sizeof(float)};

TILE_KERNEL(f32, 4)
TILE_KERNEL(f16, 2)
TILE_KERNEL(bf16, 2)
