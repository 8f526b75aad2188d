/* thought.h: reasoning folded to one line, as the transcript shows it, for output by lines. Pure functions of
 * text and locale; any thread. */
#ifndef FERRUM_THOUGHT_H
#define FERRUM_THOUGHT_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/buf.h"

/* "▸ Thought · 123 words", in ASCII ("> Thought, 123 words") where the locale is not UTF-8. */
void thought_line(const struct buf *think, char *out, size_t n_out);
/* "thinking… 123 words", for a line that changes while the model reasons. */
void thought_progress(const struct buf *think, char *out, size_t n_out);

#endif
