/* timeline_fixture.h: what the tests of the timeline share. Failures end the test (cmocka assertions). */
#ifndef FERRUM_TEST_TIMELINE_FIXTURE_H
#define FERRUM_TEST_TIMELINE_FIXTURE_H

#include "engine/timeline.h"

#define TIMELINE_N_CTX 256

/* A timeline of TIMELINE_N_CTX positions, without a shelf; n_batch as in struct timeline_options. */
struct timeline *open_timeline(struct model *m, enum dtype kv_type, uint32_t n_batch);

/* sum (a - b)^2 / sum b^2 over n numbers. */
double nmse(const float *a, const float *b, size_t n);

#endif
