#include "app/profile_file.h"

#include "app/out_file.h"
#include "engine/base/prof_experts.h"

static json_t *ms_json(uint64_t ns)
{
    return json_real((double)ns / 1e6);
}

static json_t *known_json(bool is_known, double value)
{
    return is_known ? json_real(value) : json_null();
}

static void append_op(json_t *ops, enum prof_op op, const struct prof_entry *e)
{
    json_array_append_new(ops, json_pack("{s:s, s:o, s:I, s:I}", "op", prof_op_name(op), "ms", ms_json(e->ns),
                                         "calls", (json_int_t)e->calls, "bytes", (json_int_t)e->bytes));
}

static json_t *sums_json(const struct prof *p, enum prof_phase phase)
{
    json_t *ops = json_array();
    for (int op = 0; op < PROF_N_OPS; op++) {
        struct prof_entry e = prof_sum(p, phase, (enum prof_op)op);
        append_op(ops, (enum prof_op)op, &e);
    }
    return ops;
}

/* ---- layers ---- */

static void add_experts(json_t *out, const struct prof *p, enum prof_phase phase, uint32_t layer)
{
    struct prof_spread s;
    double overlap;
    bool is_known = prof_spread(p, phase, layer, &s);
    json_t *pairs = json_array();
    for (uint32_t e = 0; e < p->shape.n_experts; e++)
        json_array_append_new(pairs, json_integer((json_int_t)prof_pairs(p, phase, layer)[e]));
    json_object_set_new(out, "pairs", pairs);
    json_object_set_new(out, "entropy", known_json(is_known, s.entropy));
    json_object_set_new(out, "balance", known_json(is_known, s.balance));
    json_object_set_new(out, "asked", is_known ? json_integer(s.n_asked) : json_null());
    json_object_set_new(out, "busiest", is_known ? json_integer(s.busiest) : json_null());
    if (phase == PROF_DECODE) {
        is_known = prof_overlap(p, layer, &overlap);
        json_object_set_new(out, "overlap", known_json(is_known, overlap));
    }
}

static json_t *layer_json(const struct prof *p, enum prof_phase phase, uint32_t layer)
{
    bool is_layer = layer < p->shape.n_layers;
    json_t *ops = json_array();
    for (int op = 0; op < PROF_N_OPS; op++) {
        const struct prof_entry *e = prof_at(p, phase, layer, (enum prof_op)op);
        if (e->calls)
            append_op(ops, (enum prof_op)op, e);
    }
    json_t *out = json_pack("{s:o, s:o}", "layer", is_layer ? json_integer(layer) : json_null(), "ops", ops);
    if (is_layer && p->shape.n_experts)
        add_experts(out, p, phase, layer);
    return out;
}

static json_t *layers_json(const struct prof *p, enum prof_phase phase)
{
    json_t *layers = json_array();
    for (uint32_t layer = 0; layer <= p->shape.n_layers; layer++)
        json_array_append_new(layers, layer_json(p, phase, layer));
    return layers;
}

/* ---- a phase ---- */

static json_t *means_json(const struct prof *p, enum prof_phase phase)
{
    struct prof_spread s;
    double overlap;
    if (!prof_spread_mean(p, phase, &s))
        return json_null();
    json_t *out = json_pack("{s:f, s:f}", "entropy", s.entropy, "balance", s.balance);
    if (phase == PROF_DECODE) {
        bool is_known = prof_overlap_mean(p, &overlap);
        json_object_set_new(out, "overlap", known_json(is_known, overlap));
    }
    return out;
}

static json_t *recent_json(const struct prof *p)
{
    json_t *recent = json_array();
    for (uint64_t i = p->n_recent > PROF_RECENT ? p->n_recent - PROF_RECENT : 0; i < p->n_recent; i++)
        json_array_append_new(recent, json_real(p->recent_us[i % PROF_RECENT] / 1e3));
    return recent;
}

static json_t *phase_json(const struct prof *p, enum prof_phase phase)
{
    json_t *out = json_pack("{s:I, s:o, s:o, s:o, s:o, s:o}", "tokens", (json_int_t)p->n_tokens[phase],
                            "wall_ms", ms_json(p->wall_ns[phase]), "timed_ms", ms_json(prof_sum_ns(p, phase)),
                            "timers_ms", ms_json(prof_cost_ns(p, phase)), "ops", sums_json(p, phase),
                            "experts", means_json(p, phase));
    json_object_set_new(out, "by_layer", layers_json(p, phase));
    if (phase == PROF_DECODE)
        json_object_set_new(out, "recent_ms", recent_json(p));
    return out;
}

json_t *profile_json(const struct prof *prof)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:o, s:o}", "layers", (json_int_t)prof->shape.n_layers, "experts",
                     (json_int_t)prof->shape.n_experts, "experts_used", (json_int_t)prof->shape.n_used,
                     "timer_ns", (json_int_t)prof->timer_ns, "prefill", phase_json(prof, PROF_PREFILL),
                     "decode", phase_json(prof, PROF_DECODE));
}

bool profile_file_write(const struct prof *prof, const char *path, struct err *err)
{
    struct out_file out;
    json_t *root = profile_json(prof);
    bool ok = out_file_open(&out, "--profile", path, err);
    if (ok &&
        (json_dumpf(root, out.file, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) || fputc('\n', out.file) == EOF))
        ok = out_file_fail(&out, err);
    json_decref(root);
    return out_file_close(&out, ok, err);
}
