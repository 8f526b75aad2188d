#include "engine/stop_text.h"

#include <assert.h>
#include <string.h>

#include "engine/base/mem.h"

bool stop_text_init(struct stop_text *s, const char *const *stops, size_t n_stops, struct err *err)
{
    *s = (struct stop_text){.stops = stops, .n_stops = n_stops, .cap = STOP_TEXT_MAX_PIECE};
    size_t longest = 0;
    for (size_t i = 0; i < n_stops; i++)
        longest = strlen(stops[i]) > longest ? strlen(stops[i]) : longest;
    s->cap += longest;
    s->held = mem_alloc(s->cap, err);
    return s->held != NULL;
}

void stop_text_fini(struct stop_text *s)
{
    mem_free(s->held);
    s->held = NULL;
}

/* Drops what the last call gave out. */
static void forget_ready(struct stop_text *s)
{
    memmove(s->held, s->held + s->n_ready, s->n_held - s->n_ready);
    s->n_held -= s->n_ready;
    s->n_ready = 0;
}

/* Whether held[at..] and the stop agree as far as both reach. */
static bool agrees_at(const struct stop_text *s, size_t at, const char *stop, size_t n_stop)
{
    size_t n = s->n_held - at;
    return n_stop > 0 && memcmp(s->held + at, stop, n < n_stop ? n : n_stop) == 0;
}

bool stop_text_push(struct stop_text *s, const char *piece, size_t n, const char **out, size_t *n_out)
{
    forget_ready(s);
    assert(n <= STOP_TEXT_MAX_PIECE && s->n_held + n <= s->cap);
    memcpy(s->held + s->n_held, piece, n);
    s->n_held += n;
    bool found = false;
    size_t may_begin = s->n_held;
    *out = s->held;
    for (size_t at = 0; at < s->n_held && !found; at++) {
        for (size_t i = 0; i < s->n_stops; i++) {
            size_t n_stop = strlen(s->stops[i]);
            if (!agrees_at(s, at, s->stops[i], n_stop))
                continue;
            may_begin = at < may_begin ? at : may_begin;
            if (s->n_held - at >= n_stop) {
                found = true;
                may_begin = at;
                break;
            }
        }
    }
    s->n_ready = *n_out = may_begin;
    return found;
}

void stop_text_flush(struct stop_text *s, const char **out, size_t *n_out)
{
    forget_ready(s);
    *out = s->held;
    s->n_ready = *n_out = s->n_held;
}
