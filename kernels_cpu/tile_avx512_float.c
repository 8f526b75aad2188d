/* Tiles of f32, f16 and bf16 weights with AVX-512: widened to f32.
 *
 * The dot kernel (dot_float_body.h) has two vectors of 16 running sums: weight 32i + 16j + l belongs to sum l
 * of vector j, the last block of 16 of an odd number to vector 0; what is beyond the last 16 is added one by
 * one to the total. A tile and its columns (act_chains_fn) hold one sum's weights side by side, the sums in
 * the order in which the tree of add_all wants them, then the rest. Between the sums of a tile is a line of
 * nothing: places a power of two apart would push each other out of the first-level cache. */
#include "kernels_cpu/tile_avx512.h"

#include <math.h>

#include "engine/half.h"
#include "kernels_cpu/attention_turn_512.h"
#include "kernels_cpu/dot_avx512.h"

#define TILE_ROWS 48

#include "kernels_cpu/tile_512.h"

#define LEVELS 5
#define MAX_COLS 8 /* by three vectors of rows in registers */
#define MIN_COLS 4

#include "kernels_cpu/tile_sums_body.h"

#define ROWS TILE_ROWS
#define N_VECS FLOAT_CHAINS
#define N_SUMS (16 * N_VECS)
#define GAP 16 /* floats */
/* Weights of a sum that all columns walk before the next ones: 6 KiB of a tile. */
#define SLICE ((size_t)32)
/* Per column and 16 weights of a sum. */
#define LINES_AHEAD 4

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

/* Weights of sum n in a row of k: it has every N_VECS-th block of 16, from the one of its vector on. */
ALWAYS_INLINE size_t sum_length(size_t k, size_t n)
{
    return (k / 16 + N_VECS - 1 - sum_vector(n)) / N_VECS;
}

/* First weight of the sums of vector j, by lane, as if all were side by side; and their number. */
static void sum_places(size_t k, size_t place[N_VECS][16], size_t number[N_VECS][16])
{
    size_t at = 0;
    for (size_t n = 0; n < N_SUMS; n++) {
        place[sum_vector(n)][sum_lane(n)] = at;
        number[sum_vector(n)][sum_lane(n)] = n;
        at += sum_length(k, n);
    }
}

void act_chains_avx512(const float *x, size_t k, size_t m, size_t column, float *chains)
{
    size_t place[N_VECS][16], number[N_VECS][16];
    sum_places(k, place, number);
    for (size_t j = 0; j < N_VECS; j++) {
        size_t length = sum_length(k, j), i = 0;
        float *to[16];
        for (size_t lane = 0; lane < 16; lane++)
            to[lane] = chains + m * place[j][lane] + column * length;
        for (; i + 16 <= length; i += 16) {
            __m512 v[16];
            UNROLLED
            for (size_t l = 0; l < 16; l++)
                v[l] = _mm512_loadu_ps(x + 16 * (N_VECS * (i + l) + j));
            turn_16(v);
            UNROLLED
            for (size_t l = 0; l < 16; l++)
                _mm512_storeu_ps(to[l] + i, v[l]);
        }
        for (; i < length; i++)
            for (size_t lane = 0; lane < 16; lane++)
                to[lane][i] = x[16 * (N_VECS * i + j) + lane];
    }
    size_t rest = k % 16;
    if (rest)
        memcpy(chains + m * (k - rest) + column * rest, x + k - rest, rest * sizeof *x);
}

/* How a type is widened: 16 weights, or one. */
struct widener {
    __m512 (*many)(const uint8_t *w);
    float (*one)(const uint8_t *w);
    size_t bytes;
};

ALWAYS_INLINE __m512 many_f32(const uint8_t *w)
{
    return _mm512_loadu_ps((const float *)(const void *)w);
}

ALWAYS_INLINE __m512 many_f16(const uint8_t *w)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)w));
}

ALWAYS_INLINE __m512 many_bf16(const uint8_t *w)
{
    __m512i x = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)w));
    return _mm512_castsi512_ps(_mm512_slli_epi32(x, 16));
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

/* Rows are fetched so many bytes before they are read: by all 16 of a group, whose places may be a power of
 * two apart, to the second level. */
#define FETCH_BYTES 1024

/* 16 weights of 16 rows to the 16 sums of a vector. fetch: how far ahead, or 0. */
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
    const size_t block_bytes = 16 * widen.bytes;
    size_t place[N_VECS][16], number[N_VECS][16], n_16 = k / 16, n_bytes = k * widen.bytes;
    sum_places(k, place, number);
    for (size_t j = 0; j < N_VECS; j++)
        for (size_t lane = 0; lane < 16; lane++)
            place[j][lane] = place[j][lane] * ROWS + number[j][lane] * GAP;
    for (size_t r = 0; r < ROWS; r += 16) {
        struct rows_16 some = {rows + r * row_bytes, row_bytes};
        float *to = tile + r;
        size_t b = 0;
        for (; b + N_VECS <= n_16; b += N_VECS, to += ROWS) {
            size_t at = b * block_bytes + FETCH_BYTES; /* of these rows, or of the next 16 */
            size_t fetch = FETCH_BYTES + (at < n_bytes ? 0 : 16 * row_bytes - n_bytes);
            UNROLLED
            for (size_t j = 0; j < N_VECS; j++, some.first += block_bytes)
                expand_block(some, widen, j * block_bytes % 64 ? 0 : fetch, place[j], to);
        }
        for (size_t j = 0; b + j < n_16; j++, some.first += block_bytes)
            expand_block(some, widen, 0, place[j], to);
    }
    for (size_t i = 16 * n_16; i < k; i++)
        for (size_t r = 0; r < ROWS; r++)
            tile[i * ROWS + N_SUMS * GAP + r] = widen.one(rows + r * row_bytes + i * widen.bytes);
}

/* A piece of a running sum: n weights of all rows, and of a column c at x + c * stride. Read after it:
 * weights at next_w, of which each group fetches a part, and columns, to_next floats further. */
struct slice {
    const float *w, *x, *next_w;
    size_t n, stride, to_next, step;
    bool first, last; /* of its sum, which is number `step` */
};

ALWAYS_INLINE void load_sums(struct sums *acc, size_t n, const struct sums *from)
{
    UNROLLED
    for (size_t c = 0; c < n; c++) {
        UNROLLED
        for (size_t v = 0; v < VECS; v++)
            acc->of[v][c] = from ? from->of[v][c] : _mm512_setzero_ps();
    }
}

ALWAYS_INLINE void near(const void *p)
{
    _mm_prefetch(p, _MM_HINT_T0);
}

/* A slice times n columns, which is a constant where this is called. */
ALWAYS_INLINE void add_slice(const struct slice *s, size_t n, struct tile_ahead *ahead, struct group *g,
                             size_t group)
{
    const float *x[MAX_COLS], *w = s->w;
    ptrdiff_t next = s->next_w - w + (ptrdiff_t)(group % VECS * 16);
    struct sums acc;
    UNROLLED
    for (size_t c = 0; c < n; c++)
        x[c] = s->x + g->index[c] * s->stride;
    load_sums(&acc, n, s->first ? NULL : &g->acc);
    for (size_t i = 0; i < s->n;) {
        fetch_ahead(ahead, LINES_AHEAD);
        UNROLLED
        for (size_t c = 0; c < n; c++)
            near(x[c] + s->to_next + i);
        for (size_t end = s->n - i < 16 ? s->n : i + 16; i < end; i++, w += ROWS) {
            __m512 q[VECS];
            near(w + next);
            UNROLLED
            for (size_t v = 0; v < VECS; v++)
                q[v] = _mm512_load_ps(w + 16 * v);
            UNROLLED
            for (size_t c = 0; c < n; c++) {
                __m512 y = _mm512_set1_ps(x[c][i]);
                UNROLLED
                for (size_t v = 0; v < VECS; v++)
                    acc.of[v][c] = _mm512_fmadd_ps(q[v], y, acc.of[v][c]);
            }
        }
    }
    if (s->last)
        add_up(g->waiting, s->step, n, &acc, g->out);
    else
        load_sums(&g->acc, n, &acc);
}

/* The weights from `at` on, which belong to no running sum. */
static void add_rest(const float *tile, const struct dot_cols *a, size_t at, const uint32_t *index, size_t n,
                     float *out)
{
    for (size_t i = at; i < a->k; i++, tile += ROWS)
        for (size_t c = 0; c < n; c++)
            for (size_t r = 0; r < ROWS; r++)
                out[c * ROWS + r] =
                    fmaf(tile[r], a->chains[a->n * at + index[c] * (a->k - at) + i - at], out[c * ROWS + r]);
}

static void add_slice_to_all(const struct slice *s, struct tile_ahead *ahead, struct group *groups,
                             size_t n_groups)
{
    for (size_t i = 0; i < n_groups; i++) {
        switch (groups[i].n) {
        case 8:
            add_slice(s, 8, ahead, &groups[i], i);
            break;
        case 7:
            add_slice(s, 7, ahead, &groups[i], i);
            break;
        case 6:
            add_slice(s, 6, ahead, &groups[i], i);
            break;
        case 5:
            add_slice(s, 5, ahead, &groups[i], i);
            break;
        case 4:
            add_slice(s, 4, ahead, &groups[i], i);
            break;
        default:
            add_slice(s, 1, ahead, &groups[i], i);
        }
    }
}

/* The weights of a slice stay in the first-level cache while all columns are multiplied with them. */
static void multiply_floats(const uint8_t *bytes, const struct dot_cols *a, const uint32_t *index, size_t n,
                            struct tile_ahead *ahead, float *out)
{
    const float *tile = (const void *)bytes, *chain = a->chains;
    struct group groups[MAX_GROUPS];
    size_t n_groups = make_groups(index, n, out, groups), at = 0;
    for (size_t step = 0; step < N_SUMS; step++) {
        size_t count = sum_length(a->k, step), n_slices = (count + SLICE - 1) / SLICE, begin = 0;
        struct slice s = {.w = tile, .x = chain, .stride = count, .step = step, .first = true};
        do {
            size_t end = n_slices ? count - (count - begin) / n_slices * (n_slices - 1) : 0;
            s.n = end - begin;
            s.last = end == count;
            s.next_w = s.w + s.n * ROWS + (s.last ? GAP : 0);
            s.to_next = s.last ? count * a->n - begin : s.n;
            add_slice_to_all(&s, ahead, groups, n_groups);
            s.w = s.next_w;
            s.x += s.n;
            s.first = false;
            begin = end;
            n_slices--;
        } while (begin < count);
        at += count;
        tile = s.next_w;
        chain += count * a->n;
    }
    add_rest(tile, a, at, index, n, out);
}

#define TILE_KERNEL(type, size)                                                                              \
    static void expand_##type(const uint8_t *rows, size_t row_bytes, size_t k, uint8_t *tile)                \
    {                                                                                                        \
        expand_floats(rows, row_bytes, k, (struct widener){many_##type, one_##type, size},                   \
                      (float *)(void *)tile);                                                                \
    }                                                                                                        \
    const struct tile_kernel tile_avx512_##type = {.expand = expand_##type,                                  \
                                                   .multiply = multiply_floats,                              \
                                                   .rows = ROWS,                                             \
                                                   .bytes_per_32 = 32 * ROWS * sizeof(float),                \
                                                   .more_bytes = N_SUMS * GAP * sizeof(float),               \
                                                   .segment = FLOAT_SEGMENT};

TILE_KERNEL(f32, 4)
TILE_KERNEL(f16, 2)
TILE_KERNEL(bf16, 2)
