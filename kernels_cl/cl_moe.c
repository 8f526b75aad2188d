/* cl_moe.c: the operations of a mixture of experts. Pairs (token, expert) are sorted by expert on the device
 * and cut into tiles, so that an expert's rows are read once for several tokens; the host only knows how many
 * tiles there can be at most. */
#include <string.h>

#include "kernels_cl/cl_backend.h"

bool cl_route(void *ctx, const struct op_route *op)
{
    struct cl_backend *b = ctx;
    b->tiled = (struct cl_tiled){0};
    struct cl_call c = cl_call_begin(b, CL_GROUP_ROUTE, CL_ROUTE);
    cl_arg_buf(&c, op->logits);
    cl_arg_buf(&c, op->ids);
    cl_arg_u64(&c, op->ids_row * op->n_used);
    cl_arg_buf(&c, op->weights);
    cl_arg_u32(&c, op->n_experts);
    cl_arg_u32(&c, op->n_used);
    cl_arg_u32(&c, op->renormalise);
    cl_arg_f32(&c, op->scale);
    return cl_call_run(&c, op->n_tokens, 1);
}

/* Every expert that is wanted has at most one tile that is not full. */
static size_t most_tiles(size_t n_pairs, size_t n_experts)
{
    return n_pairs / TILE_PAIRS + (n_pairs < n_experts ? n_pairs : n_experts);
}

/* Both products of a layer go by the same ids: they are sorted once (cl_route, and what writes to a buffer,
 * make that void). */
static bool make_tiles(struct cl_backend *b, const struct bbuf *ids, size_t first, size_t n_pairs,
                       size_t n_experts)
{
    struct cl_tiled now = {ids, first, n_pairs, n_experts};
    if (!b->is_lost && memcmp(&now, &b->tiled, sizeof now) == 0)
        return true;
    b->tiled = (struct cl_tiled){0};
    if (b->is_lost || !cl_room_need(b, &b->starts, (n_experts + 1) * sizeof(cl_uint)) ||
        !cl_room_need(b, &b->pairs, n_pairs * sizeof(cl_uint)) ||
        !cl_room_need(b, &b->tiles, (1 + most_tiles(n_pairs, n_experts)) * sizeof(cl_uint4)))
        return false;
    struct cl_call c = cl_call_begin(b, CL_GROUP_ROUTE, CL_MAKE_TILES);
    cl_arg_buf(&c, ids);
    cl_arg_u64(&c, first);
    cl_arg_u32(&c, n_pairs);
    cl_arg_u32(&c, n_experts);
    cl_arg_u32(&c, TILE_PAIRS);
    cl_arg_mem(&c, b->starts.mem);
    cl_arg_mem(&c, b->pairs.mem);
    cl_arg_mem(&c, b->tiles.mem);
    if (!cl_call_run(&c, 1, 1))
        return false;
    b->tiled = now;
    return true;
}

/* out[pair, all rows] = x[pair / pairs_per_row] * the pair's expert. */
static bool multiply_pairs(struct cl_backend *b, const struct bexperts *w, const struct bbuf *x,
                           size_t pairs_per_row, cl_mem out, size_t n_pairs)
{
    bool ok = true;
    for (size_t i = 0; ok && i < w->n_parts; i++) {
        const struct cl_rows *rows = &w->parts[i];
        struct cl_call c = cl_call_begin(b, CL_GROUP_WEIGHT + rows->type, CL_EXPERT_PRODUCT);
        cl_arg_mem(&c, rows->mem);
        cl_arg_u64(&c, rows->base);
        cl_arg_u64(&c, rows->row_bytes);
        cl_arg_u32(&c, w->shape.k);
        cl_arg_u32(&c, rows->n);
        cl_arg_u64(&c, rows->n * rows->row_bytes);
        cl_arg_u32(&c, rows->first_expert);
        cl_arg_u32(&c, rows->n_experts);
        cl_arg_mem(&c, b->tiles.mem);
        cl_arg_mem(&c, b->pairs.mem);
        cl_arg_buf(&c, x);
        cl_arg_u32(&c, pairs_per_row);
        cl_arg_mem(&c, out);
        cl_arg_u64(&c, w->shape.n);
        cl_arg_u64(&c, rows->first);
        ok = cl_call_run(&c, cl_groups(rows->n, PRODUCT_ROWS), most_tiles(n_pairs, w->shape.n_experts));
    }
    return ok;
}

bool cl_moe_gate_up(void *ctx, const struct op_moe_gate_up *op)
{
    struct cl_backend *b = ctx;
    size_t n_pairs = op->n_tokens * op->n_used, n_ff = op->w->shape.n / 2;
    if (!make_tiles(b, op->ids, op->ids_row * op->n_used, n_pairs, op->w->shape.n_experts) ||
        !cl_room_need(b, &b->gate_up, n_pairs * op->w->shape.n * sizeof(float)) ||
        !multiply_pairs(b, op->w, op->x, op->n_used, b->gate_up.mem, n_pairs))
        return false;
    struct cl_call c = cl_call_begin(b, CL_GROUP_ELEMENTS, CL_SILU_MUL);
    cl_arg_mem(&c, b->gate_up.mem);
    cl_arg_buf(&c, op->out);
    cl_arg_u32(&c, n_ff);
    return cl_call_run(&c, cl_groups(n_ff, CHUNK), n_pairs);
}

bool cl_moe_down(void *ctx, const struct op_moe_down *op)
{
    struct cl_backend *b = ctx;
    size_t n_pairs = op->n_tokens * op->n_used;
    return make_tiles(b, op->ids, op->ids_row * op->n_used, n_pairs, op->w->shape.n_experts) &&
           multiply_pairs(b, op->w, op->x, 1, op->out->mem, n_pairs);
}

bool cl_weighted_sum(void *ctx, const struct op_weighted_sum *op)
{
    struct cl_call c = cl_call_begin(ctx, CL_GROUP_ELEMENTS, CL_WEIGHTED_SUM);
    cl_arg_buf(&c, op->slots);
    cl_arg_buf(&c, op->weights);
    cl_arg_buf(&c, op->out);
    cl_arg_u32(&c, op->n);
    cl_arg_u32(&c, op->n_used);
    return cl_call_run(&c, cl_groups(op->n, CHUNK), op->n_tokens);
}

bool cl_add_gated(void *ctx, const struct op_add_gated *op)
{
    struct cl_call c = cl_call_begin(ctx, CL_GROUP_ELEMENTS, CL_ADD_GATED);
    cl_arg_buf(&c, op->x);
    cl_arg_buf(&c, op->gate);
    cl_arg_buf(&c, op->out);
    cl_arg_u32(&c, op->n);
    return cl_call_run(&c, cl_groups(op->n, CHUNK), op->n_tokens);
}
