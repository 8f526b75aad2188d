#include "engine/run_state.h"

#include "engine/base/mem.h"

static bool new_floats(struct run_state *r, struct bbuf **out, size_t n_rows, size_t n_cols, struct err *err)
{
    size_t n, n_bytes;
    if (!mem_mul(n_rows, n_cols, &n) || !mem_mul(n, sizeof(float), &n_bytes))
        return err_set(err, ERR_MEMORY, "a buffer of %zu x %zu numbers is too large to count", n_rows,
                       n_cols);
    *out = backend_buf_new(r->backend, n_bytes, err);
    return *out != NULL;
}

/* Positions whose angles are made at a time. */
#define ROPE_CHUNK 1024

static bool make_rope_tables(struct run_state *r, const struct rope_params *rope, size_t n_ctx,
                             struct err *err)
{
    size_t n_pairs = rope->n_rot / 2;
    r->rope = *rope;
    r->n_ctx = n_ctx;
    r->turns = mem_array(2 * ROPE_CHUNK * n_pairs, sizeof *r->turns, err);
    return r->turns && new_floats(r, &r->cos, n_ctx, n_pairs, err) &&
           new_floats(r, &r->sin, n_ctx, n_pairs, err);
}

bool run_state_turn(struct run_state *r, size_t n, struct err *err)
{
    size_t n_pairs = r->rope.n_rot / 2;
    float *cos_rows = r->turns, *sin_rows = r->turns + ROPE_CHUNK * n_pairs;
    while (r->n_turned < n) {
        size_t left = r->n_ctx - r->n_turned, n_rows = left < ROPE_CHUNK ? left : ROPE_CHUNK;
        size_t row_bytes = n_pairs * sizeof(float), offset = r->n_turned * row_bytes;
        rope_fill(&r->rope, r->n_turned, n_rows, cos_rows, sin_rows);
        if (!backend_buf_write(r->backend, r->cos, offset, cos_rows, n_rows * row_bytes, err) ||
            !backend_buf_write(r->backend, r->sin, offset, sin_rows, n_rows * row_bytes, err))
            return false;
        r->n_turned += n_rows;
    }
    return true;
}

static bool make_moe(struct run_state *r, const struct model_config *c, struct err *err)
{
    size_t n_pairs, n_id_rows = r->n_batch;
    if (!c->n_expert)
        return true;
    if (!mem_mul(r->n_batch, c->n_expert_used, &n_pairs) ||
        (!r->backend->ops->buf_host && !mem_mul(r->n_batch, c->n_layer, &n_id_rows)))
        return err_set(err, ERR_MEMORY, "a batch of %zu tokens is too large to count", r->n_batch);
    return new_floats(r, &r->router_logits, r->n_batch, c->n_expert, err) &&
           new_floats(r, &r->expert_ids, n_id_rows, c->n_expert_used, err) &&
           new_floats(r, &r->expert_weights, r->n_batch, c->n_expert_used, err) &&
           new_floats(r, &r->expert_ff, n_pairs, c->n_ff_expert, err) &&
           new_floats(r, &r->expert_out, n_pairs, c->n_embd, err);
}

static bool make_largest(struct run_state *r, struct err *err)
{
    return !r->backend->ops->largest || new_floats(r, &r->largest, OP_LARGEST_MAX, 2, err);
}

bool run_state_init(struct run_state *r, struct backend *backend, const struct model_config *c,
                    const struct rope_params *rope, size_t n_batch, size_t n_ctx, struct err *err)
{
    *r = (struct run_state){.backend = backend, .n_batch = n_batch};
    size_t n_q = (size_t)c->n_head * c->head_dim, n_kv = (size_t)c->n_kv_head * c->head_dim;
    size_t n_ff = c->n_expert ? c->n_ff_shared : c->n_ff;
    if (new_floats(r, &r->x, n_batch, c->n_embd, err) && new_floats(r, &r->h, n_batch, c->n_embd, err) &&
        new_floats(r, &r->qkv, n_batch, n_q + 2 * n_kv, err) && new_floats(r, &r->q, n_batch, n_q, err) &&
        new_floats(r, &r->attn, n_batch, n_q, err) && new_floats(r, &r->gate_up, n_batch, 2 * n_ff, err) &&
        new_floats(r, &r->ff, n_batch, n_ff, err) && make_moe(r, c, err) &&
        new_floats(r, &r->logits, RUN_LOGIT_ROWS, c->n_vocab, err) && make_largest(r, err) &&
        make_rope_tables(r, rope, n_ctx, err))
        return true;
    run_state_fini(r);
    return false;
}

void run_state_fini(struct run_state *r)
{
    if (!r->backend)
        return;
    struct bbuf *bufs[] = {
        r->x,         r->h,         r->qkv, r->q,   r->attn,          r->gate_up,    r->ff,
        r->logits,    r->largest,   r->cos, r->sin, r->router_logits, r->expert_ids, r->expert_weights,
        r->expert_ff, r->expert_out};
    for (size_t i = 0; i < sizeof bufs / sizeof bufs[0]; i++)
        backend_buf_free(r->backend, bufs[i]);
    mem_free(r->turns);
    *r = (struct run_state){0};
}
