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
#define SCRATCH_BYTES ((size_t)72 << 20)
/* Columns walked together stay close to the first-level cache ... */
#define TILE_BYTES ((size_t)64 << 10)
#define TILE_MIN_COLS ((size_t)4)
#define TILE_FLOAT_COLS                                                                                      \
    ((size_t)3) /* what float kernels keep in registers: wider columns, so no more of them */
/* ... and the rows of a task in the second level, so that main memory is read once. */
#define TASK_BYTES ((size_t)64 << 10)
/* Tasks per thread at least: the last ones to finish then differ by little. */
#define TASKS_PER_THREAD 8

/* Where a tile does not hold whole rows, so many columns wait for their next segments: 128 KiB. */
#define WAITING_COLS ((size_t)512)
#define THREAD_BYTES (TILE_MAX_BYTES + WAITING_COLS * TILE_MAX_ROWS * sizeof(float))

/* Columns from which on expanding a tile pays. */
#define TILED_MIN_COLS ((size_t)9)

struct gemm_ctx {
    struct pool *pool;
    const struct dot_set *set;
    uint8_t *scratch; /* SCRATCH_BYTES: columns */
    uint8_t *tiles;   /* [threads] of THREAD_BYTES: a tile, then sums of segments */
    struct row_share *shares;
};

/* One pass: m columns of one product. */
struct gemm_pass {
    const struct bweight *w;
    struct act_cols in; /* [m, k] */
    float *out;         /* [m, n] */
    bool add;
    size_t task_rows[WEIGHT_MAX_PARTS]; /* no task is in two parts */
    size_t tile_cols;
    struct dot_cols few; /* all columns, where they are few */
    uint8_t *tiles;
    atomic_size_t next_task;
};

static size_t tiles_bytes(const struct gemm_ctx *g)
{
    return THREAD_BYTES * (size_t)pool_n_threads(g->pool);
}

struct gemm_ctx *gemm_ctx_new(struct pool *pool, const struct dot_set *set, struct err *err)
{
    struct gemm_ctx *g = mem_alloc(sizeof *g, err);
    if (!g)
        return NULL;
    g->pool = pool;
    g->set = set;
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

/* Rows of the whole weight times a few columns. */
static void multiply_rows(void *arg, const size_t *row, size_t n)
{
    const struct gemm_pass *p = arg;
    for (size_t i = 0; i < n; i++) {
        size_t r = row[i];
        const struct weight_rows *rows = weight_part_of(p->w, &r);
        float result[DOT_MAX_COLS];
        p->in.set->dot[rows->type](rows->data + r * rows->row_bytes, &p->few, result);
        for (size_t c = 0; c < p->few.n; c++)
            put_result(p, rows, row[i] - r, r, c, result[c]);
    }
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

/* Rows [begin, end) of a part, those of a tile, in work. */
struct tile_work {
    const struct gemm_pass *p;
    const struct weight_rows *rows;
    const struct tile_kernel *kernel;
    size_t base;              /* column of out of the part's row 0 */
    size_t begin, end, first; /* first: of the tile, which is a whole one */
    size_t next_begin;        /* of the thread's next tile, perhaps */
    uint8_t *tile;
    float *waiting; /* [WAITING_COLS, rows of the tile]: sums of the segments so far */
};

/* Weights [at, at + n) of a segment; the rows in bytes. */
struct segment {
    size_t at, n, first_byte, n_bytes;
};

static struct segment segment_at(const struct tile_work *t, size_t at)
{
    size_t k = t->p->w->k, row_bytes = t->rows->row_bytes;
    struct segment s = {.at = at, .n = tile_segment(t->kernel, k - at)};
    s.first_byte = row_bytes / k * at; /* only types of whole bytes have more than one */
    s.n_bytes = s.n < k ? row_bytes / k * s.n : row_bytes;
    return s;
}

/* The segment behind s, or the first one of the next tile. */
static struct tile_ahead read_next(const struct tile_work *t, const struct segment *s)
{
    const struct weight_rows *rows = t->rows;
    bool more = s->at + s->n < t->p->w->k;
    size_t begin = more ? t->first : t->next_begin, end = begin + t->kernel->rows;
    begin = begin < rows->n ? begin : rows->n;
    end = end < rows->n ? end : rows->n;
    if (begin == end)
        return (struct tile_ahead){0};
    struct segment next = segment_at(t, more ? s->at + s->n : 0);
    const uint8_t *at = rows->data + begin * rows->row_bytes + next.first_byte;
    return (struct tile_ahead){at, at + next.n_bytes, end - begin - 1, next.n_bytes, rows->row_bytes};
}

/* Columns [col, col + n) of a segment are computed; rows of a column are t->kernel->rows apart. */
static void put_columns(const struct tile_work *t, const struct segment *s, float *result, float *waiting,
                        size_t col, size_t n)
{
    const struct gemm_pass *p = t->p;
    size_t n_rows = t->end - t->begin, n_floats = n * t->kernel->rows;
    float bias[TILE_MAX_ROWS], *out = p->out + col * p->w->n + t->base + t->begin;
    for (size_t i = 0; s->at && i < n_floats; i++)
        result[i] += waiting[i];
    if (s->at + s->n < p->w->k) {
        memcpy(waiting, result, n_floats * sizeof *result);
        return;
    }
    if (t->rows->bias)
        memcpy(bias, t->rows->bias + t->begin * sizeof *bias, n_rows * sizeof *bias);
    for (size_t c = 0; c < n; c++)
        put_rows(out + c * p->w->n, result + c * t->kernel->rows + t->begin - t->first,
                 t->rows->bias ? bias : NULL, n_rows, p->add);
}

/* A segment times columns [from, end). */
static void multiply_segment(const struct tile_work *t, const struct segment *s, size_t from, size_t end)
{
    const struct gemm_pass *p = t->p;
    float result[TILE_MAX_COLS * TILE_MAX_ROWS];
    uint32_t index[TILE_MAX_COLS];
    struct tile_ahead not_yet = {0}, ahead = read_next(t, s);
    struct dot_cols cols = act_cols_segment(&p->in, s->at, s->n);
    for (size_t col = from, n; col < end; col += n) {
        n = tile_cols(end - col);
        fetch_out(p->out + col * p->w->n + t->base + t->begin, t->end - t->begin, n, p->w->n);
        for (size_t c = 0; c < n; c++)
            index[c] = (uint32_t)(col + c);
        t->kernel->multiply(t->tile, &cols, index, n, end - col > TILE_AHEAD_COLS ? &not_yet : &ahead,
                            result);
        put_columns(t, s, result, t->waiting + (col - from) * t->kernel->rows, col, n);
    }
}

/* The tile's rows times all columns. */
static void multiply_tile(const struct tile_work *t)
{
    const struct gemm_pass *p = t->p;
    const uint8_t *data = t->rows->data + t->first * t->rows->row_bytes;
    size_t step = tile_segment(t->kernel, p->w->k) < p->w->k ? WAITING_COLS : p->in.m;
    for (size_t col = 0; col < p->in.m; col += step) {
        struct segment s;
        for (size_t at = 0; at < p->w->k; at += s.n) {
            s = segment_at(t, at);
            t->kernel->expand(data + s.first_byte, t->rows->row_bytes, s.n, t->tile);
            multiply_segment(t, &s, col, p->in.m - col < step ? p->in.m : col + step);
        }
    }
}

static bool has_tiles(const struct gemm_pass *p, const struct weight_rows *rows)
{
    return p->in.tiled && tile_serves(p->in.set, rows->type, rows->n, p->w->k);
}

/* Task number `task` of all; false: there are no so many. */
static bool run_task(const struct gemm_pass *p, size_t task, size_t n_threads, uint8_t *memory)
{
    size_t base = 0;
    for (size_t i = 0; i < p->w->n_parts; i++) {
        const struct weight_rows *rows = &p->w->parts[i];
        size_t n_rows = p->task_rows[i], n_tasks = (rows->n + n_rows - 1) / n_rows;
        if (task >= n_tasks) {
            task -= n_tasks;
            base += rows->n;
            continue;
        }
        size_t begin = task * n_rows, end = rows->n - begin < n_rows ? rows->n : begin + n_rows;
        if (has_tiles(p, rows)) {
            const struct tile_kernel *kernel = p->in.set->tile[rows->type];
            multiply_tile(&(struct tile_work){
                .p = p,
                .rows = rows,
                .kernel = kernel,
                .base = base,
                .begin = begin,
                .end = end,
                .first = begin + kernel->rows <= rows->n ? begin : rows->n - kernel->rows,
                .next_begin = begin + n_threads * kernel->rows, /* threads take tasks in turn */
                .tile = memory,
                .waiting = (float *)(void *)(memory + TILE_MAX_BYTES),
            });
            return true;
        }
        for (size_t c = 0; c < p->in.m; c += p->tile_cols) {
            size_t n_cols = p->in.m - c < p->tile_cols ? p->in.m - c : p->tile_cols;
            multiply_dots(p, rows, base, begin, end, c, n_cols);
        }
        return true;
    }
    return false;
}

static void run_tasks(void *arg, int thread, int n_threads)
{
    struct gemm_pass *p = arg;
    uint8_t *memory = p->tiles + (size_t)thread * THREAD_BYTES;
    while (run_task(p, atomic_fetch_add_explicit(&p->next_task, 1, memory_order_relaxed), (size_t)n_threads,
                    memory))
        continue;
}

static size_t clamp(size_t x, size_t low, size_t high)
{
    return x < low ? low : x > high ? high : x;
}

size_t gemm_tile_cols(const struct act_cols *in)
{
    return in->wants[ACT_F32] || in->wants[ACT_BF16] ? TILE_FLOAT_COLS
                                                     : clamp(TILE_BYTES / in->k, TILE_MIN_COLS, DOT_MAX_COLS);
}

static void choose_sizes(struct gemm_pass *p, size_t n_threads)
{
    p->tile_cols = gemm_tile_cols(&p->in);
    for (size_t i = 0; i < p->w->n_parts; i++) {
        const struct weight_rows *rows = &p->w->parts[i];
        p->task_rows[i] =
            clamp(p->w->n / (n_threads * TASKS_PER_THREAD), 1, TASK_BYTES / (rows->row_bytes + 1) + 1);
        if (has_tiles(p, rows))
            p->task_rows[i] = p->in.set->tile[rows->type]->rows;
    }
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
        pool_run(g->pool, run_tasks, p);
        return;
    }
    p->few = act_cols_view(&p->in, 0, p->in.m);
    row_walk_run(&(struct row_walk){.n = p->w->n,
                                    .row_bytes = p->w->n_bytes / p->w->n,
                                    .rows = multiply_rows,
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
            p.in.wants[dot_act_format(g->set, rows->type)] = true;
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
