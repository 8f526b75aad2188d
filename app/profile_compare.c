#include "app/profile_compare.h"

#include <inttypes.h>
#include <math.h>

#include "app/profile_table.h"
#include "engine/base/prof_experts.h"

#define NAME_COLUMNS 14

uint64_t profile_phase_ns(const struct prof *p, enum prof_phase phase)
{
    uint64_t sum_ns = prof_sum_ns(p, phase), wall_ns = p->wall_ns[phase];
    return wall_ns > sum_ns ? wall_ns : sum_ns; /* kept times are rounded: their sum may be a little more */
}

static uint64_t other_ns(const struct prof *p, enum prof_phase phase)
{
    return profile_phase_ns(p, phase) - prof_sum_ns(p, phase);
}

static bool per_token(const struct prof *p, enum prof_phase phase, uint64_t ns, double *ms)
{
    *ms = p->n_tokens[phase] ? (double)ns / 1e6 / (double)p->n_tokens[phase] : 0;
    return p->n_tokens[phase] != 0;
}

static bool has_work(const struct prof *p, enum prof_phase phase)
{
    return p->n_tokens[phase] || profile_phase_ns(p, phase);
}

static void put_number(struct buf *out, bool is_known, double v, int width, int digits)
{
    if (is_known)
        buf_printf(out, "%*.*f", width, digits, v);
    else
        buf_printf(out, "%*s", width, "-");
}

/* ---- two profiles ---- */

bool profile_ratio(const struct prof *a, const struct prof *b, enum prof_phase phase, uint64_t a_ns,
                   uint64_t b_ns, double *ratio)
{
    double a_ms, b_ms;
    bool is_known =
        per_token(a, phase, a_ns, &a_ms) && per_token(b, phase, b_ns, &b_ms) && a_ms > 0 && b_ms > 0;
    *ratio = is_known ? b_ms / a_ms : 0;
    return is_known;
}

static void put_ratio(struct buf *out, const struct prof *a, const struct prof *b, enum prof_phase phase,
                      const char *name, uint64_t a_ns, uint64_t b_ns)
{
    double a_ms, b_ms, ratio;
    bool a_known = per_token(a, phase, a_ns, &a_ms) && a_ns;
    bool b_known = per_token(b, phase, b_ns, &b_ms) && b_ns;
    bool both_known = profile_ratio(a, b, phase, a_ns, b_ns, &ratio);
    buf_printf(out, "%-*s", NAME_COLUMNS, name);
    put_number(out, a_known, a_ms, 12, 3);
    put_number(out, b_known, b_ms, 12, 3);
    put_number(out, both_known, ratio, 10, 2);
    buf_putc(out, '\n');
}

void profile_compare(struct buf *out, const struct prof *a, const struct prof *b, enum prof_phase phase)
{
    if (!has_work(a, phase) && !has_work(b, phase))
        return;
    buf_printf(out, "\n%s: %" PRIu64 " and %" PRIu64 " tokens\n%-*s%12s%12s%10s\n", prof_phase_name(phase),
               a->n_tokens[phase], b->n_tokens[phase], NAME_COLUMNS, "ms/token", "A", "B", "B / A");
    for (int op = 0; op < PROF_N_OPS; op++) {
        struct prof_entry of_a = prof_sum(a, phase, (enum prof_op)op),
                          of_b = prof_sum(b, phase, (enum prof_op)op);
        if (of_a.calls || of_b.calls)
            put_ratio(out, a, b, phase, prof_op_name((enum prof_op)op), of_a.ns, of_b.ns);
    }
    if (a->wall_ns[phase] && b->wall_ns[phase])
        put_ratio(out, a, b, phase, "not timed", other_ns(a, phase), other_ns(b, phase));
    put_ratio(out, a, b, phase, "all", profile_phase_ns(a, phase), profile_phase_ns(b, phase));
}

/* ---- experts ---- */

bool profile_find_busiest(const struct prof *p, enum prof_phase phase, struct profile_busiest *out)
{
    *out = (struct profile_busiest){0};
    for (uint32_t layer = 0; layer < p->shape.n_layers; layer++) {
        struct prof_spread s;
        if (!prof_spread(p, phase, layer, &s))
            continue;
        double share = (double)prof_pairs(p, phase, layer)[s.busiest] / (double)s.n_pairs;
        if (share > out->share)
            *out = (struct profile_busiest){layer, s.busiest, share};
    }
    return out->share > 0;
}

void profile_experts_line(struct buf *out, const struct prof *p, enum prof_phase phase)
{
    struct prof_spread mean;
    struct profile_busiest most;
    double overlap;
    if (!prof_spread_mean(p, phase, &mean) || !profile_find_busiest(p, phase, &most))
        return;
    buf_printf(out, "%u of %u experts: balance %.2f, entropy %.2f of %.2f bits", p->shape.n_used,
               p->shape.n_experts, mean.balance, mean.entropy, log2(p->shape.n_experts));
    if (phase == PROF_DECODE && prof_overlap_mean(p, &overlap))
        buf_printf(out, ", overlap %.2f (%.2f by chance)", overlap,
                   (double)p->shape.n_used / (double)p->shape.n_experts);
    buf_printf(out, ", busiest %u in layer %u (%.1f %%)\n", most.expert, most.layer, 100 * most.share);
}

void profile_csv(struct buf *out, const struct prof *p)
{
    buf_puts(out, "layer,expert,prefill,decode\n");
    for (uint32_t layer = 0; layer < p->shape.n_layers; layer++)
        for (uint32_t e = 0; e < p->shape.n_experts; e++)
            buf_printf(out, "%u,%u,%" PRIu64 ",%" PRIu64 "\n", layer, e,
                       prof_pairs(p, PROF_PREFILL, layer)[e], prof_pairs(p, PROF_DECODE, layer)[e]);
}
