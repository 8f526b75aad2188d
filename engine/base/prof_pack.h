/* prof_pack.h: a profile as a few bytes, and back: the form in which chat.db keeps it with the answer.
 *
 * Pure functions of plain data, any thread. What is packed is the profile of one turn (the difference of two
 * copies): times are rounded to microseconds, the ring begins with the turn's first token still in it, and
 * the newest token's experts are there if the turn decoded any. Shape, counts, bytes and tokens come back as
 * they were, up to the limits below (larger ones are kept as the limit).
 *
 * Format 1, all numbers LEB128: the byte 1; n_layers, n_experts, n_used, timer_ns; for each phase n_tokens,
 * wall in us, a mask of the operations there are, and for each of those three columns over the layers and the
 * row of none: calls, us, bytes, as differences. With experts: n_followed, the column of repeats, for each
 * phase and layer the column of pairs, for each layer that of newest (if tokens were decoded). Last the
 * column of the ring, its length in front. In a column 0 is followed by the number of further zeros.
 * Operations are their numbers in enum prof_op, which therefore may only be appended to.
 *
 * An answer of 300 tokens after a prompt of 500 takes about 19 kB for 48 layers of 128 experts (12 of them
 * are the pairs), 2.7 kB for 28 dense layers (test_prof_pack prints it).
 *
 * Errors: the bytes may come from anywhere. What is cut, has more than it should, says too much or is of a
 * newer form is ERR_DATABASE with a sentence; nothing is allocated beyond the limits of prof.h. */
#ifndef FERRUM_PROF_PACK_H
#define FERRUM_PROF_PACK_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/buf.h"
#include "engine/base/prof.h"

#define PROF_PACK_MAX_BYTES ((size_t)1 << 20)

/* The largest numbers: sums of all rows stay below 2^63. */
#define PROF_PACK_MAX (((uint64_t)1 << 49) - 1)       /* us, bytes, tokens */
#define PROF_PACK_MAX_COUNT (((uint64_t)1 << 32) - 1) /* calls, pairs, repeats */

/* Appends. False: it takes more than PROF_PACK_MAX_BYTES (ERR_RUNTIME); out is as it was. */
bool prof_pack(const struct prof *p, struct buf *out, struct err *err);
/* For prof_free; NULL with err. n_recent is the number of tokens in the ring. */
struct prof *prof_unpack(const void *bytes, size_t n, struct err *err);

#endif
