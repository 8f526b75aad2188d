/* flow.h: one text as clean rows of a width, kept between frames and extended as the text grows.
 *
 * Cleaned and wrapped again is only what stands behind the last line break; another width wraps all of it,
 * but cleans nothing. All zero is an empty flow. Offsets are bytes of the clean text. Owns its copies; pure
 * data, single thread. */
#ifndef FERRUM_FLOW_H
#define FERRUM_FLOW_H

#include <stddef.h>

#include "engine/base/buf.h"
#include "ui/wrap.h"

struct flow {
    struct buf clean;
    struct wrap wrap;    /* of clean, for `columns` */
    size_t columns;      /* 0: nothing wrapped yet */
    size_t n_source;     /* bytes of the source that are in clean */
    size_t stable;       /* up to the last LF: bytes of the source, */
    size_t stable_clean; /* of clean, */
    size_t stable_rows;  /* and rows that later text cannot change */
};

void flow_fini(struct flow *flow);
/* The text changed otherwise than by growing: nothing of it is known. */
void flow_reset(struct flow *flow);
/* Makes the rows those of source[0..n) in this width; its beginning is what was given the last time. */
void flow_update(struct flow *flow, const char *source, size_t n, size_t columns);

/* Rows, without empty ones at the end. */
size_t flow_n_rows(const struct flow *flow);
/* The row that byte stands in, or the last one that begins before it. */
size_t flow_row_of(const struct flow *flow, size_t byte);

#endif
