#include "engine/base/prof.h"

#include <assert.h>
#include <string.h>

#include "engine/base/mem.h"

const char *prof_op_name(enum prof_op op)
{
    static const char *const names[PROF_N_OPS] = {
#define PROF_NAME(id, name) [PROF_##id] = name,
        PROF_OPS(PROF_NAME)
#undef PROF_NAME
    };
    return (unsigned)op < PROF_N_OPS ? names[op] : "?";
}

const char *prof_phase_name(enum prof_phase phase)
{
    return phase == PROF_PREFILL ? "prefill" : "decode";
}

static size_t n_entries(const struct prof_shape *s)
{
    return (size_t)PROF_N_PHASES * (s->n_layers + 1) * PROF_N_OPS;
}

static size_t n_pairs(const struct prof_shape *s)
{
    return (size_t)PROF_N_PHASES * s->n_layers * s->n_experts;
}

static size_t n_newest(const struct prof_shape *s)
{
    return (size_t)s->n_layers * s->n_used;
}

static size_t n_device_entries(const struct prof_shape *s)
{
    return ((size_t)s->n_layers + 1) * PROF_N_OPS;
}

/* From the first array to the end of the last; they follow one another in the order of their alignment. */
static size_t arrays_bytes(const struct prof_shape *s)
{
    return n_entries(s) * sizeof(struct prof_entry) +
           (n_pairs(s) + s->n_layers + n_device_entries(s)) * sizeof(uint64_t) +
           n_newest(s) * sizeof(uint16_t);
}

struct prof *prof_new(const struct prof_shape *shape, struct err *err)
{
    if (shape->n_layers > PROF_MAX_LAYERS || shape->n_experts > PROF_MAX_EXPERTS ||
        shape->n_used > shape->n_experts) {
        err_set(
            err, ERR_RUNTIME,
            "a profile of %u layers with %u of %u experts was asked for; at most %d layers and %d experts "
            "can be timed",
            shape->n_layers, shape->n_used, shape->n_experts, PROF_MAX_LAYERS, PROF_MAX_EXPERTS);
        return NULL;
    }
    struct prof *p = mem_alloc(sizeof *p + arrays_bytes(shape), err);
    if (!p)
        return NULL;
    p->shape = *shape;
    p->entry = (struct prof_entry *)(void *)(p + 1);
    p->pairs = (uint64_t *)(void *)(p->entry + n_entries(shape));
    p->repeats = p->pairs + n_pairs(shape);
    p->device_ns = p->repeats + shape->n_layers;
    p->newest = (uint16_t *)(void *)(p->device_ns + n_device_entries(shape));
    return p;
}

void prof_free(struct prof *p)
{
    mem_free(p);
}

static void assert_same_shape(const struct prof *a, const struct prof *b)
{
    assert(a->shape.n_layers == b->shape.n_layers && a->shape.n_experts == b->shape.n_experts &&
           a->shape.n_used == b->shape.n_used);
    (void)a;
    (void)b;
}

void prof_copy(struct prof *to, const struct prof *from)
{
    assert_same_shape(to, from);
    struct prof arrays = *to;
    *to = *from;
    to->entry = arrays.entry;
    to->pairs = arrays.pairs;
    to->repeats = arrays.repeats;
    to->device_ns = arrays.device_ns;
    to->newest = arrays.newest;
    memcpy(to->entry, from->entry, arrays_bytes(&from->shape));
}

void prof_subtract(struct prof *later, const struct prof *earlier)
{
    assert_same_shape(later, earlier);
    for (int phase = 0; phase < PROF_N_PHASES; phase++) {
        later->n_tokens[phase] -= earlier->n_tokens[phase];
        later->wall_ns[phase] -= earlier->wall_ns[phase];
    }
    for (size_t i = 0; i < n_entries(&later->shape); i++) {
        later->entry[i].ns -= earlier->entry[i].ns;
        later->entry[i].calls -= earlier->entry[i].calls;
        later->entry[i].bytes -= earlier->entry[i].bytes;
    }
    for (size_t i = 0; i < n_pairs(&later->shape); i++)
        later->pairs[i] -= earlier->pairs[i];
    for (uint32_t i = 0; i < later->shape.n_layers; i++)
        later->repeats[i] -= earlier->repeats[i];
    later->n_followed -= earlier->n_followed;
    for (size_t i = 0; i < n_device_entries(&later->shape); i++)
        later->device_ns[i] -= earlier->device_ns[i];
    later->n_device -= earlier->n_device;
}

void prof_use_device(struct prof *p)
{
    struct prof_entry *first = prof_at(p, PROF_DECODE, 0, 0), *wait;
    double scale = p->n_device ? (double)p->n_tokens[PROF_DECODE] / (double)p->n_device : 0, more = 0;
    for (size_t i = 0; p->n_device && i < n_device_entries(&p->shape); i++) {
        if (!p->device_ns[i])
            continue;
        uint64_t ns = (uint64_t)((double)p->device_ns[i] * scale);
        more += (double)first[i].ns - (double)ns;
        first[i].ns = ns;
    }
    wait = prof_at(p, PROF_DECODE, p->shape.n_layers, PROF_SYNC);
    wait->ns = (double)wait->ns + more > 0 ? (uint64_t)((double)wait->ns + more) : 0;
    p->n_device = 0;
    memset(p->device_ns, 0, n_device_entries(&p->shape) * sizeof *p->device_ns);
}

struct prof_entry prof_sum(const struct prof *p, enum prof_phase phase, enum prof_op op)
{
    struct prof_entry sum = {0};
    for (uint32_t layer = 0; layer <= p->shape.n_layers; layer++) {
        const struct prof_entry *e = prof_at(p, phase, layer, op);
        sum.ns += e->ns;
        sum.calls += e->calls;
        sum.bytes += e->bytes;
    }
    return sum;
}

static struct prof_entry sum_all(const struct prof *p, enum prof_phase phase)
{
    struct prof_entry sum = {0};
    for (int op = 0; op < PROF_N_OPS; op++) {
        struct prof_entry e = prof_sum(p, phase, (enum prof_op)op);
        sum.ns += e.ns;
        sum.calls += e.calls;
        sum.bytes += e.bytes;
    }
    return sum;
}

uint64_t prof_sum_ns(const struct prof *p, enum prof_phase phase)
{
    return sum_all(p, phase).ns;
}

uint64_t prof_cost_ns(const struct prof *p, enum prof_phase phase)
{
    return sum_all(p, phase).calls * p->timer_ns;
}
