/* read_speed.h: how fast the backend's own threads read the model's weights where they lie. Decoding reads
 * the weights a token needs once, so this is the roof over its speed.
 *
 * Thread rule: that of the backend. Bytes and seconds; only differences of the caller's clock bound a pass.
 */
#ifndef FERRUM_READ_SPEED_H
#define FERRUM_READ_SPEED_H

#include "engine/model.h"

struct read_speed {
    double bytes, seconds;
};

/* Adds what it takes to read the tensors in the order of the file, at most max_bytes, in pieces; go_on is
 * asked before each (NULL: yes). Nothing is added where the backend cannot tell. */
void read_speed_pass(const struct model *m, double max_bytes, bool (*go_on)(void *arg), void *arg,
                     struct read_speed *sum);

/* 0: nothing was read. */
static inline double read_speed_gb_s(const struct read_speed *s)
{
    return s->seconds > 0 ? s->bytes / s->seconds / 1e9 : 0;
}

#endif
