/* attention.c owns how attention is cut into pieces and put together again.
 *
 * Positions are cut into chunks at fixed places, multiples of CHUNK_POSITIONS. A chunk's softmax (max, sum,
 * weighted V) is computed from nothing, page by page; the chunks of a query row are then merged in order,
 * first to last. The pieces of a row and their order depend on its position and the window only, so the bits
 * of the result are the same whether one thread does a row's chunks one after another (many rows: prefill) or
 * several threads do them at the same time (few rows: decode).
 *
 * The query rows of one KV head of one sequence (token-major: row = token * group + head in group) are cut
 * into tiles that share the loads of K and V, and what is made of them: the more rows, the less it costs
 * each, as long as all threads have tiles. KV heads are counted through all sequences: seq * KV + KV head. */
#include "kernels_cpu/attention.h"

#include <assert.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "engine/base/mem.h"
#include "kernels_cpu/cpu_buf.h"
#include "kernels_cpu/kv_page.h"

#define CHUNK_POSITIONS ((size_t)512)
#define CHUNK_PAGES (CHUNK_POSITIONS / KV_BLOCK_TOKENS)

/* Multiply-adds below which the caller works alone, about 5 us. */
#define SHARE_MIN_MACS 100000

/* Floats of partial results kept between the two steps of a split call: 4 MiB, in cache together with the KV.
 */
#define PARTIAL_FLOATS ((size_t)1 << 20)

/* The least rows of a tile, where there are so many, and how many tiles a thread should have. */
#define TILE_MIN_ROWS 24
#define TILES_PER_THREAD 4

struct attn_thread {
    struct attn_tile tile;
    size_t seen_begin[ATTN_TILE_ROWS], seen_end[ATTN_TILE_ROWS]; /* the positions each row sees */
    float *total;                                                /* [ATTN_TILE_ROWS] states */
};

struct attn {
    int n_threads;
    struct attn_thread *threads;
    float *floats; /* all scratch of the threads, then the partial results */
    size_t n_bytes;
    float *partial;
};

struct call {
    const struct op_attention *op;
    struct attn *a;
    attn_page_fn *page;
    attn_merge_fn *merge;
    size_t group;   /* query heads per KV head */
    size_t n_heads; /* KV heads of all sequences */
    size_t n_rows;  /* query rows per KV head */
    size_t tile_rows;
    size_t n_tiles;     /* per KV head */
    size_t state;       /* floats of a state */
    size_t chunk_begin; /* chunks of this call, or of this wave of a split call */
    size_t chunk_end;
    float *total; /* split calls: [n_heads, n_rows] states, then the chunks' [n_heads, n_rows, chunks] */
    float *parts;
    bool last_wave;
    atomic_size_t next; /* next item to take */
};

/* One tile of one KV head; head counts through all sequences. */
struct piece {
    size_t head, seq, kv_head, first, n;
};

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t row_position(const struct call *c, size_t seq, size_t row)
{
    return c->op->lens[seq] - c->op->n_tokens + row / c->group;
}

static size_t first_seen(const struct op_attention *op, size_t pos)
{
    return op->window && pos + 1 > op->window ? pos + 1 - op->window : 0;
}

static struct piece piece_at(const struct call *c, size_t head, size_t tile)
{
    size_t first = tile * c->tile_rows, n_kv_head = c->op->n_kv_head;
    return (struct piece){head, head / n_kv_head, head % n_kv_head, first,
                          min_size(c->tile_rows, c->n_rows - first)};
}

static void load_queries(const struct call *c, struct attn_thread *t, struct piece p)
{
    const struct op_attention *op = c->op;
    const float *q = cpu_buf_const_f32(op->q);
    size_t dim = op->head_dim;
    float scale = op->scale;
    t->tile.n_rows = p.n;
    t->tile.head_dim = dim;
    t->tile.is_rounded = false;
    for (size_t i = 0; i < p.n; i++) {
        size_t row = p.first + i, head = p.head * c->group + row % c->group;
        const float *from = q + (head * op->n_tokens + row / c->group) * dim;
        float *to = t->tile.q + i * dim;
        for (size_t d = 0; d < dim; d++)
            to[d] = from[d] * scale;
        t->seen_begin[i] = first_seen(op, row_position(c, p.seq, row));
        t->seen_end[i] = row_position(c, p.seq, row) + 1;
    }
}

static size_t clamp_to_page(size_t pos, size_t page)
{
    size_t start = page * KV_BLOCK_TOKENS;
    return pos <= start ? 0 : min_size(pos - start, KV_BLOCK_TOKENS);
}

/* A page of the piece's sequence. */
static const char *slab_rows(const struct call *c, struct piece p, size_t slab, size_t page)
{
    const struct kv_layer *kv = &c->op->kv;
    return kv_page_rows(kv, slab, p.seq * kv->n_pages + page, p.kv_head, c->op->head_dim);
}

static const char *k_rows(const struct call *c, struct piece p, size_t page)
{
    return slab_rows(c, p, c->op->kv.k_offset, page);
}

static const char *v_rows(const struct call *c, struct piece p, size_t page)
{
    return slab_rows(c, p, c->op->kv.v_offset, page);
}

static void add_page(const struct call *c, struct attn_thread *t, struct piece p, size_t page)
{
    struct attn_tile *tile = &t->tile;
    for (size_t i = 0; i < p.n; i++) {
        tile->begin[i] = clamp_to_page(t->seen_begin[i], page);
        tile->end[i] = clamp_to_page(t->seen_end[i], page);
    }
    c->page(tile, k_rows(c, p, page), v_rows(c, p, page));
}

/* The tile's state over one chunk, computed from nothing. */
static void run_chunk(const struct call *c, struct attn_thread *t, struct piece p, size_t chunk)
{
    struct attn_tile *tile = &t->tile;
    size_t begin = t->seen_begin[0] / KV_BLOCK_TOKENS;
    size_t last = (t->seen_end[p.n - 1] - 1) / KV_BLOCK_TOKENS, end = last + 1;
    if (begin < chunk * CHUNK_PAGES)
        begin = chunk * CHUNK_PAGES;
    end = min_size(end, (chunk + 1) * CHUNK_PAGES);
    memset(tile->acc, 0, p.n * tile->head_dim * sizeof *tile->acc);
    for (size_t i = 0; i < p.n; i++) {
        tile->max[i] = -INFINITY;
        tile->sum[i] = 0;
    }
    for (size_t page = begin; page < end; page++) {
        tile->next_k = page < last ? k_rows(c, p, page + 1) : NULL;
        tile->next_v = page < last ? v_rows(c, p, page + 1) : NULL;
        add_page(c, t, p, page);
    }
}

/* total and part are states; part may be empty (a row that sees nothing of the chunk). */
static void merge_state(const struct call *c, float *total, const float *part, float max, float sum)
{
    size_t dim = c->op->head_dim;
    if (sum == 0)
        return;
    if (total[dim + 1] == 0) {
        memcpy(total, part, dim * sizeof *total);
        total[dim] = max;
        total[dim + 1] = sum;
        return;
    }
    c->merge(total, part, max, sum, dim);
}

/* values[head_dim], the weighted V, by their sum. */
static void finish_row(const struct call *c, size_t head, size_t row, const float *values, float sum)
{
    const struct op_attention *op = c->op;
    size_t dim = op->head_dim, token = head / op->n_kv_head * op->n_tokens + row / c->group;
    size_t query_head = head % op->n_kv_head * c->group + row % c->group;
    float *out = cpu_buf_f32(op->out) + (token * op->n_head + query_head) * dim;
    float scale = 1.0f / sum;
    for (size_t d = 0; d < dim; d++)
        out[d] = values[d] * scale;
}

/* A tile over the chunks [begin, end). */
static void run_chunks(const struct call *c, struct attn_thread *t, struct piece p, size_t begin, size_t end)
{
    size_t dim = c->op->head_dim;
    memset(t->total, 0, p.n * c->state * sizeof *t->total);
    for (size_t chunk = begin; chunk < end; chunk++) {
        run_chunk(c, t, p, chunk);
        for (size_t i = 0; i < p.n; i++)
            merge_state(c, t->total + i * c->state, t->tile.acc + i * dim, t->tile.max[i], t->tile.sum[i]);
    }
    for (size_t i = 0; i < p.n; i++) {
        const float *total = t->total + i * c->state;
        finish_row(c, p.head, p.first + i, total, total[dim + 1]);
    }
}

/* A tile over all its chunks; a single one needs no merging. */
static void run_tile(const struct call *c, struct attn_thread *t, struct piece p)
{
    load_queries(c, t, p);
    size_t begin = t->seen_begin[0] / CHUNK_POSITIONS;
    size_t end = (t->seen_end[p.n - 1] - 1) / CHUNK_POSITIONS + 1;
    if (end - begin > 1) {
        run_chunks(c, t, p, begin, end);
        return;
    }
    run_chunk(c, t, p, begin);
    for (size_t i = 0; i < p.n; i++)
        finish_row(c, p.head, p.first + i, t->tile.acc + i * c->op->head_dim, t->tile.sum[i]);
}

/* Late tiles see the most and go first, so that the threads finish together. */
static void run_tiles(void *arg, int thread, int n_threads)
{
    struct call *c = arg;
    (void)n_threads;
    size_t n_items = c->n_heads * c->n_tiles, item;
    while ((item = atomic_fetch_add_explicit(&c->next, 1, memory_order_relaxed)) < n_items)
        run_tile(c, &c->a->threads[thread],
                 piece_at(c, item / c->n_tiles, c->n_tiles - 1 - item % c->n_tiles));
}

/* First step of a wave: every (tile, chunk) by itself. */
static void run_parts(void *arg, int thread, int n_threads)
{
    struct call *c = arg;
    (void)n_threads;
    struct attn_thread *t = &c->a->threads[thread];
    size_t n_chunks = c->chunk_end - c->chunk_begin, dim = c->op->head_dim;
    size_t n_items = c->n_heads * c->n_tiles * n_chunks, item;
    while ((item = atomic_fetch_add_explicit(&c->next, 1, memory_order_relaxed)) < n_items) {
        size_t chunk = item % n_chunks, tile = item / n_chunks;
        struct piece p = piece_at(c, tile / c->n_tiles, tile % c->n_tiles);
        load_queries(c, t, p);
        run_chunk(c, t, p, c->chunk_begin + chunk);
        for (size_t i = 0; i < p.n; i++) {
            float *part = c->parts + ((p.head * c->n_rows + p.first + i) * n_chunks + chunk) * c->state;
            memcpy(part, t->tile.acc + i * dim, dim * sizeof *part);
            part[dim] = t->tile.max[i];
            part[dim + 1] = t->tile.sum[i];
        }
    }
}

/* Second step of a wave: a row's chunks in order. */
static void merge_parts(void *arg, int thread, int n_threads)
{
    const struct call *c = arg;
    size_t n_chunks = c->chunk_end - c->chunk_begin, dim = c->op->head_dim;
    size_t n = c->n_heads * c->n_rows;
    for (size_t i = n * (size_t)thread / (size_t)n_threads; i < n * (size_t)(thread + 1) / (size_t)n_threads;
         i++) {
        float *total = c->total + i * c->state;
        const float *part = c->parts + i * n_chunks * c->state;
        for (size_t chunk = 0; chunk < n_chunks; chunk++, part += c->state)
            merge_state(c, total, part, part[dim], part[dim + 1]);
        if (c->last_wave)
            finish_row(c, i / c->n_rows, i % c->n_rows, total, total[dim + 1]);
    }
}

/* Chunks in waves of as many as the partial results have room for. */
static void run_split(struct call *c, struct pool *pool, size_t chunks_per_wave)
{
    size_t n_states = c->n_heads * c->n_rows, end = c->chunk_end;
    c->total = c->a->partial;
    c->parts = c->total + n_states * c->state;
    memset(c->total, 0, n_states * c->state * sizeof *c->total);
    for (size_t chunk = c->chunk_begin; chunk < end; chunk = c->chunk_end) {
        c->chunk_begin = chunk;
        c->chunk_end = min_size(end, chunk + chunks_per_wave);
        c->last_wave = c->chunk_end == end;
        atomic_store_explicit(&c->next, 0, memory_order_relaxed);
        pool_run(pool, run_parts, c);
        if (n_states * (c->chunk_end - chunk) * c->state < SHARE_MIN_MACS)
            merge_parts(c, 0, 1);
        else
            pool_run(pool, merge_parts, c);
    }
}

/* How many chunks of all rows fit beside the totals; 0 when splitting gains nothing or does not fit. Several
 * sequences may differ in length, so that their heads take unlike times. */
static size_t chunks_per_wave(const struct call *c)
{
    size_t n_items = c->n_heads * c->n_tiles, n_threads = (size_t)c->a->n_threads;
    bool uneven = c->op->n_seqs > 1 || (n_items < 8 * n_threads && n_items % n_threads != 0);
    if (n_threads == 1 || c->chunk_end - c->chunk_begin < 2 || (!uneven && n_items >= n_threads))
        return 0;
    size_t fit = PARTIAL_FLOATS / (c->n_heads * c->n_rows * c->state);
    return fit < 1 ? 0 : fit - 1;
}

static void choose_kernels(struct call *c, const struct cpu_kernels *k)
{
    enum dtype type = c->op->kv.type;
    while (c->op->head_dim % (type == DTYPE_I8 ? k->head_step_i8 : k->head_step) != 0)
        k = k->next;
    c->page = type == DTYPE_F16 ? k->attn_page_f16 : type == DTYPE_I8 ? k->attn_page_i8 : k->attn_page_f32;
    c->merge = k->attn_merge;
}

static size_t tiles_of(const struct call *c, size_t rows)
{
    return (c->n_rows + rows - 1) / rows;
}

static void choose_tiles(struct call *c)
{
    size_t wanted = TILES_PER_THREAD * (size_t)c->a->n_threads, rows = ATTN_TILE_ROWS;
    while (rows > TILE_MIN_ROWS && c->n_heads * tiles_of(c, rows) < wanted)
        rows /= 2;
    c->tile_rows = rows;
    c->n_tiles = tiles_of(c, rows);
}

/* The chunks with anything that is seen; returns how many positions that is, of all sequences together. */
static size_t find_chunks(struct call *c)
{
    const struct op_attention *op = c->op;
    size_t n_seen = 0;
    c->chunk_begin = SIZE_MAX;
    c->chunk_end = 0;
    for (size_t s = 0; s < op->n_seqs; s++) {
        size_t end = op->lens[s], begin = first_seen(op, end - op->n_tokens);
        size_t chunk_end = (end - 1) / CHUNK_POSITIONS + 1;
        c->chunk_begin = min_size(c->chunk_begin, begin / CHUNK_POSITIONS);
        c->chunk_end = chunk_end > c->chunk_end ? chunk_end : c->chunk_end;
        n_seen += end - begin;
    }
    return n_seen;
}

void attn_run(struct attn *a, struct pool *pool, const struct cpu_kernels *kernels,
              const struct op_attention *op)
{
    assert(op->head_dim <= ATTN_MAX_HEAD_DIM && pool_n_threads(pool) == a->n_threads);
    if (op->n_tokens == 0)
        return;
    size_t group = op->n_head / op->n_kv_head;
    struct call c = {
        .op = op,
        .a = a,
        .group = group,
        .n_heads = op->n_seqs * op->n_kv_head,
        .n_rows = op->n_tokens * group,
        .state = op->head_dim + ATTN_STATE_EXTRA,
    };
    choose_kernels(&c, kernels);
    choose_tiles(&c);
    size_t n_seen = find_chunks(&c), wave = chunks_per_wave(&c);
    if (2 * op->n_tokens * op->n_head * op->head_dim * n_seen < SHARE_MIN_MACS)
        run_tiles(&c, 0, 1);
    else if (wave > 0)
        run_split(&c, pool, wave);
    else
        pool_run(pool, run_tiles, &c);
}

/* Every part a whole number of cache lines. */
#define TILE_FLOATS (ATTN_TILE_ROWS * (size_t)ATTN_MAX_HEAD_DIM)
#define PAGE_FLOATS (KV_BLOCK_TOKENS * (size_t)ATTN_MAX_HEAD_DIM)
#define SCORE_FLOATS (ATTN_TILE_ROWS * (size_t)KV_BLOCK_TOKENS)
#define TOTAL_FLOATS (ATTN_TILE_ROWS * (size_t)(ATTN_MAX_HEAD_DIM + ATTN_STATE_EXTRA))
#define THREAD_FLOATS (TILE_FLOATS / 2 + 2 * TILE_FLOATS + 2 * PAGE_FLOATS + SCORE_FLOATS + TOTAL_FLOATS)

static void carve(struct attn_thread *t, float *from)
{
    t->tile.q = from;
    t->tile.acc = t->tile.q + TILE_FLOATS;
    t->tile.k_wide = t->tile.acc + TILE_FLOATS;
    t->tile.v_wide = t->tile.k_wide + PAGE_FLOATS;
    t->tile.scores = (float(*)[KV_BLOCK_TOKENS])(t->tile.v_wide + PAGE_FLOATS);
    t->tile.q_rounded = (int16_t *)(void *)(t->tile.v_wide + PAGE_FLOATS + SCORE_FLOATS);
    t->total = t->tile.v_wide + PAGE_FLOATS + SCORE_FLOATS + TILE_FLOATS / 2;
}

struct attn *attn_new(int n_threads, struct err *err)
{
    struct attn *a = mem_alloc(sizeof *a, err);
    if (!a)
        return NULL;
    a->n_threads = n_threads;
    a->n_bytes = ((size_t)n_threads * THREAD_FLOATS + PARTIAL_FLOATS) * sizeof *a->floats;
    a->threads = mem_array((size_t)n_threads, sizeof *a->threads, err);
    a->floats = a->threads ? mem_map(a->n_bytes, err) : NULL;
    if (!a->floats) {
        attn_free(a);
        return NULL;
    }
    for (int i = 0; i < n_threads; i++)
        carve(&a->threads[i], a->floats + (size_t)i * THREAD_FLOATS);
    a->partial = a->floats + (size_t)n_threads * THREAD_FLOATS;
    return a;
}

void attn_free(struct attn *a)
{
    if (!a)
        return;
    if (a->floats)
        mem_unmap(a->floats, a->n_bytes);
    mem_free(a->threads);
    mem_free(a);
}
