/* The numbers of a model file: read, and checked against each other before anything is bound. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/buf.h"
#include "engine/base/utf8.h"
#include "engine/model_internal.h"

#define MAX_LAYERS 512
#define MAX_HEADS 1024
#define MAX_HEAD_DIM 512
#define MAX_WIDTH (1u << 20) /* of embeddings and feed-forward layers */
#define MAX_CONTEXT (1u << 28)
#define MAX_EXPERTS 4096
#define GATING_SOFTMAX 1 /* GGUF's number */

/* The file's key for a number of this architecture: "llama.block_count". */
struct key {
    char text[96];
    char shown[GGUF_SHOWN_BYTES]; /* for messages */
};
static struct key key_of(const struct model_config *c, const char *name)
{
    struct key key;
    snprintf(key.text, sizeof key.text, "%s.%s", c->arch, name);
    gguf_show(key.text, strlen(key.text), key.shown);
    return key;
}

/* A needed number (fallback 0) or one with a fallback, within its range. */
static bool read_count(const struct gguf *g, const struct model_config *c, const char *name,
                       uint32_t fallback, uint32_t low, uint32_t high, uint32_t *out, struct err *err)
{
    struct key key = key_of(c, name);
    bool ok = fallback ? gguf_u32_or(g, key.text, fallback, out, err) : gguf_get_u32(g, key.text, out, err);
    if (!ok)
        return false;
    if (*out < low || *out > high)
        return err_set(err, ERR_MODEL, "%s: %s is %u, expected %u to %u" GET_IT_AGAIN, gguf_label(g),
                       key.shown, *out, low, high);
    return true;
}

static bool read_real(const struct gguf *g, const struct model_config *c, const char *name, float fallback,
                      float low, float high, float *out, struct err *err)
{
    struct key key = key_of(c, name);
    if (!gguf_f32_or(g, key.text, fallback, out, err))
        return false;
    if (!(*out >= low && *out <= high))
        return err_set(err, ERR_MODEL, "%s: %s is %g, expected %g to %g" GET_IT_AGAIN, gguf_label(g),
                       key.shown, (double)*out, (double)low, (double)high);
    return true;
}

static bool read_names(const struct gguf *g, struct model_config *c, struct err *err)
{
    struct gguf_string s;
    if (!gguf_get_string(g, "general.architecture", &s, err))
        return false;
    if (s.n == 0 || s.n >= sizeof c->arch || !utf8_is_valid(s.data, s.n) || memchr(s.data, 0, s.n))
        return err_set(err, ERR_MODEL, "%s: general.architecture is %zu bytes of no name" GET_IT_AGAIN,
                       gguf_label(g), s.n);
    memcpy(c->arch, s.data, s.n);
    if (!gguf_find(g, "general.name") || !gguf_get_string(g, "general.name", &s, NULL))
        return true;
    struct buf clean = {0};
    utf8_append_clean(&clean, s.data, s.n < sizeof c->name ? s.n : sizeof c->name);
    size_t n = clean.len < sizeof c->name ? clean.len : sizeof c->name - 1;
    n -= utf8_incomplete_tail(clean.data ? clean.data : "", n);
    memcpy(c->name, buf_text(&clean), n);
    buf_fini(&clean);
    return true;
}

/* general.file_type, numbered as llama.cpp's quantiser does. */
static const char *const file_types[] = {
    [0] = "F32",     [1] = "F16",     [2] = "Q4_0",     [3] = "Q4_1",    [7] = "Q8_0",     [8] = "Q5_0",
    [9] = "Q5_1",    [10] = "Q2_K",   [11] = "Q3_K_S",  [12] = "Q3_K_M", [13] = "Q3_K_L",  [14] = "Q4_K_S",
    [15] = "Q4_K_M", [16] = "Q5_K_S", [17] = "Q5_K_M",  [18] = "Q6_K",   [19] = "IQ2_XXS", [20] = "IQ2_XS",
    [21] = "Q2_K_S", [22] = "IQ3_XS", [23] = "IQ3_XXS", [24] = "IQ1_S",  [25] = "IQ4_NL",  [26] = "IQ3_S",
    [27] = "IQ3_M",  [28] = "IQ2_S",  [29] = "IQ2_M",   [30] = "IQ4_XS", [31] = "IQ1_M",   [32] = "BF16",
    [36] = "TQ1_0",  [37] = "TQ2_0",  [38] = "MXFP4",
};
#define N_FILE_TYPES (sizeof file_types / sizeof file_types[0])
#define FILE_TYPE_GUESSED 1024u

/* Of the matrices: norms and biases are f32 in every file. */
static void name_most_frequent_type(const struct gguf *g, char out[16])
{
    size_t n_of[DTYPE_N] = {0};
    int best = -1;
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct tensor *t = gguf_tensor_at(g, i);
        if (t->n_dims >= 2)
            n_of[t->type]++;
    }
    for (int i = 0; i < DTYPE_N; i++)
        if (n_of[i] && (best < 0 || n_of[i] > n_of[best]))
            best = i;
    snprintf(out, 16, "%s", best < 0 ? "" : dtype_info((enum dtype)best)->name);
    for (char *p = out; *p; p++)
        *p = (char)(*p >= 'a' && *p <= 'z' ? *p - 'a' + 'A' : *p);
}

static void read_quant(const struct gguf *g, struct model_config *c)
{
    uint32_t type;
    if (gguf_find(g, "general.file_type") && gguf_get_u32(g, "general.file_type", &type, NULL)) {
        type &= ~FILE_TYPE_GUESSED;
        if (type < N_FILE_TYPES && file_types[type]) {
            snprintf(c->quant, sizeof c->quant, "%s", file_types[type]);
            return;
        }
    }
    name_most_frequent_type(g, c->quant);
}

static bool read_shape(const struct gguf *g, struct model_config *c, struct err *err)
{
    if (!read_count(g, c, "block_count", 0, 1, MAX_LAYERS, &c->n_layer, err) ||
        !read_count(g, c, "context_length", 0, 1, MAX_CONTEXT, &c->n_ctx_train, err) ||
        !read_count(g, c, "embedding_length", 0, 1, MAX_WIDTH, &c->n_embd, err) ||
        !read_count(g, c, "feed_forward_length", 0, 1, MAX_WIDTH, &c->n_ff, err) ||
        !read_count(g, c, "attention.head_count", 0, 1, MAX_HEADS, &c->n_head, err) ||
        !read_count(g, c, "attention.head_count_kv", c->n_head, 1, MAX_HEADS, &c->n_kv_head, err))
        return false;
    if (c->n_head % c->n_kv_head)
        return err_set(err, ERR_MODEL,
                       "%s: %u attention heads cannot share %u key/value heads evenly" GET_IT_AGAIN,
                       gguf_label(g), c->n_head, c->n_kv_head);
    return true;
}

static bool read_head_dim(const struct gguf *g, struct model_config *c, struct err *err)
{
    uint32_t v_dim, share = c->n_embd / c->n_head;
    if (!gguf_find(g, key_of(c, "attention.key_length").text) && c->n_embd % c->n_head)
        return err_set(err, ERR_MODEL,
                       "%s: %s.embedding_length %u does not divide into %u heads" GET_IT_AGAIN, gguf_label(g),
                       c->arch, c->n_embd, c->n_head);
    if (!read_count(g, c, "attention.key_length", share ? share : 1, 2, MAX_HEAD_DIM, &c->head_dim, err) ||
        !read_count(g, c, "attention.value_length", c->head_dim, 2, MAX_HEAD_DIM, &v_dim, err) ||
        !read_count(g, c, "rope.dimension_count", c->head_dim, 2, c->head_dim, &c->n_rot, err))
        return false;
    if (c->head_dim % 2 || c->n_rot % 2)
        return err_set(err, ERR_MODEL,
                       "%s: a head of %u dimensions, %u of them rotated: expected even numbers" GET_IT_AGAIN,
                       gguf_label(g), c->head_dim, c->n_rot);
    if (v_dim != c->head_dim)
        return err_set(err, ERR_MODEL,
                       "%s: %s.attention.value_length is %u, expected the key length %u; this version runs "
                       "no such model: use another",
                       gguf_label(g), c->arch, v_dim, c->head_dim);
    return true;
}

/* The width of the shared expert; files of Qwen 2 always say it. */
static bool read_experts(const struct gguf *g, const struct model_family *family, struct model_config *c,
                         struct err *err)
{
    struct key experts = key_of(c, "expert_count"), gating = key_of(c, "expert_gating_func");
    uint32_t gating_func;
    if (!gguf_u32_or(g, experts.text, 0, &c->n_expert, err) ||
        !gguf_u32_or(g, gating.text, GATING_SOFTMAX, &gating_func, err))
        return false;
    if ((family->moe == MOE_NEVER && c->n_expert) || (family->moe == MOE_ALWAYS && !c->n_expert) ||
        c->n_expert > MAX_EXPERTS)
        return err_set(err, ERR_MODEL, "%s: %s is %u, expected %s for %s" GET_IT_AGAIN, gguf_label(g),
                       experts.shown, c->n_expert, family->moe == MOE_NEVER ? "none" : "1 to 4096", c->arch);
    if (!c->n_expert)
        return true;
    if (gating_func != GATING_SOFTMAX)
        return err_set(err, ERR_MODEL,
                       "%s: %s is %u, expected %d (softmax); this version runs no such model: use another",
                       gguf_label(g), gating.shown, gating_func, GATING_SOFTMAX);
    return read_count(g, c, "expert_used_count", 0, 1, c->n_expert, &c->n_expert_used, err) &&
           read_count(g, c, "expert_feed_forward_length", c->n_ff, 1, MAX_WIDTH, &c->n_ff_expert, err) &&
           (family != &family_qwen2moe || read_count(g, c, "expert_shared_feed_forward_length", c->n_ff, 1,
                                                     MAX_WIDTH, &c->n_ff_shared, err));
}

static bool read_numbers(const struct gguf *g, struct model_config *c, struct err *err)
{
    struct key window = key_of(c, "attention.sliding_window");
    struct key eps = key_of(c, "attention.layer_norm_rms_epsilon");
    if (!gguf_u32_or(g, window.text, 0, &c->window, err))
        return false;
    if (!gguf_find(g, eps.text))
        return err_set(err, ERR_MODEL,
                       "%s: key %s is missing; get a complete model file, made by a current converter",
                       gguf_label(g), eps.shown);
    return read_real(g, c, "attention.layer_norm_rms_epsilon", 0.0f, 0.0f, 0.1f, &c->rms_eps, err) &&
           read_real(g, c, "rope.freq_base", 10000.0f, 1.5f, 1e12f, &c->rope_base, err);
}

/* Rows of the embedding; without tensors (a vocabulary file) the tokenizer's count. */
static bool read_vocab_size(const struct gguf *g, struct model_config *c, struct err *err)
{
    const struct tensor *embed = gguf_find_tensor(g, "token_embd.weight");
    const struct gguf_kv *tokens = gguf_find(g, "tokenizer.ggml.tokens");
    uint64_t n = embed ? embed->dims[1] : tokens && tokens->type == GGUF_ARRAY ? tokens->n_items : 0;
    if (n > INT32_MAX || (embed && n == 0))
        return err_set(err, ERR_MODEL,
                       "%s: tensor token_embd.weight has %" PRIu64 " rows, expected 1 to %d" GET_IT_AGAIN,
                       gguf_label(g), n, INT32_MAX);
    c->n_vocab = (uint32_t)n;
    return true;
}

/* What one token meets of something that is spread evenly over the tensor. */
static uint64_t of_token(const struct model_config *c, const struct tensor *t, uint64_t n)
{
    bool is_stack = c->n_expert && t->n_dims == 3 && t->dims[2] == c->n_expert;
    return is_stack ? n / c->n_expert * c->n_expert_used : n;
}

/* A decoded token reads every weight once, but of the embedding table one row, unless that table is the head
 * too. */
static void count_bytes(const struct gguf *g, struct model_config *c)
{
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct tensor *t = gguf_tensor_at(g, i);
        c->weight_bytes += t->n_bytes;
        c->token_weight_bytes += of_token(c, t, t->n_bytes);
    }
    const struct tensor *embed = gguf_find_tensor(g, "token_embd.weight");
    if (!embed || !c->n_vocab)
        return;
    uint64_t row = embed->n_bytes / c->n_vocab;
    c->token_weight_bytes += row;
    if (gguf_find_tensor(g, "output.weight"))
        c->token_weight_bytes -= embed->n_bytes;
}

void model_count_macs(const struct model *m, struct model_macs *out)
{
    const struct tensor *embed = gguf_find_tensor(m->gguf, "token_embd.weight");
    const struct tensor *output = gguf_find_tensor(m->gguf, "output.weight");
    *out = (struct model_macs){0};
    for (size_t i = 0; i < gguf_n_tensors(m->gguf); i++) {
        const struct tensor *t = gguf_tensor_at(m->gguf, i);
        uint64_t n = 1;
        for (int d = 0; d < t->n_dims; d++)
            n *= t->dims[d];
        if (t == (output ? output : embed))
            out->head[t->type] += n;
        else if (t != embed && t->n_dims >= 2)
            out->token[t->type] += of_token(&m->config, t, n);
    }
}

bool model_read_config(const struct gguf *g, struct model_config *out, struct err *err)
{
    struct model_config c = {0};
    if (!read_names(g, &c, err))
        return false;
    const struct model_family *family = model_find_family(c.arch, err);
    if (!family)
        return err_prefix(err, "%s", gguf_label(g));
    c.rope_mode = family->rope_mode;
    if (!read_shape(g, &c, err) || !read_head_dim(g, &c, err) || !read_numbers(g, &c, err) ||
        !read_experts(g, family, &c, err) || !read_vocab_size(g, &c, err))
        return false;
    struct rope_params rope;
    if (!model_read_rope(g, &c, &rope, err))
        return false;
    c.rope_scale = (float)rope.scale;
    read_quant(g, &c);
    count_bytes(g, &c);
    *out = c;
    return true;
}

/* The kind of scaling; Llama 3's own lies in the tensor rope_freqs.weight and needs no key. */
static bool read_scaling_kind(const struct gguf *g, const struct model_config *c, struct rope_params *out,
                              struct err *err)
{
    static const struct {
        const char *name;
        enum rope_scaling kind;
    } kinds[] = {{"none", ROPE_SCALING_NONE},
                 {"linear", ROPE_SCALING_LINEAR},
                 {"yarn", ROPE_SCALING_YARN},
                 {"llama3", ROPE_SCALING_NONE}};
    struct key key = key_of(c, "rope.scaling.type");
    struct gguf_string s;
    if (!gguf_find(g, key.text)) {
        /* Older files give the factor alone. */
        out->scaling = ROPE_SCALING_LINEAR;
        return true;
    }
    if (!gguf_get_string(g, key.text, &s, err))
        return false;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (s.n == strlen(kinds[i].name) && memcmp(s.data, kinds[i].name, s.n) == 0) {
            out->scaling = kinds[i].kind;
            return true;
        }
    }
    char shown[GGUF_SHOWN_BYTES];
    return err_set(err, ERR_MODEL,
                   "%s: %s is \"%s\", expected none, linear, yarn or llama3; this version cannot stretch a "
                   "context that way: use another model",
                   gguf_label(g), key.shown, gguf_show(s.data, s.n, shown));
}

static bool read_yarn(const struct gguf *g, const struct model_config *c, struct rope_params *out,
                      struct err *err)
{
    float attn, fast, slow;
    uint32_t n_orig;
    if (!read_real(g, c, "rope.scaling.attn_factor", 1.0f, 1e-3f, 1e3f, &attn, err) ||
        !read_real(g, c, "rope.scaling.yarn_beta_fast", 32.0f, 1e-3f, 1e6f, &fast, err) ||
        !read_real(g, c, "rope.scaling.yarn_beta_slow", 1.0f, 1e-3f, 1e6f, &slow, err) ||
        !read_count(g, c, "rope.scaling.original_context_length", c->n_ctx_train, 1, MAX_CONTEXT, &n_orig,
                    err))
        return false;
    out->attn_factor = (double)attn;
    out->beta_fast = (double)fast;
    out->beta_slow = (double)slow;
    out->n_ctx_orig = n_orig;
    return true;
}

bool model_read_rope(const struct gguf *g, const struct model_config *c, struct rope_params *out,
                     struct err *err)
{
    *out = (struct rope_params){.n_rot = c->n_rot, .base = (double)c->rope_base, .scale = 1.0};
    float old_scale, scale;
    if (!read_scaling_kind(g, c, out, err) ||
        !read_real(g, c, "rope.scale_linear", 1.0f, 0.0f, 1e4f, &old_scale, err) ||
        !read_real(g, c, "rope.scaling.factor", old_scale, 0.0f, 1e4f, &scale, err))
        return false;
    /* 0 is what some converters write for "off". */
    if (scale > 0.0f && out->scaling != ROPE_SCALING_NONE)
        out->scale = (double)scale;
    if (out->scaling == ROPE_SCALING_LINEAR && out->scale == 1.0)
        out->scaling = ROPE_SCALING_NONE;
    return out->scaling != ROPE_SCALING_YARN || read_yarn(g, c, out, err);
}
