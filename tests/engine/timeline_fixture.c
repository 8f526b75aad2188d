#include "tests/engine/timeline_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct timeline *open_timeline(struct model *m, enum dtype kv_type, uint32_t n_batch)
{
    struct timeline_options options = {.n_ctx = TIMELINE_N_CTX, .kv_type = kv_type, .n_batch = n_batch};
    struct timeline *t = timeline_new(m, &options, NULL);
    assert_non_null(t);
    return t;
}

double nmse(const float *a, const float *b, size_t n)
{
    double error = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        error += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        norm += (double)b[i] * (double)b[i];
    }
    return error / norm;
}
