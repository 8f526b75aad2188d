/* Choosing experts and adding up what they gave, against f64. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "engine/base/mem.h"
#include "kernels_cpu/route.h"
#include "tests/kernels_cpu/cpu_fixture.h"

#define N_ROWS 1000
#define MAX_EXPERTS 160

static struct backend backend;

static int set_up(void **state)
{
    (void)state;
    backend = fixture_open(2, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    backend_close(&backend);
    return 0;
}

/* Rows with ties, with logits so far apart that shares vanish, and with what is no finite number. */
static float *make_logits(size_t n_experts, uint32_t seed)
{
    float *x = mem_need(N_ROWS * n_experts * sizeof *x);
    fixture_normal(x, N_ROWS * n_experts, seed);
    for (size_t t = 0; t < N_ROWS; t++) {
        float *row = x + t * n_experts;
        for (size_t e = 0; e < n_experts; e++) {
            if (t % 5 == 1) /* few values: ties everywhere */
                row[e] = roundf(row[e]);
            if (t % 5 == 2)
                row[e] *= 80;
            if (t % 5 == 3 && e % 3 == t % 3)
                row[e] = -INFINITY;
        }
        if (t % 25 == 4)
            row[t % n_experts] = t % 50 == 4 ? NAN : INFINITY;
        if (t % 100 == 7)
            for (size_t e = 0; e < n_experts; e++)
                row[e] = t % 200 == 7 ? NAN : 1.25f;
    }
    return x;
}

static const float *sorted_by;

/* Falling; NaN behind all; of equal ones the lower id first. */
static int compare(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    float fx = sorted_by[x], fy = sorted_by[y];
    if (isnan(fx) != isnan(fy))
        return isnan(fx) ? 1 : -1;
    if (!isnan(fx) && fx != fy)
        return fx > fy ? -1 : 1;
    return x - y;
}

static void check_row(const float *logits, const int32_t *ids, const float *weights, size_t n_experts,
                      const struct op_route *op)
{
    int order[MAX_EXPERTS];
    double sum = 0, used = 0, largest = -INFINITY;
    for (size_t e = 0; e < n_experts; e++) {
        order[e] = (int)e;
        largest = logits[e] > largest ? (double)logits[e] : largest;
    }
    sorted_by = logits;
    qsort(order, n_experts, sizeof *order, compare);
    for (size_t e = 0; e < n_experts; e++)
        sum += exp((double)logits[e] - largest);
    for (size_t s = 0; s < op->n_used; s++)
        used += exp((double)logits[order[s]] - largest) / sum;
    for (size_t s = 0; s < op->n_used; s++) {
        double share = exp((double)logits[order[s]] - largest) / sum;
        double want = (op->renormalise ? share / used : share) * (double)op->scale;
        assert_int_equal(ids[s], order[s]);
        if (isnan(want))
            assert_true(isnan(weights[s]));
        else
            assert_true(fabs((double)weights[s] - want) <= 4e-6 * want + 1e-9);
    }
}

static void check_route(size_t n_experts, size_t n_used, bool renormalise)
{
    struct err err = {0};
    float *logits = make_logits(n_experts, (uint32_t)(n_experts * 100 + n_used));
    struct bbuf *in = fixture_buf(&backend, logits, N_ROWS * n_experts);
    struct bbuf *ids = fixture_buf(&backend, NULL, N_ROWS * n_used);
    struct bbuf *weights = fixture_buf(&backend, NULL, N_ROWS * n_used);
    struct op_route op = {.logits = in,
                          .ids = ids,
                          .weights = weights,
                          .n_tokens = N_ROWS,
                          .n_experts = n_experts,
                          .n_used = n_used,
                          .renormalise = renormalise,
                          .scale = renormalise ? 1 : 2.5f};
    assert_true(backend_route(&backend, &op, &err));
    float *id_bits = fixture_read(&backend, ids, N_ROWS * n_used);
    float *found = fixture_read(&backend, weights, N_ROWS * n_used);
    int32_t *all = mem_need(N_ROWS * n_used * sizeof *all);
    memcpy(all, id_bits, N_ROWS * n_used * sizeof *all);
    for (size_t t = 0; t < N_ROWS; t++)
        check_row(logits + t * n_experts, all + t * n_used, found + t * n_used, n_experts, &op);
    /* one token at a time, on one thread */
    op.n_tokens = 1;
    assert_true(
        backend_buf_write(&backend, in, 0, logits + 77 * n_experts, n_experts * sizeof *logits, &err));
    assert_true(backend_route(&backend, &op, &err));
    float *one = fixture_read(&backend, weights, N_ROWS * n_used);
    assert_memory_equal(one, found + 77 * n_used, n_used * sizeof *one);
    assert_memory_equal(one + n_used, found + n_used, n_used * sizeof *one);
    mem_free(one);
    mem_free(all);
    mem_free(found);
    mem_free(id_bits);
    mem_free(logits);
    backend_buf_free(&backend, in);
    backend_buf_free(&backend, ids);
    backend_buf_free(&backend, weights);
}

static void route__ids_and_weights__equal_f64(void **state)
{
    (void)state;
    static const size_t shapes[][2] = {{1, 1},  {4, 1},  {8, 2},   {8, 8},
                                       {60, 4}, {64, 8}, {128, 8}, {160, 160}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        check_route(shapes[i][0], shapes[i][1], false);
        check_route(shapes[i][0], shapes[i][1], true);
    }
}

static void route__buckets__are_the_pairs_in_order(void **state)
{
    (void)state;
    static const int32_t ids[] = {3, 0, 3, 3, 1, 0};
    static const uint32_t want_start[] = {0, 2, 3, 3, 6}, want_pairs[] = {1, 5, 4, 0, 2, 3};
    uint32_t start[6], pairs[7];
    memset(start, 0xAB, sizeof start);
    memset(pairs, 0xAB, sizeof pairs);
    cpu_bucket_pairs(ids, 6, 4, start, pairs);
    assert_memory_equal(start, want_start, sizeof want_start);
    assert_memory_equal(pairs, want_pairs, sizeof want_pairs);
    assert_true(start[5] == 0xABABABAB && pairs[6] == 0xABABABAB);
    cpu_bucket_pairs(ids, 0, 4, start, pairs);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(start[i], 0);
}

/* ---- sums ---- */

static void check_sum(size_t n_tokens, size_t n_used, size_t n)
{
    struct err err = {0};
    size_t n_slots = n_tokens * n_used * n, n_out = n_tokens * n;
    float *slots = mem_need(n_slots * sizeof *slots),
          *weights = mem_need(n_tokens * n_used * sizeof *weights);
    float *before = mem_need(n_out * sizeof *before);
    double *exact = mem_need(n_out * sizeof *exact);
    fixture_normal(slots, n_slots, 1);
    fixture_normal(weights, n_tokens * n_used, 2);
    fixture_normal(before, n_out, 3);
    for (size_t i = 0; i < n_out; i++) {
        exact[i] = (double)before[i];
        for (size_t s = 0; s < n_used; s++)
            exact[i] += (double)weights[i / n * n_used + s] * (double)slots[(i / n * n_used + s) * n + i % n];
    }
    struct bbuf *in = fixture_buf(&backend, slots, n_slots), *out = fixture_buf(&backend, before, n_out);
    struct bbuf *w = fixture_buf(&backend, weights, n_tokens * n_used);
    assert_true(
        backend_weighted_sum(&backend, &(struct op_weighted_sum){in, w, out, n_tokens, n_used, n}, &err));
    float *found = fixture_read(&backend, out, n_out);
    assert_true(fixture_nmse(found, exact, n_out) < 1e-12);
    /* its last token alone gives the same bits */
    struct bbuf *last = fixture_buf(&backend, before + n_out - n, n);
    size_t first = (n_tokens - 1) * n_used;
    assert_true(backend_buf_write(&backend, in, 0, slots + first * n, n_used * n * sizeof *slots, &err));
    assert_true(backend_buf_write(&backend, w, 0, weights + first, n_used * sizeof *weights, &err));
    assert_true(backend_weighted_sum(&backend, &(struct op_weighted_sum){in, w, last, 1, n_used, n}, &err));
    float *alone = fixture_read(&backend, last, n);
    assert_memory_equal(alone, found + n_out - n, n * sizeof *alone);
    mem_free(alone);
    mem_free(found);
    mem_free(slots);
    mem_free(weights);
    mem_free(before);
    mem_free(exact);
    backend_buf_free(&backend, in);
    backend_buf_free(&backend, out);
    backend_buf_free(&backend, w);
    backend_buf_free(&backend, last);
}

static void weighted_sum__adds_to_the_stream__equals_f64(void **state)
{
    (void)state;
    static const size_t shapes[][3] = {{1, 1, 1}, {1, 8, 2048}, {3, 2, 257}, {40, 8, 130}, {33, 5, 255}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check_sum(shapes[i][0], shapes[i][1], shapes[i][2]);
}

static void check_gated(size_t n_tokens, size_t n)
{
    struct err err = {0};
    size_t n_out = n_tokens * n;
    float *x = mem_need(n_out * sizeof *x), *gate = mem_need(n_tokens * sizeof *gate);
    float *before = mem_need(n_out * sizeof *before);
    double *exact = mem_need(n_out * sizeof *exact);
    fixture_normal(x, n_out, 1);
    fixture_normal(before, n_out, 2);
    for (size_t t = 0; t < n_tokens; t++)
        gate[t] =
            (float)((int)(t * 37 % 41) - 20) * 10; /* to both ends of the sigmoid, where exp overflows */
    for (size_t i = 0; i < n_out; i++)
        exact[i] = (double)before[i] + (double)x[i] / (1 + exp(-(double)gate[i / n]));
    struct bbuf *in = fixture_buf(&backend, x, n_out), *out = fixture_buf(&backend, before, n_out);
    struct bbuf *gates = fixture_buf(&backend, gate, n_tokens);
    assert_true(backend_add_gated(&backend, &(struct op_add_gated){in, gates, out, n_tokens, n}, &err));
    float *found = fixture_read(&backend, out, n_out);
    assert_true(fixture_nmse(found, exact, n_out) < 1e-12);
    mem_free(found);
    mem_free(x);
    mem_free(gate);
    mem_free(before);
    mem_free(exact);
    backend_buf_free(&backend, in);
    backend_buf_free(&backend, out);
    backend_buf_free(&backend, gates);
}

static void add_gated__adds_to_the_stream__equals_f64(void **state)
{
    (void)state;
    check_gated(1, 7);
    check_gated(41, 1001);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(route__ids_and_weights__equal_f64),
        cmocka_unit_test(route__buckets__are_the_pairs_in_order),
        cmocka_unit_test(weighted_sum__adds_to_the_stream__equals_f64),
        cmocka_unit_test(add_gated__adds_to_the_stream__equals_f64),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
