/* utf8.h: strict UTF-8 (Unicode 15, table 3-7): no surrogates, no overlong forms, nothing above U+10FFFF.
 * Pure functions, any thread. */
#ifndef FERRUM_UTF8_H
#define FERRUM_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UTF8_REPLACEMENT 0xFFFDu
#define UTF8_MAX_BYTES 4

struct buf;

/* Decodes the first character of s[0..n), n >= 1. Returns the bytes used (>= 1). Ill-formed input yields
 * U+FFFD for its maximal subpart, with *valid false (valid may be NULL). */
size_t utf8_decode(const char *s, size_t n, uint32_t *code_point, bool *valid);

/* Writes 1 to 4 bytes; a code point that is none becomes U+FFFD. */
size_t utf8_encode(uint32_t code_point, char out[UTF8_MAX_BYTES]);

bool utf8_is_valid(const char *s, size_t n);

/* How many bytes at the end of s[0..n) begin a character that more bytes could complete (0 to 3). */
size_t utf8_incomplete_tail(const char *s, size_t n);

/* Appends s with every ill-formed part as U+FFFD; returns how many were replaced. */
size_t utf8_append_clean(struct buf *out, const char *s, size_t n);

#endif
