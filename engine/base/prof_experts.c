#include "engine/base/prof_experts.h"

#include <math.h>

bool prof_spread(const struct prof *p, enum prof_phase phase, uint32_t layer, struct prof_spread *out)
{
    const uint64_t *counts = prof_pairs(p, phase, layer);
    struct prof_spread s = {0};
    for (uint32_t e = 0; e < p->shape.n_experts; e++) {
        s.n_pairs += counts[e];
        s.n_asked += counts[e] != 0;
        s.busiest = counts[e] > counts[s.busiest] ? e : s.busiest;
    }
    *out = s;
    if (!s.n_pairs)
        return false;
    for (uint32_t e = 0; e < p->shape.n_experts; e++) {
        double share = (double)counts[e] / (double)s.n_pairs;
        out->entropy -= share > 0 ? share * log2(share) : 0;
    }
    out->balance = (double)s.n_pairs / ((double)p->shape.n_experts * (double)counts[s.busiest]);
    return true;
}

bool prof_spread_mean(const struct prof *p, enum prof_phase phase, struct prof_spread *out)
{
    struct prof_spread sum = {0}, one;
    uint32_t n = 0;
    for (uint32_t layer = 0; layer < p->shape.n_layers; layer++) {
        if (!prof_spread(p, phase, layer, &one))
            continue;
        sum.n_pairs += one.n_pairs;
        sum.entropy += one.entropy;
        sum.balance += one.balance;
        n++;
    }
    sum.entropy /= n ? n : 1;
    sum.balance /= n ? n : 1;
    *out = sum;
    return n != 0;
}

bool prof_overlap(const struct prof *p, uint32_t layer, double *out)
{
    double n = (double)p->n_followed * p->shape.n_used;
    *out = n > 0 ? (double)p->repeats[layer] / n : 0;
    return n > 0;
}

bool prof_overlap_mean(const struct prof *p, double *out)
{
    double sum = 0;
    bool is_known = p->shape.n_layers > 0;
    for (uint32_t layer = 0; layer < p->shape.n_layers; layer++) {
        double one;
        is_known = prof_overlap(p, layer, &one) && is_known;
        sum += one;
    }
    *out = is_known ? sum / p->shape.n_layers : 0;
    return is_known;
}
