#include "engine/weights.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"

#define NAME_BYTES (TENSOR_NAME_BYTES + 16)

static void full_name(char out[NAME_BYTES], int layer, const char *name)
{
    if (layer < 0)
        snprintf(out, NAME_BYTES, "%s", name);
    else
        snprintf(out, NAME_BYTES, "blk.%d.%s", layer, name);
}

static const char *shape_text(const struct tensor *t, char out[96])
{
    out[0] = '\0';
    for (int i = 0, len = 0; i < t->n_dims && len < 80; i++)
        len += snprintf(out + len, 96 - (size_t)len, "%s%zu", i ? " x " : "", t->dims[i]);
    return out;
}

static bool fail_shape(const struct model *m, const struct tensor *t, size_t n_cols, size_t n_rows,
                       struct err *err)
{
    char found[96];
    char expected[48];
    if (n_rows)
        snprintf(expected, sizeof expected, "%zu x %zu", n_cols, n_rows);
    else
        snprintf(expected, sizeof expected, "%zu", n_cols);
    return err_set(err, ERR_MODEL, "%s: tensor %s has the shape %s, expected %s" GET_IT_AGAIN,
                   gguf_label(m->gguf), t->name, shape_text(t, found), expected);
}

/* Once, however often it is bound. */
static void note_used(struct model *m, const struct tensor *t)
{
    size_t i = 0;
    while (i < m->n_used && m->used[i] != t)
        i++;
    m->used[i] = t;
    m->n_used += i == m->n_used;
}

bool weights_exists(const struct model *m, int layer, const char *name)
{
    char full[NAME_BYTES];
    full_name(full, layer, name);
    return gguf_find_tensor(m->gguf, full) != NULL;
}

const struct tensor *weights_find(struct model *m, int layer, const char *name, size_t n_cols, size_t n_rows,
                                  struct err *err)
{
    char full[NAME_BYTES];
    full_name(full, layer, name);
    const struct tensor *t = gguf_find_tensor(m->gguf, full);
    if (!t) {
        err_set(err, ERR_MODEL, "%s: tensor %s is missing, and %s models need it; download the file again",
                gguf_label(m->gguf), full, m->config.arch);
        return NULL;
    }
    /* A vector may be stored with trailing dimensions of 1. */
    bool fits =
        t->dims[0] == n_cols && t->dims[1] == (n_rows ? n_rows : 1) && t->dims[2] == 1 && t->dims[3] == 1;
    if (!fits) {
        fail_shape(m, t, n_cols, n_rows, err);
        return NULL;
    }
    note_used(m, t);
    return t;
}

bool weights_vector(struct model *m, int layer, const char *name, size_t n, struct bbuf **out,
                    struct err *err)
{
    bool ok = false;
    const struct tensor *t = weights_find(m, layer, name, n, 0, err);
    float *values = t ? mem_array(n, sizeof *values, err) : NULL;
    if (!values)
        return false;
    if (t->type == DTYPE_I8 || n % dtype_info(t->type)->block_weights) {
        err_set(err, ERR_MODEL, "%s: tensor %s of %zu values cannot be of type %s" GET_IT_AGAIN,
                gguf_label(m->gguf), t->name, n, dtype_info(t->type)->name);
        goto out;
    }
    dtype_to_f32(t->type, t->data, values, n);
    *out = backend_buf_new(m->target, n * sizeof *values, err);
    ok = *out && backend_buf_write(m->target, *out, 0, values, n * sizeof *values, err);
out:
    mem_free(values);
    return ok;
}

static bool check_type(const struct model *m, const struct tensor *t, struct err *err)
{
    return m->target->ops->supports_weight(m->target->ctx, t->type) ||
           err_set(
               err, ERR_MODEL,
               "%s: tensor %s is of type %s, which the %s backend cannot compute; get the model in another "
               "quantisation, for example Q4_K_M",
               gguf_label(m->gguf), t->name, dtype_info(t->type)->name, m->target->ops->name);
}

static bool bind(struct model *m, const struct weight_part *parts, size_t n_parts, struct bweight **out,
                 struct err *err)
{
    for (size_t i = 0; i < n_parts; i++)
        if (!check_type(m, parts[i].weight, err))
            return false;
    *out = backend_weight_bind(m->target, parts, n_parts, err);
    return *out || err_prefix(err, "%s", gguf_label(m->gguf));
}

bool weights_matrix(struct model *m, int layer, const char *name, size_t n_cols, size_t n_rows,
                    struct bweight **out, struct err *err)
{
    struct weight_part part = {.weight = weights_find(m, layer, name, n_cols, n_rows, err)};
    return part.weight && bind(m, &part, 1, out, err);
}

/* NAME.weight and, if asked for, NAME.bias. */
static bool find_part(struct model *m, int layer, const char *name, size_t n_cols, size_t n_rows,
                      enum weights_bias bias, struct weight_part *out, struct err *err)
{
    char full[48];
    snprintf(full, sizeof full, "%s.weight", name);
    out->weight = weights_find(m, layer, full, n_cols, n_rows, err);
    if (!out->weight)
        return false;
    snprintf(full, sizeof full, "%s.bias", name);
    if (bias == WEIGHTS_BIAS_NONE || (bias == WEIGHTS_BIAS_IF_THERE && !weights_exists(m, layer, full)))
        return true;
    out->bias = weights_find(m, layer, full, n_rows, 0, err);
    if (out->bias && out->bias->type != DTYPE_F32)
        return err_set(err, ERR_MODEL, "%s: tensor %s is of type %s, expected f32" GET_IT_AGAIN,
                       gguf_label(m->gguf), out->bias->name, dtype_info(out->bias->type)->name);
    return out->bias != NULL;
}

static bool bind_qkv(struct model *m, int i, struct decoder_layer *layer, enum weights_bias bias,
                     struct err *err)
{
    const struct model_config *c = &m->config;
    size_t n_q = (size_t)c->n_head * c->head_dim, n_kv = (size_t)c->n_kv_head * c->head_dim;
    struct weight_part parts[3] = {0};
    return find_part(m, i, "attn_q", c->n_embd, n_q, bias, &parts[0], err) &&
           find_part(m, i, "attn_k", c->n_embd, n_kv, bias, &parts[1], err) &&
           find_part(m, i, "attn_v", c->n_embd, n_kv, bias, &parts[2], err) &&
           bind(m, parts, 3, &layer->qkv, err);
}

/* gate rows, then up rows; suffix "" or "_shexp". */
static bool bind_gate_up(struct model *m, int i, const char *suffix, size_t n_ff, struct decoder_layer *layer,
                         struct err *err)
{
    const struct model_config *c = &m->config;
    struct weight_part parts[2] = {0};
    char gate[32], up[32];
    snprintf(gate, sizeof gate, "ffn_gate%s", suffix);
    snprintf(up, sizeof up, "ffn_up%s", suffix);
    return find_part(m, i, gate, c->n_embd, n_ff, WEIGHTS_BIAS_NONE, &parts[0], err) &&
           find_part(m, i, up, c->n_embd, n_ff, WEIGHTS_BIAS_NONE, &parts[1], err) &&
           bind(m, parts, 2, &layer->gate_up, err);
}

bool weights_attention(struct model *m, uint32_t index, struct decoder_layer *layer, enum weights_bias bias,
                       struct err *err)
{
    const struct model_config *c = &m->config;
    size_t n_q = (size_t)c->n_head * c->head_dim;
    int i = (int)index;
    return weights_vector(m, i, "attn_norm.weight", c->n_embd, &layer->attn_norm, err) &&
           bind_qkv(m, i, layer, bias, err) &&
           weights_matrix(m, i, "attn_output.weight", n_q, c->n_embd, &layer->attn_out, err) &&
           weights_vector(m, i, "ffn_norm.weight", c->n_embd, &layer->ffn_norm, err);
}

bool weights_head_norms(struct model *m, uint32_t index, struct decoder_layer *layer, size_t n_q, size_t n_k,
                        struct err *err)
{
    return weights_vector(m, (int)index, "attn_q_norm.weight", n_q, &layer->q_norm, err) &&
           weights_vector(m, (int)index, "attn_k_norm.weight", n_k, &layer->k_norm, err);
}

bool weights_feed_forward(struct model *m, uint32_t index, struct decoder_layer *layer, struct err *err)
{
    const struct model_config *c = &m->config;
    return bind_gate_up(m, (int)index, "", c->n_ff, layer, err) &&
           weights_matrix(m, (int)index, "ffn_down.weight", c->n_ff, c->n_embd, &layer->down, err);
}

/* ---- experts ---- */

/* A stack [n_expert, n_rows, n_cols]. */
static const struct tensor *find_stack(struct model *m, int layer, const char *name, size_t n_cols,
                                       size_t n_rows, struct err *err)
{
    char full[NAME_BYTES];
    full_name(full, layer, name);
    const struct tensor *t = gguf_find_tensor(m->gguf, full);
    if (!t) {
        err_set(err, ERR_MODEL, "%s: tensor %s is missing, and %s models need it; %s", gguf_label(m->gguf),
                full, m->config.arch,
                weights_exists(m, layer, "ffn_gate.0.weight")
                    ? "the file has one tensor per expert, as early converters wrote it: get a newer file"
                    : "download the file again");
        return NULL;
    }
    if (t->dims[0] != n_cols || t->dims[1] != n_rows || t->dims[2] != m->config.n_expert || t->dims[3] != 1) {
        char found[96];
        err_set(err, ERR_MODEL,
                "%s: tensor %s has the shape %s, expected %zu x %zu x %u (the last: experts)" GET_IT_AGAIN,
                gguf_label(m->gguf), t->name, shape_text(t, found), n_cols, n_rows, m->config.n_expert);
        return NULL;
    }
    note_used(m, t);
    return t;
}

/* The tensor itself, or a copy as f32 where its type has no kernel. int8 is no weight's type: without scales
 * its numbers mean nothing. */
static const struct tensor *computable(struct model *m, struct decoder_layer *layer, const struct tensor *t,
                                       struct err *err)
{
    const struct backend *b = m->target;
    bool is_packed = b->ops->supports_weight(b->ctx, t->type);
    if (!is_packed && t->type == DTYPE_I8 && !check_type(m, t, err))
        return NULL;
    assert(layer->n_stacks < EXPERT_MAX_STACKS);
    layer->stacks[layer->n_stacks] = t;
    layer->is_dense[layer->n_stacks++] = !is_packed;
    return is_packed ? t : dense_stack_new(&m->dense, t, gguf_label(m->gguf), b->ops->name, err);
}

static bool bind_stack(struct model *m, struct decoder_layer *layer, const struct tensor **parts,
                       size_t n_parts, struct bexperts **out, struct err *err)
{
    for (size_t i = 0; i < n_parts; i++)
        if (!parts[i] || !(parts[i] = computable(m, layer, parts[i], err)))
            return false;
    *out = backend_experts_bind(m->target, parts, n_parts, err);
    return *out || err_prefix(err, "%s", gguf_label(m->gguf));
}

static bool bind_expert_gate_up(struct model *m, int i, struct decoder_layer *layer, struct err *err)
{
    size_t n_embd = m->config.n_embd, n_ff = m->config.n_ff_expert;
    const struct tensor *parts[2] = {NULL};
    if (weights_exists(m, i, "ffn_gate_up_exps.weight")) {
        parts[0] = find_stack(m, i, "ffn_gate_up_exps.weight", n_embd, 2 * n_ff, err);
        return bind_stack(m, layer, parts, 1, &layer->gate_up_exps, err);
    }
    parts[0] = find_stack(m, i, "ffn_gate_exps.weight", n_embd, n_ff, err);
    parts[1] = parts[0] ? find_stack(m, i, "ffn_up_exps.weight", n_embd, n_ff, err) : NULL;
    return bind_stack(m, layer, parts, 2, &layer->gate_up_exps, err);
}

bool weights_experts(struct model *m, uint32_t index, struct decoder_layer *layer, struct err *err)
{
    const struct model_config *c = &m->config;
    int i = (int)index;
    if (!weights_matrix(m, i, "ffn_gate_inp.weight", c->n_embd, c->n_expert, &layer->router, err) ||
        !bind_expert_gate_up(m, i, layer, err))
        return false;
    const struct tensor *down = find_stack(m, i, "ffn_down_exps.weight", c->n_ff_expert, c->n_embd, err);
    return bind_stack(m, layer, &down, 1, &layer->down_exps, err);
}

bool weights_shared_expert(struct model *m, uint32_t index, struct decoder_layer *layer, struct err *err)
{
    const struct model_config *c = &m->config;
    int i = (int)index;
    struct weight_part gate = {.weight = weights_find(m, i, "ffn_gate_inp_shexp.weight", c->n_embd, 0, err)};
    return gate.weight && bind(m, &gate, 1, &layer->shared_gate, err) &&
           bind_gate_up(m, i, "_shexp", c->n_ff_shared, layer, err) &&
           weights_matrix(m, i, "ffn_down_shexp.weight", c->n_ff_shared, c->n_embd, &layer->down, err);
}
