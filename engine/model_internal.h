/* model_internal.h: what the model's own files share: its families, its bound weights, its run state. Not for
 * callers of model.h, except timeline.c, which drives the forward pass.
 *
 * A family is one file (model_llama.c, ...): it says which tensors a layer has, and how the layer is
 * computed. Adding one: that file, and its line in the table of model.c. */
#ifndef FERRUM_MODEL_INTERNAL_H
#define FERRUM_MODEL_INTERNAL_H

#include "engine/dense_experts.h"
#include "engine/kv_pages.h"
#include "engine/model.h"
#include "engine/profiling.h"
#include "engine/rope.h"
#include "engine/run_state.h"

#define EXPERT_MAX_STACKS 3 /* gate, up, down */

/* E n_embd, H heads, KV key/value heads, D head_dim, F n_ff, X n_expert, G n_ff_expert. Matrices are [out,
 * in]. */
struct decoder_layer {
    struct backend *backend;      /* that all of it is bound to; NULL: not bound */
    struct bbuf *attn_norm;       /* [E] */
    struct bweight *qkv;          /* [H*D + 2*KV*D, E], biases inside */
    struct bbuf *q_norm, *k_norm; /* [D], or NULL: no norm per head; norms_whole_rows: [H*D] and [KV*D] */
    struct bweight *attn_out;     /* [E, H*D] */
    struct bbuf *ffn_norm;        /* [E] */
    struct bweight *gate_up;      /* [2F, E]; with experts: of the shared one, or NULL */
    struct bweight *down;         /* [E, F] */
    /* With experts; else NULL. */
    struct bweight *router;                         /* [X, E] */
    struct bexperts *gate_up_exps;                  /* [X, 2G, E] */
    struct bexperts *down_exps;                     /* [X, E, G] */
    struct bweight *shared_gate;                    /* [1, E], how much of the shared expert, or NULL */
    const struct tensor *stacks[EXPERT_MAX_STACKS]; /* in the file, [n_stacks] */
    bool is_dense[EXPERT_MAX_STACKS];               /* computed as f32 (dense_experts.h) */
    size_t n_stacks;
};

/* One batch of a forward pass. */
struct step {
    const int32_t *ids; /* [n_tokens], checked */
    size_t n_tokens;
    size_t pos; /* position of ids[0]; its KV pages are reserved */
    const struct kv_pages *pages;
    const atomic_bool *cancel; /* may be NULL */
    /* Before each layer but the first, with the number of those that are done; may be NULL. */
    void (*layers_done)(void *arg, uint32_t n_layers);
    void *arg;
    enum prof_phase phase;
    uint32_t layer;              /* in work; n_layer outside of all */
    struct profiling *profiling; /* NULL: nothing is timed */
};

enum moe_use { MOE_NEVER, MOE_MAYBE, MOE_ALWAYS };

struct model_family {
    const char *arch;
    enum rope_mode rope_mode;
    enum moe_use moe;
    bool renormalise;      /* the weights of the experts used sum to 1; GGUF does not say it */
    bool norms_whole_rows; /* q_norm and k_norm are over all heads together */
    bool (*bind_layer)(struct model *m, uint32_t index, struct decoder_layer *layer, struct err *err);
    /* Tokens to the last layer's output x [T, E] in the last of the runs (one per place), K and V written on
     * the way. ERR_CANCELLED between layers. */
    bool (*forward)(const struct model *m, struct run_state *runs, const struct step *step, struct err *err);
};

struct model {
    struct model_config config;
    struct rope_params rope;
    const struct model_family *family;
    /* weights */
    struct bweight *embed;        /* [V, E] */
    struct bweight *head;         /* [V, E]; the same pointer as embed when tied */
    struct bbuf *out_norm;        /* [E] */
    struct decoder_layer *layers; /* [n_layer] */
    const struct tensor **used;   /* every tensor that was bound, [n_used] of gguf_n_tensors */
    size_t n_used;
    struct dense_stack *dense; /* copies that experts are computed from */
    /* owner's side */
    struct gguf *gguf;
    struct vocab *vocab;
    struct chat_template *template; /* NULL: none that can be used */
    char warning[768];
    /* Where it is computed: see struct model_places. */
    struct backend *host, *device; /* device NULL: none */
    uint32_t n_device;             /* layers of the device, the last ones */
    struct backend *embed_backend, *head_backend;
    struct backend *target; /* that weights are being bound to */
    char fewer[768];        /* model_fewer */
};

/* model_places.c: binds what is not bound where it belongs. Where the device has no memory, or its kernels
 * fail, fewer layers belong to it: n_device says how many there are. */
bool model_bind(struct model *m, const struct load_progress *progress, struct err *err);
void model_unbind(struct model *m);
/* The backends of the layers, in the order of those. */
size_t model_list_places(const struct model *m, struct kv_place out[KV_MAX_PARTS]);
/* The first layer that is bound to that backend, one of the places. */
uint32_t model_first_layer(const struct model *m, const struct backend *b);
/* model.c: tells the owner how much is bound; false with ERR_CANCELLED when he no longer wants it. */
bool model_report(const struct model *m, const struct load_progress *progress, struct err *err);

/* How a sentence about numbers that cannot be true ends. */
#define GET_IT_AGAIN "; the file is damaged or made for another program: get it again from its source"

extern const struct model_family family_llama, family_qwen2, family_qwen3, family_qwen3moe, family_qwen2moe,
    family_olmoe;
/* NULL with a sentence for an architecture that is not in the table. */
const struct model_family *model_find_family(const char *arch, struct err *err);

/* model_config.c */
bool model_read_rope(const struct gguf *g, const struct model_config *c, struct rope_params *out,
                     struct err *err);

/* Measures one operation: started where it is made, added when it is closed. */
struct timer {
    const struct step *step;
    uint64_t start_ns;
};
static inline struct timer timer_start(const struct step *step)
{
    return (struct timer){step, step->profiling ? clock_now_ns() : 0};
}
static inline void timer_add(const struct timer *t, enum prof_op op, uint64_t n_bytes)
{
    const struct step *s = t->step;
    if (s->profiling)
        profiling_op(s->profiling, s->phase, s->layer, op, t->start_ns, n_bytes);
}

/* model_decoder.c: the decoder all families share, and the output head they all share: logits of the rows
 * first .. first+n of r->x (n <= RUN_LOGIT_ROWS) to r->logits [n, V], r being the last place's. */
bool decoder_forward(const struct model *m, struct run_state *runs, const struct step *step, struct err *err);
uint64_t decoder_weight_bytes(const struct run_state *r, const struct bweight *w);
/* op for all tokens of the step, timed as kind */
bool decoder_multiply(const struct run_state *r, const struct step *s, enum prof_op kind, struct op_gemm op,
                      struct err *err);
/* What the first product after the layer in work reads, if the same backend computes it. */
const struct bweight *decoder_after_layer(const struct model *m, const struct step *s);
/* out = (+=) the gated feed-forward of r->h by the layer's gate_up and down */
bool decoder_feed_forward(const struct model *m, struct run_state *r, const struct step *s,
                          const struct decoder_layer *l, struct bbuf *out, bool add, struct err *err);
/* model_moe.c: r->x += the experts of r->h, and the shared one where there is one. */
bool moe_block(const struct model *m, struct run_state *r, const struct step *s,
               const struct decoder_layer *l, struct err *err);
/* Counts the experts of a step whose ids were left where the host does not see them: one read for all layers
 * of the place r. No more than a question where there are none. */
bool moe_count_chosen(const struct model *m, const struct run_state *r, const struct step *step,
                      struct err *err);
bool model_head(const struct model *m, struct run_state *r, const struct step *step, size_t first, size_t n,
                struct err *err);

#endif
