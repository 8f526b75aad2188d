/* prof_table.h: a profile as lines of text for people: one turn's, or two side by side. Pure; single thread.
 *
 * ms per token of a phase are of its tokens; the share is of the wall time of its steps, of which "other" is
 * what no operation was timed for; GB/s are weights and KV read in the operation's time. What is not known is
 * "-". */
#ifndef FERRUM_PROF_TABLE_H
#define FERRUM_PROF_TABLE_H

#include "engine/base/buf.h"
#include "engine/base/prof.h"

/* A line about the phase, a line of headings, one for each operation that was called. Nothing for a phase
 * without work. */
void prof_table(struct buf *out, const struct prof *p, enum prof_phase phase, int margin);
/* The same behind an empty line, with ms per token of both and b / a: above 1, b is slower. */
void prof_table_compare(struct buf *out, const struct prof *a, const struct prof *b, enum prof_phase phase);
/* One line about the experts of the phase, with the definitions of prof_experts.h; nothing where no token was
 * routed. */
void prof_table_experts(struct buf *out, const struct prof *p, enum prof_phase phase, int margin);
/* "layer,expert,prefill,decode": the tokens each expert was given. */
void prof_table_csv(struct buf *out, const struct prof *p);

/* ms of `ns` per token of the phase; false: it had no token. */
bool prof_per_token(const struct prof *p, enum prof_phase phase, uint64_t ns, double *ms);
/* b / a of such times; false: one has none. */
bool prof_ratio(const struct prof *a, const struct prof *b, enum prof_phase phase, uint64_t a_ns,
                uint64_t b_ns, double *ratio);
/* The time of the whole phase: its wall time, or the sum of the operations where that was not taken. */
uint64_t prof_phase_ns(const struct prof *p, enum prof_phase phase);
/* The expert with the largest share of its layer's tokens. False: none was asked. */
struct prof_busiest {
    uint32_t layer, expert;
    double share;
};
bool prof_find_busiest(const struct prof *p, enum prof_phase phase, struct prof_busiest *out);
const char *prof_phase_name(enum prof_phase phase);

#endif
