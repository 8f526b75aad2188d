/* prof_by_hand.h: profiles whose every number is known, for tests of what is drawn of them. */
#ifndef FERRUM_TEST_PROF_BY_HAND_H
#define FERRUM_TEST_PROF_BY_HAND_H

#include "engine/base/prof.h"

/* A turn of a model of this shape that read prefilled tokens and wrote decoded ones. Times are round numbers
 * of a thousandth scale each (1000: milliseconds as of a large model); of one layer a little more with every
 * layer; 3 % of the wall time belong to no operation. Aborts without memory. */
struct prof *prof_made_by_hand(const struct prof_shape *shape, uint64_t prefilled, uint64_t decoded,
                               uint32_t scale);

#endif
