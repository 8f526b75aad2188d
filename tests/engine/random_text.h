/* random_text.h: strings of what people and programs write, at random: mixed scripts, emoji with joiners,
 * controls, numbers, code, quoted markers. The same seed gives the same strings. Any thread. */
#ifndef FERRUM_TEST_RANDOM_TEXT_H
#define FERRUM_TEST_RANDOM_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* Well-formed UTF-8 of 0 to max - 1 bytes, not NUL-terminated, maybe with NUL inside; returns its length and
 * moves *seed (not 0) on. */
size_t random_text(uint64_t *seed, char *out, size_t max);

#endif
