/* The products against slow f64 answers: every type, shape class and instruction set of this machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <math.h>

#include "engine/base/mem.h"
#include "tests/kernels_cpu/gemm_cases.h"

/* Rounding of f32 sums only: the integer parts are exact. */
#define MAX_ROUNDING 1e-11

static struct pool *pool;
static struct gemm_ctx *ctx[CPU_ISA_N];

static int set_up(void **state)
{
    (void)state;
    struct err err;
    pool = pool_new(2, &err);
    for (int isa = 0; isa < CPU_ISA_N; isa++)
        if (gemm_isa_here((enum cpu_isa)isa))
            ctx[isa] = gemm_ctx_new(pool, dot_set_get((enum cpu_isa)isa), &err);
    return pool && ctx[CPU_SCALAR] ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    for (int isa = 0; isa < CPU_ISA_N; isa++)
        gemm_ctx_free(ctx[isa]);
    pool_free(pool);
    return 0;
}

static double max_error(enum dtype type)
{
    switch (type) {
    case DTYPE_F32:
        return 1e-10;
    case DTYPE_F16:
        return 1e-6;
    case DTYPE_BF16:
        return 1e-5;
    default:
        return 1e-4;
    }
}

/* Errors relative to the power of the sums: against the emulation always, against exact inputs where the case
 * is large enough for a mean. */
static void check(const struct gemm_case *t, enum cpu_isa isa, double max_exact)
{
    float *out = mem_need(t->m * t->n * sizeof *out);
    cpu_gemm(ctx[isa], t->bound, t->a, t->m, out, false, NULL);
    const double *emulated = gemm_case_emulated(t, dot_set_get(isa));
    double rounding = gemm_distance(out, emulated, t->m * t->n) / t->power;
    double error = gemm_distance(out, t->exact, t->m * t->n) / t->exact_power;
    if (!(rounding <= MAX_ROUNDING && error <= max_exact))
        print_error("%s %s m %zu n %zu k %zu: rounding %.3g, error %.3g\n", cpu_isa_name(isa),
                    dtype_info(t->weights[0].type)->name, t->m, t->n, t->k, rounding, error);
    assert_true(rounding <= MAX_ROUNDING);
    assert_true(error <= max_exact);
    mem_free(out);
}

static void check_all_isas(const struct gemm_case *t, double max_exact)
{
    for (int isa = 0; isa < CPU_ISA_N; isa++)
        if (ctx[isa])
            check(t, (enum cpu_isa)isa, max_exact);
}

static void gemm__product__is_within_the_error_of_its_type(void **state)
{
    (void)state;
    for (enum dtype type = 0; type < DTYPE_I8; type++) {
        struct gemm_case *t = gemm_case_new(&type, 1, 33, 1024, 9, false, 7 + type);
        check_all_isas(t, max_error(type));
        gemm_case_free(t);
    }
}

static void gemm__product__equals_the_emulation_in_every_shape(void **state)
{
    (void)state;
    static const size_t widths[] = {32, 64, 96, 160, 256, 512, 768, 1056, 3072};
    static const struct {
        size_t m, n;
    } shapes[] = {{1, 1}, {1, 3}, {2, 16}, {3, 5}, {4, 7}, {7, 2}, {8, 3}, {9, 1}, {17, 2}, {33, 1}};
    for (enum dtype type = 0; type < DTYPE_I8; type++) {
        for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
            if (widths[i] % dtype_info(type)->block_weights)
                continue;
            for (size_t j = 0; j < sizeof shapes / sizeof *shapes; j++) {
                struct gemm_case *t = gemm_case_new(&type, 1, shapes[j].n, widths[i], shapes[j].m, false,
                                                    (uint32_t)(i * 16 + j));
                check_all_isas(t, HUGE_VAL);
                gemm_case_free(t);
            }
        }
    }
}

static void gemm__float_product__takes_any_width(void **state)
{
    (void)state;
    static const enum dtype types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
    for (size_t i = 0; i < 3; i++) {
        for (size_t k = 1; k < 40; k++) {
            struct gemm_case *t = gemm_case_new(&types[i], 1, 3, k, 5, false, (uint32_t)k);
            check_all_isas(t, HUGE_VAL);
            gemm_case_free(t);
        }
    }
}

static void gemm__parts_of_different_types__act_as_one_weight(void **state)
{
    (void)state;
    static const enum dtype mixes[][4] = {{DTYPE_Q4_K, DTYPE_Q4_K, DTYPE_Q6_K, DTYPE_Q8_0},
                                          {DTYPE_F32, DTYPE_Q5_0, DTYPE_IQ4_XS, DTYPE_BF16},
                                          {DTYPE_Q4_1, DTYPE_Q3_K, DTYPE_F16, DTYPE_Q5_K}};
    for (size_t i = 0; i < 3; i++) {
        for (size_t m = 1; m <= 33; m += 16) {
            struct gemm_case *t = gemm_case_new(mixes[i], 4, 19, 512, m, true, (uint32_t)m);
            check_all_isas(t, HUGE_VAL);
            gemm_case_free(t);
        }
    }
}

static void gemm__add__adds_product_and_bias_to_what_is_there(void **state)
{
    (void)state;
    enum dtype type = DTYPE_Q4_K;
    struct gemm_case *t = gemm_case_new(&type, 1, 21, 512, 3, true, 5);
    float plain[63], out[63];
    for (int isa = 0; isa < CPU_ISA_N; isa++) {
        if (!ctx[isa])
            continue;
        cpu_gemm(ctx[isa], t->bound, t->a, t->m, plain, false, NULL);
        for (int i = 0; i < 63; i++)
            out[i] = (float)i;
        cpu_gemm(ctx[isa], t->bound, t->a, t->m, out, true, NULL);
        for (int i = 0; i < 63; i++)
            assert_true(out[i] == (float)i + plain[i]);
    }
    gemm_case_free(t);
}

static void gemm__embed__gives_the_dequantised_rows(void **state)
{
    (void)state;
    static const enum dtype types[] = {DTYPE_Q6_K, DTYPE_F16};
    struct gemm_case *t = gemm_case_new(types, 2, 7, 256, 1, false, 5);
    static const int32_t ids[] = {13, 0, 6, 7, 0};
    float out[5 * 256], want[256];
    cpu_embed(ctx[CPU_SCALAR], t->bound, ids, 5, out);
    for (size_t i = 0; i < 5; i++) {
        size_t part = (size_t)ids[i] / 7, row = (size_t)ids[i] % 7;
        const struct tensor *w = &t->weights[part];
        dtype_to_f32(w->type, (const uint8_t *)w->data + row * (w->n_bytes / 7), want, 256);
        assert_memory_equal(out + 256 * i, want, sizeof want);
    }
    gemm_case_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm__product__is_within_the_error_of_its_type),
        cmocka_unit_test(gemm__product__equals_the_emulation_in_every_shape),
        cmocka_unit_test(gemm__float_product__takes_any_width),
        cmocka_unit_test(gemm__parts_of_different_types__act_as_one_weight),
        cmocka_unit_test(gemm__add__adds_product_and_bias_to_what_is_there),
        cmocka_unit_test(gemm__embed__gives_the_dequantised_rows),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
