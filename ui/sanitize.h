/* sanitize.h: the only way for text into a terminal.
 *
 * Whatever a model, a file or a paste contains, the result holds no control character but LF, no escape, no
 * C1, no bidirectional override; it is valid UTF-8 in NFC, and every character has a width of 0, 1 or 2
 * columns by wcwidth, which is what ncurses lays cells out with. Rules: ill-formed UTF-8 -> U+FFFD (one per
 * maximal subpart); TAB -> spaces to the next multiple of 8; CR LF, lone CR, VT, FF, U+2028, U+2029 -> LF;
 * other C0, DEL -> U+2400-style pictures; C1 -> U+FFFD; bidi controls -> U+2426; ZWJ, variation selectors,
 * the keycap mark, skin tones behind an emoji, tag characters, soft hyphen, other default-ignorables and
 * invisible format characters -> dropped; width -1 -> U+FFFD; more than 4 combining marks on one base -> the
 * rest dropped; a mark with no base gets U+25CC to sit on; a cluster longer than any script writes -> cut,
 * with U+FFFD. Cleaning clean text changes nothing. Any thread; pure, but wcwidth knows no character outside
 * ASCII in a locale that is not UTF-8: call terminal_set_locale (or setlocale) first. */
#ifndef FERRUM_SANITIZE_H
#define FERRUM_SANITIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"

/* A clean copy on one line: LF becomes a space. Owned by the caller (mem_free); never NULL, text may be. */
char *sanitize_line(const char *text);

/* Appends the clean form of text[0..n) to out; columns start at 0. */
void sanitize_append(struct buf *out, const char *text, size_t n);

#define SANITIZER_CLUSTER_MAX 12

/* Streaming form for plain terminal output: keeps the column and what is unfinished between calls. All zero
 * is a fresh one. */
struct sanitizer {
    size_t column;
    int32_t cluster[SANITIZER_CLUSTER_MAX]; /* held back until the next base shows that it is complete */
    int n_cluster;
    int n_marks;         /* of width 0 behind the last base in cluster */
    int n_written_marks; /* behind the last base written */
    int32_t break_state; /* utf8proc's, for the grapheme rules */
    char tail[4];        /* bytes of an unfinished UTF-8 character */
    int n_tail;
    bool after_cr; /* a CR already became LF: swallow the LF behind it */
};
void sanitizer_push(struct sanitizer *s, struct buf *out, const char *text, size_t n);
void sanitizer_flush(struct sanitizer *s, struct buf *out);

/* Columns of one grapheme cluster or a whole sanitised line (no LF). */
size_t text_width(const char *text, size_t n);

/* Length in bytes of the first display cell of sanitised text[0..n), n >= 1: a spacing character with the
 * marks of width 0 behind it; *width (may be NULL) is its columns. */
size_t text_cell(const char *text, size_t n, int *width);

/* The longest beginning of sanitised text, in whole cells, that fits into out[n_out] with its NUL. */
void text_copy(char *out, size_t n_out, const char *text);

/* The longest beginning of sanitised text[0..n), in whole cells, that fits into max columns. */
size_t text_fit(const char *text, size_t n, size_t max);

#endif
