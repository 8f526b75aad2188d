/* test_kv_i8.c: rounding a row of K or V to int8, on every instruction set. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "cpu_fixture.h"
#include "kernels_cpu/kernels.h"

enum { MAX_DIM = 512 };

static const struct cpu_kernels *set(size_t i)
{
    return cpu_kernels_get(fixture_isa(i));
}

static size_t n_sets(void)
{
    return fixture_n_isas();
}

static void f32_to_i8__normal_rows__within_a_ten_thousandth(void **state)
{
    (void)state;
    static const size_t dims[] = {32, 64, 80, 128, 256};
    for (size_t i = 0; i < 5 * n_sets(); i++) {
        size_t dim = dims[i % 5];
        double sum = 0, error = 0;
        for (uint32_t seed = 0; seed < 50; seed++) {
            float x[MAX_DIM];
            int8_t q[MAX_DIM];
            fixture_normal(x, dim, seed);
            float scale = set(i / 5)->f32_to_i8(q, x, dim);
            for (size_t d = 0; d < dim; d++) {
                double off = (double)x[d] - (double)q[d] * (double)scale;
                assert_true(fabs(off) <= 0.50001 * (double)scale);
                error += off * off;
                sum += (double)x[d] * (double)x[d];
            }
        }
        assert_true(error / sum < 1e-4);
    }
}

static void f32_to_i8__ties_go_to_the_even_number(void **state)
{
    (void)state;
    const float x[10] = {127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, -127, 126.5f, 125.5f};
    const int8_t expected[10] = {127, 0, 2, 2, 0, -2, -2, -127, 126, 126};
    for (size_t i = 0; i < n_sets(); i++) {
        int8_t q[10];
        assert_true(set(i)->f32_to_i8(q, x, 10) == 1.0f);
        assert_memory_equal(q, expected, sizeof q);
    }
}

static void f32_to_i8__same_bits_on_every_set(void **state)
{
    (void)state;
    for (uint32_t seed = 0; seed < 300; seed++) {
        float x[MAX_DIM];
        int8_t want[MAX_DIM] = {0}, q[MAX_DIM] = {0};
        size_t n = 1 + seed;
        fixture_normal(x, n, seed);
        for (size_t i = 0; i < n; i++)
            x[i] = ldexpf(x[i], (int)(seed % 5) * 60 - 120);
        float want_scale = set(0)->f32_to_i8(want, x, n);
        for (size_t i = 1; i < n_sets(); i++) {
            float scale = set(i)->f32_to_i8(q, x, n);
            assert_memory_equal(&scale, &want_scale, sizeof scale);
            assert_memory_equal(q, want, n);
        }
    }
}

static void f32_to_i8__zeros_and_next_to_nothing__scale_0(void **state)
{
    (void)state;
    static const float values[] = {0.0f, -0.0f, 1e-45f, FLT_MIN, -126 * FLT_MIN};
    for (size_t i = 0; i < 5 * n_sets(); i++) {
        float x[20];
        int8_t q[20], zero[20] = {0};
        memset(q, 1, sizeof q);
        for (size_t d = 0; d < 20; d++)
            x[d] = values[i % 5];
        assert_true(set(i / 5)->f32_to_i8(q, x, 20) == 0.0f);
        assert_memory_equal(q, zero, sizeof q);
    }
}

/* The largest numbers there are do not overflow, the smallest that count are not lost. */
static void f32_to_i8__extremes__keep_their_order(void **state)
{
    (void)state;
    static const float values[] = {FLT_MAX, 127 * FLT_MIN, 1};
    for (size_t i = 0; i < 3 * n_sets(); i++) {
        float x[16] = {0};
        int8_t q[16];
        x[3] = values[i % 3];
        x[12] = -values[i % 3];
        float scale = set(i / 3)->f32_to_i8(q, x, 16);
        assert_true(q[3] == 127 && q[12] == -127 && q[0] == 0);
        assert_true(fabsf(scale / (values[i % 3] / 127) - 1) < 1e-6f);
    }
}

static void f32_to_i8__not_finite__scale_nan(void **state)
{
    (void)state;
    static const float values[] = {NAN, -NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 4 * 19 * n_sets(); i++) {
        float x[19];
        int8_t q[19];
        fixture_normal(x, 19, 1);
        x[i / 4 % 19] = values[i % 4];
        assert_true(isnan(set(i / (4 * 19))->f32_to_i8(q, x, 19)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f32_to_i8__normal_rows__within_a_ten_thousandth),
        cmocka_unit_test(f32_to_i8__ties_go_to_the_even_number),
        cmocka_unit_test(f32_to_i8__same_bits_on_every_set),
        cmocka_unit_test(f32_to_i8__zeros_and_next_to_nothing__scale_0),
        cmocka_unit_test(f32_to_i8__extremes__keep_their_order),
        cmocka_unit_test(f32_to_i8__not_finite__scale_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
