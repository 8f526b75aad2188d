#include "app/prof_table.h"

#include <inttypes.h>
#include <math.h>

#include "engine/base/prof_experts.h"

#define NAME_COLUMNS 14

const char *prof_phase_name(enum prof_phase phase)
{
    return phase == PROF_PREFILL ? "prefill" : "decode";
}

uint64_t prof_phase_ns(const struct prof *p, enum prof_phase phase)
{
    uint64_t sum_ns = prof_sum_ns(p, phase), wall_ns = p->wall_ns[phase];
    return wall_ns > sum_ns ? wall_ns : sum_ns; /* kept times are rounded: their sum may be a little more */
}

static uint64_t other_ns(const struct prof *p, enum prof_phase phase)
{
    return prof_phase_ns(p, phase) - prof_sum_ns(p, phase);
}

bool prof_per_token(const struct prof *p, enum prof_phase phase, uint64_t ns, double *ms)
{
    *ms = p->n_tokens[phase] ? (double)ns / 1e6 / (double)p->n_tokens[phase] : 0;
    return p->n_tokens[phase] != 0;
}

static bool has_work(const struct prof *p, enum prof_phase phase)
{
    return p->n_tokens[phase] || prof_phase_ns(p, phase);
}

static void put_number(struct buf *out, bool is_known, double v, int width, int digits)
{
    if (is_known)
        buf_printf(out, "%*.*f", width, digits, v);
    else
        buf_printf(out, "%*s", width, "-");
}

/* ---- one profile ---- */

static void put_row(struct buf *out, const struct prof *p, enum prof_phase phase, const char *name,
                    const struct prof_entry *e, int margin)
{
    double ms, phase_ns = (double)prof_phase_ns(p, phase);
    bool is_known = prof_per_token(p, phase, e->ns, &ms);
    buf_printf(out, "%*s%-*s", margin, "", NAME_COLUMNS, name);
    if (e->calls)
        buf_printf(out, "%10" PRIu64, e->calls);
    else
        put_number(out, false, 0, 10, 0);
    put_number(out, is_known, ms, 12, 3);
    put_number(out, phase_ns > 0, 100 * (double)e->ns / phase_ns, 10, 1);
    put_number(out, e->bytes && e->ns, (double)e->bytes / (double)e->ns, 10, 1);
    buf_putc(out, '\n');
}

void prof_table(struct buf *out, const struct prof *p, enum prof_phase phase, int margin)
{
    double ms;
    if (!has_work(p, phase))
        return;
    buf_printf(out, "%*s%s: %" PRIu64 " token%s", margin, "", prof_phase_name(phase), p->n_tokens[phase],
               p->n_tokens[phase] == 1 ? "" : "s");
    if (prof_per_token(p, phase, prof_phase_ns(p, phase), &ms))
        buf_printf(out, ", %.3f ms each", ms);
    buf_printf(out, "\n%*s%-*s%10s%12s%10s%10s\n", margin, "", NAME_COLUMNS, "operation", "calls", "ms/token",
               "share %", "GB/s");
    for (int op = 0; op < PROF_N_OPS; op++) {
        struct prof_entry e = prof_sum(p, phase, (enum prof_op)op);
        if (e.calls)
            put_row(out, p, phase, prof_op_name((enum prof_op)op), &e, margin);
    }
    if (p->wall_ns[phase])
        put_row(out, p, phase, "other", &(struct prof_entry){.ns = other_ns(p, phase)}, margin);
}

/* ---- two profiles ---- */

bool prof_ratio(const struct prof *a, const struct prof *b, enum prof_phase phase, uint64_t a_ns,
                uint64_t b_ns, double *ratio)
{
    double a_ms, b_ms;
    bool is_known = prof_per_token(a, phase, a_ns, &a_ms) && prof_per_token(b, phase, b_ns, &b_ms) &&
                    a_ms > 0 && b_ms > 0;
    *ratio = is_known ? b_ms / a_ms : 0;
    return is_known;
}

static void put_ratio(struct buf *out, const struct prof *a, const struct prof *b, enum prof_phase phase,
                      const char *name, uint64_t a_ns, uint64_t b_ns)
{
    double a_ms, b_ms, ratio;
    bool a_known = prof_per_token(a, phase, a_ns, &a_ms) && a_ns;
    bool b_known = prof_per_token(b, phase, b_ns, &b_ms) && b_ns;
    bool both_known = prof_ratio(a, b, phase, a_ns, b_ns, &ratio);
    buf_printf(out, "%-*s", NAME_COLUMNS, name);
    put_number(out, a_known, a_ms, 12, 3);
    put_number(out, b_known, b_ms, 12, 3);
    put_number(out, both_known, ratio, 10, 2);
    buf_putc(out, '\n');
}

void prof_table_compare(struct buf *out, const struct prof *a, const struct prof *b, enum prof_phase phase)
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
        put_ratio(out, a, b, phase, "other", other_ns(a, phase), other_ns(b, phase));
    put_ratio(out, a, b, phase, "all", prof_phase_ns(a, phase), prof_phase_ns(b, phase));
}

/* ---- experts ---- */

bool prof_find_busiest(const struct prof *p, enum prof_phase phase, struct prof_busiest *out)
{
    *out = (struct prof_busiest){0};
    for (uint32_t layer = 0; layer < p->shape.n_layers; layer++) {
        struct prof_spread s;
        if (!prof_spread(p, phase, layer, &s))
            continue;
        double share = (double)prof_pairs(p, phase, layer)[s.busiest] / (double)s.n_pairs;
        if (share > out->share)
            *out = (struct prof_busiest){layer, s.busiest, share};
    }
    return out->share > 0;
}

void prof_table_experts(struct buf *out, const struct prof *p, enum prof_phase phase, int margin)
{
    struct prof_spread mean;
    struct prof_busiest most;
    double overlap;
    if (!prof_spread_mean(p, phase, &mean) || !prof_find_busiest(p, phase, &most))
        return;
    buf_printf(out, "%*s%u of %u experts: balance %.2f, entropy %.2f of %.2f bits", margin, "",
               p->shape.n_used, p->shape.n_experts, mean.balance, mean.entropy, log2(p->shape.n_experts));
    if (phase == PROF_DECODE && prof_overlap_mean(p, &overlap))
        buf_printf(out, ", overlap %.2f (%.2f by chance)", overlap,
                   (double)p->shape.n_used / (double)p->shape.n_experts);
    buf_printf(out, ", busiest %u in layer %u (%.1f %%)\n", most.expert, most.layer, 100 * most.share);
}

void prof_table_csv(struct buf *out, const struct prof *p)
{
    buf_puts(out, "layer,expert,prefill,decode\n");
    for (uint32_t layer = 0; layer < p->shape.n_layers; layer++)
        for (uint32_t e = 0; e < p->shape.n_experts; e++)
            buf_printf(out, "%u,%u,%" PRIu64 ",%" PRIu64 "\n", layer, e,
                       prof_pairs(p, PROF_PREFILL, layer)[e], prof_pairs(p, PROF_DECODE, layer)[e]);
}
