/* reasoning.h: tells a model's reasoning from its answer, by the markers its template knows.
 *
 * A text is: space, opening marker, space, reasoning, space, closing marker, space, answer. The opening
 * marker counts only at the very beginning, or the prompt has written it already; a closing marker alone
 * means nothing. Markers and the space around them belong to neither part. A text that ends inside the block
 * is all reasoning.
 *
 * The text comes piece by piece and is told apart by places in it (bytes from its beginning), so nothing is
 * stored but what may be a marker. Markers may be spelled by ordinary tokens or be control tokens, which have
 * no text: those are shown with reasoning_push_mark and take no place.
 * Sources of the markers: the published templates of the models named in reasoning.c.
 * Plain value, single thread, no allocation. */
#ifndef FERRUM_REASONING_H
#define FERRUM_REASONING_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/jinja.h"

#define REASONING_MAX_MARK 64  /* bytes of a marker, and its NUL */
#define REASONING_MAX_SPACE 32 /* bytes of space in front of an opening marker */
#define REASONING_MAX_HELD (REASONING_MAX_SPACE + REASONING_MAX_MARK + 4)

struct reasoning_pair {
    const char *open, *close;
    const char *answer; /* may stand in front of the answer behind the close: not shown; or NULL */
    const char *plain;  /* begins an answer without reasoning in place of open: not shown; or NULL */
};

/* The pair whose markers the template mentions; NULL: none, its model does not reason apart. */
const struct reasoning_pair *reasoning_pair_of(const struct jinja_template *t);

/* Whether s[0..n) opens or closes reasoning in any of them: typed, it would hide what follows from the
 * reader. */
bool reasoning_is_mark(const char *s, size_t n);

/* Whether the rendering ends inside a block: behind the last input, the template's own text opens one. */
bool reasoning_is_open(const struct reasoning_pair *pair, const struct jinja_text *rendering);

enum reasoning_state { REASONING_START, REASONING_INSIDE, REASONING_BEHIND, REASONING_ANSWER };

struct reasoning {
    const struct reasoning_pair *pair;
    bool is_open;
    enum reasoning_state state;
    /* Places; SIZE_MAX: not known yet. Reasoning is [think_begin, think_end), the answer [answer_begin, ...);
     * what lies between is not to be shown. */
    size_t think_begin, think_end, answer_begin;
    size_t n_seen;     /* bytes that came, as long as the answer has not begun */
    size_t n_settled;  /* bytes of them of which it is known what they are */
    size_t think_last; /* where the last of the reasoning ends that is no space */
    bool answer_marked;
    char held[REASONING_MAX_HELD];    /* the end of what came: perhaps a marker */
    bool is_mark[REASONING_MAX_HELD]; /* bytes of control tokens */
    size_t n_held;
};

/* pair NULL: everything is answer. is_open: the prompt opened the block. */
void reasoning_init(struct reasoning *r, const struct reasoning_pair *pair, bool is_open);
/* Adds text (whole characters). Returns how much of it was looked at: fewer than n when the answer has begun,
 * whose text is then reasoning_take_held followed by the rest of the piece. */
size_t reasoning_push(struct reasoning *r, const char *text, size_t n);
/* Adds the spelling of a control token, which has no text. */
void reasoning_push_mark(struct reasoning *r, const char *spelling, size_t n);
/* The end of the text: what may have been a marker is none. */
void reasoning_end(struct reasoning *r);
/* In REASONING_ANSWER, once: the beginning of the answer that was held, at most REASONING_MAX_HELD bytes. */
size_t reasoning_take_held(struct reasoning *r, char *out);

/* What the bytes from place `at` on are: true, and *end where that ends (SIZE_MAX: not known to end), when
 * they are to be shown. False: they are not, up to *end. */
bool reasoning_shows(const struct reasoning *r, size_t at, size_t *end, bool *is_reasoning);

#endif
