/* prof_experts.h: what the counts of a profile say about its experts. Pure functions of plain data, any
 * thread.
 *
 * In one layer and phase, E experts, c_e tokens given to expert e, C their sum, p_e = c_e / C:
 *   entropy  -sum p_e log2 p_e, in bits: 0 when one expert does all, log2 E when all do the same;
 *   balance  mean / largest = C / (E max c_e): 1 when all do the same, 1/E when one does all. A batch whose
 *            experts are computed at once lasts as long as the busiest: balance is the share it could be;
 *   overlap  of the K experts of a decoded token, the share that the token before it used in that layer too:
 *            repeats / (n_followed K). By chance alone it would be K/E.
 * What nothing is known about has no number: the functions return false. */
#ifndef FERRUM_PROF_EXPERTS_H
#define FERRUM_PROF_EXPERTS_H

#include <stdbool.h>

#include "engine/base/prof.h"

struct prof_spread {
    uint64_t n_pairs; /* C */
    uint32_t n_asked; /* experts with a token at least */
    uint32_t busiest; /* the lowest id of those with most tokens */
    double entropy;   /* bits */
    double balance;   /* 1/E .. 1 */
};

/* False: no token has been routed there. */
bool prof_spread(const struct prof *p, enum prof_phase phase, uint32_t layer, struct prof_spread *out);
/* Means over the layers where tokens were routed (n_pairs is their sum; n_asked and busiest are 0). */
bool prof_spread_mean(const struct prof *p, enum prof_phase phase, struct prof_spread *out);

/* 0 .. 1; false: no token followed another. */
bool prof_overlap(const struct prof *p, uint32_t layer, double *out);
bool prof_overlap_mean(const struct prof *p, double *out);

#endif
