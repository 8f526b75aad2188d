/* Loading and freeing a model, and the table of families. */
#include "engine/model.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/model_internal.h"
#include "engine/weights.h"

static const struct model_family *const families[] = {&family_llama,    &family_qwen2,    &family_qwen3,
                                                      &family_qwen3moe, &family_qwen2moe, &family_olmoe};
#define N_FAMILIES (sizeof families / sizeof families[0])

const struct model_family *model_find_family(const char *arch, struct err *err)
{
    char known[128] = "";
    for (size_t i = 0; i < N_FAMILIES; i++) {
        if (strcmp(families[i]->arch, arch) == 0)
            return families[i];
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "",
                 families[i]->arch);
    }
    char shown[GGUF_SHOWN_BYTES];
    size_t n = strlen(arch);
    gguf_show(arch, n, shown);
    err_set(err, ERR_MODEL, "architecture %s is unknown to this version; use a model of %s", shown, known);
    return NULL;
}

static uint64_t used_bytes(const struct model *m)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < m->n_used; i++)
        sum += m->used[i]->n_bytes;
    return sum;
}

bool model_report(const struct model *m, const struct load_progress *progress, struct err *err)
{
    if (!progress || progress->report(progress->arg, used_bytes(m), m->config.weight_bytes))
        return true;
    return err_set(err, ERR_CANCELLED, "loading %s was cancelled", gguf_label(m->gguf));
}

/* The rope factors are computed with on the host (rope.h). */
static bool read_rope_factors(struct model *m, struct err *err)
{
    if (!weights_exists(m, -1, "rope_freqs.weight"))
        return true;
    const struct tensor *t = weights_find(m, -1, "rope_freqs.weight", m->rope.n_rot / 2, 0, err);
    if (!t)
        return false;
    if (t->type != DTYPE_F32)
        return err_set(err, ERR_MODEL, "%s: tensor %s is of type %s, expected f32" GET_IT_AGAIN,
                       gguf_label(m->gguf), t->name, dtype_info(t->type)->name);
    memcpy(m->rope.factors, t->data, m->rope.n_rot / 2 * sizeof(float));
    m->rope.has_factors = true;
    for (uint32_t i = 0; i < m->rope.n_rot / 2; i++)
        if (!(m->rope.factors[i] > 0.0f && m->rope.factors[i] < 1e6f))
            return err_set(err, ERR_MODEL,
                           "%s: tensor %s holds %g at %u, expected a positive number" GET_IT_AGAIN,
                           gguf_label(m->gguf), t->name, (double)m->rope.factors[i], i);
    return true;
}

static bool is_used(const struct model *m, const struct tensor *t)
{
    for (size_t i = 0; i < m->n_used; i++)
        if (m->used[i] == t)
            return true;
    return false;
}

/* A tensor nobody asked for means a variant of the architecture: its answers would be quietly wrong. */
static bool check_all_used(const struct model *m, struct err *err)
{
    char shown[GGUF_SHOWN_BYTES];
    for (size_t i = 0; i < gguf_n_tensors(m->gguf); i++) {
        const struct tensor *t = gguf_tensor_at(m->gguf, i);
        if (!is_used(m, t))
            return err_set(
                err, ERR_MODEL,
                "%s: tensor %s is not part of the %s models this program knows, so its answers would be "
                "wrong; use another file of the model",
                gguf_label(m->gguf), gguf_show(t->name, strlen(t->name), shown), m->config.arch);
    }
    return true;
}

static bool bind_all(struct model *m, const struct load_progress *progress, struct err *err)
{
    /* A vector more than the file has: room for the search to end in. */
    m->used = mem_array(gguf_n_tensors(m->gguf) + 1, sizeof *m->used, err);
    m->layers = m->used ? mem_array(m->config.n_layer, sizeof *m->layers, err) : NULL;
    return m->layers && read_rope_factors(m, err) && model_bind(m, progress, err) && check_all_used(m, err) &&
           model_report(m, progress, err);
}

static bool check_vocab(const struct model *m, struct err *err)
{
    if ((uint32_t)vocab_size(m->vocab) == m->config.n_vocab)
        return true;
    return err_set(
        err, ERR_MODEL,
        "%s: tensor token_embd.weight has %u rows, but the tokenizer has %d tokens, so they do not "
        "belong together" GET_IT_AGAIN,
        gguf_label(m->gguf), m->config.n_vocab, vocab_size(m->vocab));
}

/* A model without a usable template can still be talked to. */
static bool load_template(struct model *m, struct err *err)
{
    struct err why = {0};
    m->template = chat_template_new(m->gguf, m->vocab, &why);
    if (why.code == ERR_MEMORY) {
        *err = why;
        return false;
    }
    if (why.code)
        snprintf(m->warning, sizeof m->warning, "the model's chat template cannot be used (%s); %s is used",
                 why.text, prompt_style_name(prompt_style_of(m->vocab)));
    return true;
}

/* Slower than it could be, and it takes memory: worth a sentence, unless there is a graver one. */
static void say_dense(struct model *m)
{
    uint64_t n_bytes = 0;
    for (const struct dense_stack *s = m->dense; s; s = s->next)
        n_bytes += s->tensor.n_bytes;
    if (n_bytes && !m->warning[0])
        snprintf(m->warning, sizeof m->warning,
                 "the %s backend has no kernel for the type of some experts: they are computed as f32, which "
                 "takes %.1f GiB of memory",
                 m->host->ops->name, (double)n_bytes / (1024.0 * 1024.0 * 1024.0));
}

struct model *model_load(const char *path, struct backend *backend, const struct load_progress *progress,
                         struct err *err)
{
    return model_load_on(path, &(struct model_places){.host = backend}, progress, err);
}

struct model *model_load_on(const char *path, const struct model_places *places,
                            const struct load_progress *progress, struct err *err)
{
    struct model *m = mem_alloc(sizeof *m, err);
    if (!m)
        return NULL;
    m->host = places->host;
    m->device = places->device;
    m->gguf = gguf_open(path, true, err);
    if (!m->gguf || !model_read_config(m->gguf, &m->config, err) ||
        !model_read_rope(m->gguf, &m->config, &m->rope, err))
        goto fail;
    m->family = model_find_family(m->config.arch, err);
    m->n_device = !m->device                             ? 0
                  : places->n_device < m->config.n_layer ? places->n_device
                                                         : m->config.n_layer;
    gguf_prefetch(m->gguf);
    if (!model_report(m, progress, err))
        goto fail;
    m->vocab = vocab_new(m->gguf, err);
    if (!m->vocab || !check_vocab(m, err) || !load_template(m, err) || !bind_all(m, progress, err))
        goto fail;
    say_dense(m);
    return m;
fail:
    model_free(m);
    return NULL;
}

void model_free(struct model *m)
{
    if (!m)
        return;
    model_unbind(m);
    mem_free(m->layers);
    dense_stacks_free(m->dense);
    mem_free(m->used);
    chat_template_free(m->template);
    vocab_free(m->vocab);
    gguf_close(m->gguf);
    mem_free(m);
}

const struct model_config *model_config(const struct model *m)
{
    return &m->config;
}

const struct vocab *model_vocab(const struct model *m)
{
    return m->vocab;
}

const struct chat_template *model_template(const struct model *m)
{
    return m->template;
}

const char *model_warning(const struct model *m)
{
    return m->warning[0] ? m->warning : NULL;
}

bool model_say_experts(const struct model *m, uint32_t layer, struct buf *out)
{
    const struct decoder_layer *l = &m->layers[layer];
    for (size_t i = 0; i < l->n_stacks; i++) {
        char shown[GGUF_SHOWN_BYTES];
        const struct tensor *t = l->stacks[i];
        buf_printf(out, "%s%s %s, %s", i ? "; " : "", gguf_show(t->name, strlen(t->name), shown),
                   dtype_info(t->type)->name, l->is_dense[i] ? "dense fallback (f32)" : "packed");
    }
    return l->n_stacks > 0;
}

const struct gguf *model_gguf(const struct model *m)
{
    return m->gguf;
}

struct backend *model_host(const struct model *m)
{
    return m->host;
}
