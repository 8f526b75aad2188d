/* prof.h: where the time goes: one fixed list of operations, nanoseconds, calls and bytes of each.
 *
 * Thread rule: a struct prof belongs to one thread (the engine's); others get copies by value.
 * Prefill and decode are kept apart. Bytes are those of weights and KV read. */
#ifndef FERRUM_PROF_H
#define FERRUM_PROF_H

#include <stdint.h>

/* One list gives the enum and the names. */
#define PROF_OPS(X)                                                                                          \
    X(EMBED, "embed")                                                                                        \
    X(NORM, "norm")                                                                                          \
    X(QKV, "qkv")                                                                                            \
    X(ROPE, "rope")                                                                                          \
    X(ATTENTION, "attention")                                                                                \
    X(O_PROJ, "o_proj")                                                                                      \
    X(FFN, "ffn")                                                                                            \
    X(ROUTER, "router")                                                                                      \
    X(GATE_UP, "gate_up")                                                                                    \
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

struct prof_entry {
    uint64_t ns, calls, bytes;
};

struct prof {
    struct prof_entry entry[PROF_N_PHASES][PROF_N_OPS];
    uint64_t n_tokens[PROF_N_PHASES];
};

const char *prof_op_name(enum prof_op op);

static inline void prof_add(struct prof *prof, enum prof_phase phase, enum prof_op op, uint64_t ns,
                            uint64_t bytes)
{
    struct prof_entry *e = &prof->entry[phase][op];
    e->ns += ns;
    e->calls++;
    e->bytes += bytes;
}

#endif
