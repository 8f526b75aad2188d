/* The decoder of all families: pre-norm attention and gated feed-forward or experts (model_moe.c), each added
 * to the residual stream. One call per operation of the seam; families differ in what is bound, not in what
 * is done. Shapes as in model_internal.h and run_state.h; T = step->n_tokens. */
#include <math.h>

#include "engine/model_internal.h"

uint64_t decoder_weight_bytes(const struct run_state *r, const struct bweight *w)
{
    size_t n, k, n_bytes;
    r->backend->ops->weight_shape(w, &n, &k, &n_bytes);
    return n_bytes;
}

/* KV bytes of one layer that T queries ending at position pos+T-1 look at, counted once. */
static uint64_t kv_bytes(const struct model *m, const struct step *s)
{
    size_t n_seen = s->pos + s->n_tokens, window = m->config.window;
    if (window && n_seen > window + s->n_tokens - 1)
        n_seen = window + s->n_tokens - 1;
    return (uint64_t)kv_token_bytes(&s->pages->shape) / s->pages->shape.n_layer * n_seen;
}

static bool embed(const struct model *m, struct run_state *r, const struct step *s, struct err *err)
{
    struct timer t = timer_start(s);
    struct op_embed op = {
        .table = m->embed,
        .ids = s->ids,
        .out = r->x,
        .n_tokens = s->n_tokens,
    };
    bool ok = backend_embed(r->backend, &op, err);
    timer_add(&t, PROF_EMBED, decoder_weight_bytes(r, m->embed) / m->config.n_vocab * s->n_tokens);
    return ok;
}

/* h = norm(x), from row `first` of x on */
static bool norm(const struct model *m, struct run_state *r, const struct step *s, size_t first,
                 const struct bbuf *w, struct err *err)
{
    struct timer t = timer_start(s);
    struct op_rms_norm op = {
        .x = r->x,
        .x_row = first,
        .w = w,
        .out = r->h,
        .n_tokens = s->n_tokens,
        .n = m->config.n_embd,
        .eps = m->config.rms_eps,
    };
    bool ok = backend_rms_norm(r->backend, &op, err);
    timer_add(&t, PROF_NORM, 0);
    return ok;
}

bool decoder_multiply(const struct run_state *r, const struct step *s, enum prof_op kind, struct op_gemm op,
                      struct err *err)
{
    struct timer t = timer_start(s);
    op.n_tokens = s->n_tokens;
    bool ok = backend_gemm(r->backend, &op, err);
    timer_add(&t, kind, decoder_weight_bytes(r, op.w));
    return ok;
}

const struct bweight *decoder_after_layer(const struct model *m, const struct step *s)
{
    bool is_last = s->layer + 1 == m->config.n_layer;
    if (is_last || m->layers[s->layer + 1].backend == m->layers[s->layer].backend)
        return is_last ? m->head : m->layers[s->layer + 1].qkv;
    return NULL;
}

/* Splits qkv; q rotated to r->q; k rotated and v to the cache. */
static bool rotate_and_store(const struct model *m, struct run_state *r, const struct step *s,
                             const struct decoder_layer *l, const struct kv_layer *kv, struct err *err)
{
    const struct model_config *c = &m->config;
    struct timer t = timer_start(s);
    struct op_qkv_rope_cache op = {
        .qkv = r->qkv,
        .q = r->q,
        .q_norm = m->family->norms_whole_rows ? NULL : l->q_norm,
        .k_norm = m->family->norms_whole_rows ? NULL : l->k_norm,
        .eps = c->rms_eps,
        .cos = r->cos,
        .sin = r->sin,
        .mode = c->rope_mode,
        .n_tokens = s->n_tokens,
        .n_head = c->n_head,
        .n_kv_head = c->n_kv_head,
        .head_dim = c->head_dim,
        .n_rot = c->n_rot,
        .pos = s->pos,
        .kv = *kv,
    };
    bool ok = backend_qkv_rope_cache(r->backend, &op, err);
    timer_add(&t, PROF_ROPE, 0);
    return ok;
}

static bool attend(const struct model *m, struct run_state *r, const struct step *s,
                   const struct kv_layer *kv, struct err *err)
{
    const struct model_config *c = &m->config;
    struct timer t = timer_start(s);
    uint32_t len = (uint32_t)(s->pos + s->n_tokens);
    struct op_attention op = {
        .q = r->q,
        .out = r->attn,
        .scale = 1.0f / sqrtf((float)c->head_dim),
        .n_seqs = 1,
        .n_tokens = s->n_tokens,
        .n_head = c->n_head,
        .n_kv_head = c->n_kv_head,
        .head_dim = c->head_dim,
        .lens = &len,
        .window = c->window,
        .kv = *kv,
    };
    bool ok = backend_attention(r->backend, &op, err);
    timer_add(&t, PROF_ATTENTION, kv_bytes(m, s));
    return ok;
}

static bool gate_up(struct run_state *r, const struct step *s, const struct decoder_layer *l, struct err *err)
{
    struct timer t = timer_start(s);
    struct op_gate_up op = {
        .w = l->gate_up,
        .x = r->h,
        .product = r->gate_up,
        .out = r->ff,
        .n_tokens = s->n_tokens,
        .next = l->down,
    };
    bool ok = backend_gate_up(r->backend, &op, err);
    timer_add(&t, PROF_FFN, decoder_weight_bytes(r, l->gate_up));
    return ok;
}

bool decoder_feed_forward(const struct model *m, struct run_state *r, const struct step *s,
                          const struct decoder_layer *l, struct bbuf *out, bool add, struct err *err)
{
    struct op_gemm down = {
        .w = l->down, .a = r->ff, .out = out, .add = add, .next = decoder_after_layer(m, s)};
    return gate_up(r, s, l, err) && decoder_multiply(r, s, PROF_FFN, down, err);
}

/* A norm over all heads of q, or of k, of a token at once. */
static bool norm_heads(const struct model *m, struct run_state *r, const struct step *s, const struct bbuf *w,
                       size_t first_head, size_t n_heads, struct err *err)
{
    const struct model_config *c = &m->config;
    struct timer t = timer_start(s);
    struct op_rms_norm op = {
        .x = r->qkv,
        .w = w,
        .out = r->qkv,
        .n_tokens = s->n_tokens,
        .n = n_heads * c->head_dim,
        .stride = (c->n_head + 2 * (size_t)c->n_kv_head) * c->head_dim,
        .offset = first_head * c->head_dim,
        .eps = c->rms_eps,
    };
    bool ok = backend_rms_norm(r->backend, &op, err);
    timer_add(&t, PROF_NORM, 0);
    return ok;
}

static bool norm_whole_rows(const struct model *m, struct run_state *r, const struct step *s,
                            const struct decoder_layer *l, struct err *err)
{
    const struct model_config *c = &m->config;
    return !m->family->norms_whole_rows || (norm_heads(m, r, s, l->q_norm, 0, c->n_head, err) &&
                                            norm_heads(m, r, s, l->k_norm, c->n_head, c->n_kv_head, err));
}

static bool attention_block(const struct model *m, struct run_state *r, const struct step *s, struct err *err)
{
    const struct decoder_layer *l = &m->layers[s->layer];
    struct kv_layer kv = kv_pages_layer(s->pages, s->layer);
    struct op_gemm qkv = {.w = l->qkv, .a = r->h, .out = r->qkv, .next = l->attn_out};
    struct op_gemm out = {
        .w = l->attn_out, .a = r->attn, .out = r->x, .add = true, .next = l->router ? l->router : l->gate_up};
    bool ok = norm(m, r, s, 0, l->attn_norm, err);
    ok = ok && decoder_multiply(r, s, PROF_QKV, qkv, err);
    ok = ok && norm_whole_rows(m, r, s, l, err);
    ok = ok && rotate_and_store(m, r, s, l, &kv, err);
    ok = ok && attend(m, r, s, &kv, err);
    return ok && decoder_multiply(r, s, PROF_O_PROJ, out, err);
}

static bool feed_forward_block(const struct model *m, struct run_state *r, const struct step *s,
                               struct err *err)
{
    const struct decoder_layer *l = &m->layers[s->layer];
    if (!norm(m, r, s, 0, l->ffn_norm, err))
        return false;
    return l->router ? moe_block(m, r, s, l, err) : decoder_feed_forward(m, r, s, l, r->x, true, err);
}

/* The residual stream goes on in another place. */
static bool cross(const struct run_state *from, struct run_state *to, const struct model *m,
                  const struct step *s, struct err *err)
{
    struct timer t = timer_start(s);
    size_t n_bytes = s->n_tokens * m->config.n_embd * sizeof(float);
    const void *rows = from->backend->ops->buf_host(from->x);
    bool ok = backend_buf_write(to->backend, to->x, 0, rows, n_bytes, err);
    timer_add(&t, PROF_COPY, n_bytes);
    return ok;
}

bool decoder_forward(const struct model *m, struct run_state *runs, const struct step *step, struct err *err)
{
    struct step s = *step;
    struct run_state *r = &runs[0];
    s.layer = m->config.n_layer;
    if (!embed(m, r, &s, err))
        return false;
    for (s.layer = 0; s.layer < m->config.n_layer; s.layer++) {
        if (s.layers_done && s.layer > 0)
            s.layers_done(s.arg, s.layer);
        if (s.cancel && atomic_load_explicit(s.cancel, memory_order_relaxed))
            return err_set(err, ERR_CANCELLED, "cancelled");
        if (m->layers[s.layer].backend != r->backend && !cross(r, r + 1, m, &s, err))
            return false;
        r += m->layers[s.layer].backend != r->backend;
        if (!attention_block(m, r, &s, err) || !feed_forward_block(m, r, &s, err))
            return false;
    }
    return true;
}

bool model_head(const struct model *m, struct run_state *r, const struct step *step, size_t first, size_t n,
                struct err *err)
{
    struct step rows = *step;
    rows.n_tokens = n;
    rows.layer = m->config.n_layer;
    bool is_alone = m->embed_backend == m->head_backend;
    struct op_gemm head = {
        .w = m->head, .a = r->h, .out = r->logits, .next = is_alone ? m->layers[0].qkv : NULL};
    return norm(m, r, &rows, first, m->out_norm, err) && decoder_multiply(r, &rows, PROF_LM_HEAD, head, err);
}
