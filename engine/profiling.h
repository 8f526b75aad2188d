/* profiling.h: the engine's side of a profile: what every operation took, what whole steps took, which
 * experts tokens went to.
 *
 * Invariants
 *  1. Operations are timed one after the other, never one inside another, and within a step: the sum of their
 *     times is at most that of the steps (prof.h: wall_ns).
 *  2. Recording allocates nothing and takes no lock.
 *  3. Pairs, newest and repeats of decoded tokens are those of finished steps; times and calls of a prompt
 *     are also those of batches that were cancelled, and so are pairs, but for those of a device. Times and
 * bytes of decode are those of all rows of a step; tokens and pairs are of those that became part of the
 * answer. Thread rule: the engine's thread. Ownership: owns its prof; the trace is the caller's. */
#ifndef FERRUM_PROFILING_H
#define FERRUM_PROFILING_H

#include "engine/backend.h"
#include "engine/base/clock.h"
#include "engine/base/prof.h"
#include "engine/trace.h"

#define PROFILING_ROWS 8 /* tokens of a step of decode, guesses included, at most */

struct profiling {
    struct prof *prof;
    struct trace *trace;   /* or NULL */
    struct backend *timed; /* the device whose times are taken in this step, or NULL */
    size_t n_since_prompt; /* decoded tokens */
    int32_t *ids;          /* [n_layers * n_batch * n_used] what is read back from a device */
    uint32_t *seen;        /* [n_experts] the number of the last look that met it */
    uint32_t n_looks;
    uint16_t *chosen;  /* [PROFILING_ROWS][n_layers][n_used] of the decoded tokens in work, heaviest first */
    size_t n_distinct; /* experts that the tokens of the layer in work go to */
    uint64_t told_ns;  /* wall_ns of decode when recent_us was written last */
    bool follows;      /* the step before was a decoded token, and the next one comes right behind it */
};

bool profiling_init(struct profiling *p, const struct prof_shape *shape, size_t n_batch, struct trace *trace,
                    struct err *err);
void profiling_fini(struct profiling *p);

/* An operation that began at start_ns and ends now; layer as in prof_at. */
static inline void profiling_op(struct profiling *p, enum prof_phase phase, uint32_t layer, enum prof_op op,
                                uint64_t start_ns, uint64_t n_bytes)
{
    uint64_t ns = clock_now_ns() - start_ns;
    if (p->timed)
        p->timed->ops->time_mark(p->timed->ctx, layer * PROF_N_OPS + op);
    prof_add(p->prof, phase, layer, op, ns, n_bytes);
    if (p->trace)
        trace_add_op(p->trace, phase,
                     &(struct trace_op){start_ns, ns, n_bytes, (uint16_t)layer, (uint8_t)op});
}

/* Counts the experts ids [n_tokens, n_used] that the router of a layer chose on that backend. */
bool profiling_routed(struct profiling *p, struct backend *backend, enum prof_phase phase, uint32_t layer,
                      const int32_t *ids, size_t n_tokens, struct err *err);
/* Reads n_rows of ids [n_used] back to p->ids. That is the operation `sync`: it waits for all that was
 * enqueued. */
bool profiling_read_chosen(struct profiling *p, struct backend *backend, enum prof_phase phase,
                           const struct bbuf *ids, size_t n_rows, struct err *err);

/* Time of a step that is not in profiling_end_step's, as sampling; or of one that failed. */
void profiling_wall(struct profiling *p, enum prof_phase phase, uint64_t ns);
/* A step begins: of some decoded tokens the device's times are taken. profiling_end_step ends that, or, where
 * the step fails, profiling_cut. */
void profiling_begin_step(struct profiling *p, enum prof_phase phase, struct backend *device);
/* A step ends well, now. pos: of its first token. A step of decode counts as one token, whatever it took; the
 * guesses behind it (n_tokens - 1 of them) count when they are accepted. */
void profiling_end_step(struct profiling *p, enum prof_phase phase, uint64_t start_ns, size_t n_tokens,
                        size_t pos);
/* The guess in row `row` of the last step is a token of its own. */
void profiling_accepted(struct profiling *p, size_t row);
/* The next step does not go on from the last one. */
void profiling_cut(struct profiling *p);

#endif
