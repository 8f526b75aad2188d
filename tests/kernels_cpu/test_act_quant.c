/* The quantisers: their definition, their error, and that every instruction set gives the same bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kernels_cpu/gemm_cases.h"

#define K 2048

struct quantised {
    int8_t q[K];
    float d[K / 32], s[K / 32];
    int16_t sums[K / 16];
};

static void random_input(float x[K], uint32_t seed)
{
    for (size_t i = 0; i < K; i++)
        x[i] = gemm_random_normal(&seed);
}

static void act_quant__values__are_rounded_with_a_scale_each(void **state)
{
    (void)state;
    static float x[K];
    static struct quantised r;
    random_input(x, 5);
    act_quant_scalar(x, K, r.q, r.d, r.s, r.sums);
    double error = 0, power = 0;
    for (size_t i = 0; i < K; i++) {
        double back = (double)r.d[i / 32] * r.q[i];
        assert_true(fabs(back - (double)x[i]) <= 0.5001 * (double)r.d[i / 32]);
        error += (back - (double)x[i]) * (back - (double)x[i]);
        power += (double)x[i] * (double)x[i];
    }
    assert_true(error / power < 3.5e-5);
    for (size_t b = 0; b < K / 32; b++) {
        int sum = 0, largest = 0;
        for (size_t i = 0; i < 32; i++) {
            sum += r.q[32 * b + i];
            largest = abs(r.q[32 * b + i]) > largest ? abs(r.q[32 * b + i]) : largest;
        }
        assert_int_equal(largest, 127);
        assert_true(r.s[b] == r.d[b] * (float)sum);
    }
}

static void act_quant__sums__are_of_sixteen(void **state)
{
    (void)state;
    static float x[K];
    static struct quantised r;
    random_input(x, 6);
    act_quant_scalar(x, K, r.q, r.d, r.s, r.sums);
    for (size_t b = 0; b < K / 16; b++) {
        int sum = 0;
        for (size_t i = 0; i < 16; i++)
            sum += r.q[16 * b + i];
        assert_int_equal(r.sums[b], sum);
    }
}

static void act_quant__odd_blocks__are_nan_or_zero(void **state)
{
    (void)state;
    static float x[K];
    static struct quantised r;
    random_input(x, 7);
    x[40] = NAN;
    x[70] = -INFINITY;
    for (size_t i = 96; i < 128; i++)
        x[i] = 0;
    for (size_t i = 128; i < 160; i++)
        x[i] = 1e-38f;
    act_quant_scalar(x, K, r.q, r.d, r.s, r.sums);
    assert_true(isfinite(r.d[0]) && isnan(r.d[1]) && isnan(r.d[2]) && isnan(r.s[2]));
    assert_true(r.d[3] == 0 && r.s[3] == 0 && r.d[4] == 0);
    assert_int_equal(r.q[40], 0);
}

/* Values on the ties of rounding, outliers and the odd numbers of the test above, among ordinary ones. */
static void spoil(float x[K], uint32_t seed)
{
    for (size_t i = 0; i < K; i += 3)
        x[i] = (float)((int)(gemm_random(&seed) % 255) - 127) + 0.5f;
    for (size_t i = 0; i < K; i += 64)
        x[i] = 127.0f;
    x[256 * (seed % 4)] = 1e30f;
    x[256 * 5 + seed % 256] = NAN;
    x[256 * 6 + seed % 256] = INFINITY;
    memset(x + 256 * 7, 0, 256 * sizeof *x);
}

/* Also where the row ends within what is done at once. */
static void expect_same_bits(act_quant_fn *quantise, const float x[K], size_t k)
{
    static struct quantised want, got;
    act_quant_scalar(x, k, want.q, want.d, want.s, want.sums);
    memset(&got, 0x55, sizeof got);
    quantise(x, k, got.q, got.d, got.s, got.sums);
    assert_memory_equal(got.q, want.q, k);
    assert_memory_equal(got.d, want.d, k / 32 * sizeof *got.d);
    for (size_t i = 0; i < k / 32; i++) /* the sign of a computed NaN is the machine's own affair */
        assert_true(got.s[i] == want.s[i] || (isnan(got.s[i]) && isnan(want.s[i])));
    assert_memory_equal(got.sums, want.sums, k / 16 * sizeof *got.sums);
    assert_true(k == K || got.q[k] == 0x55);
}

static void act_quant__vectors__have_the_bits_of_the_scalar_one(void **state)
{
    (void)state;
    static float x[K];
    for (int isa = CPU_SCALAR; isa < CPU_ISA_N; isa++) {
        if (!gemm_isa_here((enum cpu_isa)isa))
            continue;
        for (uint32_t seed = 1; seed < 50; seed++) {
            random_input(x, seed);
            if (seed % 2)
                spoil(x, seed);
            expect_same_bits(dot_set_get((enum cpu_isa)isa)->quantise, x, K - seed / 4 * 32);
            expect_same_bits(dot_set_get((enum cpu_isa)isa)->quantise, x, K);
        }
    }
}

/* Lane j of four vectors is the first half of the j-th 32, lane 8 + j the second; 96 values follow the last
 * 256. */
static void act_quant__lanes__are_in_the_order_said(void **state)
{
    (void)state;
    act_lanes_fn *lanes = gemm_isa_here(CPU_AVX512) ? dot_set_get(CPU_AVX512)->lanes : NULL;
    if (!lanes) {
        print_message("no AVX-512 here: skipped\n");
        skip();
    }
    enum { WHOLE = 512, ALL = WHOLE + 96 };
    static int8_t q[ALL], found[ALL], want[ALL];
    int16_t sums[ALL / 16] = {0};
    int32_t start_32[ALL / 32], start_16[ALL / 16];
    uint32_t seed = 4;
    for (size_t i = 0; i < ALL; i++) {
        q[i] = (int8_t)gemm_random(&seed);
        sums[i / 16] = (int16_t)(sums[i / 16] + q[i]);
        size_t in = i % 256, block = in / 32, half = in % 32 / 16, v = in % 16 / 4;
        want[i < WHOLE ? i - in + 64 * v + 4 * (8 * half + block) + i % 4 : i] = q[i];
    }
    lanes(q, sums, ALL, found, start_32, start_16);
    assert_memory_equal(found, want, ALL);
    for (size_t b = 0; b < ALL / 32; b++)
        assert_int_equal(start_32[b], DOT_MAGIC_BITS - 128 * (sums[2 * b] + sums[2 * b + 1]));
    for (size_t b = 0; b < WHOLE / 32; b++)
        for (size_t half = 0; half < 2; half++)
            assert_int_equal(start_16[b / 8 * 16 + 8 * half + b % 8],
                             DOT_MAGIC_BITS - 32 * sums[2 * b + half]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(act_quant__values__are_rounded_with_a_scale_each),
        cmocka_unit_test(act_quant__sums__are_of_sixteen),
        cmocka_unit_test(act_quant__odd_blocks__are_nan_or_zero),
        cmocka_unit_test(act_quant__vectors__have_the_bits_of_the_scalar_one),
        cmocka_unit_test(act_quant__lanes__are_in_the_order_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
