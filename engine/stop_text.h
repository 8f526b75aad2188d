/* stop_text.h: finds stop strings in streamed text, also across pieces, and holds back what may begin one.
 *
 * Plain value, single thread. stop_text_push allocates nothing; the memory is taken in stop_text_init. */
#ifndef FERRUM_STOP_TEXT_H
#define FERRUM_STOP_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

#define STOP_TEXT_MAX_PIECE 256

struct stop_text {
    const char *const *stops; /* the caller's, valid UTF-8; empty ones are ignored */
    size_t n_stops;
    char *held; /* [cap]: held text, then the new piece */
    size_t n_held, n_ready, cap;
};

bool stop_text_init(struct stop_text *s, const char *const *stops, size_t n_stops, struct err *err);
void stop_text_fini(struct stop_text *s);

/* Adds a piece of at most STOP_TEXT_MAX_PIECE bytes (whole characters). *out, *n_out is the text that may be
 * shown, valid until the next call. True: a stop was found; the text ends in front of it. */
bool stop_text_push(struct stop_text *s, const char *piece, size_t n, const char **out, size_t *n_out);
/* The end of the text: what is still held is no stop. */
void stop_text_flush(struct stop_text *s, const char **out, size_t *n_out);

#endif
