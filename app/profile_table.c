#include "app/profile_table.h"

#include <inttypes.h>

#include "engine/base/prof_experts.h"

static const enum prof_op expert_ops[] = {PROF_SYNC, PROF_ROUTER, PROF_COPY,        PROF_GATE_UP,
                                          PROF_SILU, PROF_DOWN,   PROF_WEIGHTED_SUM};
#define N_EXPERT_OPS (sizeof expert_ops / sizeof *expert_ops)

static double ms(uint64_t ns)
{
    return (double)ns / 1e6;
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole ? 100 * (double)part / (double)whole : 0;
}

static void put_row(struct buf *out, const struct prof *p, enum prof_phase phase, const char *name,
                    const struct prof_entry *e)
{
    buf_printf(out, "  %-12s", name);
    if (e->calls)
        buf_printf(out, " %9" PRIu64, e->calls);
    else
        buf_printf(out, " %9s", "-");
    buf_printf(out, " %11.3f %10.4f %6.2f %%", ms(e->ns), ms(e->ns) / (double)p->n_tokens[phase],
               percent(e->ns, p->wall_ns[phase]));
    if (e->bytes && e->ns)
        buf_printf(out, " %8.2f\n", (double)e->bytes / (double)e->ns);
    else
        buf_printf(out, " %8s\n", "-");
}

static void put_ops(struct buf *out, const struct prof *p, enum prof_phase phase)
{
    uint64_t wall_ns = p->wall_ns[phase], sum_ns = prof_sum_ns(p, phase);
    buf_printf(out, "  %-12s %9s %11s %10s %8s %8s\n", "operation", "calls", "total ms", "ms/token", "share",
               "GB/s");
    for (int op = 0; op < PROF_N_OPS; op++) {
        struct prof_entry e = prof_sum(p, phase, (enum prof_op)op);
        if (e.calls)
            put_row(out, p, phase, prof_op_name((enum prof_op)op), &e);
    }
    struct prof_entry rest = {.ns = wall_ns > sum_ns ? wall_ns - sum_ns : 0};
    put_row(out, p, phase, "not timed", &rest);
}

/* ---- experts ---- */

static void put_known(struct buf *out, bool is_known, double value)
{
    if (is_known)
        buf_printf(out, " %8.3f", value);
    else
        buf_printf(out, " %8s", "-");
}

static void put_layer(struct buf *out, const struct prof *p, enum prof_phase phase, uint32_t layer,
                      const bool *has)
{
    struct prof_spread s;
    double overlap;
    buf_printf(out, "  %5u", layer);
    for (size_t i = 0; i < N_EXPERT_OPS; i++)
        if (has[i])
            buf_printf(out, " %12.4f",
                       ms(prof_at(p, phase, layer, expert_ops[i])->ns) / (double)p->n_tokens[phase]);
    bool is_known = prof_spread(p, phase, layer, &s);
    put_known(out, is_known, s.balance);
    put_known(out, is_known, s.entropy);
    put_known(out, prof_overlap(p, layer, &overlap) && phase == PROF_DECODE, overlap);
    if (is_known)
        buf_printf(out, " %8u\n", s.busiest);
    else
        buf_printf(out, " %8s\n", "-");
}

static void put_experts(struct buf *out, const struct prof *p, enum prof_phase phase)
{
    bool has[N_EXPERT_OPS];
    buf_printf(out, "  experts, ms/token by layer\n  %5s", "layer");
    for (size_t i = 0; i < N_EXPERT_OPS; i++) {
        has[i] = false;
        for (uint32_t layer = 0; layer < p->shape.n_layers; layer++)
            has[i] |= prof_at(p, phase, layer, expert_ops[i])->calls != 0;
        if (has[i])
            buf_printf(out, " %12s", prof_op_name(expert_ops[i]));
    }
    buf_printf(out, " %8s %8s %8s %8s\n", "balance", "entropy", "overlap", "busiest");
    for (uint32_t layer = 0; layer < p->shape.n_layers; layer++)
        put_layer(out, p, phase, layer, has);
}

void profile_table_phase(const struct prof *p, enum prof_phase phase, bool by_layer, struct buf *out)
{
    uint64_t wall_ns = p->wall_ns[phase];
    if (!p->n_tokens[phase])
        return;
    buf_printf(out,
               "%s: %" PRIu64 " tokens in %.3f ms, %.4f ms/token; operations %.2f %% of it; the timers cost "
               "%.3f %%\n",
               prof_phase_name(phase), p->n_tokens[phase], ms(wall_ns),
               ms(wall_ns) / (double)p->n_tokens[phase], percent(prof_sum_ns(p, phase), wall_ns),
               percent(prof_cost_ns(p, phase), wall_ns));
    put_ops(out, p, phase);
    if (by_layer && p->shape.n_experts)
        put_experts(out, p, phase);
}

void profile_table(const struct prof *prof, struct buf *out)
{
    profile_table_phase(prof, PROF_PREFILL, true, out);
    profile_table_phase(prof, PROF_DECODE, true, out);
}
