/* model_internal.h: what the model's own files share: its families, its bound weights, its run state. Not for
 * callers of model.h, except timeline.c, which drives the forward pass.
 *
 * A family is one file (model_llama.c, ...): it says which tensors a layer has, and how the layer is
 * computed. Adding one: that file, and its line in the table of model.c. */
#ifndef FERRUM_MODEL_INTERNAL_H
#define FERRUM_MODEL_INTERNAL_H

#include "engine/base/prof.h"
#include "engine/kv_pages.h"
#include "engine/model.h"
#include "engine/rope.h"
#include "engine/run_state.h"

/* E n_embd, H heads, KV key/value heads, D head_dim, F n_ff. Matrices are [out, in]. */
struct dense_layer {
    struct bbuf *attn_norm;       /* [E] */
    struct bweight *qkv;          /* [H*D + 2*KV*D, E], biases inside */
    struct bbuf *q_norm, *k_norm; /* [D], or NULL: no norm per head */
    struct bweight *attn_out;     /* [E, H*D] */
    struct bbuf *ffn_norm;        /* [E] */
    struct bweight *gate_up;      /* [2F, E] */
    struct bweight *down;         /* [E, F] */
};

/* One batch of a forward pass. */
struct step {
    const int32_t *ids; /* [n_tokens], checked */
    size_t n_tokens;
    size_t pos; /* position of ids[0]; its KV pages are reserved */
    const struct kv_pages *pages;
    const atomic_bool *cancel; /* may be NULL */
    enum prof_phase phase;
    struct prof *prof;
};

struct model_family {
    const char *arch;
    enum rope_mode rope_mode;
    bool (*bind_layer)(struct model *m, uint32_t index, struct dense_layer *layer, struct err *err);
    /* Tokens to the last layer's output r->x [T, E], K and V written on the way. ERR_CANCELLED between
     * layers. */
    bool (*forward)(const struct model *m, struct run_state *r, const struct step *step, struct err *err);
};

struct model {
    struct model_config config;
    struct rope_params rope;
    const struct model_family *family;
    /* weights */
    struct bweight *embed;      /* [V, E] */
    struct bweight *head;       /* [V, E]; the same pointer as embed when tied */
    struct bbuf *out_norm;      /* [E] */
    struct dense_layer *layers; /* [n_layer] */
    const struct tensor **used; /* every tensor that was bound, [n_used] of gguf_n_tensors */
    size_t n_used;
    /* owner's side */
    struct gguf *gguf;
    struct vocab *vocab;
    struct chat_template *template; /* NULL: none that can be used */
    char warning[768];
    struct backend *backend;
};

/* How a sentence about numbers that cannot be true ends. */
#define GET_IT_AGAIN "; the file is damaged or made for another program: get it again from its source"

extern const struct model_family family_llama, family_qwen2, family_qwen3;
/* NULL with a sentence for an architecture that is not in the table. */
const struct model_family *model_find_family(const char *arch, struct err *err);

/* model_config.c */
bool model_read_rope(const struct gguf *g, const struct model_config *c, struct rope_params *out,
                     struct err *err);

/* model_dense.c: the decoder all dense families share, and the output head they all share: logits of the rows
 * first .. first+n of r->x (n <= RUN_LOGIT_ROWS) to r->logits [n, V]. */
bool dense_forward(const struct model *m, struct run_state *r, const struct step *step, struct err *err);
bool model_head(const struct model *m, struct run_state *r, const struct step *step, size_t first, size_t n,
                struct err *err);

#endif
