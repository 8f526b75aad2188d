/* fingerprint.h: names a model by its content, in milliseconds: file size, metadata, tensor table, samples of
 * every tensor, hashed with XXH3-128. Two files of one fingerprint have one vocabulary and one set of
 * weights, short of malice. Any thread. */
#ifndef FERRUM_FINGERPRINT_H
#define FERRUM_FINGERPRINT_H

#include "engine/gguf.h"

#define FINGERPRINT_BYTES 32 /* as stored; the hash fills 16, the rest is zero */

void fingerprint_of(const struct gguf *g, unsigned char out[FINGERPRINT_BYTES]);

#endif
