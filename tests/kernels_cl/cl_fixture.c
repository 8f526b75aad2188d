#include "tests/kernels_cl/cl_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "kernels_cl/backend_cl.h"
#include "tests/engine/ref_backend.h"
#include "tests/kernels_cpu/cpu_fixture.h"
#include "tests/kernels_cpu/gemm_cases.h"

bool cl_world_open(struct cl_world *w, const char *style)
{
    struct err err;
    struct backend_cl_device devices[1];
    const struct backend_cl_options options = {.cache_dir = getenv("FERRUM_CL_CACHE"), .style = style};
    *w = (struct cl_world){.style = style};
    if (!backend_cl_devices(devices, 1, &err)) {
        print_message("skipped: %s\n", err.text);
        return false;
    }
    if (!backend_cl_open(&w->cl, &options, &err))
        fail_msg("%s", err.text);
    cl_watch(w->cl.ctx);
    ref_backend_open(&w->ref);
    return true;
}

void cl_world_close(struct cl_world *w)
{
    if (!w->cl.ops)
        return;
    cl_unwatch();
    backend_close(&w->cl);
    backend_close(&w->ref);
}

struct cl_world cl_worlds[2];
int n_cl_worlds;

int cl_worlds_open(void **state)
{
    (void)state;
    while (n_cl_worlds < 2 && cl_world_open(&cl_worlds[n_cl_worlds], n_cl_worlds ? "gpu" : "cpu"))
        n_cl_worlds++;
    return 0;
}

int cl_worlds_close(void **state)
{
    (void)state;
    while (n_cl_worlds > 0)
        cl_world_close(&cl_worlds[--n_cl_worlds]);
    return 0;
}

struct twin twin_new(struct cl_world *w, const float *content, size_t n)
{
    return (struct twin){fixture_buf(&w->cl, content, n), fixture_buf(&w->ref, content, n), n};
}

struct twin twin_normal(struct cl_world *w, size_t n, uint32_t seed)
{
    float *values = mem_need((n + 1) * sizeof *values);
    fixture_normal(values, n, seed);
    struct twin t = twin_new(w, values, n);
    mem_free(values);
    return t;
}

void twin_free(struct cl_world *w, struct twin *t)
{
    backend_buf_free(&w->cl, t->cl);
    backend_buf_free(&w->ref, t->ref);
    *t = (struct twin){0};
}

double twin_nmse(struct cl_world *w, const struct twin *t)
{
    float *found = fixture_read(&w->cl, t->cl, t->n), *wanted = fixture_read(&w->ref, t->ref, t->n);
    double error = 0, power = 0;
    for (size_t i = 0; i < t->n; i++) {
        double difference = (double)found[i] - (double)wanted[i];
        error += difference * difference;
        power += (double)wanted[i] * (double)wanted[i];
    }
    mem_free(found);
    mem_free(wanted);
    return error ? error / power : 0;
}

void twin_expect(struct cl_world *w, const struct twin *t, double limit, const char *what)
{
    double nmse = twin_nmse(w, t);
    if (!(nmse <= limit))
        fail_msg("%s, %s style: nmse %.3g, expected at most %.3g", what, w->style, nmse, limit);
}

struct rows rows_new(enum dtype type, size_t n_experts, size_t n, size_t k, bool odd, uint32_t seed)
{
    size_t row_bytes = 0, all = n_experts * n;
    uint32_t state = seed * 2654435761u + 1;
    struct rows r = {0};
    assert_true(dtype_row_bytes(type, k, &row_bytes));
    r.bytes = mem_need(all * row_bytes + 16);
    unsigned char *at = r.bytes + (16 - (uintptr_t)r.bytes % 16) % 16 * !odd;
    for (size_t i = 0; i < all; i++)
        gemm_random_row(type, at + odd + i * row_bytes, k, &state);
    r.tensor = (struct tensor){.name = "rows", .type = type, .n_dims = 2 + (n_experts > 1)};
    r.tensor.dims[0] = k;
    r.tensor.dims[1] = n;
    r.tensor.dims[2] = n_experts;
    r.tensor.dims[3] = 1;
    r.tensor.data = at + odd;
    r.tensor.n_bytes = all * row_bytes;
    return r;
}

void rows_free(struct rows *r)
{
    mem_free(r->bytes);
}
