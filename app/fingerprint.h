/* fingerprint.h: names a model by its content, in milliseconds: file size, metadata, tensor table, samples of
 * some tensors, hashed with XXH3-128. Two files of one fingerprint have one vocabulary and one set of
 * weights, short of malice. Any thread. */
#ifndef FERRUM_FINGERPRINT_H
#define FERRUM_FINGERPRINT_H

#include <stdbool.h>

#include "engine/gguf.h"

#define FINGERPRINT_BYTES 32 /* as stored; the hash fills 16, the rest is zero */

void fingerprint_of(const struct gguf *g, unsigned char out[FINGERPRINT_BYTES]);

/* Names what a model computes, for its KV cache: tensor table, the architecture's numbers and words, and
 * samples of 3 times 4 KiB of every tensor, so that one tensor trained further, or weights that lie
 * elsewhere, are other weights. Template and vocabulary are not part of it: a cache is about ids. The samples
 * are asked for all at once, then read: milliseconds, also from a cold disk. False: no memory. */
bool fingerprint_of_weights(const struct gguf *g, const char *arch, unsigned char out[FINGERPRINT_BYTES]);

#endif
