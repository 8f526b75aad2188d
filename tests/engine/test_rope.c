/* Rope tables against the formulas written out, in f64, position by position. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/rope.h"

#define N_POS 300
#define MAX_PAIRS 64

static void check_tables(const struct rope_params *params, const double *angle_per_position, double magnitude)
{
    static float cos_rows[N_POS * MAX_PAIRS], sin_rows[N_POS * MAX_PAIRS];
    static const size_t firsts[] = {0, 1, 1000, 131072 - N_POS};
    size_t n_pairs = params->n_rot / 2;
    for (size_t f = 0; f < sizeof firsts / sizeof firsts[0]; f++) {
        rope_fill(params, firsts[f], N_POS, cos_rows, sin_rows);
        for (size_t p = 0; p < N_POS; p++)
            for (size_t i = 0; i < n_pairs; i++) {
                double angle = (double)(firsts[f] + p) * angle_per_position[i];
                assert_float_equal(cos_rows[p * n_pairs + i], magnitude * cos(angle), 2e-7);
                assert_float_equal(sin_rows[p * n_pairs + i], magnitude * sin(angle), 2e-7);
            }
    }
}

static void rope__plain__powers_of_the_base(void **state)
{
    (void)state;
    struct rope_params params = {.n_rot = 128, .base = 1e6, .scale = 1.0};
    double angle[MAX_PAIRS];
    for (int i = 0; i < 64; i++)
        angle[i] = 1.0 / pow(1e6, 2.0 * i / 128);
    check_tables(&params, angle, 1.0);
}

static void rope__linear__divides_positions(void **state)
{
    (void)state;
    struct rope_params params = {.n_rot = 64, .base = 1e4, .scaling = ROPE_SCALING_LINEAR, .scale = 4.0};
    double angle[MAX_PAIRS];
    for (int i = 0; i < 32; i++)
        angle[i] = 1.0 / pow(1e4, 2.0 * i / 64) / 4.0;
    check_tables(&params, angle, 1.0);
}

static void rope__factors__divide_each_pair(void **state)
{
    (void)state;
    struct rope_params params = {.n_rot = 32, .base = 5e5, .scale = 1.0, .has_factors = true};
    double angle[MAX_PAIRS];
    for (int i = 0; i < 16; i++) {
        params.factors[i] = 1.0f + (float)i / 2;
        angle[i] = 1.0 / pow(5e5, 2.0 * i / 32) / (1.0 + i / 2.0);
    }
    check_tables(&params, angle, 1.0);
}

/* Numbers of Qwen's published YaRN setting: 4 times 32768, base 1e6, 128 dimensions. */
static void rope__yarn__keeps_fast_and_stretches_slow_pairs(void **state)
{
    (void)state;
    struct rope_params params = {.n_rot = 128,
                                 .base = 1e6,
                                 .scaling = ROPE_SCALING_YARN,
                                 .scale = 4.0,
                                 .attn_factor = 1.0,
                                 .beta_fast = 32.0,
                                 .beta_slow = 1.0,
                                 .n_ctx_orig = 32768};
    double angle[MAX_PAIRS];
    for (int i = 0; i < 64; i++) {
        double plain = 1.0 / pow(1e6, 2.0 * i / 128);
        /* The ramp runs over the pairs between 32 turns and 1 turn in 32768 positions: 23 and 40. */
        double ramp = i <= 23 ? 0.0 : i >= 40 ? 1.0 : (i - 23) / 17.0;
        angle[i] = plain * (1.0 - ramp) + plain / 4.0 * ramp;
    }
    check_tables(&params, angle, 1.0 + 0.1 * log(4.0));
    for (int i = 0; i < 64; i++) {
        double turns = 32768 / pow(1e6, 2.0 * i / 128) / (2 * 3.14159265358979);
        if (i < 23)
            assert_true(turns > 32);
        if (i > 40)
            assert_true(turns < 1);
    }
}

static void rope__yarn__attention_factor_multiplies(void **state)
{
    (void)state;
    struct rope_params params = {.n_rot = 4,
                                 .base = 1e4,
                                 .scaling = ROPE_SCALING_YARN,
                                 .scale = 1.0,
                                 .attn_factor = 1.5,
                                 .beta_fast = 32.0,
                                 .beta_slow = 1.0,
                                 .n_ctx_orig = 4096};
    float cosine[2], sine[2];
    rope_fill(&params, 0, 1, cosine, sine);
    assert_float_equal(cosine[0], 1.5, 0);
    params.scaling = ROPE_SCALING_NONE;
    rope_fill(&params, 0, 1, cosine, sine);
    assert_float_equal(cosine[0], 1.0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rope__plain__powers_of_the_base),
        cmocka_unit_test(rope__linear__divides_positions),
        cmocka_unit_test(rope__factors__divide_each_pair),
        cmocka_unit_test(rope__yarn__keeps_fast_and_stretches_slow_pairs),
        cmocka_unit_test(rope__yarn__attention_factor_multiplies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
