/* A mixture of experts in place of a feed-forward layer: the router's logits choose experts for each token,
 * their products are weighed and added to the residual stream. Source: the papers of Mixtral (arXiv
 * 2401.04088), OLMoE (arXiv 2409.02060) and the Qwen reports. */
#include "engine/model_internal.h"

/* Bytes of the experts that the tokens of the layer in work go to: each is read once. */
static uint64_t expert_bytes(const struct run_state *r, const struct step *s, const struct bexperts *w)
{
    struct experts_shape shape;
    r->backend->ops->experts_shape(w, &shape);
    return s->profiling ? shape.expert_bytes * s->profiling->n_distinct : 0;
}

/* Memory that the host does not see keeps the ids of all its layers until the step is done. */
static bool is_hidden(const struct run_state *r)
{
    return !r->backend->ops->buf_host;
}

/* The first row of expert_ids of the layer in work. */
static size_t ids_row(const struct model *m, const struct run_state *r, const struct step *s)
{
    return is_hidden(r) ? (s->layer - model_first_layer(m, r->backend)) * s->n_tokens : 0;
}

bool moe_count_chosen(const struct model *m, const struct run_state *r, const struct step *step,
                      struct err *err)
{
    const struct model_config *c = &m->config;
    struct step s = *step;
    uint32_t first = model_first_layer(m, r->backend), n = c->n_layer - first;
    if (!s.profiling || !c->n_expert || !is_hidden(r))
        return true;
    if (!profiling_read_chosen(s.profiling, r->backend, s.phase, r->expert_ids, n * s.n_tokens, err))
        return false;
    for (s.layer = first; s.layer < c->n_layer; s.layer++) {
        const struct decoder_layer *l = &m->layers[s.layer];
        if (!l->router)
            continue;
        if (!profiling_routed(s.profiling, r->backend, s.phase, s.layer,
                              s.profiling->ids + (s.layer - first) * s.n_tokens * c->n_expert_used,
                              s.n_tokens, err))
            return false;
        prof_at(s.profiling->prof, s.phase, s.layer, PROF_GATE_UP)->bytes +=
            expert_bytes(r, &s, l->gate_up_exps);
        prof_at(s.profiling->prof, s.phase, s.layer, PROF_DOWN)->bytes += expert_bytes(r, &s, l->down_exps);
    }
    return true;
}

static bool route(const struct model *m, struct run_state *r, const struct step *s,
                  const struct decoder_layer *l, struct err *err)
{
    const struct model_config *c = &m->config;
    struct timer t = timer_start(s);
    struct op_gemm product = {.w = l->router, .a = r->h, .out = r->router_logits, .n_tokens = s->n_tokens};
    struct op_route op = {
        .logits = r->router_logits,
        .ids = r->expert_ids,
        .weights = r->expert_weights,
        .n_tokens = s->n_tokens,
        .n_experts = c->n_expert,
        .n_used = c->n_expert_used,
        .renormalise = m->family->renormalise,
        .scale = 1,
        .ids_row = ids_row(m, r, s),
    };
    bool ok = backend_gemm(r->backend, &product, err) && backend_route(r->backend, &op, err);
    timer_add(&t, PROF_ROUTER, decoder_weight_bytes(r, l->router));
    if (!ok || !s->profiling || is_hidden(r))
        return ok;
    return profiling_routed(s->profiling, r->backend, s->phase, s->layer,
                            r->backend->ops->buf_host(r->expert_ids), s->n_tokens, err);
}

static bool gate_up(const struct model *m, struct run_state *r, const struct step *s,
                    const struct decoder_layer *l, struct err *err)
{
    struct timer t = timer_start(s);
    struct op_moe_gate_up op = {
        .w = l->gate_up_exps,
        .x = r->h,
        .ids = r->expert_ids,
        .out = r->expert_ff,
        .n_tokens = s->n_tokens,
        .n_used = m->config.n_expert_used,
        .next = l->down_exps,
        .ids_row = ids_row(m, r, s),
    };
    bool ok = backend_moe_gate_up(r->backend, &op, err);
    timer_add(&t, PROF_GATE_UP, is_hidden(r) ? 0 : expert_bytes(r, s, l->gate_up_exps));
    return ok;
}

static bool down(const struct model *m, struct run_state *r, const struct step *s,
                 const struct decoder_layer *l, struct err *err)
{
    struct timer t = timer_start(s);
    struct op_moe_down op = {
        .w = l->down_exps,
        .x = r->expert_ff,
        .ids = r->expert_ids,
        .out = r->expert_out,
        .n_tokens = s->n_tokens,
        .n_used = m->config.n_expert_used,
        .next = l->gate_up ? l->gate_up : decoder_after_layer(m, s),
        .ids_row = ids_row(m, r, s),
    };
    bool ok = backend_moe_down(r->backend, &op, err);
    timer_add(&t, PROF_DOWN, is_hidden(r) ? 0 : expert_bytes(r, s, l->down_exps));
    return ok;
}

static bool weigh(const struct model *m, struct run_state *r, const struct step *s, struct err *err)
{
    struct timer t = timer_start(s);
    struct op_weighted_sum op = {
        .slots = r->expert_out,
        .weights = r->expert_weights,
        .out = r->x,
        .n_tokens = s->n_tokens,
        .n_used = m->config.n_expert_used,
        .n = m->config.n_embd,
    };
    bool ok = backend_weighted_sum(r->backend, &op, err);
    timer_add(&t, PROF_WEIGHTED_SUM, 0);
    return ok;
}

/* r->x += the rows of r->expert_out, each as far as its gate is open. */
static bool add_gated(const struct model *m, struct run_state *r, const struct step *s, struct err *err)
{
    struct timer t = timer_start(s);
    struct op_add_gated op = {
        .x = r->expert_out,
        .gate = r->router_logits,
        .out = r->x,
        .n_tokens = s->n_tokens,
        .n = m->config.n_embd,
    };
    bool ok = backend_add_gated(r->backend, &op, err);
    timer_add(&t, PROF_WEIGHTED_SUM, 0);
    return ok;
}

/* Its output takes the place of the first slots, and its gates that of router logits: both are used up. */
static bool shared_expert(const struct model *m, struct run_state *r, const struct step *s,
                          const struct decoder_layer *l, struct err *err)
{
    if (!l->gate_up)
        return true;
    struct op_gemm open = {
        .w = l->shared_gate, .a = r->h, .out = r->router_logits, .next = decoder_after_layer(m, s)};
    return decoder_feed_forward(m, r, s, l, r->expert_out, false, err) &&
           decoder_multiply(r, s, PROF_FFN, open, err) && add_gated(m, r, s, err);
}

bool moe_block(const struct model *m, struct run_state *r, const struct step *s,
               const struct decoder_layer *l, struct err *err)
{
    return route(m, r, s, l, err) && gate_up(m, r, s, l, err) && down(m, r, s, l, err) &&
           weigh(m, r, s, err) && shared_expert(m, r, s, l, err);
}
