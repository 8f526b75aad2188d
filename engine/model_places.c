/* model_places.c owns where the layers of a model are bound: the last ones and the head to the device, the
 * rest to the host. What the device cannot take goes to the host. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/model_internal.h"
#include "engine/weights.h"

static bool is_whole(const struct model *m)
{
    return m->n_device == m->config.n_layer;
}

static struct backend *backend_of(const struct model *m, uint32_t layer)
{
    return layer + m->n_device >= m->config.n_layer ? m->device : m->host;
}

size_t model_list_places(const struct model *m, struct kv_place out[KV_MAX_PARTS])
{
    size_t n = 0;
    if (!is_whole(m))
        out[n++] = (struct kv_place){m->host, m->config.n_layer - m->n_device};
    if (m->n_device)
        out[n++] = (struct kv_place){m->device, m->n_device};
    return n;
}

uint32_t model_first_layer(const struct model *m, const struct backend *b)
{
    uint32_t layer = 0;
    while (layer + 1 < m->config.n_layer && m->layers[layer].backend != b)
        layer++;
    return layer;
}

static void free_layer(struct decoder_layer *l)
{
    struct backend *b = l->backend;
    struct bbuf *vectors[] = {l->attn_norm, l->q_norm, l->k_norm, l->ffn_norm};
    struct bweight *matrices[] = {l->qkv, l->attn_out, l->gate_up, l->down, l->router, l->shared_gate};
    if (!b)
        return;
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++)
        backend_buf_free(b, vectors[i]);
    for (size_t i = 0; i < sizeof matrices / sizeof matrices[0]; i++)
        backend_weight_free(b, matrices[i]);
    backend_experts_free(b, l->gate_up_exps);
    backend_experts_free(b, l->down_exps);
    *l = (struct decoder_layer){0};
}

static void free_ends(struct model *m)
{
    if (m->head != m->embed)
        backend_weight_free(m->head_backend, m->head);
    backend_weight_free(m->embed_backend, m->embed);
    backend_buf_free(m->head_backend, m->out_norm);
    m->head = m->embed = NULL;
    m->out_norm = NULL;
}

void model_unbind(struct model *m)
{
    for (uint32_t i = 0; m->layers && i < m->config.n_layer; i++)
        free_layer(&m->layers[i]);
    free_ends(m);
}

static bool bind_layer(struct model *m, uint32_t i, struct err *err)
{
    struct decoder_layer *l = &m->layers[i];
    if (l->backend == backend_of(m, i))
        return true;
    free_layer(l);
    m->target = l->backend = backend_of(m, i);
    bool ok = m->family->bind_layer(m, i, l, err);
    if (!ok)
        free_layer(l);
    return ok;
}

/* Tokens come in where the first layer is, and go out where the last one is. */
static bool bind_ends(struct model *m, struct err *err)
{
    const struct model_config *c = &m->config;
    m->target = m->embed_backend = backend_of(m, 0);
    m->head_backend = backend_of(m, c->n_layer - 1);
    if (!weights_matrix(m, -1, "token_embd.weight", c->n_embd, c->n_vocab, &m->embed, err))
        return false;
    m->target = m->head_backend;
    if (!weights_vector(m, -1, "output_norm.weight", c->n_embd, &m->out_norm, err))
        return false;
    if (weights_exists(m, -1, "output.weight"))
        return weights_matrix(m, -1, "output.weight", c->n_embd, c->n_vocab, &m->head, err);
    if (m->head_backend != m->embed_backend)
        return weights_matrix(m, -1, "token_embd.weight", c->n_embd, c->n_vocab, &m->head, err);
    m->head = m->embed;
    return true;
}

/* The device's layers from the last one down, so that those that fit are the last ones; then the host's. */
static bool bind_all(struct model *m, const struct load_progress *progress, struct err *err)
{
    uint32_t n_layer = m->config.n_layer;
    free_ends(m);
    if (!bind_ends(m, err))
        return false;
    for (uint32_t i = 0; i < n_layer; i++) {
        uint32_t layer = i < m->n_device ? n_layer - 1 - i : i - m->n_device;
        if (!model_report(m, progress, err) || !bind_layer(m, layer, err))
            return false;
    }
    return true;
}

/* How many of the device's layers are there. */
static uint32_t n_bound(const struct model *m)
{
    uint32_t n = 0;
    while (n < m->n_device && m->layers[m->config.n_layer - 1 - n].backend == m->device)
        n++;
    return n;
}

static const char *describe(const struct backend *b)
{
    return b->ops->describe(b->ctx);
}

/* While loading: later nobody may write what other threads read. */
static void note_fewer(struct model *m, const struct err *why)
{
    snprintf(m->fewer, sizeof m->fewer,
             "%" PRIu32 " of %" PRIu32 " layers are computed by %s, the others by the CPU: %s", m->n_device,
             m->config.n_layer, describe(m->device), why->text);
}

/* A device that lacks memory takes what it can; one whose kernels fail takes nothing. */
static void give_way(struct model *m, const struct err *why)
{
    uint32_t n = n_bound(m);
    m->n_device = why->code != ERR_MEMORY ? 0 : n < m->n_device ? n : n - 1;
    note_fewer(m, why);
    log_line("%s; %" PRIu32 " layers are left to the device", why->text, m->n_device);
}

bool model_bind(struct model *m, const struct load_progress *progress, struct err *err)
{
    while (!bind_all(m, progress, err)) {
        bool is_devices = m->target == m->device && (err->code == ERR_MEMORY || err->code == ERR_RUNTIME);
        if (!m->n_device || m->device == m->host || !is_devices)
            return false;
        give_way(m, err);
        err_clear(err);
    }
    return true;
}

bool model_move(struct model *m, uint32_t n_device, const struct err *why, struct err *err)
{
    m->n_device = n_device < m->n_device ? n_device : m->n_device;
    if (why)
        note_fewer(m, why);
    return model_bind(m, NULL, err);
}

uint32_t model_n_device(const struct model *m)
{
    return m->n_device;
}

const char *model_fewer(const struct model *m)
{
    return m->fewer[0] ? m->fewer : NULL;
}

#define PLACE_BYTES 32 /* of a device's description beside the CPU's */

/* The last word says how the device computes, and stays when the name in front of it is too long. */
void model_describe_places(const struct model *m, char out[KV_KERNELS_BYTES])
{
    if (is_whole(m) || !m->n_device) {
        snprintf(out, KV_KERNELS_BYTES, "%s", describe(m->n_device ? m->device : m->host));
        return;
    }
    const char *device = describe(m->device), *last = strrchr(device, ' ');
    size_t n = strlen(device), n_last = last ? strlen(last) : 0;
    size_t n_name = n <= PLACE_BYTES || n_last >= PLACE_BYTES ? n - n_last : PLACE_BYTES - n_last;
    snprintf(out, KV_KERNELS_BYTES, "%.*s%.*s %" PRIu32 "/%" PRIu32 " %.18s", (int)n_name, device,
             PLACE_BYTES, last ? last : "", m->n_device, m->config.n_layer, describe(m->host));
}
