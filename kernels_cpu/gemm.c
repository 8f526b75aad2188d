/* The driver of the products: quantises the input, deals row ranges to the threads, walks columns in tiles.
 */
#include "kernels_cpu/gemm.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#include "engine/base/mem.h"
#include "kernels_cpu/tile.h"

/* Room for the quantised columns of one pass. More columns take several passes over the weights, which at
 * this size (thousands of columns) costs nothing that shows. */
#define SCRATCH_BYTES ((size_t)48 << 20)
/* Columns walked together stay close to the first-level cache ... */
#define TILE_BYTES ((size_t)64 << 10)
#define TILE_MIN_COLS ((size_t)4)
#define TILE_FLOAT_COLS                                                                                      \
    ((size_t)3) /* what float kernels keep in registers: wider columns, so no more of them */
/* ... and the rows of a task in the second level, so that main memory is read once. */
#define TASK_BYTES ((size_t)64 << 10)
/* Tasks per thread at least: the last ones to finish then differ by little. */
#define TASKS_PER_THREAD 8

/* Columns from which on expanding a tile pays. */
#define TILED_MIN_COLS ((size_t)9)

struct gemm_ctx {
    struct pool *pool;
    const struct dot_set *set;
    uint8_t *scratch; /* SCRATCH_BYTES: columns */
    uint8_t *tiles;   /* [threads] of TILE_MAX_BYTES */
    struct row_share *shares;
};

/* One pass: m columns of one product. */
struct gemm_pass {
    const struct bweight *w;
    struct act_cols in; /* [m, k] */
    float *out;         /* [m, n] */
    bool add;
    size_t task_rows, tile_cols;
    struct dot_cols few; /* all columns, where they are few */
    uint8_t *tiles;
    atomic_size_t next_row;
};

static size_t tiles_bytes(const struct gemm_ctx *g)
{
    return TILE_MAX_BYTES * (size_t)pool_n_threads(g->pool);
}

struct gemm_ctx *gemm_ctx_new(struct pool *pool, enum cpu_isa isa, struct err *err)
{
    struct gemm_ctx *g = mem_alloc(sizeof *g, err);
    if (!g)
        return NULL;
    g->pool = pool;
    g->set = dot_set_get(isa);
    g->scratch = mem_map(SCRATCH_BYTES, err);
    g->tiles = g->scratch ? mem_map(tiles_bytes(g), err) : NULL;
    g->shares = g->tiles ? mem_array((size_t)pool_n_threads(pool), sizeof *g->shares, err) : NULL;
    if (g->shares)
        return g;
    gemm_ctx_free(g);
    return NULL;
}

void gemm_ctx_free(struct gemm_ctx *g)
{
    if (!g)
        return;
    if (g->scratch)
        mem_unmap(g->scratch, SCRATCH_BYTES);
    if (g->tiles)
        mem_unmap(g->tiles, tiles_bytes(g));
    mem_free(g->shares);
    mem_free(g);
}

/* A result to its place: row r of a part, whose row 0 is column `base` of out. */
static void put_result(const struct gemm_pass *p, const struct weight_rows *rows, size_t base, size_t r,
                       size_t col, float value)
{
    float *out = p->out + col * p->w->n + base + r, bias;
    if (rows->bias) {
        memcpy(&bias, rows->bias + r * sizeof bias, sizeof bias);
        value += bias;
    }
    *out = p->add ? *out + value : value;
}

/* A row of the whole weight times a few columns. */
static void multiply_row(void *arg, size_t row)
{
    const struct gemm_pass *p = arg;
    size_t r = row;
    const struct weight_rows *rows = weight_part_of(p->w, &r);
    float result[DOT_MAX_COLS];
    p->in.set->dot[rows->type](rows->data + r * rows->row_bytes, &p->few, result);
    for (size_t c = 0; c < p->few.n; c++)
        put_result(p, rows, row - r, r, c, result[c]);
}

/* Rows [begin, end) of a part times some columns, one row at a time. */
static void multiply_dots(const struct gemm_pass *p, const struct weight_rows *rows, size_t base,
                          size_t begin, size_t end, size_t first_col, size_t n_cols)
{
    dot_fn *dot = p->in.set->dot[rows->type];
    struct dot_cols cols = act_cols_view(&p->in, first_col, n_cols);
    for (size_t r = begin; r < end; r++) {
        float result[DOT_MAX_COLS];
        dot(rows->data + r * rows->row_bytes, &cols, result);
        for (size_t c = 0; c < n_cols; c++)
            put_result(p, rows, base, r, first_col + c, result[c]);
    }
}

static struct tile_ahead rows_ahead(const struct weight_rows *rows, size_t first, size_t n)
{
    size_t begin = first < rows->n ? first : rows->n, end = begin + n < rows->n ? begin + n : rows->n;
    return (struct tile_ahead){rows->data + begin * rows->row_bytes, rows->data + end * rows->row_bytes};
}

/* Some rows of one column to their place, n <= TILE_MAX_ROWS; bias: of these rows, or NULL. */
static void put_rows(float *restrict out, const float *restrict value, const float *restrict bias, size_t n,
                     bool add)
{
    float sum[TILE_MAX_ROWS];
    if (bias) {
        for (size_t r = 0; r < n; r++)
            sum[r] = value[r] + bias[r];
        value = sum;
    }
    if (add)
        for (size_t r = 0; r < n; r++)
            out[r] += value[r];
    else
        memcpy(out, value, n * sizeof *out);
}

/* Where columns will be written, brought near while they are computed. */
static void fetch_out(const float *out, size_t n_rows, size_t n_cols, size_t stride)
{
    for (size_t c = 0; c < n_cols; c++, out += stride)
        for (size_t r = 0; r < n_rows; r += 16)
            __builtin_prefetch(out + r, 1, 2);
}

/* Rows [begin, end) of a part times all columns, a tile at a time. The last tile is a whole one, too: some of
 * its rows were computed before. Threads take tasks in turn, so a thread's next one is n_threads away. */
static void multiply_tiles(const struct gemm_pass *p, const struct weight_rows *rows, size_t base,
                           size_t begin, size_t end, size_t n_threads, uint8_t *tile)
{
    const struct tile_kernel *kernel = p->in.set->tile[rows->type];
    float result[TILE_MAX_COLS * TILE_MAX_ROWS], bias[TILE_MAX_ROWS];
    uint32_t index[TILE_MAX_COLS];
    struct tile_ahead not_yet = {0};
    for (size_t next; begin < end; begin = next) {
        size_t first = begin + kernel->rows <= rows->n ? begin : rows->n - kernel->rows;
        next = first + kernel->rows < end ? first + kernel->rows : end;
        kernel->expand(rows->data + first * rows->row_bytes, rows->row_bytes, p->w->k, tile);
        struct tile_ahead ahead = rows_ahead(rows, begin + n_threads * p->task_rows, kernel->rows);
        size_t n_rows = next - begin;
        if (rows->bias)
            memcpy(bias, rows->bias + begin * sizeof *bias, n_rows * sizeof *bias);
        for (size_t col = 0, n; col < p->in.m; col += n) {
            n = tile_cols(p->in.m - col);
            float *out = p->out + col * p->w->n + base + begin;
            fetch_out(out, n_rows, n, p->w->n);
            for (size_t c = 0; c < n; c++)
                index[c] = (uint32_t)(col + c);
            kernel->multiply(tile, &p->in.cols, index, n, p->in.m - col > TILE_AHEAD_COLS ? &not_yet : &ahead,
                             result);
            for (size_t c = 0; c < n; c++)
                put_rows(out + c * p->w->n, result + c * kernel->rows + begin - first,
                         rows->bias ? bias : NULL, n_rows, p->add);
        }
    }
}

/* Rows [begin, end) of the whole weight, which may touch several parts. */
static void multiply_rows(const struct gemm_pass *p, size_t begin, size_t end, size_t n_threads,
                          uint8_t *tile)
{
    size_t base = 0;
    for (size_t i = 0; i < p->w->n_parts; i++) {
        const struct weight_rows *rows = &p->w->parts[i];
        size_t from = begin > base ? begin - base : 0;
        size_t to = end > base ? end - base : 0;
        to = to < rows->n ? to : rows->n;
        if (p->in.tiled && from < to && tile_serves(p->in.set, rows->type, rows->n, p->w->k)) {
            multiply_tiles(p, rows, base, from, to, n_threads, tile);
            from = to;
        }
        for (size_t c = 0; from < to && c < p->in.m; c += p->tile_cols) {
            size_t n_cols = p->in.m - c < p->tile_cols ? p->in.m - c : p->tile_cols;
            multiply_dots(p, rows, base, from, to, c, n_cols);
        }
        base += rows->n;
    }
}

static void multiply_task(void *arg, int thread, int n_threads)
{
    struct gemm_pass *p = arg;
    uint8_t *tile = p->tiles + (size_t)thread * TILE_MAX_BYTES;
    for (size_t r;
         (r = atomic_fetch_add_explicit(&p->next_row, p->task_rows, memory_order_relaxed)) < p->w->n;)
        multiply_rows(p, r, p->w->n - r < p->task_rows ? p->w->n : r + p->task_rows, (size_t)n_threads, tile);
}

static size_t clamp(size_t x, size_t low, size_t high)
{
    return x < low ? low : x > high ? high : x;
}

size_t gemm_tile_cols(const struct act_cols *in)
{
    return in->wants[ACT_F32] ? TILE_FLOAT_COLS : clamp(TILE_BYTES / in->k, TILE_MIN_COLS, DOT_MAX_COLS);
}

static void choose_sizes(struct gemm_pass *p, size_t n_threads)
{
    p->tile_cols = gemm_tile_cols(&p->in);
    size_t row_bytes = p->w->n_bytes / p->w->n + 1;
    p->task_rows = clamp(p->w->n / (n_threads * TASKS_PER_THREAD), 1, TASK_BYTES / row_bytes + 1);
    if (p->in.tiled)
        p->task_rows = TILE_MAX_ROWS;
}

static const void *row_place(const void *arg, size_t row)
{
    const struct weight_rows *rows = weight_part_of(arg, &row);
    return rows->data + row * rows->row_bytes;
}

struct row_places gemm_places(const struct bweight *w)
{
    if (!w || !w->n)
        return (struct row_places){0};
    return (struct row_places){.n = w->n, .row_bytes = w->n_bytes / w->n, .at = row_place, .arg = w};
}

/* Few columns: memory decides. Many: the cores do. */
static void run_pass(struct gemm_ctx *g, struct gemm_pass *p, const struct bweight *next)
{
    if (p->in.tiled || p->in.m > p->tile_cols) {
        pool_run(g->pool, multiply_task, p);
        return;
    }
    p->few = act_cols_view(&p->in, 0, p->in.m);
    row_walk_run(&(struct row_walk){.n = p->w->n,
                                    .row_bytes = p->w->n_bytes / p->w->n,
                                    .row = multiply_row,
                                    .arg = p,
                                    .shares = g->shares,
                                    .pool = g->pool,
                                    .next = gemm_places(next)});
}

void cpu_gemm(struct gemm_ctx *g, const struct bweight *w, const float *a, size_t m, float *out, bool add,
              const struct bweight *next)
{
    assert(w->k <= WEIGHT_MAX_K);
    size_t pass_cols = act_cols_fitting(SCRATCH_BYTES, w->k);
    for (size_t c = 0; w->n && c < m; c += pass_cols) {
        struct gemm_pass p = {.w = w, .out = out + c * w->n, .add = add, .tiles = g->tiles};
        p.in.tiled = m >= TILED_MIN_COLS;
        p.in.no_dots = p.in.tiled;
        for (size_t i = 0; i < w->n_parts; i++) {
            const struct weight_rows *rows = &w->parts[i];
            p.in.wants[dot_act_format(rows->type)] = true;
            p.in.no_dots = p.in.no_dots && tile_serves(g->set, rows->type, rows->n, w->k);
        }
        act_cols_lay_out(&p.in, g->set, a + c * w->k, m - c < pass_cols ? m - c : pass_cols, w->k,
                         g->scratch);
        choose_sizes(&p, (size_t)pool_n_threads(g->pool));
        act_cols_quantise(&p.in, g->pool);
        run_pass(g, &p, next);
    }
}

void cpu_embed(struct gemm_ctx *g, const struct bweight *table, const int32_t *ids, size_t n, float *out)
{
    (void)g;
    for (size_t i = 0; i < n; i++) {
        assert(ids[i] >= 0 && (size_t)ids[i] < table->n);
        size_t row = (size_t)ids[i];
        const struct weight_rows *rows = weight_part_of(table, &row);
        dtype_to_f32(rows->type, rows->data + row * rows->row_bytes, out + i * table->k, table->k);
    }
}
