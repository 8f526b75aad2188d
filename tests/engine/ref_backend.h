/* ref_backend.h: the seam implemented as its comments read: plain loops in f64 over dequantised weights, f32
 * between operations. Slow; what fast backends are compared with. Allocates with mem_need: for tests. */
#ifndef FERRUM_TEST_REF_BACKEND_H
#define FERRUM_TEST_REF_BACKEND_H

#include "engine/backend.h"

void ref_backend_open(struct backend *out);

#endif
