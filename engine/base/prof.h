/* prof.h: where the time goes, and which experts were asked: nanoseconds, calls and bytes of each operation
 * in each layer, prefill and decode apart, and the number of tokens each expert of each layer was given.
 *
 * Plain data without a clock: the engine fills it (model_internal.h has the timers), others get copies.
 * A device's times are sampled: few tokens in a hundred, by events, which stop nothing.
 * Thread rule: a struct prof belongs to one thread; prof_copy is how it reaches another, under a lock of the
 * caller's. Ownership: prof_new/prof_free; all arrays live in the one allocation. Times are ns, bytes those
 * of weights and KV read. Everything only grows, so that the difference of two copies is what happened
 * between them (prof_subtract); timer_ns alone is a constant. */
#ifndef FERRUM_PROF_H
#define FERRUM_PROF_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

/* One list gives the enum and the names. What a name does not say: sync is waiting for a device; router the
 * logits of the experts and the choice; copy logits to the host, KV pages to the shelf, this profile to its
 * readers; gate_up, silu, down and weighted_sum are of the experts, and a kernel that fuses the first two
 * counts as gate_up; ffn is that of dense layers and of the shared expert; sample also makes text of the
 * token. The numbers are stored in chat.db (prof_pack.h): append only. */
#define PROF_OPS(X)                                                                                          \
    X(EMBED, "embed")                                                                                        \
    X(NORM, "norm")                                                                                          \
    X(QKV, "qkv")                                                                                            \
    X(ROPE, "rope")                                                                                          \
    X(ATTENTION, "attention")                                                                                \
    X(O_PROJ, "o_proj")                                                                                      \
    X(FFN, "ffn")                                                                                            \
    X(SYNC, "sync")                                                                                          \
    X(ROUTER, "router")                                                                                      \
    X(COPY, "copy")                                                                                          \
    X(GATE_UP, "gate_up")                                                                                    \
    X(SILU, "silu")                                                                                          \
    X(DOWN, "down")                                                                                          \
    X(WEIGHTED_SUM, "weighted_sum")                                                                          \
    X(LM_HEAD, "lm_head")                                                                                    \
    X(SAMPLE, "sample")

enum prof_op {
#define PROF_ENUM(id, name) PROF_##id,
    PROF_OPS(PROF_ENUM)
#undef PROF_ENUM
        PROF_N_OPS
};

enum prof_phase { PROF_PREFILL, PROF_DECODE, PROF_N_PHASES };

#define PROF_MAX_LAYERS 1024
#define PROF_MAX_EXPERTS 4096
#define PROF_RECENT 256 /* decoded tokens whose times are kept */

struct prof_entry {
    uint64_t ns, calls, bytes;
};

/* n_experts and n_used are 0 for a model without experts. */
struct prof_shape {
    uint32_t n_layers, n_experts, n_used;
};

struct prof {
    struct prof_shape shape;
    uint64_t n_tokens[PROF_N_PHASES];
    uint64_t
        wall_ns[PROF_N_PHASES]; /* of whole steps, sampling included: what the operations are shares of */
    struct prof_entry *entry;   /* [phase][n_layers + 1][op]; row n_layers: what belongs to no layer */
    uint64_t *pairs;            /* [phase][n_layers][n_experts]: tokens given to that expert */
    /* Decode: experts of a token that the token before it had used in that layer, summed over n_followed
     * tokens; their mean overlap is repeats / (n_followed * n_used). */
    uint64_t *repeats; /* [n_layers] */
    uint64_t n_followed;
    uint16_t *newest; /* [n_layers][n_used]: experts of the newest decoded token, heaviest first */
    uint32_t recent_us[PROF_RECENT]; /* ring: token number i (0 ..) is at i % PROF_RECENT */
    uint64_t n_recent;               /* decoded tokens so far */
    /* Decode: what operations took on a device that works behind the host's back, [n_layers + 1][op], over
     * n_device tokens of them all. The entries have what the host saw: enqueueing, and waiting (sync). */
    uint64_t *device_ns;
    uint64_t n_device;
    uint64_t timer_ns; /* what timing one operation costs itself, 0: not measured */
};

const char *prof_op_name(enum prof_op op);
const char *prof_phase_name(enum prof_phase phase); /* "prefill", "decode" */

/* All zero. ERR_MEMORY; ERR_RUNTIME for a shape beyond the limits above, or n_used > n_experts. */
struct prof *prof_new(const struct prof_shape *shape, struct err *err);
void prof_free(struct prof *p);
/* Both have one shape. */
void prof_copy(struct prof *to, const struct prof *from);
/* later -= earlier, an older copy of the same prof. newest, the ring and timer_ns stay as they are. */
void prof_subtract(struct prof *later, const struct prof *earlier);

/* layer: 0 .. n_layers - 1, or n_layers for what belongs to none. */
static inline struct prof_entry *prof_at(const struct prof *p, enum prof_phase phase, uint32_t layer,
                                         enum prof_op op)
{
    return &p->entry[((size_t)phase * (p->shape.n_layers + 1) + layer) * PROF_N_OPS + op];
}

static inline uint64_t *prof_pairs(const struct prof *p, enum prof_phase phase, uint32_t layer)
{
    return &p->pairs[((size_t)phase * p->shape.n_layers + layer) * p->shape.n_experts];
}

static inline uint16_t *prof_newest(const struct prof *p, uint32_t layer)
{
    return &p->newest[(size_t)layer * p->shape.n_used];
}

/* Puts the device's times in the place of the host's, as if all tokens had been sampled; what is left of the
 * host's time is sync: waiting for nothing, or gaps between operations. The sum stays what it was. */
void prof_use_device(struct prof *p);

/* Over all layers. */
struct prof_entry prof_sum(const struct prof *p, enum prof_phase phase, enum prof_op op);
/* Of all operations; wall_ns less this is what no timer has seen. */
uint64_t prof_sum_ns(const struct prof *p, enum prof_phase phase);
/* What all timers of a phase have cost: timer_ns times the calls. */
uint64_t prof_cost_ns(const struct prof *p, enum prof_phase phase);

static inline void prof_add(struct prof *p, enum prof_phase phase, uint32_t layer, enum prof_op op,
                            uint64_t ns, uint64_t bytes)
{
    struct prof_entry *e = prof_at(p, phase, layer, op);
    e->ns += ns;
    e->calls++;
    e->bytes += bytes;
}

#endif
