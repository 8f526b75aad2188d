/* The products where they could go wrong without a shape being odd: bits, limits of the integer paths,
 * numbers that are none, what lies beside the output, what a bind refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/half.h"
#include "kernels_cpu/tile.h"
#include "tests/kernels_cpu/gemm_cases.h"

#define MAX_THREADS 4

static struct pool *pools[MAX_THREADS + 1];
static struct gemm_ctx *ctx[CPU_ISA_N][MAX_THREADS + 1];

static int set_up(void **state)
{
    (void)state;
    struct err err;
    for (int t = 1; t <= MAX_THREADS; t++) {
        pools[t] = pool_new(t, &err);
        if (!pools[t])
            return -1;
        for (int isa = 0; isa < CPU_ISA_N; isa++)
            if (gemm_isa_here((enum cpu_isa)isa))
                ctx[isa][t] = gemm_ctx_new(pools[t], dot_set_get((enum cpu_isa)isa), &err);
    }
    return ctx[CPU_SCALAR][1] ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    for (int t = 1; t <= MAX_THREADS; t++) {
        for (int isa = 0; isa < CPU_ISA_N; isa++)
            gemm_ctx_free(ctx[isa][t]);
        pool_free(pools[t]);
    }
    return 0;
}

/* out in one call per row: the decode path, whose bits all others must have. */
static void one_by_one(struct gemm_ctx *g, const struct gemm_case *t, float *out, bool add)
{
    for (size_t c = 0; c < t->m; c++)
        cpu_gemm(g, t->bound, t->a + c * t->k, 1, out + c * t->n, add, NULL);
}

static void gemm__rows__have_the_same_bits_for_every_m_and_thread_count(void **state)
{
    (void)state;
    enum { M = 37, N = TILE_MAX_ROWS + 9 };
    static const size_t some[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 16, 17, 33, M};
    static float want[M * N], got[M * N];
    for (enum dtype type = 0; type < DTYPE_I8; type++) {
        struct gemm_case *t = gemm_case_unsolved(&type, 1, N, 768, M, true, 3 + type);
        for (int isa = 0; isa < CPU_ISA_N; isa++) {
            if (!ctx[isa][1])
                continue;
            one_by_one(ctx[isa][1], t, want, false);
            for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
                size_t m = some[i];
                for (int n_threads = 1; n_threads <= MAX_THREADS; n_threads++) {
                    memset(got, 0x55, sizeof got);
                    cpu_gemm(ctx[isa][n_threads], t->bound, t->a, m, got, false, NULL);
                    assert_memory_equal(got, want, m * N * sizeof *got);
                }
            }
        }
        gemm_case_free(t);
    }
}

/* All widths, two parts whose rows fill tiles and do not, biases, on top of what is there; hundreds of
 * columns. */
static void check_many_columns(enum dtype type, size_t k, size_t m)
{
    enum { N_EACH = TILE_MAX_ROWS + 13, N = 2 * N_EACH };
    const enum dtype types[] = {type, type};
    struct gemm_case *t = gemm_case_unsolved(types, 2, N_EACH, k, m, true, (uint32_t)(k + m + type));
    float *want = mem_need(m * N * sizeof *want), *got = mem_need(m * N * sizeof *got);
    for (int isa = CPU_SCALAR + 1; isa < CPU_ISA_N; isa++) {
        if (!ctx[isa][2])
            continue;
        for (size_t i = 0; i < m * N; i++)
            want[i] = got[i] = (float)(i % 7);
        one_by_one(ctx[isa][1], t, want, true);
        cpu_gemm(ctx[isa][2], t->bound, t->a, m, got, true, NULL);
        if (memcmp(got, want, m * N * sizeof *got) != 0)
            fail_msg("%s %s: k %zu, m %zu", cpu_isa_name((enum cpu_isa)isa), dtype_info(type)->name, k, m);
    }
    mem_free(want);
    mem_free(got);
    gemm_case_free(t);
}

static void gemm__many_columns__have_the_bits_of_one(void **state)
{
    (void)state;
    static const size_t widths[] = {1, 32, 67, 96, 224, 256, 1000, 1056, 2304};
    static const enum dtype common[] = {DTYPE_Q4_K, DTYPE_Q6_K, DTYPE_Q8_0, DTYPE_F16};
    for (enum dtype type = 0; type < DTYPE_I8; type++) {
        for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
            if (widths[i] % dtype_info(type)->block_weights == 0)
                check_many_columns(type, widths[i], i < 7 ? 64 : 19);
    }
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        check_many_columns(common[i], 512, 512);
    /* Rows that a tile does not hold, and more columns than wait for them. */
    check_many_columns(DTYPE_F32, 4200, 19);
    check_many_columns(DTYPE_F16, 4096, 24);
    check_many_columns(DTYPE_BF16, 2050, 530);
}

/* Integers are exact, and AVX2 and AVX-512 do the same operations on floats in one order (dot_x86.h). */
static void gemm__quantised_products__have_the_same_bits_with_all_vectors(void **state)
{
    (void)state;
    enum { N = TILE_MAX_ROWS + 3, M = 11 };
    static const size_t widths[] = {32, 224, 512, 1056};
    static float want[M * N], got[M * N];
    if (!ctx[CPU_AVX512][1])
        skip();
    for (enum dtype type = DTYPE_Q4_0; type < DTYPE_I8; type++) {
        for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
            if (widths[i] % dtype_info(type)->block_weights)
                continue;
            struct gemm_case *t = gemm_case_unsolved(&type, 1, N, widths[i], M, false, 5 + type);
            one_by_one(ctx[CPU_AVX512][1], t, want, false);
            cpu_gemm(ctx[CPU_AVX2][1], t->bound, t->a, M, got, false, NULL);
            assert_memory_equal(got, want, sizeof got);
            gemm_case_free(t);
        }
    }
}

/* On AArch64: sums of integers are exact, however they are made. */
static void gemm__with_and_without_dotprod__same_bits(void **state)
{
    (void)state;
    enum { N = 21, M = 5 };
    float want[M * N], got[M * N];
    if (!gemm_isa_here(CPU_DOTPROD))
        skip();
    for (enum dtype type = 0; type < DTYPE_I8; type++) {
        struct gemm_case *t = gemm_case_unsolved(&type, 1, N, 2048, M, false, type);
        cpu_gemm(ctx[CPU_NEON][1], t->bound, t->a, M, want, false, NULL);
        cpu_gemm(ctx[CPU_DOTPROD][1], t->bound, t->a, M, got, false, NULL);
        assert_memory_equal(got, want, sizeof got);
        gemm_case_free(t);
    }
}

/* Fills the bytes of every row with one value, with the scales of a random row, and all inputs with +-1:
 * every product is as large as it gets. */
static void make_extreme(struct gemm_case *t, uint8_t fill, bool alternate, uint32_t *random)
{
    const struct tensor *w = &t->weights[0];
    const struct dtype_info *info = dtype_info(w->type);
    uint8_t *bytes = (uint8_t *)w->data, *row = mem_need(w->n_bytes);
    for (size_t i = 0; i < w->n_bytes; i += info->block_bytes) {
        gemm_random_row(w->type, row, info->block_weights, random);
        uint8_t *b = bytes + i;
        memset(b, fill, info->block_bytes);
        /* Scales are f16 at the block's first or last four bytes; which ones, a fresh block with a known fill
         * tells. */
        size_t tail = w->type == DTYPE_Q2_K ? 4 : w->type == DTYPE_Q3_K || w->type == DTYPE_Q6_K ? 2 : 0;
        size_t head =
            w->type == DTYPE_Q4_1 || w->type == DTYPE_Q5_1 || w->type == DTYPE_Q4_K || w->type == DTYPE_Q5_K
                ? 4
                : 2;
        if (tail)
            memcpy(b + info->block_bytes - tail, row + info->block_bytes - tail, tail);
        else
            memcpy(b, row, head);
    }
    for (size_t i = 0; i < t->m * t->k; i++)
        t->a[i] = alternate && i % 2 ? -1.0f : 1.0f;
    mem_free(row);
    gemm_case_solve(t);
}

static void gemm__extreme_values__do_not_overflow(void **state)
{
    (void)state;
    static const uint8_t fills[] = {0xFF, 0x80, 0x7F, 0x00, 0xF0, 0x0F};
    enum { N = TILE_MAX_ROWS + 1, M = 9 }; /* enough of both for a tile */
    uint32_t random = 99;
    float out[M * N];
    for (enum dtype type = DTYPE_Q4_0; type < DTYPE_I8; type++) {
        struct gemm_case *t = gemm_case_new(&type, 1, N, 512, M, false, 1);
        for (size_t i = 0; i < 2 * sizeof fills; i++) {
            make_extreme(t, fills[i / 2], i % 2, &random);
            for (int isa = 0; isa < CPU_ISA_N; isa++) {
                if (!ctx[isa][2])
                    continue;
                cpu_gemm(ctx[isa][2], t->bound, t->a, M, out, false, NULL);
                double rounding = gemm_distance(out, t->emulated, M * N);
                if (!(rounding <= 1e-11 * t->power))
                    print_error("%s %s fill %02x: %.3g\n", cpu_isa_name((enum cpu_isa)isa),
                                dtype_info(type)->name, fills[i / 2], rounding / t->power);
                assert_true(rounding <= 1e-11 * t->power);
            }
        }
        gemm_case_free(t);
    }
}

/* Puts the same f16 bits where every block of the row keeps its d. */
static void set_d(const struct tensor *w, size_t row, uint16_t h)
{
    const struct dtype_info *info = dtype_info(w->type);
    size_t row_bytes = w->n_bytes / w->dims[1], at = 0;
    if (w->type == DTYPE_Q2_K)
        at = info->block_bytes - 4;
    if (w->type == DTYPE_Q3_K || w->type == DTYPE_Q6_K)
        at = info->block_bytes - 2;
    uint8_t *bytes = (uint8_t *)w->data + row * row_bytes;
    for (size_t i = 0; i < row_bytes; i += info->block_bytes)
        memcpy(bytes + i + at, &h, sizeof h);
}

static void gemm__nan_scale__makes_its_row_nan_and_no_other(void **state)
{
    (void)state;
    enum { N = TILE_MAX_ROWS + 1, M = 9 };
    float out[M * N];
    for (enum dtype type = DTYPE_Q4_0; type < DTYPE_I8; type++) {
        struct gemm_case *t = gemm_case_new(&type, 1, N, 256, M, false, 1);
        set_d(&t->weights[0], 1, 0x7E00);
        for (int isa = 0; isa < CPU_ISA_N; isa++) {
            if (!ctx[isa][1])
                continue;
            for (size_t m = 2; m <= M; m += M - 2) {
                cpu_gemm(ctx[isa][1], t->bound, t->a, m, out, false, NULL);
                for (size_t i = 0; i < m * N; i++)
                    assert_int_equal(isnan(out[i]) != 0, i % N == 1);
            }
        }
        gemm_case_free(t);
    }
}

static void gemm__subnormal_scale__is_not_lost(void **state)
{
    (void)state;
    float out[2 * 3];
    for (enum dtype type = DTYPE_Q4_0; type < DTYPE_I8; type++) {
        struct gemm_case *t = gemm_case_new(&type, 1, 3, 256, 2, false, 1);
        for (size_t r = 0; r < 3; r++)
            set_d(&t->weights[0], r, 0x0123);
        gemm_case_solve(t);
        for (int isa = 0; isa < CPU_ISA_N; isa++) {
            if (!ctx[isa][1])
                continue;
            cpu_gemm(ctx[isa][1], t->bound, t->a, 2, out, false, NULL);
            assert_true(gemm_distance(out, t->emulated, 6) <= 1e-11 * t->power);
        }
        gemm_case_free(t);
    }
}

static void gemm__inputs_of_zero__give_zero_and_nan_gives_nan(void **state)
{
    (void)state;
    float out[2 * 3];
    for (enum dtype type = 0; type < DTYPE_I8; type++) {
        struct gemm_case *t = gemm_case_new(&type, 1, 3, 256, 2, false, 1);
        memset(t->a, 0, 256 * sizeof *t->a);
        t->a[256 + 77] = NAN;
        for (int isa = 0; isa < CPU_ISA_N; isa++) {
            if (!ctx[isa][1])
                continue;
            cpu_gemm(ctx[isa][1], t->bound, t->a, 2, out, false, NULL);
            for (int i = 0; i < 3; i++) {
                assert_true(out[i] == 0.0f);
                assert_true(isnan(out[3 + i]));
            }
        }
        gemm_case_free(t);
    }
}

static void gemm__memory_beside_the_output__is_untouched(void **state)
{
    (void)state;
    enum { GUARD = 64, N = TILE_MAX_ROWS + 13, M = 11 };
    for (enum dtype type = 0; type < DTYPE_I8; type++) {
        struct gemm_case *t = gemm_case_new(&type, 1, N, 256, M, true, 1);
        float out[GUARD + M * N + GUARD];
        for (int isa = 0; isa < CPU_ISA_N; isa++) {
            if (!ctx[isa][3])
                continue;
            memset(out, 0xA5, sizeof out);
            cpu_gemm(ctx[isa][3], t->bound, t->a, M, out + GUARD, false, NULL);
            const uint8_t *before = (const uint8_t *)out, *after = (const uint8_t *)(out + GUARD + M * N);
            for (size_t i = 0; i < GUARD * sizeof *out; i++) {
                assert_int_equal(before[i], 0xA5);
                assert_int_equal(after[i], 0xA5);
            }
        }
        gemm_case_free(t);
    }
}

static void gemm__product__allocates_nothing(void **state)
{
    (void)state;
    enum { N = TILE_MAX_ROWS + 1, M = 33 };
    enum dtype type = DTYPE_Q6_K;
    struct gemm_case *t = gemm_case_new(&type, 1, N, 512, M, false, 1);
    float out[M * N];
    for (int isa = 0; isa < CPU_ISA_N; isa++) {
        if (!ctx[isa][2])
            continue;
        mem_fail_after(0);
        cpu_gemm(ctx[isa][2], t->bound, t->a, M, out, false, NULL);
        bool happened = mem_fail_happened();
        mem_fail_after(-1);
        assert_false(happened);
    }
    gemm_case_free(t);
}

static void gemm__more_columns_than_the_scratch_holds__take_several_passes(void **state)
{
    (void)state;
    enum { M = 300000 };
    enum dtype type = DTYPE_Q8_0;
    struct gemm_case *t = gemm_case_new(&type, 1, 1, 32, 2, false, 1);
    float *a = mem_need(M * 32 * sizeof *a), *out = mem_need(M * sizeof *out), want[2];
    for (size_t i = 0; i < M; i++)
        memcpy(a + 32 * i, t->a + 32 * (i & 1), 32 * sizeof *a);
    cpu_gemm(ctx[CPU_SCALAR][2], t->bound, t->a, 2, want, false, NULL);
    cpu_gemm(ctx[CPU_SCALAR][2], t->bound, a, M, out, false, NULL);
    for (size_t i = 0; i < M; i++)
        if (out[i] != want[i & 1])
            fail_msg("column %zu: %g, expected %g", i, (double)out[i], (double)want[i & 1]);
    mem_free(a);
    mem_free(out);
    gemm_case_free(t);
}

static void weight__bind__names_what_does_not_fit(void **state)
{
    (void)state;
    static uint8_t bytes[4096];
    struct tensor good = {"w", DTYPE_Q4_K, 2, {256, 4, 1, 1}, bytes, 4 * 144};
    struct tensor narrow = {"narrow", DTYPE_Q6_K, 2, {512, 2, 1, 1}, bytes, 4 * 210};
    struct tensor short_one = {"short", DTYPE_Q4_K, 2, {256, 4, 1, 1}, bytes, 4 * 144 - 1};
    struct tensor ragged = {"ragged", DTYPE_Q4_K, 2, {250, 4, 1, 1}, bytes, 4096};
    struct tensor bias = {"bias", DTYPE_F32, 1, {3, 1, 1, 1}, bytes, 12};
    struct weight_part mixed[] = {{&good, NULL}, {&narrow, NULL}}, biased = {&good, &bias};
    struct weight_part bad[] = {{&short_one, NULL}, {&ragged, NULL}};
    struct err err = {0};
    assert_null(cpu_weight_bind(mixed, 2, &err));
    assert_non_null(strstr(err.text, "narrow"));
    assert_null(cpu_weight_bind(&bad[0], 1, &err));
    assert_non_null(strstr(err.text, "short"));
    assert_null(cpu_weight_bind(&bad[1], 1, &err));
    assert_non_null(strstr(err.text, "ragged"));
    assert_null(cpu_weight_bind(&biased, 1, &err));
    assert_non_null(strstr(err.text, "bias"));
    assert_null(cpu_weight_bind(mixed, 0, &err));
    struct bweight *w = cpu_weight_bind(mixed, 1, &err);
    assert_non_null(w);
    assert_true(w->n == 4 && w->k == 256 && w->n_bytes == 4 * 144);
    cpu_weight_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm__rows__have_the_same_bits_for_every_m_and_thread_count),
        cmocka_unit_test(gemm__many_columns__have_the_bits_of_one),
        cmocka_unit_test(gemm__quantised_products__have_the_same_bits_with_all_vectors),
        cmocka_unit_test(gemm__with_and_without_dotprod__same_bits),
        cmocka_unit_test(gemm__extreme_values__do_not_overflow),
        cmocka_unit_test(gemm__nan_scale__makes_its_row_nan_and_no_other),
        cmocka_unit_test(gemm__subnormal_scale__is_not_lost),
        cmocka_unit_test(gemm__inputs_of_zero__give_zero_and_nan_gives_nan),
        cmocka_unit_test(gemm__memory_beside_the_output__is_untouched),
        cmocka_unit_test(gemm__product__allocates_nothing),
        cmocka_unit_test(gemm__more_columns_than_the_scratch_holds__take_several_passes),
        cmocka_unit_test(weight__bind__names_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
