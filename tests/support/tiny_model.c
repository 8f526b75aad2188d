#include "tests/support/tiny_model.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/half.h"
#include "engine/quant_blocks.h"
#include "tests/support/gguf_write.h"
#include "tests/support/tiny_script.h"

enum { N_HEADS = 4, N_KV_HEADS = 2, N_FF = 128, N_FF_SHARED = 96 };
enum {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN = 2,
    TOKEN_CONTROL = 3,
    TOKEN_USER_DEFINED = 4,
    TOKEN_UNUSED = 5,
    TOKEN_BYTE = 6
};

#define WEIGHT_DEVIATION 0.12f

static const char chatml_template[] =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + "
    "'<|im_end|>' + "
    "'\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/* Both of the kind that reasons: what stands before the newest question loses its reasoning. */
#define THINK_HISTORY                                                                                        \
    "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}"                       \
    "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}{% for m in messages %}"                          \
    "{{ '<|im_start|>' + m.role + '\\n' }}{% if m.reasoning_content and loop.index0 > ns.last %}"            \
    "{{ '<think>\\n' + m.reasoning_content + '\\n</think>\\n\\n' }}{% endif %}{{ m.content + "               \
    "'<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
#define THINK_OFF                                                                                            \
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\\n\\n</think>\\n\\n' }}"
static const char think_template[] = THINK_HISTORY THINK_OFF "{% endif %}{% endif %}";
static const char think_opens_template[] =
    THINK_HISTORY THINK_OFF "{% else %}{{ '<think>\\n' }}{% endif %}{% endif %}";

/* ---- weights ---- */

static uint64_t next_random(uint64_t *state) /* splitmix64, Vigna, public domain */
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* Near enough to a normal number of mean 0 and deviation 1: twelve uniform ones. */
static float next_normal(uint64_t *state)
{
    float sum = -6;
    for (int i = 0; i < 12; i++)
        sum += (float)(next_random(state) >> 40) * 0x1p-24f;
    return sum;
}

static void quantise_q8_0(const float *x, struct block_q8_0 *b)
{
    float max = 0;
    for (int i = 0; i < QUANT_BLOCK; i++)
        max = fmaxf(max, fabsf(x[i]));
    b->d = f16_from_f32(max / 127);
    float d = f16_to_f32(b->d);
    for (int i = 0; i < QUANT_BLOCK; i++)
        b->qs[i] = (int8_t)(d > 0 ? fmaxf(-127, fminf(127, roundf(x[i] / d))) : 0);
}

static int level_q4_0(float x, float d)
{
    return d > 0 ? (int)fmaxf(0, fminf(15, roundf(x / d) + 8)) : 8;
}

static void quantise_q4_0(const float *x, struct block_q4_0 *b)
{
    float max = 0;
    for (int i = 0; i < QUANT_BLOCK; i++)
        max = fmaxf(max, fabsf(x[i]));
    b->d = f16_from_f32(max / 8);
    float d = f16_to_f32(b->d);
    for (int i = 0; i < 16; i++)
        b->qs[i] = (uint8_t)(level_q4_0(x[i], d) | level_q4_0(x[i + 16], d) << 4);
}

static void encode(enum dtype type, const float *x, size_t n, struct buf *out)
{
    if (type == DTYPE_F32) {
        buf_append(out, x, n * sizeof *x);
        return;
    }
    for (size_t i = 0; i < n; i += QUANT_BLOCK)
        if (type == DTYPE_Q8_0) {
            struct block_q8_0 b;
            quantise_q8_0(x + i, &b);
            buf_append(out, &b, sizeof b);
        } else {
            struct block_q4_0 b;
            quantise_q4_0(x + i, &b);
            buf_append(out, &b, sizeof b);
        }
}

struct maker {
    struct gguf_writer file;
    const struct tiny_options *options;
    uint64_t state;
    struct tiny_tokens *tokens;
};

static void add_values(struct maker *m, const char *name, enum dtype type, const uint64_t *dims, int n_dims,
                       const float *x)
{
    struct buf bytes = {0};
    size_t n = 1;
    for (int i = 0; i < n_dims; i++)
        n *= (size_t)dims[i];
    encode(type, x, n, &bytes);
    gguf_write_tensor(&m->file, name, (uint32_t)dtype_info(type)->ggml_id, dims, n_dims, bytes.data,
                      bytes.len);
    buf_fini(&bytes);
}

static void add_tensor(struct maker *m, const char *name, enum dtype type, uint64_t n_in, uint64_t n_rows,
                       float mean, float deviation)
{
    uint64_t dims[2] = {n_in, n_rows ? n_rows : 1};
    size_t n = (size_t)(dims[0] * dims[1]);
    float *x = mem_need(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = mean + deviation * next_normal(&m->state);
    add_values(m, name, type, dims, n_rows ? 2 : 1, x);
    mem_free(x);
}

/* One matrix per expert. */
static float *make_stack(struct maker *m, uint64_t n_in, uint64_t n_rows, float deviation)
{
    size_t n = (size_t)(n_in * n_rows * TINY_N_EXPERTS);
    float *x = mem_need(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = deviation * next_normal(&m->state);
    return x;
}

static void add_stack(struct maker *m, const char *name, uint64_t n_in, uint64_t n_rows, const float *x)
{
    uint64_t dims[3] = {n_in, n_rows, TINY_N_EXPERTS};
    const struct tiny_options *o = m->options;
    add_values(m, name, o->expert_type == DTYPE_F32 ? o->type : o->expert_type, dims, 3, x);
}

static void add_fused_stack(struct maker *m, const char *name, const float *gate, const float *up)
{
    enum { SLAB = TINY_N_EMBD * TINY_N_FF_EXPERT };
    float *x = mem_need(2 * SLAB * TINY_N_EXPERTS * sizeof *x);
    for (size_t e = 0; e < TINY_N_EXPERTS; e++) {
        memcpy(x + 2 * e * SLAB, gate + e * SLAB, SLAB * sizeof *x);
        memcpy(x + (2 * e + 1) * SLAB, up + e * SLAB, SLAB * sizeof *x);
    }
    add_stack(m, name, TINY_N_EMBD, 2 * (uint64_t)TINY_N_FF_EXPERT, x);
    mem_free(x);
}

static void add_matrix(struct maker *m, const char *name, uint64_t n_in, uint64_t n_rows)
{
    add_tensor(m, name, m->options->type, n_in, n_rows, 0, WEIGHT_DEVIATION);
}

static void add_vector(struct maker *m, const char *name, uint64_t n, float mean)
{
    add_tensor(m, name, DTYPE_F32, n, 0, mean, 0.05f);
}

static bool is_arch(const struct maker *m, const char *arch)
{
    return strcmp(m->options->arch, arch) == 0;
}

static bool is_qwen3(const struct maker *m)
{
    return is_arch(m, "qwen3") || is_arch(m, "qwen3moe");
}

static bool has_experts(const struct maker *m)
{
    return m->options->experts || is_arch(m, "qwen3moe") || is_arch(m, "qwen2moe") || is_arch(m, "olmoe");
}

static uint32_t head_size(const struct maker *m)
{
    return is_qwen3(m) ? 32 : TINY_N_EMBD / N_HEADS;
}

static const char *in_layer(char name[64], int layer, const char *part)
{
    snprintf(name, 64, "blk.%d.%s", layer, part);
    return name;
}

static void add_experts(struct maker *m, int i, float added)
{
    char name[64];
    float *gate = make_stack(m, TINY_N_EMBD, TINY_N_FF_EXPERT, WEIGHT_DEVIATION);
    float *up = make_stack(m, TINY_N_EMBD, TINY_N_FF_EXPERT, WEIGHT_DEVIATION);
    float *down = make_stack(m, TINY_N_FF_EXPERT, TINY_N_EMBD, added);
    if (m->options->fused_experts) {
        add_fused_stack(m, in_layer(name, i, "ffn_gate_up_exps.weight"), gate, up);
    } else {
        add_stack(m, in_layer(name, i, "ffn_gate_exps.weight"), TINY_N_EMBD, TINY_N_FF_EXPERT, gate);
        add_stack(m, in_layer(name, i, "ffn_up_exps.weight"), TINY_N_EMBD, TINY_N_FF_EXPERT, up);
    }
    add_stack(m, in_layer(name, i, "ffn_down_exps.weight"), TINY_N_FF_EXPERT, TINY_N_EMBD, down);
    mem_free(gate);
    mem_free(up);
    mem_free(down);
}

static void add_shared_expert(struct maker *m, int i, float added)
{
    char name[64];
    add_vector(m, in_layer(name, i, "ffn_gate_inp_shexp.weight"), TINY_N_EMBD, 0);
    add_matrix(m, in_layer(name, i, "ffn_gate_shexp.weight"), TINY_N_EMBD, N_FF_SHARED);
    add_matrix(m, in_layer(name, i, "ffn_up_shexp.weight"), TINY_N_EMBD, N_FF_SHARED);
    add_tensor(m, in_layer(name, i, "ffn_down_shexp.weight"), m->options->type, N_FF_SHARED, TINY_N_EMBD, 0,
               added);
}

static void add_layer(struct maker *m, int i)
{
    char name[64];
    uint64_t n_q = (uint64_t)N_HEADS * head_size(m), n_kv = (uint64_t)N_KV_HEADS * head_size(m);
    float added = m->options->script ? 0 : WEIGHT_DEVIATION;
    add_vector(m, in_layer(name, i, "attn_norm.weight"), TINY_N_EMBD, 1);
    add_matrix(m, in_layer(name, i, "attn_q.weight"), TINY_N_EMBD, n_q);
    add_matrix(m, in_layer(name, i, "attn_k.weight"), TINY_N_EMBD, n_kv);
    add_matrix(m, in_layer(name, i, "attn_v.weight"), TINY_N_EMBD, n_kv);
    add_tensor(m, in_layer(name, i, "attn_output.weight"), m->options->type, n_q, TINY_N_EMBD, 0, added);
    if (is_arch(m, "qwen2") || is_arch(m, "qwen2moe")) {
        add_vector(m, in_layer(name, i, "attn_q.bias"), n_q, 0);
        add_vector(m, in_layer(name, i, "attn_k.bias"), n_kv, 0);
        add_vector(m, in_layer(name, i, "attn_v.bias"), n_kv, 0);
    }
    if (is_qwen3(m) || is_arch(m, "olmoe")) {
        add_vector(m, in_layer(name, i, "attn_q_norm.weight"), is_qwen3(m) ? head_size(m) : n_q, 1);
        add_vector(m, in_layer(name, i, "attn_k_norm.weight"), is_qwen3(m) ? head_size(m) : n_kv, 1);
    }
    add_vector(m, in_layer(name, i, "ffn_norm.weight"), TINY_N_EMBD, 1);
    if (has_experts(m)) {
        add_tensor(m, in_layer(name, i, "ffn_gate_inp.weight"), DTYPE_F32, TINY_N_EMBD, TINY_N_EXPERTS, 0,
                   WEIGHT_DEVIATION);
        add_experts(m, i, added);
        if (is_arch(m, "qwen2moe"))
            add_shared_expert(m, i, added);
        return;
    }
    add_matrix(m, in_layer(name, i, "ffn_gate.weight"), TINY_N_EMBD, N_FF);
    add_matrix(m, in_layer(name, i, "ffn_up.weight"), TINY_N_EMBD, N_FF);
    add_tensor(m, in_layer(name, i, "ffn_down.weight"), m->options->type, N_FF, TINY_N_EMBD, 0, added);
}

/* Embeddings, and an output matrix whose rows are the embeddings of what the token follows, at length: their
 * product is far above that of any two others. */
static void add_scripted(struct maker *m)
{
    const struct tiny_tokens *t = m->tokens;
    uint64_t dims[2] = {TINY_N_EMBD, (uint64_t)t->n};
    size_t n = (size_t)(dims[0] * dims[1]);
    float *embed = mem_need(n * sizeof *embed), *output = mem_need(n * sizeof *output);
    for (size_t i = 0; i < n; i++) {
        embed[i] = WEIGHT_DEVIATION * next_normal(&m->state);
        output[i] = 0;
    }
    for (int id = 0; id < t->n; id++)
        for (size_t i = 0; i < TINY_N_EMBD && t->next[id] >= 0; i++)
            output[(size_t)t->next[id] * TINY_N_EMBD + i] +=
                embed[(size_t)id * TINY_N_EMBD + i] / WEIGHT_DEVIATION;
    add_values(m, "token_embd.weight", m->options->type, dims, 2, embed);
    add_values(m, "output.weight", m->options->type, dims, 2, output);
    mem_free(embed);
    mem_free(output);
}

static void add_tensors(struct maker *m)
{
    if (m->options->script)
        add_scripted(m);
    else
        add_matrix(m, "token_embd.weight", TINY_N_EMBD, TINY_N_VOCAB);
    for (int i = 0; i < TINY_N_LAYERS; i++)
        add_layer(m, i);
    add_vector(m, "output_norm.weight", TINY_N_EMBD, 1);
    if (is_arch(m, "llama") && !m->options->script)
        add_matrix(m, "output.weight", TINY_N_EMBD, TINY_N_VOCAB);
}

/* ---- keys ---- */

static void put_u32(struct maker *m, const char *key, uint32_t value)
{
    char full[64];
    snprintf(full, sizeof full, "%s.%s", m->options->arch, key);
    gguf_write_u32(&m->file, full, value);
}

static void put_f32(struct maker *m, const char *key, float value)
{
    char full[64];
    snprintf(full, sizeof full, "%s.%s", m->options->arch, key);
    gguf_write_f32(&m->file, full, value);
}

static void add_keys(struct maker *m)
{
    gguf_write_string(&m->file, "general.architecture", m->options->arch);
    gguf_write_string(&m->file, "general.name", "tiny random");
    gguf_write_u32(&m->file, "general.alignment", 32);
    put_u32(m, "context_length", m->options->n_ctx ? m->options->n_ctx : 512);
    put_u32(m, "embedding_length", TINY_N_EMBD);
    put_u32(m, "block_count", TINY_N_LAYERS);
    put_u32(m, "feed_forward_length", N_FF);
    put_u32(m, "attention.head_count", N_HEADS);
    put_u32(m, "attention.head_count_kv", N_KV_HEADS);
    put_u32(m, "attention.key_length", head_size(m));
    put_u32(m, "attention.value_length", head_size(m));
    put_u32(m, "rope.dimension_count", head_size(m));
    put_u32(m, "vocab_size", (uint32_t)m->tokens->n);
    put_f32(m, "rope.freq_base", is_arch(m, "llama") ? 1e4f : 1e6f);
    put_f32(m, "attention.layer_norm_rms_epsilon", 1e-5f);
    if (!has_experts(m))
        return;
    put_u32(m, "expert_count", TINY_N_EXPERTS);
    put_u32(m, "expert_used_count", TINY_N_EXPERTS_USED);
    put_u32(m, "expert_feed_forward_length", TINY_N_FF_EXPERT);
    if (is_arch(m, "qwen2moe"))
        put_u32(m, "expert_shared_feed_forward_length", N_FF_SHARED);
}

/* ---- vocabulary ---- */

__attribute__((format(printf, 3, 4))) static void add_token(struct tiny_tokens *t, int type,
                                                            const char *format, ...)
{
    if (t->n == TINY_N_VOCAB)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(t->text[t->n], sizeof t->text[t->n], format, args);
    va_end(args);
    t->types[t->n] = type;
    t->scores[t->n] = type == TOKEN_NORMAL ? -(float)t->n : 0;
    t->n++;
}

/* Specials, the 256 bytes, the printable characters, a few pairs of letters, what reasoning needs; the rest
 * unused. */
static void make_tokens(struct tiny_tokens *t, bool chatml, bool thinks)
{
    static const char pairs[][4] = {"th", "he", "in", "er", "an", "re", "on", "at", "en", "nd", "ti", "es"};
    add_token(t, TOKEN_UNKNOWN, "<unk>");
    add_token(t, TOKEN_CONTROL, "<s>");
    add_token(t, TOKEN_CONTROL, "</s>");
    if (chatml) {
        add_token(t, TOKEN_CONTROL, "<|im_start|>");
        add_token(t, TOKEN_CONTROL, "<|im_end|>");
    }
    for (int b = 0; b < 256; b++)
        add_token(t, TOKEN_BYTE, "<0x%02X>", (unsigned)b);
    add_token(t, TOKEN_NORMAL, "\u2581");
    for (int c = '!'; c <= '~'; c++)
        add_token(t, TOKEN_NORMAL, "%c", c);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        add_token(t, TOKEN_NORMAL, "%s", pairs[i]);
    if (thinks) {
        add_token(t, TOKEN_USER_DEFINED, "<think>");
        add_token(t, TOKEN_USER_DEFINED, "</think>");
        add_token(t, TOKEN_NORMAL, "\n\n");
    }
    while (t->n < TINY_N_VOCAB)
        add_token(t, TOKEN_UNUSED, "<unused%d>", t->n);
}

static int32_t find_token(const struct tiny_tokens *t, const char *text)
{
    int32_t id = t->n - 1;
    while (id >= 0 && strcmp(t->text[id], text) != 0)
        id--;
    return id;
}

static bool is_chatml(const struct tiny_options *o)
{
    return o->chatml || o->think || o->think_opens || o->script;
}

static bool make_vocab(struct maker *m)
{
    struct tiny_tokens *t = m->tokens;
    const struct tiny_options *o = m->options;
    make_tokens(t, is_chatml(o), o->think || o->think_opens);
    struct tiny_script_marks marks = {.newline = find_token(t, "<0x0A>"),
                                      .empty_line = find_token(t, "\n\n"),
                                      .think = find_token(t, "<think>"),
                                      .end_think = find_token(t, "</think>"),
                                      .end_turn = find_token(t, "<|im_end|>")};
    return !o->script || tiny_script_add(t, o->script, &marks);
}

static const char *template_of(const struct tiny_options *o)
{
    return o->think_opens ? think_opens_template : o->think ? think_template : chatml_template;
}

static void add_vocab(struct maker *m)
{
    struct gguf_writer *w = &m->file;
    bool chatml = is_chatml(m->options);
    struct tiny_tokens *t = m->tokens;
    size_t n = (size_t)t->n;
    const char **texts = mem_need(n * sizeof *texts);
    for (size_t i = 0; i < n; i++)
        texts[i] = t->text[i];
    gguf_write_string(w, "tokenizer.ggml.model", "llama");
    gguf_write_strings(w, "tokenizer.ggml.tokens", texts, n);
    gguf_write_array(w, "tokenizer.ggml.scores", GGUF_F32, t->scores, n, n * sizeof *t->scores);
    gguf_write_array(w, "tokenizer.ggml.token_type", GGUF_I32, t->types, n, n * sizeof *t->types);
    gguf_write_u32(w, "tokenizer.ggml.bos_token_id", 1);
    gguf_write_u32(w, "tokenizer.ggml.eos_token_id", chatml ? 4 : 2);
    gguf_write_u32(w, "tokenizer.ggml.unknown_token_id", 0);
    gguf_write_bool(w, "tokenizer.ggml.add_bos_token", !chatml);
    gguf_write_bool(w, "tokenizer.ggml.add_eos_token", false);
    if (chatml)
        gguf_write_string(w, "tokenizer.chat_template", template_of(m->options));
    mem_free(texts);
}

bool tiny_model_make(const struct tiny_options *options, struct buf *out)
{
    static const char *const archs[] = {"llama", "qwen2", "qwen3", "qwen3moe", "qwen2moe", "olmoe"};
    struct maker m = {.options = options, .state = options->seed};
    size_t n_known = sizeof archs / sizeof *archs, at = 0;
    while (at < n_known && !is_arch(&m, archs[at]))
        at++;
    if (at == n_known || (options->experts && (is_arch(&m, "qwen2") || is_arch(&m, "qwen3"))))
        return false;
    if (options->type != DTYPE_F32 && options->type != DTYPE_Q8_0 && options->type != DTYPE_Q4_0)
        return false;
    m.tokens = mem_need(sizeof *m.tokens);
    bool ok = make_vocab(&m);
    if (ok) {
        add_keys(&m);
        add_vocab(&m);
        add_tensors(&m);
        gguf_write_finish(&m.file, out);
    }
    mem_free(m.tokens);
    return ok;
}

bool tiny_model_save(const struct tiny_options *options, const char *path)
{
    struct buf bytes = {0};
    bool ok = tiny_model_make(options, &bytes);
    if (!ok)
        fprintf(stderr, "%s: no tiny model of arch %s, this type and this script\n", path, options->arch);
    ok = ok && test_write_file(path, bytes.data, bytes.len);
    buf_fini(&bytes);
    return ok;
}
