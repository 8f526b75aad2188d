#include "engine/profiling.h"

#include <assert.h>
#include <string.h>

#include "engine/base/mem.h"

#define COST_ROUNDS 4
#define COST_TIMERS 32

/* The quickest round of some, as anything else only adds to it. */
static void measure_timer(struct profiling *p)
{
    uint64_t best = UINT64_MAX;
    for (int round = 0; round < COST_ROUNDS; round++) {
        uint64_t begin = clock_now_ns();
        for (int i = 0; i < COST_TIMERS; i++)
            profiling_op(p, PROF_DECODE, 0, PROF_EMBED, clock_now_ns(), 0);
        uint64_t ns = clock_now_ns() - begin;
        best = ns < best ? ns : best;
    }
    *prof_at(p->prof, PROF_DECODE, 0, PROF_EMBED) = (struct prof_entry){0};
    p->prof->timer_ns = (best + COST_TIMERS / 2) / COST_TIMERS;
}

static bool init_experts(struct profiling *p, const struct prof_shape *s, size_t n_batch, struct err *err)
{
    size_t n_ids;
    if (!s->n_experts)
        return true;
    if (!mem_mul(n_batch, s->n_used, &n_ids) || !mem_mul(n_ids, s->n_layers, &n_ids))
        return err_set(err, ERR_MEMORY, "a batch of %zu tokens is too large to count", n_batch);
    p->seen = mem_array(s->n_experts, sizeof *p->seen, err);
    p->chosen =
        p->seen ? mem_array(PROFILING_ROWS * (size_t)s->n_layers * s->n_used, sizeof *p->chosen, err) : NULL;
    p->ids = !p->chosen ? NULL : mem_array(n_ids, sizeof *p->ids, err);
    return p->ids != NULL;
}

bool profiling_init(struct profiling *p, const struct prof_shape *shape, size_t n_batch, struct trace *trace,
                    struct err *err)
{
    *p = (struct profiling){0};
    p->prof = prof_new(shape, err);
    if (!p->prof || !init_experts(p, shape, n_batch, err)) {
        profiling_fini(p);
        return false;
    }
    measure_timer(p);
    p->trace = trace;
    return true;
}

void profiling_fini(struct profiling *p)
{
    prof_free(p->prof);
    mem_free(p->ids);
    mem_free(p->seen);
    mem_free(p->chosen);
    *p = (struct profiling){0};
}

/* ---- experts ---- */

bool profiling_read_chosen(struct profiling *p, struct backend *backend, enum prof_phase phase,
                           const struct bbuf *ids, size_t n_rows, struct err *err)
{
    size_t n_bytes = n_rows * p->prof->shape.n_used * sizeof *p->ids;
    uint64_t start_ns = clock_now_ns();
    if (!backend_buf_read(backend, ids, 0, p->ids, n_bytes, err))
        return false;
    profiling_op(p, phase, p->prof->shape.n_layers, PROF_SYNC, start_ns, n_bytes);
    return true;
}

static void count_prefill(struct prof *prof, uint32_t layer, const int32_t *ids, size_t n)
{
    uint64_t *pairs = prof_pairs(prof, PROF_PREFILL, layer);
    for (size_t i = 0; i < n; i++)
        pairs[ids[i]]++;
}

/* Of row `row` of a step of decode, [n_used]. */
static uint16_t *chosen_at(struct profiling *p, size_t row, uint32_t layer)
{
    const struct prof_shape *s = &p->prof->shape;
    return p->chosen + (row * s->n_layers + layer) * s->n_used;
}

static void keep_chosen(struct profiling *p, uint32_t layer, const int32_t *ids, size_t n_tokens)
{
    uint32_t n_used = p->prof->shape.n_used;
    for (size_t row = 0; row < n_tokens && row < PROFILING_ROWS; row++)
        for (uint32_t i = 0; i < n_used; i++)
            chosen_at(p, row, layer)[i] = (uint16_t)ids[row * n_used + i];
}

static size_t count_distinct(struct profiling *p, const int32_t *ids, size_t n)
{
    size_t n_distinct = 0;
    if (++p->n_looks == 0) { /* after 2^32 of them the marks begin anew */
        memset(p->seen, 0, p->prof->shape.n_experts * sizeof *p->seen);
        p->n_looks = 1;
    }
    for (size_t i = 0; i < n; i++) {
        n_distinct += p->seen[ids[i]] != p->n_looks;
        p->seen[ids[i]] = p->n_looks;
    }
    return n_distinct;
}

bool profiling_routed(struct profiling *p, struct backend *backend, enum prof_phase phase, uint32_t layer,
                      const int32_t *chosen, size_t n_tokens, struct err *err)
{
    const struct prof_shape *shape = &p->prof->shape;
    size_t n = n_tokens * shape->n_used;
    for (size_t i = 0; i < n; i++)
        if (chosen[i] < 0 || (uint32_t)chosen[i] >= shape->n_experts)
            return err_set(err, ERR_RUNTIME,
                           "route: the %s backend chose expert %d, expected 0 to %u; start again, or use "
                           "--backend cpu",
                           backend->ops->name, chosen[i], shape->n_experts - 1);
    p->n_distinct = count_distinct(p, chosen, n);
    if (phase == PROF_PREFILL)
        count_prefill(p->prof, layer, chosen, n);
    else
        keep_chosen(p, layer, chosen, n_tokens);
    return true;
}

static uint64_t n_common(const uint16_t *a, const uint16_t *b, uint32_t n)
{
    uint64_t common = 0;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++)
            common += a[i] == b[j];
    return common;
}

static void count_token(struct profiling *p, size_t row)
{
    struct prof *prof = p->prof;
    uint32_t n_used = prof->shape.n_used;
    for (uint32_t layer = 0; n_used && layer < prof->shape.n_layers; layer++) {
        const uint16_t *chosen = chosen_at(p, row, layer);
        uint16_t *newest = prof_newest(prof, layer);
        if (p->follows)
            prof->repeats[layer] += n_common(chosen, newest, n_used);
        for (uint32_t i = 0; i < n_used; i++)
            prof_pairs(prof, PROF_DECODE, layer)[chosen[i]]++;
        memcpy(newest, chosen, n_used * sizeof *newest);
    }
    prof->n_followed += p->follows;
}

/* ---- steps ---- */

void profiling_wall(struct profiling *p, enum prof_phase phase, uint64_t ns)
{
    p->prof->wall_ns[phase] += ns;
}

static void note_recent(struct profiling *p)
{
    struct prof *prof = p->prof;
    uint64_t us = (prof->wall_ns[PROF_DECODE] - p->told_ns) / 1000;
    prof->recent_us[prof->n_recent++ % PROF_RECENT] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
    p->told_ns = prof->wall_ns[PROF_DECODE];
}

/* One token of so many, of every answer the second first: short ones have one too. */
#define SAMPLE_EVERY 16

void profiling_begin_step(struct profiling *p, enum prof_phase phase, struct backend *device)
{
    bool is_sampled = phase == PROF_DECODE && p->n_since_prompt % SAMPLE_EVERY == 1;
    if (is_sampled && device->ops->time_begin && device->ops->time_begin(device->ctx))
        p->timed = device;
}

static void take_time(void *prof, uint32_t number, uint64_t ns)
{
    struct prof *p = prof;
    p->device_ns[number] += ns;
}

static void drop_time(void *prof, uint32_t number, uint64_t ns)
{
    (void)prof;
    (void)number;
    (void)ns;
}

static void end_sample(struct profiling *p, bool ok)
{
    if (!p->timed)
        return;
    p->timed->ops->time_end(p->timed->ctx, ok ? take_time : drop_time, p->prof);
    p->prof->n_device += ok;
    p->timed = NULL;
}

void profiling_end_step(struct profiling *p, enum prof_phase phase, uint64_t start_ns, size_t n_tokens,
                        size_t pos)
{
    end_sample(p, true);
    p->n_since_prompt = phase == PROF_DECODE ? p->n_since_prompt + 1 : 0;
    if (phase == PROF_DECODE)
        count_token(p, 0);
    uint64_t end_ns = clock_now_ns();
    p->prof->n_tokens[phase] += phase == PROF_DECODE ? 1 : n_tokens;
    profiling_wall(p, phase, end_ns - start_ns);
    if (phase == PROF_DECODE)
        note_recent(p);
    p->follows = phase == PROF_DECODE;
    if (p->trace)
        trace_end_step(p->trace, phase, start_ns, end_ns, (uint32_t)n_tokens, pos);
}

void profiling_accepted(struct profiling *p, size_t row)
{
    count_token(p, row);
    p->prof->n_tokens[PROF_DECODE]++;
    note_recent(p);
}

void profiling_cut(struct profiling *p)
{
    if (!p->prof)
        return;
    end_sample(p, false);
    p->follows = false;
    p->told_ns = p->prof->wall_ns[PROF_DECODE];
    if (p->trace)
        trace_drop(p->trace);
}
