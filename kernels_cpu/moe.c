/* The driver of the experts' products: quantises the input once, sorts pairs by expert, deals (expert, rows)
 * to the threads. */
#include "kernels_cpu/moe.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "kernels_cpu/act_cols.h"
#include "kernels_cpu/cpu_buf.h"
#include "kernels_cpu/each_row.h"
#include "kernels_cpu/gemm.h"
#include "kernels_cpu/route.h"
#include "kernels_cpu/tile.h"

/* Quantised columns of one pass; more of them take several passes over the experts they want. */
#define SCRATCH_BYTES ((size_t)48 << 20)
#define MAX_PAIRS ((size_t)1 << 16) /* of one pass */
/* Rows of one task. A multiple of 16: the silu of a row then has the same lanes in every cut. */
#define MAX_TASK_ROWS ((size_t)TILE_MAX_ROWS)
#define MIN_TASK_ROWS ((size_t)16)
#define TASKS_PER_THREAD 8
/* Pairs of an expert from which on expanding its rows to tiles pays. */
#define TILED_MIN_PAIRS ((size_t)9)

struct moe_ctx {
    struct pool *pool;
    const struct cpu_kernels *kernels;
    const struct dot_set *set;
    uint8_t *scratch;  /* SCRATCH_BYTES: columns */
    uint8_t *gathered; /* [threads] of gathered_bytes: some columns each */
    size_t gathered_bytes;
    uint8_t *tiles;  /* [threads] of 2 * TILE_MAX_BYTES: rows of gate and of up */
    uint32_t *start; /* [EXPERTS_MAX + 1] */
    uint32_t *pairs; /* [MAX_PAIRS] */
    uint32_t *used;  /* [EXPERTS_MAX] experts that have pairs */
    struct row_share *shares;
};

/* One pass: some tokens of one product. */
struct moe_pass {
    struct moe_ctx *ctx;
    const struct bexperts *w;
    struct act_cols in;
    size_t pairs_per_column; /* K: all slots of a token read its column; 1: each pair has its own */
    float *out;              /* [pairs, n_out] */
    size_t n_out;
    bool gate_up; /* rows i and n_out + i make one value */
    struct row_places next;
    size_t n_used_experts, tile_cols, task_rows, tasks_per_expert;
    atomic_size_t next_task;
};

/* Some pairs of one expert in work, and their columns. */
struct batch {
    const struct act_cols *cols;
    size_t first, n; /* columns of cols */
    const uint32_t *pairs;
    size_t expert;
};

static size_t map_bytes(const struct moe_ctx *m)
{
    return m->gathered_bytes * (size_t)pool_n_threads(m->pool);
}

static size_t tiles_bytes(const struct moe_ctx *m)
{
    return 2 * TILE_MAX_BYTES * (size_t)pool_n_threads(m->pool);
}

struct moe_ctx *moe_ctx_new(struct pool *pool, const struct cpu_kernels *kernels, const struct dot_set *set,
                            struct err *err)
{
    struct moe_ctx *m = mem_alloc(sizeof *m, err);
    if (!m)
        return NULL;
    m->pool = pool;
    m->kernels = kernels;
    m->set = set;
    m->gathered_bytes =
        act_cols_bytes(DOT_MAX_COLS, EXPERTS_MAX_K) + DOT_MAX_COLS * EXPERTS_MAX_K * sizeof(float);
    m->scratch = mem_map(SCRATCH_BYTES, err);
    m->gathered = m->scratch ? mem_map(map_bytes(m), err) : NULL;
    m->tiles = m->gathered ? mem_map(tiles_bytes(m), err) : NULL;
    m->start = m->tiles ? mem_array(EXPERTS_MAX + 1, sizeof *m->start, err) : NULL;
    m->used = m->start ? mem_array(EXPERTS_MAX, sizeof *m->used, err) : NULL;
    m->pairs = m->used ? mem_array(MAX_PAIRS, sizeof *m->pairs, err) : NULL;
    m->shares = m->pairs ? mem_array((size_t)pool_n_threads(pool), sizeof *m->shares, err) : NULL;
    if (m->shares)
        return m;
    moe_ctx_free(m);
    return NULL;
}

void moe_ctx_free(struct moe_ctx *m)
{
    if (!m)
        return;
    if (m->scratch)
        mem_unmap(m->scratch, SCRATCH_BYTES);
    if (m->gathered)
        mem_unmap(m->gathered, map_bytes(m));
    if (m->tiles)
        mem_unmap(m->tiles, tiles_bytes(m));
    mem_free(m->start);
    mem_free(m->used);
    mem_free(m->pairs);
    mem_free(m->shares);
    mem_free(m);
}

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t n_pairs_of(const struct moe_ctx *m, size_t expert)
{
    return m->start[expert + 1] - m->start[expert];
}

/* ---- one task ---- */

static void dot_row(const struct moe_pass *p, const struct batch *t, size_t row, float *out)
{
    enum dtype type;
    const uint8_t *w = expert_row(p->w, t->expert, row, &type);
    struct dot_cols cols = act_cols_view(t->cols, t->first, t->n);
    p->in.set->dot[type](w, &cols, out);
}

static void down_rows(const struct moe_pass *p, const struct batch *t, size_t begin, size_t end)
{
    float result[DOT_MAX_COLS];
    for (size_t r = begin; r < end; r++) {
        dot_row(p, t, r, result);
        for (size_t c = 0; c < t->n; c++)
            p->out[t->pairs[c] * p->n_out + r] = result[c];
    }
}

static void gate_up_rows(const struct moe_pass *p, const struct batch *t, size_t begin, size_t end)
{
    float gate[DOT_MAX_COLS][MAX_TASK_ROWS], up[DOT_MAX_COLS][MAX_TASK_ROWS], result[DOT_MAX_COLS];
    for (size_t r = begin; r < end; r++) {
        dot_row(p, t, r, result);
        for (size_t c = 0; c < t->n; c++)
            gate[c][r - begin] = result[c];
        dot_row(p, t, p->n_out + r, result);
        for (size_t c = 0; c < t->n; c++)
            up[c][r - begin] = result[c];
    }
    for (size_t c = 0; c < t->n; c++)
        p->ctx->kernels->silu_mul(p->out + t->pairs[c] * p->n_out + begin, gate[c], up[c], end - begin);
}

static void run_batch(const struct moe_pass *p, const struct batch *t, size_t begin, size_t end)
{
    if (p->gate_up)
        gate_up_rows(p, t, begin, end);
    else
        down_rows(p, t, begin, end);
}

/* Rows [begin, end) of an expert times the columns of its pairs. A single column is read where it lies. */
static void run_rows(const struct moe_pass *p, size_t expert, size_t begin, size_t end, uint8_t *memory)
{
    const struct moe_ctx *m = p->ctx;
    for (size_t at = m->start[expert], stop = m->start[expert + 1]; at < stop;) {
        size_t n = min_size(stop - at, p->tile_cols);
        struct batch t = {.pairs = m->pairs + at, .n = n, .expert = expert};
        struct act_cols gathered;
        uint32_t index[DOT_MAX_COLS];
        for (size_t c = 0; c < n; c++)
            index[c] = (uint32_t)(t.pairs[c] / p->pairs_per_column);
        if (n == 1) {
            t.cols = &p->in;
            t.first = index[0];
        } else {
            memcpy(gathered.wants, p->in.wants, sizeof gathered.wants);
            gathered.tiled = gathered.no_dots = false;
            float *floats = (float *)(void *)memory;
            act_cols_lay_out(&gathered, p->in.set, floats, n, p->in.k,
                             memory + DOT_MAX_COLS * EXPERTS_MAX_K * sizeof *floats);
            act_cols_gather(&p->in, index, n, &gathered);
            t.cols = &gathered;
        }
        run_batch(p, &t, begin, end);
        at += n;
    }
}

/* The tile of rows from `row` on, of all parts' rows of an expert, times columns index[0..n). */
struct expert_tile {
    const struct tile_kernel *kernel;
    uint8_t *memory;
};

static struct expert_tile expand_rows(const struct moe_pass *p, size_t expert, size_t row, uint8_t *memory)
{
    enum dtype type;
    const uint8_t *w = expert_row(p->w, expert, row, &type);
    size_t row_bytes = (size_t)(expert_row(p->w, expert, row + 1, &type) - w);
    struct expert_tile t = {p->in.set->tile[type], memory};
    t.kernel->expand(w, row_bytes, p->w->shape.k, memory);
    return t;
}

/* The rows of the tile that will be expanded next. */
struct rows_ahead {
    struct tile_ahead gate, up;
};

/* Where results will be written, brought near while they are computed. */
static void fetch_out(const struct moe_pass *p, const uint32_t *pairs, size_t n, size_t begin, size_t end)
{
    for (size_t c = 0; c < n; c++)
        for (size_t r = begin; r < end; r += 16)
            __builtin_prefetch(p->out + pairs[c] * p->n_out + r, 1, 2);
}

/* Rows [begin, end), of which the tile's first one is `first`, times all columns of an expert's pairs. */
static void tile_times_pairs(const struct moe_pass *p, const struct expert_tile *gate,
                             const struct expert_tile *up, size_t expert, size_t first, size_t begin,
                             size_t end, struct rows_ahead ahead)
{
    const struct moe_ctx *m = p->ctx;
    float result[TILE_MAX_COLS * TILE_MAX_ROWS], up_result[TILE_MAX_COLS * TILE_MAX_ROWS];
    uint32_t index[TILE_MAX_COLS];
    struct tile_ahead not_yet = {0};
    for (size_t at = m->start[expert], n; at < m->start[expert + 1]; at += n) {
        n = tile_cols(m->start[expert + 1] - at);
        for (size_t c = 0; c < n; c++)
            index[c] = (uint32_t)(m->pairs[at + c] / p->pairs_per_column);
        fetch_out(p, m->pairs + at, n, begin, end);
        bool wait = m->start[expert + 1] - at > TILE_AHEAD_COLS;
        gate->kernel->multiply(gate->memory, &p->in.cols, index, n, wait ? &not_yet : &ahead.gate, result);
        if (up)
            up->kernel->multiply(up->memory, &p->in.cols, index, n, wait ? &not_yet : &ahead.up, up_result);
        for (size_t c = 0; c < n; c++) {
            float *out = p->out + m->pairs[at + c] * p->n_out + begin;
            size_t from = c * gate->kernel->rows + begin - first;
            if (up)
                m->kernels->silu_mul(out, result + from, up_result + from, end - begin);
            else
                memcpy(out, result + from, (end - begin) * sizeof *out);
        }
    }
}

/* Rows of a tile of this weight. */
static size_t tile_rows(const struct moe_pass *p)
{
    return p->ctx->set->tile[p->w->parts[0].type]->rows;
}

/* Are all parts of the weight as tiles want them, of equal height, and none of the tiles in two of them? Does
 * one hold whole rows? */
static bool tiles_serve(const struct moe_pass *p)
{
    for (size_t i = 0; i < p->w->n_parts; i++) {
        const struct expert_rows *part = &p->w->parts[i];
        size_t k = p->w->shape.k;
        if (part->n % p->n_out || !tile_serves(p->ctx->set, part->type, p->n_out, k))
            return false;
        const struct tile_kernel *tile = p->ctx->set->tile[part->type];
        if (tile->rows != tile_rows(p) || tile_segment(tile, k) < k)
            return false;
    }
    return true;
}

/* What task number i is about: rows of an expert, from `row` on. */
struct task {
    size_t expert, row;
};

/* With tiles, where experts are listed by their pairs, tasks of the first and the last one take turns, then
 * those of the next two: arithmetic decides what many pairs take and memory what few do, and threads that
 * have one of each wait less for both. */
static struct task task_at(const struct moe_pass *p, size_t i)
{
    const uint32_t *used = p->ctx->used;
    size_t each = p->tasks_per_expert, two = i / (2 * each), at = i % (2 * each);
    if (!p->in.tiled)
        return (struct task){used[i / each], i % each * p->task_rows};
    if (2 * two + 1 == p->n_used_experts)
        return (struct task){used[two], at * p->task_rows};
    return (struct task){used[at % 2 ? p->n_used_experts - 1 - two : two], at / 2 * p->task_rows};
}

/* The rows of task number i. */
static struct rows_ahead task_rows_ahead(const struct moe_pass *p, size_t i)
{
    struct rows_ahead ahead = {{0}, {0}};
    if (i >= p->n_used_experts * p->tasks_per_expert)
        return ahead;
    enum dtype type;
    struct task task = task_at(p, i);
    size_t expert = task.expert, row = task.row;
    size_t n_bytes = p->w->shape.expert_bytes / p->w->shape.n * min_size(p->task_rows, p->n_out - row);
    ahead.gate.at = expert_row(p->w, expert, row, &type);
    ahead.gate.end = ahead.gate.at + n_bytes;
    if (p->gate_up) {
        ahead.up.at = expert_row(p->w, expert, p->n_out + row, &type);
        ahead.up.end = ahead.up.at + n_bytes;
    }
    return ahead;
}

/* Rows [begin, end) of an expert with many pairs. The last tile is a whole one, too: some of its rows were
 * computed before. */
static void run_tiles(const struct moe_pass *p, size_t expert, size_t begin, size_t end,
                      struct rows_ahead ahead, uint8_t *memory)
{
    size_t n_rows = tile_rows(p);
    for (size_t next; begin < end; begin = next) {
        size_t first = begin + n_rows <= p->n_out ? begin : p->n_out - n_rows;
        next = min_size(first + n_rows, end);
        struct expert_tile gate = expand_rows(p, expert, first, memory), up;
        if (p->gate_up)
            up = expand_rows(p, expert, p->n_out + first, memory + TILE_MAX_BYTES);
        tile_times_pairs(p, &gate, p->gate_up ? &up : NULL, expert, first, begin, next, ahead);
    }
}

static void run_tasks(void *arg, int thread, int n_threads)
{
    struct moe_pass *p = arg;
    const struct moe_ctx *m = p->ctx;
    uint8_t *memory = m->gathered + (size_t)thread * m->gathered_bytes;
    uint8_t *tiles = m->tiles + (size_t)thread * 2 * TILE_MAX_BYTES;
    size_t n_tasks = p->n_used_experts * p->tasks_per_expert;
    for (size_t i; (i = atomic_fetch_add_explicit(&p->next_task, 1, memory_order_relaxed)) < n_tasks;) {
        struct task task = task_at(p, i);
        size_t expert = task.expert, begin = task.row, end = min_size(begin + p->task_rows, p->n_out);
        if (p->in.no_dots || (p->in.tiled && n_pairs_of(m, expert) >= TILED_MIN_PAIRS))
            run_tiles(p, expert, begin, end, task_rows_ahead(p, i + (size_t)n_threads), tiles);
        else
            run_rows(p, expert, begin, end, memory);
    }
}

/* ---- one pass ---- */

/* Experts that have pairs; for tiles those with the most come first. */
static void list_used(struct moe_pass *p)
{
    const struct moe_ctx *m = p->ctx;
    size_t n = 0;
    for (size_t e = 0; e < p->w->shape.n_experts; e++) {
        size_t at = n, n_pairs = n_pairs_of(m, e);
        if (n_pairs == 0)
            continue;
        for (; p->in.tiled && at > 0 && n_pairs_of(m, m->used[at - 1]) < n_pairs; at--)
            m->used[at] = m->used[at - 1];
        m->used[at] = (uint32_t)e;
        n++;
    }
    p->n_used_experts = n;
}

static void choose_sizes(struct moe_pass *p)
{
    size_t n_rows = p->n_used_experts * p->n_out;
    size_t rows = n_rows / ((size_t)pool_n_threads(p->ctx->pool) * TASKS_PER_THREAD) & ~(MIN_TASK_ROWS - 1);
    rows = rows < MIN_TASK_ROWS ? MIN_TASK_ROWS : rows;
    p->task_rows = p->in.tiled ? tile_rows(p) : min_size(rows, MAX_TASK_ROWS);
    p->tasks_per_expert = (p->n_out + p->task_rows - 1) / p->task_rows;
    p->tile_cols = gemm_tile_cols(&p->in);
}

/* ---- a pass where each expert has one pair: memory decides ---- */

/* Row `row` of the rows of all used experts, one after the other. */
static void walk_row(const struct moe_pass *p, size_t row)
{
    const struct moe_ctx *m = p->ctx;
    size_t expert = m->used[row / p->n_out], r = row % p->n_out, pair = m->pairs[m->start[expert]];
    struct batch b = {.cols = &p->in, .first = pair / p->pairs_per_column, .n = 1, .expert = expert};
    if (!p->gate_up) {
        dot_row(p, &b, r, p->out + pair * p->n_out + r);
        return;
    }
    float *gate = (float *)(void *)m->gathered + pair * 2 * p->n_out;
    dot_row(p, &b, r, gate + r);
    dot_row(p, &b, p->n_out + r, gate + p->n_out + r);
}

static void walk_rows(void *arg, const size_t *row, size_t n)
{
    for (size_t i = 0; i < n; i++)
        walk_row(arg, row[i]);
}

static bool walks(const struct moe_pass *p, size_t n_pairs)
{
    size_t gate_up_bytes = n_pairs * 2 * p->n_out * sizeof(float);
    return p->n_used_experts == n_pairs && (!p->gate_up || gate_up_bytes <= map_bytes(p->ctx));
}

static void run_walk(struct moe_pass *p)
{
    struct moe_ctx *m = p->ctx;
    const struct experts_shape *shape = &p->w->shape;
    row_walk_run(&(struct row_walk){.n = p->n_used_experts * p->n_out,
                                    .row_bytes = shape->expert_bytes / shape->n,
                                    .rows = walk_rows,
                                    .arg = p,
                                    .shares = m->shares,
                                    .pool = m->pool,
                                    .next = p->next});
    for (size_t i = 0; p->gate_up && i < p->n_used_experts; i++) {
        const float *gate = (const float *)(const void *)m->gathered + i * 2 * p->n_out;
        m->kernels->silu_mul(p->out + i * p->n_out, gate, gate + p->n_out, p->n_out);
    }
}

/* Sorts the pairs at hand by expert; no ids: all go to the first. */
static void sort_pairs(const struct moe_pass *p, const int32_t *ids, size_t n)
{
    struct moe_ctx *m = p->ctx;
    if (ids) {
        cpu_bucket_pairs(ids, n, p->w->shape.n_experts, m->start, m->pairs);
        return;
    }
    m->start[0] = 0;
    m->start[1] = (uint32_t)n;
    for (size_t i = 0; i < n; i++)
        m->pairs[i] = (uint32_t)i;
}

/* x [n_columns, k]; ids of the pairs of every column, one after the other. */
static void run_product(struct moe_pass *p, const float *x, const int32_t *ids, size_t n_columns)
{
    struct moe_ctx *m = p->ctx;
    float *out = p->out;
    size_t k = p->w->shape.k, n_slots = p->pairs_per_column;
    size_t step = min_size(act_cols_fitting(SCRATCH_BYTES, k), MAX_PAIRS / n_slots);
    for (size_t i = 0; i < p->w->n_parts; i++)
        p->in.wants[dot_act_format(m->set, p->w->parts[i].type)] = true;
    p->in.tiled = n_columns >= TILED_MIN_PAIRS && tiles_serve(p);
    for (size_t at = 0; at < n_columns; at += step) {
        size_t n = min_size(step, n_columns - at);
        sort_pairs(p, ids ? ids + at * n_slots : NULL, n * n_slots);
        act_cols_lay_out(&p->in, m->set, x + at * k, n, k, m->scratch);
        atomic_store(&p->in.next, 0);
        atomic_store(&p->next_task, 0);
        p->out = out + at * n_slots * p->n_out;
        list_used(p);
        choose_sizes(p);
        act_cols_quantise(&p->in, m->pool);
        if (!p->in.no_dots && walks(p, n * n_slots))
            run_walk(p);
        else
            pool_run(m->pool, run_tasks, p);
    }
}

/* The rows of `down` of the experts that the product at hand uses. */
struct next_down {
    const struct moe_ctx *ctx;
    const struct bexperts *w;
};

static const void *down_place(const void *arg, size_t row)
{
    const struct next_down *next = arg;
    enum dtype type;
    size_t n = next->w->shape.n;
    return expert_row(next->w, next->ctx->used[row / n], row % n, &type);
}

static const int32_t *ids_of(const struct bbuf *ids, size_t first)
{
    return (const int32_t *)ids->data + first;
}

void cpu_moe_gate_up(struct moe_ctx *m, const struct op_moe_gate_up *op)
{
    struct next_down down = {m, op->next};
    struct moe_pass p = {.ctx = m,
                         .w = op->w,
                         .pairs_per_column = op->n_used,
                         .out = cpu_buf_f32(op->out),
                         .n_out = op->w->shape.n / 2,
                         .gate_up = true};
    if (op->next && op->next->shape.n_experts == op->w->shape.n_experts)
        p.next = (struct row_places){.n = op->n_used * op->next->shape.n,
                                     .row_bytes = op->next->shape.expert_bytes / op->next->shape.n,
                                     .at = down_place,
                                     .arg = &down};
    run_product(&p, cpu_buf_const_f32(op->x), ids_of(op->ids, op->ids_row * op->n_used), op->n_tokens);
}

/* A dense weight as a stack of one; not one with biases. Nor one of floats: two of their tiles are too much
 * for the second-level cache, and it was no quicker. */
static bool as_expert(const struct dot_set *set, const struct bweight *w, struct bexperts *out)
{
    *out = (struct bexperts){.shape = {1, w->n, w->k, w->n_bytes}, .n_parts = w->n_parts};
    for (size_t i = 0; i < w->n_parts; i++) {
        const struct weight_rows *rows = &w->parts[i];
        enum act_format format = dot_act_format(set, rows->type);
        if (rows->bias || format == ACT_F32 || format == ACT_BF16)
            return false;
        out->parts[i] = (struct expert_rows){rows->data, rows->type, rows->n, rows->row_bytes};
    }
    return true;
}

bool cpu_gate_up(struct moe_ctx *m, const struct op_gate_up *op)
{
    struct bexperts w;
    struct moe_pass p = {.ctx = m,
                         .w = &w,
                         .pairs_per_column = 1,
                         .out = cpu_buf_f32(op->out),
                         .n_out = op->w->n / 2,
                         .gate_up = true};
    p.in.no_dots = true;
    if (op->n_tokens < TILED_MIN_PAIRS || !as_expert(m->set, op->w, &w) || !tiles_serve(&p))
        return false;
    run_product(&p, cpu_buf_const_f32(op->x), NULL, op->n_tokens);
    return true;
}

void cpu_moe_down(struct moe_ctx *m, const struct op_moe_down *op)
{
    struct moe_pass p = {.ctx = m,
                         .w = op->w,
                         .pairs_per_column = 1,
                         .out = cpu_buf_f32(op->out),
                         .n_out = op->w->shape.n,
                         .next = gemm_places(op->next)};
    run_product(&p, cpu_buf_const_f32(op->x), ids_of(op->ids, op->ids_row * op->n_used),
                op->n_tokens * op->n_used);
}

/* ---- sums ---- */

static void sum_slots(void *arg, size_t t)
{
    const struct op_weighted_sum *op = arg;
    const float *weights = cpu_buf_const_f32(op->weights) + t * op->n_used;
    const float *slots = cpu_buf_const_f32(op->slots) + t * op->n_used * op->n;
    float *out = cpu_buf_f32(op->out) + t * op->n;
    enum { CHUNK = 256 };
    for (size_t at = 0; at < op->n; at += CHUNK) {
        float sum[CHUNK] = {0};
        size_t n = min_size(CHUNK, op->n - at);
        for (size_t s = 0; s < op->n_used; s++)
            for (size_t i = 0; i < n; i++)
                sum[i] += weights[s] * slots[s * op->n + at + i];
        for (size_t i = 0; i < n; i++)
            out[at + i] += sum[i];
    }
}

static void add_gated_row(void *arg, size_t t)
{
    const struct op_add_gated *op = arg;
    const float *x = cpu_buf_const_f32(op->x) + t * op->n;
    float *out = cpu_buf_f32(op->out) + t * op->n;
    float gate = 1.0f / (1.0f + expf(-cpu_buf_const_f32(op->gate)[t]));
    for (size_t i = 0; i < op->n; i++)
        out[i] += gate * x[i];
}

void cpu_weighted_sum(struct moe_ctx *m, const struct op_weighted_sum *op)
{
    struct op_weighted_sum copy = *op;
    each_row_run(m->pool, op->n_tokens, op->n_used * op->n, sum_slots, &copy);
}

void cpu_add_gated(struct moe_ctx *m, const struct op_add_gated *op)
{
    struct op_add_gated copy = *op;
    each_row_run(m->pool, op->n_tokens, op->n, add_gated_row, &copy);
}
