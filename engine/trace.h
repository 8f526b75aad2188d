/* trace.h: the operations of the last steps, one by one, with their times: what --trace writes.
 *
 * A step is a decoded token (its sampling included), perhaps with guesses that were computed with it (the
 * sampling of those that were right begins the next one), or a batch of a prompt. Times are ns of clock.h,
 * bytes as in prof.h.
 *
 * Invariants
 *  1. Memory is taken once, in trace_new; recording allocates nothing, and the oldest makes room.
 *  2. Operations lie within their step and do not overlap; a step that is given has all of its operations.
 * Thread rule: one thread writes (the engine's); others read when that one has ended. */
#ifndef FERRUM_TRACE_H
#define FERRUM_TRACE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/base/prof.h"

#define TRACE_MAX_TOKENS 4096
#define TRACE_PREFILL_STEPS 16

struct trace;

struct trace_op {
    uint64_t start_ns, ns, bytes;
    uint16_t layer; /* n_layers: of none */
    uint8_t op;     /* enum prof_op */
};

struct trace_step {
    uint64_t start_ns, end_ns;
    uint64_t first_op; /* number since the beginning */
    uint32_t n_ops, n_tokens;
    uint64_t pos; /* of the first token in the context */
};

/* Room for n_tokens (1 .. TRACE_MAX_TOKENS) decoded tokens of a model of n_layers, and some steps of
 * prefill. */
struct trace *trace_new(uint32_t n_layers, uint32_t n_tokens, struct err *err);
void trace_free(struct trace *t);

/* Of the step in work. */
void trace_add_op(struct trace *t, enum prof_phase phase, const struct trace_op *op);
/* Ends it; it began when its first operation did, or at start_ns. */
void trace_end_step(struct trace *t, enum prof_phase phase, uint64_t start_ns, uint64_t end_ns,
                    uint32_t n_tokens, uint64_t pos);
/* What was added since the last step belongs to none. */
void trace_drop(struct trace *t);

uint32_t trace_n_layers(const struct trace *t);
/* Steps that are there, and the i-th of them, the oldest first. */
size_t trace_n_steps(const struct trace *t, enum prof_phase phase);
const struct trace_step *trace_step_at(const struct trace *t, enum prof_phase phase, size_t i);
const struct trace_op *trace_op_at(const struct trace *t, enum prof_phase phase,
                                   const struct trace_step *step, uint32_t i);

#endif
