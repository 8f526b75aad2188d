/* sanitize.h: the only way for text into a terminal.
 *
 * Whatever a model, a file or a paste contains, the result holds no control character but LF, no escape, no C1, no
 * bidirectional override; it is valid UTF-8 in NFC, and every character has a width of 0, 1 or 2 columns by wcwidth, which is what
 * ncurses lays cells out with. Rules: ill-formed UTF-8 -> U+FFFD; TAB -> spaces to the next multiple of 8; CR LF and
 * lone CR, VT, FF, U+2028, U+2029 -> LF; other C0, DEL -> U+2400-style pictures; C1 -> U+FFFD; bidi controls -> a visible mark; ZWJ, variation
 * selectors, skin tones behind an emoji, tag characters, soft hyphen, other default-ignorables -> dropped; width -1 -> U+FFFD; more than 4 combining marks on
 * one base -> the rest dropped. Any thread; pure. */
#ifndef FERRUM_SANITIZE_H
#define FERRUM_SANITIZE_H

#include <stddef.h>

#include "engine/base/buf.h"

/* Appends the clean form of text[0..n) to out; columns start at 0. */
void sanitize_append(struct buf *out, const char *text, size_t n);

/* Streaming form for plain terminal output: keeps the column and an unfinished cluster between calls. */
struct sanitizer {
    size_t column;
    char held[64]; /* the last base with its marks is held back until the next base shows it is complete */
    unsigned char n_held;
};
void sanitizer_push(struct sanitizer *s, struct buf *out, const char *text, size_t n);
void sanitizer_flush(struct sanitizer *s, struct buf *out);

/* Columns of one grapheme cluster or a whole sanitised line (no LF). */
size_t text_width(const char *text, size_t n);

#endif
