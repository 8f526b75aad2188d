/* model.h: a loaded model: configuration, bound weights, vocabulary; immutable after load.
 *
 * Immutable but for model_move, which changes where weights are bound; of other threads only
 * model_say_experts looks at that, when the model has just been loaded.
 *
 * Four kinds of state are kept apart: struct model_config (numbers of the file), the weights (inside struct
 * model), the run state and KV pages (timeline.h), and the owner (engine.h). Ownership: the model keeps the
 * gguf open (weights are used in place) and owns the vocabulary; the backend is the caller's and must outlive
 * the model. Thread rule: load and free on one thread; reads from any. */
#ifndef FERRUM_MODEL_H
#define FERRUM_MODEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/backend.h"
#include "engine/base/buf.h"
#include "engine/base/kv_block.h"
#include "engine/gguf.h"
#include "engine/prompt_template.h"
#include "engine/vocab.h"

struct model;

struct model_config {
    /* Text of the file, valid UTF-8, but not made for a terminal (gguf_show, ui's cleaner). */
    char arch[32];  /* "llama", "qwen2", "qwen3" */
    char name[128]; /* general.name, "" if absent */
    char quant[16]; /* "Q4_K_M" from general.file_type, else the most frequent weight type */
    uint32_t n_layer, n_embd, n_head, n_kv_head, head_dim, n_rot, n_ff, n_vocab;
    uint32_t n_expert, n_expert_used;  /* 0: a dense model */
    uint32_t n_ff_expert, n_ff_shared; /* widths of an expert and of the shared one (0: none) */
    uint32_t n_ctx_train;
    float rms_eps;
    float rope_base, rope_scale; /* scale: linear scaling divides positions by it, 1 = off */
    enum rope_mode rope_mode;
    uint32_t window;             /* sliding-window attention, 0 = off */
    uint64_t weight_bytes;       /* all tensors */
    uint64_t token_weight_bytes; /* read per decoded token: head once, one embedding row, used experts only */
};

/* Multiply-adds with the weights of the file, by the type of the weight: every matrix once for a token, of
 * experts those it is given to. The head apart: a prompt needs it once. A row of the embedding is read, not
 * multiplied; attention's own products are not with weights. */
struct model_macs {
    uint64_t token[DTYPE_N], head[DTYPE_N];
};

/* Called now and then while loading, from the loading thread; false cancels (ERR_CANCELLED). */
struct load_progress {
    bool (*report)(void *arg, uint64_t done_bytes, uint64_t total_bytes);
    void *arg;
};

/* Who computes which layers. */
struct model_places {
    struct backend *host; /* what the device does not; shows its memory (buf_host), where there is a device */
    struct backend *device; /* the last n_device layers and the head, as many as it takes; NULL: none */
    uint32_t n_device;
};

/* progress may be NULL. Errors are ERR_MODEL (file), ERR_MEMORY, ERR_CANCELLED. What is wrong with a device
 * is none: the host takes its layers then. */
struct model *model_load(const char *path, struct backend *backend, const struct load_progress *progress,
                         struct err *err);
struct model *model_load_on(const char *path, const struct model_places *places,
                            const struct load_progress *progress, struct err *err);
void model_free(struct model *m);

const struct model_config *model_config(const struct model *m);
const struct vocab *model_vocab(const struct model *m);
/* The chat template, NULL if the file has none or a broken one: then model_warning says so. */
const struct chat_template *model_template(const struct model *m);
/* A sentence about something unusual besides vocab_warning, or NULL. */
const char *model_warning(const struct model *m);
/* How the experts of a layer are computed, tensor by tensor, for people: in the types of the file ("packed"),
 * or as f32 copies for want of a kernel ("dense fallback"). False: it has none. */
bool model_say_experts(const struct model *m, uint32_t layer, struct buf *out);
void model_count_macs(const struct model *m, struct model_macs *out);
const struct gguf *model_gguf(const struct model *m);
struct backend *model_host(const struct model *m);

/* Layers of the device. */
uint32_t model_n_device(const struct model *m);
/* Leaves n_device layers or less to the device. why: the reason, for model_fewer, while nobody else has the
 * model yet; later NULL. Timelines must be rebuilt; the thread that uses them calls it. False: the model can
 * only be freed. */
bool model_move(struct model *m, uint32_t n_device, const struct err *why, struct err *err);
/* A sentence where the device got fewer layers than it was to have, or NULL. */
const char *model_fewer(const struct model *m);
/* What computes, for people: "cpu x8 avx2", "opencl NVIDIA H200 gpu 20/32 cpu x8 avx2". */
void model_describe_places(const struct model *m, char out[KV_KERNELS_BYTES]);

/* Reads just the configuration from an open file (for `inspect`); no weights are bound. */
bool model_read_config(const struct gguf *g, struct model_config *out, struct err *err);

#endif
