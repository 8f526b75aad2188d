/* The driver of the products: quantises the input, deals row ranges to the threads, walks columns in tiles.
 */
#include "kernels_cpu/gemm.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#include "engine/base/mem.h"
#include "kernels_cpu/dot_kernel.h"

/* Room for the quantised columns of one pass. More columns take several passes over the weights, which at
 * this size (thousands of columns) costs nothing that shows. */
#define SCRATCH_BYTES ((size_t)16 << 20)
/* Columns walked together stay close to the first-level cache ... */
#define TILE_BYTES ((size_t)64 << 10)
#define TILE_MIN_COLS ((size_t)4)
#define TILE_FLOAT_COLS                                                                                      \
    ((size_t)3) /* what float kernels keep in registers: wider columns, so no more of them */
/* ... and the rows of a task in the second level, so that main memory is read once. */
#define TASK_BYTES ((size_t)64 << 10)
/* Tasks per thread at least: the last ones to finish then differ by little. */
#define TASKS_PER_THREAD 8
/* Below this many values quantising on one thread is quicker than waking the others. */
#define QUANTISE_ALONE ((size_t)16 << 10)

struct gemm_ctx {
    struct pool *pool;
    const struct dot_set *set;
    uint8_t *scratch;
};

/* One pass: m columns of one product. */
struct gemm_pass {
    const struct dot_set *set;
    const struct bweight *w;
    const float *a; /* [m, k] */
    size_t m;
    float *out; /* [m, n] */
    bool add;
    bool wants[ACT_FORMAT_N];
    struct dot_cols cols[ACT_FORMAT_N]; /* all m columns, by format */
    size_t task_rows, tile_cols;
    atomic_size_t next_column, next_row;
};

struct gemm_ctx *gemm_ctx_new(struct pool *pool, enum cpu_isa isa, struct err *err)
{
    struct gemm_ctx *g = mem_alloc(sizeof *g, err);
    if (!g)
        return NULL;
    g->pool = pool;
    g->set = dot_set_get(isa);
    g->scratch = mem_map(SCRATCH_BYTES, err);
    if (!g->scratch) {
        mem_free(g);
        return NULL;
    }
    return g;
}

void gemm_ctx_free(struct gemm_ctx *g)
{
    if (!g)
        return;
    mem_unmap(g->scratch, SCRATCH_BYTES);
    mem_free(g);
}

static size_t round_up_64(size_t n)
{
    return (n + 63) & ~(size_t)63;
}

/* Bytes of one quantised column in both formats, with room to align each of the six arrays. */
static size_t column_bytes(size_t k)
{
    return 2 * k + 2 * (k / 32) * sizeof(float) + (k / 256) * sizeof(float) + (k / 16) * sizeof(int16_t);
}

static uint8_t *take(uint8_t **free_bytes, size_t n_bytes)
{
    uint8_t *p = *free_bytes;
    *free_bytes += round_up_64(n_bytes);
    return p;
}

static void lay_out_columns(struct gemm_pass *p, uint8_t *scratch)
{
    size_t k = p->w->k, m = p->m;
    for (size_t i = 0; i < p->w->n_parts; i++)
        p->wants[dot_act_format(p->w->parts[i].type)] = true;
    for (int f = 0; f < ACT_FORMAT_N; f++)
        p->cols[f] = (struct dot_cols){.n = m, .k = k};
    p->cols[ACT_F32].x = p->a;
    if (p->wants[ACT_Q32]) {
        p->cols[ACT_Q32].q = (int8_t *)take(&scratch, m * k);
        p->cols[ACT_Q32].d = (float *)(void *)take(&scratch, m * (k / 32) * sizeof(float));
        p->cols[ACT_Q32].s = (float *)(void *)take(&scratch, m * (k / 32) * sizeof(float));
    }
    if (p->wants[ACT_Q256]) {
        p->cols[ACT_Q256].q = (int8_t *)take(&scratch, m * k);
        p->cols[ACT_Q256].d = (float *)(void *)take(&scratch, m * (k / 256) * sizeof(float));
        p->cols[ACT_Q256].sums = (int16_t *)(void *)take(&scratch, m * (k / 16) * sizeof(int16_t));
    }
}

/* The scratch behind the const views of a column. */
static void quantise_column(const struct gemm_pass *p, size_t c)
{
    size_t k = p->w->k;
    const float *x = p->a + c * k;
    const struct dot_cols *c32 = &p->cols[ACT_Q32], *c256 = &p->cols[ACT_Q256];
    if (p->wants[ACT_Q32])
        p->set->quant_32(x, k, (int8_t *)c32->q + c * k, (float *)c32->d + c * (k / 32),
                         (float *)c32->s + c * (k / 32));
    if (p->wants[ACT_Q256])
        p->set->quant_256(x, k, (int8_t *)c256->q + c * k, (float *)c256->d + c * (k / 256),
                          (int16_t *)c256->sums + c * (k / 16));
}

static void quantise_task(void *arg, int thread, int n_threads)
{
    struct gemm_pass *p = arg;
    (void)thread;
    (void)n_threads;
    for (size_t c; (c = atomic_fetch_add_explicit(&p->next_column, 1, memory_order_relaxed)) < p->m;)
        quantise_column(p, c);
}

static struct dot_cols columns_from(const struct dot_cols *all, enum act_format format, size_t first,
                                    size_t n)
{
    struct dot_cols part = {.n = n, .k = all->k};
    if (format == ACT_F32) {
        part.x = all->x + first * all->k;
        return part;
    }
    part.q = all->q + first * all->k;
    if (format == ACT_Q32) {
        part.d = all->d + first * (all->k / 32);
        part.s = all->s + first * (all->k / 32);
    } else {
        part.d = all->d + first * (all->k / 256);
        part.sums = all->sums + first * (all->k / 16);
    }
    return part;
}

/* Rows [begin, end) of a part, whose row 0 is column `base` of out, times one tile of columns. */
static void multiply_tile(const struct gemm_pass *p, const struct weight_rows *rows, size_t base,
                          size_t begin, size_t end, size_t first_col, size_t n_cols)
{
    enum act_format format = dot_act_format(rows->type);
    dot_fn *dot = p->set->dot[rows->type];
    struct dot_cols cols = columns_from(&p->cols[format], format, first_col, n_cols);
    for (size_t r = begin; r < end; r++) {
        float result[DOT_MAX_COLS], bias = 0;
        dot(rows->data + r * rows->row_bytes, &cols, result);
        if (rows->bias)
            memcpy(&bias, rows->bias + r * sizeof bias, sizeof bias);
        float *out = p->out + first_col * p->w->n + base + r;
        for (size_t c = 0; c < n_cols; c++, out += p->w->n) {
            float value = rows->bias ? result[c] + bias : result[c];
            *out = p->add ? *out + value : value;
        }
    }
}

/* Rows [begin, end) of the whole weight, which may touch several parts. */
static void multiply_rows(const struct gemm_pass *p, size_t begin, size_t end)
{
    size_t base = 0;
    for (size_t i = 0; i < p->w->n_parts; i++) {
        const struct weight_rows *rows = &p->w->parts[i];
        size_t from = begin > base ? begin - base : 0;
        size_t to = end > base ? end - base : 0;
        to = to < rows->n ? to : rows->n;
        for (size_t c = 0; from < to && c < p->m; c += p->tile_cols) {
            size_t n_cols = p->m - c < p->tile_cols ? p->m - c : p->tile_cols;
            multiply_tile(p, rows, base, from, to, c, n_cols);
        }
        base += rows->n;
    }
}

static void multiply_task(void *arg, int thread, int n_threads)
{
    struct gemm_pass *p = arg;
    (void)thread;
    (void)n_threads;
    for (size_t r;
         (r = atomic_fetch_add_explicit(&p->next_row, p->task_rows, memory_order_relaxed)) < p->w->n;)
        multiply_rows(p, r, p->w->n - r < p->task_rows ? p->w->n : r + p->task_rows);
}

static size_t clamp(size_t x, size_t low, size_t high)
{
    return x < low ? low : x > high ? high : x;
}

static void choose_sizes(struct gemm_pass *p, size_t n_threads)
{
    p->tile_cols =
        p->wants[ACT_F32] ? TILE_FLOAT_COLS : clamp(TILE_BYTES / p->w->k, TILE_MIN_COLS, DOT_MAX_COLS);
    size_t row_bytes = p->w->n_bytes / p->w->n + 1;
    p->task_rows = clamp(p->w->n / (n_threads * TASKS_PER_THREAD), 1, TASK_BYTES / row_bytes + 1);
}

static void run_pass(struct gemm_ctx *g, struct gemm_pass *p)
{
    lay_out_columns(p, g->scratch);
    choose_sizes(p, (size_t)pool_n_threads(g->pool));
    if (p->wants[ACT_Q32] || p->wants[ACT_Q256]) {
        if (p->m * p->w->k <= QUANTISE_ALONE)
            quantise_task(p, 0, 1);
        else
            pool_run(g->pool, quantise_task, p);
    }
    pool_run(g->pool, multiply_task, p);
}

void cpu_gemm(struct gemm_ctx *g, const struct bweight *w, const float *a, size_t m, float *out, bool add)
{
    assert(w->k <= WEIGHT_MAX_K);
    size_t pass_cols = (SCRATCH_BYTES - 6 * 64) / column_bytes(w->k < 256 ? 256 : w->k);
    for (size_t c = 0; w->n && c < m; c += pass_cols) {
        struct gemm_pass p = {.set = g->set, .w = w, .a = a + c * w->k, .out = out + c * w->n, .add = add};
        p.m = m - c < pass_cols ? m - c : pass_cols;
        run_pass(g, &p);
    }
}

static const uint8_t *row_at(const struct bweight *w, size_t row, enum dtype *type)
{
    const struct weight_rows *part = w->parts;
    for (; row >= part->n; part++)
        row -= part->n;
    *type = part->type;
    return part->data + row * part->row_bytes;
}

void cpu_embed(struct gemm_ctx *g, const struct bweight *table, const int32_t *ids, size_t n, float *out)
{
    (void)g;
    for (size_t i = 0; i < n; i++) {
        assert(ids[i] >= 0 && (size_t)ids[i] < table->n);
        enum dtype type;
        const uint8_t *row = row_at(table, (size_t)ids[i], &type);
        dtype_to_f32(type, row, out + i * table->k, table->k);
    }
}
