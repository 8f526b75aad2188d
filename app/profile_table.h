/* profile_table.h: a profile as text for people (FERRUM_MOE_PROFILE, `sessions show --profile`). Any thread.
 *
 * Of each phase that has tokens: a line about the whole, a row per operation that was called (calls, ms, ms
 * per token, share of the wall time, GB/s of weights and KV), what no timer has seen, and with experts a row
 * per layer (prof_experts.h says what balance, entropy and overlap are). "-" is what nothing is known about.
 */
#ifndef FERRUM_PROFILE_TABLE_H
#define FERRUM_PROFILE_TABLE_H

#include "engine/base/buf.h"
#include "engine/base/prof.h"

/* One phase; by_layer: with the rows of the layers. */
void profile_table_phase(const struct prof *p, enum prof_phase phase, bool by_layer, struct buf *out);
void profile_table(const struct prof *prof, struct buf *out);

#endif
