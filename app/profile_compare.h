/* profile_compare.h: two profiles side by side, and what their experts did, as text. Pure; any thread.
 *
 * ms per token of a phase are of its tokens. What is not known is "-". */
#ifndef FERRUM_PROFILE_COMPARE_H
#define FERRUM_PROFILE_COMPARE_H

#include "engine/base/buf.h"
#include "engine/base/prof.h"

/* Behind an empty line: ms per token of the operations of both, of what was not timed and of all, and b / a
 * (above 1, b is slower). Nothing where neither worked in that phase. */
void profile_compare(struct buf *out, const struct prof *a, const struct prof *b, enum prof_phase phase);
/* b / a of the ms per token that a_ns and b_ns are; false: one of them has none. */
bool profile_ratio(const struct prof *a, const struct prof *b, enum prof_phase phase, uint64_t a_ns,
                   uint64_t b_ns, double *ratio);
/* The time of the whole phase: its wall time, or the sum of the operations where rounding made that more. */
uint64_t profile_phase_ns(const struct prof *p, enum prof_phase phase);

/* One line about the experts of the phase, with the definitions of prof_experts.h; nothing where no token was
 * routed. */
void profile_experts_line(struct buf *out, const struct prof *p, enum prof_phase phase);
/* The expert with the largest share of its layer's tokens. False: none was asked. */
struct profile_busiest {
    uint32_t layer, expert;
    double share;
};
bool profile_find_busiest(const struct prof *p, enum prof_phase phase, struct profile_busiest *out);

/* "layer,expert,prefill,decode": the tokens each expert was given. */
void profile_csv(struct buf *out, const struct prof *p);

#endif
