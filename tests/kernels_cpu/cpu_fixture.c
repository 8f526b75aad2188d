#include "cpu_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "engine/base/mem.h"
#include "kernels_cpu/backend_cpu.h"
#include "tests/support/forced_cpu.h"

#define GUARD 12345.0f

static float uniform(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return (float)(*state >> 8) * 0x1p-24f;
}

void fixture_normal(float *out, size_t n, uint32_t seed)
{
    uint32_t state = seed * 2654435761u + 1;
    for (size_t i = 0; i < n; i++)
        out[i] = (uniform(&state) + uniform(&state) + uniform(&state) + uniform(&state) - 2.0f) * 1.7320508f;
}

struct backend fixture_open(int n_threads, const char *isa)
{
    struct backend b = {0};
    struct err err = {0};
    if (!backend_cpu_open(&b, n_threads, isa ? isa : forced_cpu(), &err))
        fail_msg("%s", err.text);
    return b;
}

bool fixture_has(enum cpu_isa isa)
{
    struct cpu_features features = cpu_features_get();
    return cpu_isa_available(isa, &features);
}

enum cpu_isa fixture_isa(size_t i)
{
    int isa = CPU_SCALAR;
    while (i > 0)
        i -= fixture_has((enum cpu_isa)++ isa);
    return (enum cpu_isa)isa;
}

size_t fixture_n_isas(void)
{
    size_t n = 0;
    for (int isa = CPU_SCALAR; isa < CPU_ISA_N; isa++)
        n += fixture_has((enum cpu_isa)isa);
    return n;
}

struct bbuf *fixture_buf(struct backend *b, const float *content, size_t n)
{
    struct err err = {0};
    struct bbuf *buf = backend_buf_new(b, (n + GUARD_FLOATS) * sizeof(float), &err);
    if (!buf)
        fail_msg("%s", err.text);
    float *all = mem_need((n + GUARD_FLOATS) * sizeof *all);
    for (size_t i = 0; i < n + GUARD_FLOATS; i++)
        all[i] = content && i < n ? content[i] : GUARD;
    assert_true(backend_buf_write(b, buf, 0, all, (n + GUARD_FLOATS) * sizeof *all, &err));
    mem_free(all);
    return buf;
}

float *fixture_read(struct backend *b, const struct bbuf *buf, size_t n)
{
    struct err err = {0};
    float *all = mem_need((n + GUARD_FLOATS) * sizeof *all);
    assert_true(backend_buf_read(b, buf, 0, all, (n + GUARD_FLOATS) * sizeof *all, &err));
    for (size_t i = 0; i < GUARD_FLOATS; i++)
        if (all[n + i] != GUARD)
            fail_msg("float %zu behind the %zu of the output was written", i, n);
    return all;
}

double fixture_nmse(const float *x, const double *ref, size_t n)
{
    double error = 0, power = 0;
    for (size_t i = 0; i < n; i++) {
        error += ((double)x[i] - ref[i]) * ((double)x[i] - ref[i]);
        power += ref[i] * ref[i];
    }
    return error / power;
}
