/* fuzz.h: what a fuzz target defines. Single thread. */
#ifndef FERRUM_FUZZ_H
#define FERRUM_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"

#define FUZZ_MAX_INPUT_BYTES ((size_t)64 << 10)

/* The target: takes any bytes, must neither crash nor leak nor hang. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Appends seed i, a well-formed input of at most FUZZ_MAX_INPUT_BYTES, to out; appends nothing when there is
 * none. */
void fuzz_seed(int i, struct buf *out);

#endif
