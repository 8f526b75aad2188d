/* cl_ops.c: the operations of a dense model: which kernels, with which arguments. Letters as in
 * engine/backend.h. */
#include <string.h>

#include "kernels_cl/cl_backend.h"

/* Rows of a weight are expanded in pieces of at most this, so that they stay in a cache where there is one.
 */
#define EXPANDED_BYTES ((size_t)16 << 20)

static size_t flags_of(const struct op_gemm *op, const struct cl_rows *rows)
{
    return (op->add ? FLAG_ADD : 0) | (rows->bias ? FLAG_BIAS : 0);
}

static void arg_rows(struct cl_call *c, const struct cl_rows *rows)
{
    cl_arg_mem(c, rows->mem);
    cl_arg_u64(c, rows->base);
    cl_arg_u64(c, rows->row_bytes);
}

/* Few tokens: the weights are read as they are. `second` are rows that go on from those of the first, in the
 * same launch, or NULL. */
static bool multiply_few(struct cl_backend *b, const struct op_gemm *op, const struct cl_rows *rows,
                         const struct cl_rows *second)
{
    size_t rows_each = cl_tuning_rows(b, rows->type);
    struct cl_call c = cl_call_begin(b, CL_GROUP_WEIGHT + rows->type, CL_PRODUCT);
    cl_arg_mem(&c, rows->mem);
    cl_arg_u64(&c, rows->base);
    cl_arg_mem(&c, second ? second->mem : NULL);
    cl_arg_u64(&c, second ? second->base : 0);
    cl_arg_u64(&c, rows->row_bytes);
    cl_arg_u32(&c, op->w->k);
    cl_arg_u32(&c, rows->n);
    cl_arg_u32(&c, second ? second->n : 0);
    cl_arg_u32(&c, rows_each);
    cl_arg_buf(&c, op->a);
    cl_arg_u64(&c, op->a_row * op->w->k);
    cl_arg_u32(&c, op->n_tokens);
    cl_arg_buf(&c, op->out);
    cl_arg_u64(&c, op->w->n);
    cl_arg_u64(&c, rows->first);
    cl_arg_mem(&c, rows->bias);
    cl_arg_mem(&c, second ? second->bias : NULL);
    cl_arg_u32(&c, flags_of(op, rows));
    return cl_call_run(&c, cl_groups(rows->n, rows_each) + (second ? cl_groups(second->n, rows_each) : 0), 1);
}

/* Whether the part behind part i may be in its launch. */
static bool goes_on(const struct bweight *w, size_t i)
{
    if (i + 1 >= w->n_parts)
        return false;
    const struct cl_rows *rows = &w->parts[i], *next = rows + 1;
    return next->type == rows->type && next->first == rows->first + rows->n && !next->bias == !rows->bias;
}

static bool expand(struct cl_backend *b, const struct cl_rows *rows, size_t k, size_t first, size_t n)
{
    struct cl_call c = cl_call_begin(b, CL_GROUP_WEIGHT + rows->type, CL_EXPAND);
    arg_rows(&c, rows);
    cl_arg_u32(&c, k);
    cl_arg_u32(&c, first);
    cl_arg_mem(&c, b->expanded.mem);
    return cl_call_run(&c, n, 1);
}

/* The n rows that were expanded; `row` is the first one's place in the part. */
static bool multiply_expanded(struct cl_backend *b, const struct op_gemm *op, const struct cl_rows *rows,
                              size_t row, size_t n)
{
    struct cl_call c = cl_call_begin(b, CL_GROUP_MATRIX, CL_MATRIX);
    cl_arg_mem(&c, b->expanded.mem);
    cl_arg_u32(&c, op->w->k);
    cl_arg_u32(&c, n);
    cl_arg_buf(&c, op->a);
    cl_arg_u64(&c, op->a_row * op->w->k);
    cl_arg_u32(&c, op->n_tokens);
    cl_arg_buf(&c, op->out);
    cl_arg_u64(&c, op->w->n);
    cl_arg_u64(&c, rows->first + row);
    cl_arg_mem(&c, rows->bias);
    cl_arg_u32(&c, row);
    cl_arg_u32(&c, flags_of(op, rows));
    if (c.style == CL_STYLE_GPU)
        return cl_call_run(&c, cl_groups(n, MATRIX_TILE), cl_groups(op->n_tokens, MATRIX_TILE));
    return cl_call_run(&c, cl_groups(n, MATRIX_ROWS), 1);
}

static bool multiply_many(struct cl_backend *b, const struct op_gemm *op, const struct cl_rows *rows)
{
    size_t row_bytes = op->w->k * sizeof(float),
           most = EXPANDED_BYTES / row_bytes / MATRIX_TILE * MATRIX_TILE;
    most = most ? most : MATRIX_TILE;
    most = most < rows->n ? most : rows->n;
    if (!cl_room_need(b, &b->expanded, most * row_bytes))
        return false;
    for (size_t row = 0; row < rows->n; row += most) {
        size_t n = rows->n - row < most ? rows->n - row : most;
        if (!expand(b, rows, op->w->k, row, n) || !multiply_expanded(b, op, rows, row, n))
            return false;
    }
    return true;
}

bool cl_gemm(void *ctx, const struct op_gemm *op)
{
    struct cl_backend *b = ctx;
    const struct bweight *w = op->w;
    bool ok = true, is_few = op->n_tokens <= PRODUCT_MAX_TOKENS;
    for (size_t i = 0; ok && op->n_tokens && i < w->n_parts; i++) {
        bool two = is_few && goes_on(w, i);
        ok = is_few ? multiply_few(b, op, &w->parts[i], two ? &w->parts[i + 1] : NULL)
                    : multiply_many(b, op, &w->parts[i]);
        i += two;
    }
    return ok;
}

bool cl_embed(void *ctx, const struct op_embed *op)
{
    struct cl_backend *b = ctx;
    if (!op->n_tokens)
        return true;
    cl_launches_end(b);
    cl_launches_are_of(b, op->n_tokens);
    bool ok = cl_shown_set(b, &b->ids, (const uint32_t *)op->ids, op->n_tokens);
    for (size_t i = 0; ok && i < op->table->n_parts; i++) {
        const struct cl_rows *rows = &op->table->parts[i];
        struct cl_call c = cl_call_begin(b, CL_GROUP_WEIGHT + rows->type, CL_LOOKUP);
        arg_rows(&c, rows);
        cl_arg_u32(&c, op->table->k);
        cl_arg_u32(&c, rows->n);
        cl_arg_mem(&c, b->ids.room.mem);
        cl_arg_u32(&c, rows->first);
        cl_arg_buf(&c, op->out);
        ok = cl_call_run(&c, op->n_tokens, 1);
    }
    return ok;
}

bool cl_rms_norm(void *ctx, const struct op_rms_norm *op)
{
    size_t stride = op->stride ? op->stride : op->n;
    cl_launches_are_of(ctx, op->x_row + op->n_tokens); /* the last row of many is of a step of many */
    struct cl_call c = cl_call_begin(ctx, CL_GROUP_ELEMENTS, CL_RMS_NORM);
    cl_arg_buf(&c, op->x);
    cl_arg_u64(&c, op->x_row * stride + op->offset);
    cl_arg_u64(&c, stride);
    cl_arg_buf(&c, op->w);
    cl_arg_buf(&c, op->out);
    cl_arg_u64(&c, op->offset);
    cl_arg_u32(&c, op->n);
    cl_arg_f32(&c, op->eps);
    return cl_call_run(&c, op->n_tokens, 1);
}

bool cl_silu_mul(void *ctx, const struct op_silu_mul *op)
{
    struct cl_call c = cl_call_begin(ctx, CL_GROUP_ELEMENTS, CL_SILU_MUL);
    cl_arg_buf(&c, op->gate_up);
    cl_arg_buf(&c, op->out);
    cl_arg_u32(&c, op->n_ff);
    return cl_call_run(&c, cl_groups(op->n_ff, CHUNK), op->n_tokens);
}

/* One launch over n numbers of x, or over pairs that chunks gave, where there are any. */
static bool choose_largest(struct cl_backend *b, const struct op_largest *op, cl_mem pairs, size_t n,
                           size_t chunk, cl_mem out)
{
    struct cl_call c = cl_call_begin(b, CL_GROUP_ELEMENTS, CL_LARGEST);
    cl_arg_buf(&c, op->x);
    cl_arg_u64(&c, op->row * op->n);
    cl_arg_mem(&c, pairs);
    cl_arg_u32(&c, pairs != NULL);
    cl_arg_u32(&c, n);
    cl_arg_u32(&c, chunk);
    cl_arg_u32(&c, op->k);
    cl_arg_mem(&c, out);
    return cl_call_run(&c, cl_groups(n, chunk), 1);
}

/* Of each chunk, then of what the chunks gave. */
bool cl_largest_in_chunks(struct cl_backend *b, const struct op_largest *op, size_t chunk)
{
    size_t n_first = cl_groups(op->n, chunk) * op->k;
    if (op->n <= chunk)
        return choose_largest(b, op, NULL, op->n, op->n, op->out->mem);
    return cl_room_need(b, &b->firsts, n_first * sizeof(struct logit)) &&
           choose_largest(b, op, NULL, op->n, chunk, b->firsts.mem) &&
           choose_largest(b, op, b->firsts.mem, n_first, n_first, op->out->mem);
}

bool cl_largest(void *ctx, const struct op_largest *op)
{
    struct cl_backend *b = ctx;
    struct cl_program *p = b->is_lost ? NULL : cl_programs_get(&b->programs, CL_GROUP_ELEMENTS, NULL);
    return p && cl_largest_in_chunks(b, op, p->style == CL_STYLE_GPU ? LARGEST_CHUNK_GPU : LARGEST_CHUNK_CPU);
}

/* ---- the KV cache ---- */

static struct cl_call begin_kv(struct cl_backend *b, const struct kv_layer *kv, int kernel)
{
    struct cl_call c = cl_call_begin(b, cl_group_of_kv(kv->type), kernel);
    cl_arg_buf(&c, kv->pool);
    cl_arg_u64(&c, kv->page_bytes);
    cl_arg_u64(&c, kv->k_offset);
    cl_arg_u64(&c, kv->v_offset);
    cl_arg_mem(&c, b->table.room.mem);
    cl_arg_mem(&c, b->lens.room.mem);
    return c;
}

bool cl_qkv_rope_cache(void *ctx, const struct op_qkv_rope_cache *op)
{
    struct cl_backend *b = ctx;
    size_t flags =
        (op->q_norm ? ROPE_FLAG_NORM : 0) | (op->mode == ROPE_INTERLEAVED ? ROPE_FLAG_INTERLEAVED : 0);
    uint32_t len = (uint32_t)(op->pos + op->n_tokens);
    if (!cl_shown_set(b, &b->table, op->kv.table, op->kv.n_pages) || !cl_shown_set(b, &b->lens, &len, 1))
        return false;
    struct cl_call c = begin_kv(b, &op->kv, CL_ROPE_CACHE);
    cl_arg_buf(&c, op->qkv);
    cl_arg_buf(&c, op->q);
    cl_arg_buf(&c, op->q_norm);
    cl_arg_buf(&c, op->k_norm);
    cl_arg_buf(&c, op->cos);
    cl_arg_buf(&c, op->sin);
    cl_arg_u32(&c, op->n_head);
    cl_arg_u32(&c, op->n_kv_head);
    cl_arg_u32(&c, op->head_dim);
    cl_arg_u32(&c, op->n_rot);
    cl_arg_f32(&c, op->eps);
    cl_arg_u32(&c, flags);
    return cl_call_run(&c, op->n_head + 2 * op->n_kv_head, op->n_tokens);
}

static bool show_sequences(struct cl_backend *b, const struct op_attention *op)
{
    return cl_shown_set(b, &b->table, op->kv.table, op->n_seqs * op->kv.n_pages) &&
           cl_shown_set(b, &b->lens, op->lens, op->n_seqs);
}

static void arg_queries(struct cl_call *c, const struct op_attention *op)
{
    cl_arg_buf(c, op->q);
    cl_arg_u32(c, op->n_seqs);
    cl_arg_u32(c, op->kv.n_pages);
}

static void arg_heads(struct cl_call *c, const struct op_attention *op)
{
    cl_arg_f32(c, op->scale);
    cl_arg_u32(c, op->n_head);
    cl_arg_u32(c, op->n_kv_head);
    cl_arg_u32(c, op->head_dim);
    cl_arg_u32(c, op->window < UINT32_MAX ? op->window : 0);
}

bool cl_attend_many(struct cl_backend *b, const struct op_attention *op)
{
    if (!show_sequences(b, op))
        return false;
    struct cl_call c = begin_kv(b, &op->kv, CL_ATTENTION);
    arg_queries(&c, op);
    cl_arg_buf(&c, op->out);
    arg_heads(&c, op);
    return cl_call_run(&c, op->n_seqs * op->n_tokens, op->n_head);
}

/* The parts grow with the context: twice what is needed, so that this is seldom. */
static bool need_parts(struct cl_backend *b, const struct op_attention *op, size_t n_splits)
{
    size_t n_rows = op->n_seqs * op->n_tokens * op->n_head;
    size_t n_bytes = n_rows * n_splits * (op->head_dim + 2) * sizeof(float);
    return b->parts.n_bytes >= n_bytes || cl_room_need(b, &b->parts, 2 * n_bytes);
}

bool cl_attend_few(struct cl_backend *b, const struct op_attention *op, size_t least_splits)
{
    size_t n_splits = least_splits, n_queries = op->n_seqs * op->n_tokens;
    for (size_t s = 0; s < op->n_seqs; s++) {
        size_t n = cl_groups(op->lens[s], SPLIT_PAGES * PAGE_TOKENS);
        n_splits = n > n_splits ? n : n_splits;
    }
    if (!show_sequences(b, op) || !need_parts(b, op, n_splits))
        return false;
    struct cl_call c = begin_kv(b, &op->kv, CL_ATTENTION_PART);
    arg_queries(&c, op);
    cl_arg_mem(&c, b->parts.mem);
    cl_arg_buf(&c, op->out);
    arg_heads(&c, op);
    cl_arg_u32(&c, n_splits);
    if (!cl_call_run(&c, n_splits,
                     n_queries * op->n_kv_head * cl_groups(op->n_head / op->n_kv_head, GQA_HEADS)))
        return false;
    if (n_splits == 1) { /* there is nothing to join, yet */
        cl_launches_skip(b);
        return true;
    }
    c = cl_call_begin(b, cl_group_of_kv(op->kv.type), CL_ATTENTION_MERGE);
    cl_arg_mem(&c, b->parts.mem);
    cl_arg_buf(&c, op->out);
    cl_arg_u32(&c, n_splits);
    cl_arg_u32(&c, op->head_dim);
    return cl_call_run(&c, n_queries, op->n_head);
}

bool cl_attention(void *ctx, const struct op_attention *op)
{
    struct cl_backend *b = ctx;
    if (op->n_tokens <= PRODUCT_MAX_TOKENS)
        return cl_attend_few(b, op, 1);
    return cl_attend_many(b, op) && cl_wait(b);
}
