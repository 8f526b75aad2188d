/* Products of bf16 weights with AVX512_BF16: everything but its two instructions, which soft_bf16.h stands
 * for; and those two against their stand-ins, where the machine has them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/half.h"
#include "kernels_cpu/cpu_buf.h"
#include "kernels_cpu/moe.h"
#include "kernels_cpu/tile.h"
#include "tests/kernels_cpu/gemm_cases.h"
#include "tests/kernels_cpu/soft_bf16.h"

#define MAX_THREADS 3
/* As in test_gemm.c; the second one is the contract. */
#define MAX_ROUNDING 1e-11
#define MAX_ERROR 1e-5

static struct pool *pools[MAX_THREADS + 1];
static struct gemm_ctx *ctx[MAX_THREADS + 1];

static int set_up(void **state)
{
    (void)state;
    struct err err;
    for (int t = 1; t <= MAX_THREADS; t++) {
        pools[t] = pool_new(t, &err);
        ctx[t] = pools[t] ? gemm_ctx_new(pools[t], soft_bf16_set(), &err) : NULL;
        if (!ctx[t])
            return -1;
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int t = 1; t <= MAX_THREADS; t++) {
        gemm_ctx_free(ctx[t]);
        pool_free(pools[t]);
    }
    return 0;
}

/* ---- the instructions ---- */

static uint16_t bf16(float x)
{
    return (uint16_t)(f32_bits(x) >> 16);
}

/* acc and a pair of products in lane 5, the others zero. */
static float one_lane(float acc, float odd, float odd_by, float even, float even_by)
{
    uint16_t a[32] = {[10] = bf16(even), [11] = bf16(odd)},
             b[32] = {[10] = bf16(even_by), [11] = bf16(odd_by)};
    float sums[16] = {[5] = acc};
    soft_bf16_dot(a, b, sums);
    for (int i = 0; i < 16; i++)
        assert_true(i == 5 || sums[i] == 0);
    return sums[5];
}

static void soft_dot__odd_product_first__each_rounded(void **state)
{
    (void)state;
    assert_true(one_lane(1, 0x1p12f, 0x1p12f, -0x1p12f, 0x1p12f) == 0);
    assert_true(one_lane(1, -0x1p12f, 0x1p12f, 0x1p12f, 0x1p12f) == 1);
    assert_true(one_lane(3, 1.5f, 2, -0.25f, 4) == 5);
}

static void soft_dot__subnormal_numbers__are_zeros(void **state)
{
    (void)state;
    assert_true(one_lane(0x1p-130f, 0, 0, 0, 0) == 0);
    assert_true(one_lane(0, 0x1p-100f, 0x1p-30f, 0, 0) == 0);
    assert_true(one_lane(0, 0x1p-130f, 0x1p10f, 0, 0) == 0);
    assert_true(one_lane(0, 0x1p-100f, 0x1p-26f, 0, 0) == 0x1p-126f);
    assert_true(isnan(one_lane(0, INFINITY, 0, 0, 0)));
    assert_true(isnan(one_lane(0, 0, 0, NAN, 1)));
}

static void soft_dot__random_numbers__are_fused_multiply_adds(void **state)
{
    (void)state;
    uint32_t random = 9;
    for (int round = 0; round < 1000; round++) {
        uint16_t a[32], b[32];
        float acc[16], want[16];
        for (int i = 0; i < 32; i++) {
            a[i] = bf16(gemm_random_normal(&random));
            b[i] = bf16(gemm_random_normal(&random));
        }
        for (int i = 0; i < 16; i++) {
            acc[i] = gemm_random_normal(&random);
            want[i] = fmaf(bf16_to_f32(a[2 * i + 1]), bf16_to_f32(b[2 * i + 1]), acc[i]);
            want[i] = fmaf(bf16_to_f32(a[2 * i]), bf16_to_f32(b[2 * i]), want[i]);
        }
        soft_bf16_dot(a, b, acc);
        assert_memory_equal(acc, want, sizeof acc);
    }
}

static void soft_round__values__go_to_the_nearest(void **state)
{
    (void)state;
    const float x[32] = {1,         1.00390625f, 1.01171875f, -1.00390625f, 0x1p-127f,  -0x1p-127f, FLT_MAX,
                         -INFINITY, NAN,         0,           -0.0f,        3.14159265f};
    static const uint16_t want[] = {0x3F80, 0x3F80, 0x3F82, 0xBF80, 0,      0x8000,
                                    0x7F80, 0xFF80, 0,      0,      0x8000, 0x4049};
    uint16_t to[32];
    soft_bf16_round(x, to);
    for (int i = 0; i < 12; i++)
        if (i != 8)
            assert_int_equal(to[i], want[i]);
    assert_true(isnan(bf16_to_f32(to[8])));
    uint32_t random = 5;
    float y[32];
    for (int i = 0; i < 32; i++)
        y[i] = gemm_random_normal(&random);
    soft_bf16_round(y, to);
    for (int i = 0; i < 32; i++)
        assert_true(bf16_to_f32(to[i]) == gemm_round_bf16(y[i]));
}

/* Any bits at all, and such that sums do not grow beyond everything. */
static void instructions__any_bits__as_the_stand_ins(void **state)
{
    (void)state;
    if (!gemm_isa_here(CPU_AVX512BF16)) {
        print_message("no AVX512_BF16 here: not run\n");
        skip();
    }
    uint32_t random = 77;
    for (int round = 0; round < 100000; round++) {
        uint16_t a[32], b[32], soft[32], real[32];
        float acc[16], other[16], x[32];
        for (int i = 0; i < 32; i++) {
            uint32_t bits = gemm_random(&random), narrow = round % 2 ? 0xFFFF : 0x8FFF;
            a[i] = (uint16_t)((bits & narrow) | (round % 2 ? 0 : 0x3000));
            b[i] = (uint16_t)((bits >> 16 & narrow) | (round % 2 ? 0 : 0x3000));
            x[i] = f32_from_bits(gemm_random(&random));
            acc[i / 2] = other[i / 2] = i % 4 ? gemm_random_normal(&random) : x[i];
        }
        soft_bf16_dot(a, b, acc);
        real_bf16_dot(a, b, other);
        for (int i = 0; i < 16; i++)
            assert_true(isnan(acc[i]) ? isnan(other[i]) : f32_bits(acc[i]) == f32_bits(other[i]));
        soft_bf16_round(x, soft);
        real_bf16_round(x, real);
        assert_memory_equal(soft, real, sizeof soft);
    }
}

static void set__differs_from_that_of_avx512_in_bf16_alone(void **state)
{
    (void)state;
    const struct dot_set *with = dot_set_get(CPU_AVX512BF16), *without = dot_set_get(CPU_AVX512);
    for (enum dtype type = 0; type < DTYPE_I8; type++) {
        assert_int_equal(with->dot[type] == without->dot[type], type != DTYPE_BF16);
        assert_int_equal(with->tile[type] == without->tile[type], type != DTYPE_BF16);
    }
    struct cpu_features f = cpu_features_get();
    f.avx512_bf16 = false;
    assert_false(cpu_isa_available(CPU_AVX512BF16, &f));
    f.avx512_bf16 = true;
    assert_true(cpu_isa_available(CPU_AVX512BF16, &f));
    f.avx512bw = false;
    assert_false(cpu_isa_available(CPU_AVX512BF16, &f));
    assert_string_equal(cpu_isa_name(CPU_AVX512BF16), "avx512bf16");
}

/* ---- products ---- */

static void check_answer(const struct gemm_case *t, double max_error)
{
    float *out = mem_need(t->m * t->n * sizeof *out);
    cpu_gemm(ctx[2], t->bound, t->a, t->m, out, false, NULL);
    double rounding = gemm_distance(out, gemm_case_emulated(t, soft_bf16_set()), t->m * t->n) / t->power;
    double error = gemm_distance(out, t->exact, t->m * t->n) / t->exact_power;
    if (!(rounding <= MAX_ROUNDING && error <= max_error))
        fail_msg("m %zu n %zu k %zu: rounding %.3g, error %.3g", t->m, t->n, t->k, rounding, error);
    mem_free(out);
}

static void product__bf16__is_within_its_error(void **state)
{
    (void)state;
    static const size_t widths[] = {1, 2, 31, 32, 33, 63, 64, 96, 100, 1024, 4095, 4096, 4097, 8231};
    enum dtype type = DTYPE_BF16;
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        for (size_t m = 1; m <= 13; m += 3) {
            struct gemm_case *t = gemm_case_new(&type, 1, 51, widths[i], m, false, (uint32_t)(7 + i));
            check_answer(t, widths[i] >= 1024 ? MAX_ERROR : HUGE_VAL);
            gemm_case_free(t);
        }
    }
}

static void product__parts_of_several_types__act_as_one_weight(void **state)
{
    (void)state;
    static const enum dtype mix[] = {DTYPE_F32, DTYPE_BF16, DTYPE_Q4_K, DTYPE_F16};
    for (size_t m = 1; m <= 33; m += 16) {
        struct gemm_case *t = gemm_case_new(mix, 4, 59, 512, m, true, (uint32_t)m);
        check_answer(t, HUGE_VAL);
        gemm_case_free(t);
    }
}

static void check_bits(size_t n, size_t k, size_t m)
{
    enum dtype type = DTYPE_BF16;
    struct gemm_case *t = gemm_case_unsolved(&type, 1, n, k, m, true, (uint32_t)(k + m));
    float *want = mem_need(m * n * sizeof *want), *got = mem_need(m * n * sizeof *got);
    for (size_t c = 0; c < m; c++)
        cpu_gemm(ctx[1], t->bound, t->a + c * k, 1, want + c * n, false, NULL);
    static const size_t some[] = {2, 3, 4, 5, 8, 9, 10, 17, 24, 25, 37, 64, 530};
    for (size_t i = 0; i < sizeof some / sizeof *some && some[i] <= m; i++) {
        for (int n_threads = 1; n_threads <= MAX_THREADS; n_threads++) {
            memset(got, 0x55, m * n * sizeof *got);
            cpu_gemm(ctx[n_threads], t->bound, t->a, some[i], got, false, NULL);
            if (memcmp(got, want, some[i] * n * sizeof *got) != 0)
                fail_msg("k %zu: %zu columns, %d threads", k, some[i], n_threads);
        }
    }
    mem_free(want);
    mem_free(got);
    gemm_case_free(t);
}

static void product__rows__have_the_same_bits_for_every_m_and_thread_count(void **state)
{
    (void)state;
    static const size_t widths[] = {1, 31, 32, 33, 64, 67, 96, 1000, 1056};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        check_bits(TILE_MAX_ROWS + 37, widths[i], 64);
    /* Rows that a tile does not hold, and more columns than wait for them. */
    check_bits(61, 4096, 17);
    check_bits(61, 4097, 530);
    check_bits(49, 8300, 25);
}

static void product__zero_and_nan__stay_what_they_are(void **state)
{
    (void)state;
    enum { N = 50, M = 10, K = 300 };
    static float out[M * N];
    enum dtype type = DTYPE_BF16;
    struct gemm_case *t = gemm_case_new(&type, 1, N, K, M, false, 1);
    for (size_t m = 2; m <= M; m += M - 2) {
        memset(t->a, 0, K * sizeof *t->a);
        t->a[K + 77] = NAN;
        cpu_gemm(ctx[2], t->bound, t->a, m, out, false, NULL);
        for (size_t i = 0; i < m * N; i++)
            assert_true(i < N ? out[i] == 0 : i < 2 * N ? isnan(out[i]) : isfinite(out[i]));
    }
    gemm_case_free(t);
}

/* ---- experts ---- */

enum { EXPERTS = 3, EACH = 101, WIDTH = 1000, TOKENS = 40, USED = 2, PAIRS = TOKENS * USED };

/* Tokens first .. first + n of a product of experts, of one part or of gate and up. */
static void run_experts(struct moe_ctx *m, const struct bexperts *w, const float *x, const int32_t *ids,
                        size_t first, size_t n, float *out)
{
    bool down = w->shape.n == EACH;
    struct bbuf in = {.data = (float *)x + first * (down ? USED : 1) * WIDTH};
    struct bbuf chosen = {.data = (int32_t *)ids + first * USED},
                result = {.data = out + first * USED * EACH};
    if (down)
        cpu_moe_down(m, &(struct op_moe_down){w, &in, &chosen, &result, n, USED, NULL, 0});
    else
        cpu_moe_gate_up(m, &(struct op_moe_gate_up){w, &in, &chosen, &result, n, USED, NULL, 0});
}

static void check_experts(const struct gemm_case *t, size_t n_parts)
{
    static float one[PAIRS * EACH], all[PAIRS * EACH], row[EXPERTS * EACH];
    struct tensor slabs[2];
    const struct tensor *parts[2] = {&slabs[0], &slabs[1]};
    int32_t ids[PAIRS];
    struct err err;
    for (size_t i = 0; i < n_parts; i++) {
        slabs[i] = t->weights[i];
        slabs[i].n_dims = 3;
        slabs[i].dims[1] = EACH;
        slabs[i].dims[2] = EXPERTS;
    }
    for (int i = 0; i < PAIRS; i++)
        ids[i] = i % 5 == 3 ? 2 : i % 2; /* so many, so few, as a tile wants */
    struct bexperts *w = cpu_experts_bind(parts, n_parts, &err);
    struct moe_ctx *m = moe_ctx_new(pools[2], cpu_kernels_get(CPU_AVX512), soft_bf16_set(), &err);
    assert_true(w && m);
    run_experts(m, w, t->a, ids, 0, TOKENS, all);
    for (size_t i = 0; i < TOKENS; i++)
        run_experts(m, w, t->a, ids, i, 1, one);
    assert_memory_equal(all, one, sizeof all);
    for (size_t p = 0; n_parts == 1 && p < PAIRS; p++) {
        cpu_gemm(ctx[1], t->bound, t->a + p * WIDTH, 1, row, false, NULL);
        assert_memory_equal(all + p * EACH, row + ids[p] * EACH, EACH * sizeof *all);
    }
    moe_ctx_free(m);
    cpu_experts_free(w);
}

static void experts__rows__have_the_bits_of_plain_products(void **state)
{
    (void)state;
    static const enum dtype types[] = {DTYPE_BF16, DTYPE_BF16};
    for (size_t n_parts = 1; n_parts <= 2; n_parts++) {
        struct gemm_case *t = gemm_case_unsolved(types, n_parts, EXPERTS * EACH, WIDTH, PAIRS, false, 4);
        check_experts(t, n_parts);
        gemm_case_free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(soft_dot__odd_product_first__each_rounded),
        cmocka_unit_test(soft_dot__subnormal_numbers__are_zeros),
        cmocka_unit_test(soft_dot__random_numbers__are_fused_multiply_adds),
        cmocka_unit_test(soft_round__values__go_to_the_nearest),
        cmocka_unit_test(instructions__any_bits__as_the_stand_ins),
        cmocka_unit_test(set__differs_from_that_of_avx512_in_bf16_alone),
        cmocka_unit_test(product__bf16__is_within_its_error),
        cmocka_unit_test(product__parts_of_several_types__act_as_one_weight),
        cmocka_unit_test(product__rows__have_the_same_bits_for_every_m_and_thread_count),
        cmocka_unit_test(product__zero_and_nan__stay_what_they_are),
        cmocka_unit_test(experts__rows__have_the_bits_of_plain_products),
    };
    if (gemm_isa_here(CPU_AVX512))
        return cmocka_run_group_tests(tests, set_up, tear_down);
    puts("no AVX-512 here: not run");
    return 0;
}
