/* profile_file.h: the profile of the engine as a JSON file (--profile). Any thread.
 *
 *   layers, experts, experts_used      the model's (0: a dense one)
 *   timer_ns                           what timing one operation costs
 *   prefill, decode:
 *     tokens, wall_ms                  and how long they took, sampling included
 *     timed_ms, timers_ms              of that, what the operations took; what timing them has cost
 *     ops: [{op, ms, calls, bytes}]    over all layers; bytes are those of weights and KV read
 *     experts                          means over the layers of what by_layer has; null: no tokens or no
 * experts by_layer: [{layer, ops, pairs, entropy, balance, asked, busiest, overlap}] ops that were called;
 * the last entry (layer null) is what belongs to no layer. pairs: tokens given to each expert; the others as
 * in prof_experts.h, null where nothing is known (overlap: of decode alone) decode: recent_ms the newest
 * tokens, oldest first */
#ifndef FERRUM_PROFILE_FILE_H
#define FERRUM_PROFILE_FILE_H

#include <jansson.h>

#include "engine/base/err.h"
#include "engine/base/prof.h"

/* The caller's. */
json_t *profile_json(const struct prof *prof);
/* ERR_RUNTIME when the file cannot be written; it is then as it was. */
bool profile_file_write(const struct prof *prof, const char *path, struct err *err);

#endif
