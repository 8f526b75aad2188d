#include "tests/ui/prof_by_hand.h"

#include <stdlib.h>

/* us and kB per token and layer at scale 1000. */
struct cost {
    enum prof_op op;
    unsigned us, kb;
};

static const struct cost dense[] = {
    {PROF_NORM, 20, 8},      {PROF_QKV, 190, 5200},    {PROF_ROPE, 12, 0},
    {PROF_ATTENTION, 90, 0}, {PROF_O_PROJ, 150, 4300}, {PROF_FFN, 900, 30000},
};
static const struct cost sparse[] = {
    {PROF_NORM, 20, 8},         {PROF_QKV, 190, 5200},    {PROF_ROPE, 12, 0},
    {PROF_ATTENTION, 90, 0},    {PROF_O_PROJ, 150, 4300}, {PROF_ROUTER, 50, 1000},
    {PROF_GATE_UP, 650, 21000}, {PROF_DOWN, 370, 11000},  {PROF_WEIGHTED_SUM, 9, 0},
};
static const struct cost outside[] = {{PROF_EMBED, 8, 2},
                                      {PROF_NORM, 20, 8},
                                      {PROF_COPY, 30, 0},
                                      {PROF_LM_HEAD, 6800, 255000},
                                      {PROF_SAMPLE, 800, 0}};
#define N(array) (int)(sizeof(array) / sizeof *(array))

/* A later layer takes longer, by up to a quarter. */
static void add_costs(struct prof *p, enum prof_phase phase, uint32_t layer, const struct cost *costs, int n,
                      uint32_t scale)
{
    uint64_t tokens = p->n_tokens[phase];
    uint32_t slower = layer < p->shape.n_layers ? 100 + 25 * layer / p->shape.n_layers : 100;
    for (int i = 0; i < n && tokens; i++) {
        struct prof_entry *e = prof_at(p, phase, layer, costs[i].op);
        /* A prompt's tokens share the reading of weights, and the time of it. */
        uint64_t shared = phase == PROF_PREFILL ? 4 : 1;
        e->ns = tokens * costs[i].us * scale * slower / 100 / shared;
        e->bytes = tokens * costs[i].kb * scale / shared;
        e->calls = phase == PROF_PREFILL ? (tokens + 511) / 512 : tokens;
    }
}

static void add_wall(struct prof *p, enum prof_phase phase)
{
    uint64_t ns = 0;
    for (int op = 0; op < PROF_N_OPS; op++)
        ns += prof_sum(p, phase, (enum prof_op)op).ns;
    p->wall_ns[phase] = ns * 100 / 97;
}

/* Tokens favour some experts; the newest one's are in no order. */
static void add_experts(struct prof *p, uint32_t layer)
{
    uint32_t n = p->shape.n_experts, used = p->shape.n_used;
    for (int phase = 0; phase < PROF_N_PHASES; phase++)
        for (uint64_t i = 0; i < p->n_tokens[phase] * used; i++) {
            uint64_t mixed = (i * 7919 + layer * 104729) % 10007;
            prof_pairs(p, (enum prof_phase)phase, layer)[mixed * mixed / 10007 * n / 10007]++;
        }
    for (uint32_t k = 0; k < used; k++)
        prof_newest(p, layer)[k] = (uint16_t)((layer * 37 + k * 16 + 5) % n);
    p->repeats[layer] = p->n_followed * used / 3;
}

struct prof *prof_made_by_hand(const struct prof_shape *shape, uint64_t prefilled, uint64_t decoded,
                               uint32_t scale)
{
    struct prof *p = prof_new(shape, NULL);
    if (!p)
        abort();
    p->n_tokens[PROF_PREFILL] = prefilled;
    p->n_tokens[PROF_DECODE] = decoded;
    p->n_followed = decoded > 0 ? decoded - 1 : 0;
    p->timer_ns = 40;
    for (int phase = 0; phase < PROF_N_PHASES; phase++) {
        for (uint32_t layer = 0; layer < shape->n_layers; layer++)
            add_costs(p, (enum prof_phase)phase, layer, shape->n_experts ? sparse : dense,
                      shape->n_experts ? N(sparse) : N(dense), scale);
        add_costs(p, (enum prof_phase)phase, shape->n_layers, outside, N(outside), scale);
        add_wall(p, (enum prof_phase)phase);
    }
    for (uint32_t layer = 0; layer < shape->n_layers && shape->n_experts; layer++)
        add_experts(p, layer);
    uint64_t us = decoded ? p->wall_ns[PROF_DECODE] / decoded / 1000 : 0;
    for (; p->n_recent < decoded; p->n_recent++)
        p->recent_us[p->n_recent % PROF_RECENT] = (uint32_t)(us * (90 + p->n_recent * 7 % 21) / 100);
    return p;
}
