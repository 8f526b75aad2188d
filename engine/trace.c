#include "engine/trace.h"

#include <assert.h>

#include "engine/base/mem.h"

/* More than any family has; one with more loses its oldest steps sooner. */
#define OPS_PER_LAYER 24
#define OPS_OUTSIDE 16

/* The last steps of one phase. Numbers only grow; number n lies at n % room. */
struct ring {
    struct trace_op *ops;
    uint64_t n_ops, room_ops;
    struct trace_step *steps;
    uint64_t n_steps, room_steps;
    uint64_t open; /* the first operation of the step in work */
    uint64_t most; /* n_ops before something was dropped: what lies there has made others give way */
};

struct trace {
    uint32_t n_layers;
    struct ring rings[PROF_N_PHASES];
};

static bool ring_init(struct ring *r, uint32_t n_layers, uint32_t n_steps, struct err *err)
{
    r->room_steps = n_steps;
    r->room_ops = (uint64_t)n_steps * (n_layers * OPS_PER_LAYER + OPS_OUTSIDE);
    r->steps = mem_array(r->room_steps, sizeof *r->steps, err);
    r->ops = r->steps ? mem_array(r->room_ops, sizeof *r->ops, err) : NULL;
    return r->ops != NULL;
}

struct trace *trace_new(uint32_t n_layers, uint32_t n_tokens, struct err *err)
{
    assert(n_layers <= PROF_MAX_LAYERS && n_tokens > 0 && n_tokens <= TRACE_MAX_TOKENS);
    struct trace *t = mem_alloc(sizeof *t, err);
    if (!t)
        return NULL;
    t->n_layers = n_layers;
    if (ring_init(&t->rings[PROF_DECODE], n_layers, n_tokens, err) &&
        ring_init(&t->rings[PROF_PREFILL], n_layers, TRACE_PREFILL_STEPS, err))
        return t;
    trace_free(t);
    return NULL;
}

void trace_free(struct trace *t)
{
    if (!t)
        return;
    for (int i = 0; i < PROF_N_PHASES; i++) {
        mem_free(t->rings[i].ops);
        mem_free(t->rings[i].steps);
    }
    mem_free(t);
}

void trace_add_op(struct trace *t, enum prof_phase phase, const struct trace_op *op)
{
    struct ring *r = &t->rings[phase];
    r->ops[r->n_ops++ % r->room_ops] = *op;
}

void trace_end_step(struct trace *t, enum prof_phase phase, uint64_t start_ns, uint64_t end_ns,
                    uint32_t n_tokens, uint64_t pos)
{
    struct ring *r = &t->rings[phase];
    struct trace_step *step = &r->steps[r->n_steps++ % r->room_steps];
    uint64_t first_ns = r->open < r->n_ops ? r->ops[r->open % r->room_ops].start_ns : start_ns;
    *step = (struct trace_step){.start_ns = first_ns < start_ns ? first_ns : start_ns,
                                .end_ns = end_ns,
                                .first_op = r->open,
                                .n_ops = (uint32_t)(r->n_ops - r->open),
                                .n_tokens = n_tokens,
                                .pos = pos};
    r->open = r->n_ops;
}

void trace_drop(struct trace *t)
{
    for (int i = 0; i < PROF_N_PHASES; i++) {
        struct ring *r = &t->rings[i];
        r->most = r->n_ops > r->most ? r->n_ops : r->most;
        r->n_ops = r->open;
    }
}

uint32_t trace_n_layers(const struct trace *t)
{
    return t->n_layers;
}

static const struct trace_step *newest(const struct ring *r, uint64_t back)
{
    return &r->steps[(r->n_steps - 1 - back) % r->room_steps];
}

size_t trace_n_steps(const struct trace *t, enum prof_phase phase)
{
    const struct ring *r = &t->rings[phase];
    uint64_t n = 0, most = r->n_steps < r->room_steps ? r->n_steps : r->room_steps;
    uint64_t written = r->n_ops > r->most ? r->n_ops : r->most;
    uint64_t oldest_op = written > r->room_ops ? written - r->room_ops : 0;
    while (n < most && newest(r, n)->first_op >= oldest_op)
        n++;
    return n;
}

const struct trace_step *trace_step_at(const struct trace *t, enum prof_phase phase, size_t i)
{
    return newest(&t->rings[phase], trace_n_steps(t, phase) - 1 - i);
}

const struct trace_op *trace_op_at(const struct trace *t, enum prof_phase phase,
                                   const struct trace_step *step, uint32_t i)
{
    const struct ring *r = &t->rings[phase];
    return &r->ops[(step->first_op + i) % r->room_ops];
}
