/* The products of experts against slow f64 answers on the inputs as the kernels quantise them: every type,
 * shape class, routing and instruction set of this machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "engine/base/mem.h"
#include "tests/kernels_cpu/cpu_fixture.h"
#include "tests/kernels_cpu/gemm_cases.h"

/* Rounding of f32 sums only: the integer parts are exact. */
#define MAX_ROUNDING 1e-10

static struct backend backends[CPU_ISA_N]; /* by instruction set; no ops: not here */

static int set_up(void **state)
{
    (void)state;
    for (int isa = 0; isa < CPU_ISA_N; isa++)
        if (gemm_isa_here((enum cpu_isa)isa))
            backends[isa] = fixture_open(2, cpu_isa_name((enum cpu_isa)isa));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int isa = 0; isa < CPU_ISA_N; isa++)
        backend_close(&backends[isa]);
    return 0;
}

/* A stack of experts, what goes in and who wants whom. */
struct moe_case {
    size_t n_experts, n_parts, n_each, k; /* n_each rows per part and expert */
    size_t n_tokens, n_used;
    struct tensor parts[2];
    uint8_t *bytes[2]; /* as allocated; the rows start at an odd address inside */
    int32_t *ids;      /* [T, K] */
    float *x;          /* [P, k]; as input of gate and up its first T rows */
};

struct shape {
    size_t n_experts, n_each, k, n_tokens, n_used;
};

static void make_part(struct moe_case *c, size_t part, enum dtype type, uint32_t *state)
{
    size_t row_bytes = 0, n_rows = c->n_experts * c->n_each;
    assert_true(dtype_row_bytes(type, c->k, &row_bytes));
    c->bytes[part] = mem_need(n_rows * row_bytes + 1);
    uint8_t *rows = c->bytes[part] + 1;
    for (size_t i = 0; i < n_rows; i++)
        gemm_random_row(type, rows + i * row_bytes, c->k, state);
    c->parts[part] = (struct tensor){.type = type,
                                     .n_dims = 3,
                                     .dims = {c->k, c->n_each, c->n_experts, 1},
                                     .data = rows,
                                     .n_bytes = n_rows * row_bytes};
    strcpy(c->parts[part].name, "experts");
}

/* K different experts for each token, any of them. */
static void choose_any(struct moe_case *c, uint32_t *state)
{
    for (size_t t = 0; t < c->n_tokens; t++) {
        int32_t *ids = c->ids + t * c->n_used;
        for (size_t s = 0; s < c->n_used; s++) {
            bool taken = true;
            while (taken) {
                ids[s] = (int32_t)(gemm_random(state) % c->n_experts);
                taken = false;
                for (size_t i = 0; i < s; i++)
                    taken = taken || ids[i] == ids[s];
            }
        }
    }
}

static struct moe_case *case_new(const enum dtype *types, size_t n_parts, struct shape shape, uint32_t seed)
{
    struct moe_case *c = mem_need(sizeof *c);
    uint32_t state = seed * 2654435761u + 1;
    c->n_experts = shape.n_experts;
    c->n_parts = n_parts;
    c->n_each = shape.n_each;
    c->k = shape.k;
    c->n_tokens = shape.n_tokens;
    c->n_used = shape.n_used;
    for (size_t i = 0; i < n_parts; i++)
        make_part(c, i, types[i], &state);
    size_t n_pairs = c->n_tokens * c->n_used;
    c->ids = mem_need(n_pairs * sizeof *c->ids);
    choose_any(c, &state);
    c->x = mem_need(n_pairs * c->k * sizeof *c->x);
    for (size_t i = 0; i < n_pairs * c->k; i++)
        c->x[i] = gemm_round_bf16((float)((int)((i * 7919 + seed) % 1013) - 506) / 290);
    return c;
}

static void case_free(struct moe_case *c)
{
    for (size_t i = 0; i < 2; i++)
        mem_free(c->bytes[i]);
    mem_free(c->ids);
    mem_free(c->x);
    mem_free(c);
}

/* ---- the slow answer ---- */

/* A column as the kernels of a type see it. */
static void see(enum dtype type, const float *x, size_t k, double *seen)
{
    if (dtype_info(type)->block_weights == 1) {
        for (size_t i = 0; i < k; i++)
            seen[i] = (double)x[i];
        return;
    }
    int8_t *q = mem_need(k);
    float *d = mem_need(k * sizeof *d), *s = mem_need(k * sizeof *s);
    int16_t *sums = mem_need(k * sizeof *sums);
    act_quant_scalar(x, k, q, d, s, sums);
    for (size_t i = 0; i < k; i++)
        seen[i] = (double)d[i / 32] * q[i];
    mem_free(q);
    mem_free(d);
    mem_free(s);
    mem_free(sums);
}

/* out[p, n_each] of one part. */
static void solve_part(const struct moe_case *c, size_t part, size_t pairs_per_column, double *out)
{
    const struct tensor *w = &c->parts[part];
    size_t k = c->k, row_bytes = w->n_bytes / (c->n_experts * c->n_each);
    double *seen = mem_need(k * sizeof *seen);
    float *row = mem_need(k * sizeof *row);
    for (size_t p = 0; p < c->n_tokens * c->n_used; p++) {
        see(w->type, c->x + p / pairs_per_column * k, k, seen);
        for (size_t r = 0; r < c->n_each; r++) {
            size_t at = (size_t)c->ids[p] * c->n_each + r;
            dtype_to_f32(w->type, (const uint8_t *)w->data + at * row_bytes, row, k);
            double sum = 0;
            for (size_t i = 0; i < k; i++)
                sum += (double)row[i] * seen[i];
            out[p * c->n_each + r] = sum;
        }
    }
    mem_free(seen);
    mem_free(row);
}

/* Of a case of two parts: silu(gate) * up; of one: the plain products. */
static double *solve(const struct moe_case *c)
{
    size_t n = c->n_tokens * c->n_used * c->n_each;
    double *out = mem_need(n * sizeof *out), *up = mem_need(n * sizeof *up);
    solve_part(c, 0, c->n_parts == 2 ? c->n_used : 1, out);
    if (c->n_parts == 2) {
        solve_part(c, 1, c->n_used, up);
        for (size_t i = 0; i < n; i++)
            out[i] = out[i] / (1 + exp(-out[i])) * up[i];
    }
    mem_free(up);
    return out;
}

/* ---- the quick answer ---- */

static struct bbuf *buf_of_ids(struct backend *b, const int32_t *ids, size_t n)
{
    struct bbuf *buf = backend_buf_new(b, n * sizeof *ids, NULL);
    assert_non_null(buf);
    assert_true(backend_buf_write(b, buf, 0, ids, n * sizeof *ids, NULL));
    return buf;
}

static bool run_op(struct backend *b, const struct moe_case *c, const struct bexperts *w,
                   const struct bbuf *x, const struct bbuf *ids, struct bbuf *out, size_t n_tokens,
                   struct err *err)
{
    struct op_moe_gate_up gate_up = {w, x, ids, out, n_tokens, c->n_used, NULL, 0};
    struct op_moe_down down = {w, x, ids, out, n_tokens, c->n_used, NULL, 0};
    return c->n_parts == 2 ? backend_moe_gate_up(b, &gate_up, err) : backend_moe_down(b, &down, err);
}

/* Tokens first .. first + n in one call; adds their rows to the end of out. */
static void run_some(struct backend *b, const struct moe_case *c, const struct bexperts *w, size_t first,
                     size_t n, float *out)
{
    struct err err = {0};
    size_t in_rows = c->n_parts == 2 ? 1 : c->n_used, n_out = n * c->n_used * c->n_each;
    struct bbuf *x = fixture_buf(b, c->x + first * in_rows * c->k, n * in_rows * c->k);
    struct bbuf *ids = buf_of_ids(b, c->ids + first * c->n_used, n * c->n_used);
    struct bbuf *result = fixture_buf(b, NULL, n_out);
    if (!run_op(b, c, w, x, ids, result, n, &err))
        fail_msg("%s", err.text);
    float *all = fixture_read(b, result, n_out);
    memcpy(out, all, n_out * sizeof *out);
    mem_free(all);
    backend_buf_free(b, x);
    backend_buf_free(b, ids);
    backend_buf_free(b, result);
}

static struct bexperts *bind(struct backend *b, const struct moe_case *c)
{
    const struct tensor *parts[] = {&c->parts[0], &c->parts[1]};
    struct err err = {0};
    struct bexperts *w = backend_experts_bind(b, parts, c->n_parts, &err);
    if (!w)
        fail_msg("%s", err.text);
    return w;
}

/* All tokens, n_at_once of them in one call. */
static float *run(struct backend *b, const struct moe_case *c, size_t n_at_once)
{
    struct bexperts *w = bind(b, c);
    size_t row = c->n_used * c->n_each;
    float *out = mem_need(c->n_tokens * row * sizeof *out);
    for (size_t t = 0; t < c->n_tokens; t += n_at_once) {
        size_t n = c->n_tokens - t < n_at_once ? c->n_tokens - t : n_at_once;
        run_some(b, c, w, t, n, out + t * row);
    }
    backend_experts_free(b, w);
    return out;
}

static void check(const struct moe_case *c)
{
    double *exact = solve(c);
    for (int isa = 0; isa < CPU_ISA_N; isa++) {
        if (!backends[isa].ops)
            continue;
        float *out = run(&backends[isa], c, c->n_tokens);
        double error = fixture_nmse(out, exact, c->n_tokens * c->n_used * c->n_each);
        if (!(error <= MAX_ROUNDING))
            fail_msg("%s %s: experts %zu x %zu x %zu, tokens %zu x %zu: nmse %.3g",
                     cpu_isa_name((enum cpu_isa)isa), dtype_info(c->parts[0].type)->name, c->n_experts,
                     c->n_each, c->k, c->n_tokens, c->n_used, error);
        mem_free(out);
    }
    mem_free(exact);
}

static void check_both(enum dtype first, enum dtype second, struct shape shape, uint32_t seed)
{
    enum dtype types[] = {first, second};
    for (size_t n_parts = 1; n_parts <= 2; n_parts++) {
        struct moe_case *c = case_new(types, n_parts, shape, seed);
        check(c);
        case_free(c);
    }
}

/* ---- cases ---- */

static void moe__products__every_type_equals_the_emulation(void **state)
{
    (void)state;
    static const struct shape shapes[] = {
        {4, 5, 256, 1, 2}, {8, 3, 512, 2, 1}, {64, 2, 256, 7, 8}, {5, 7, 256, 33, 3}, {4, 33, 256, 2, 4}};
    for (enum dtype type = 0; type < DTYPE_I8; type++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            check_both(type, type, shapes[i], (uint32_t)(type * 8 + i));
}

static void moe__products__more_columns_than_a_tile(void **state)
{
    (void)state;
    static const enum dtype types[] = {DTYPE_Q4_K, DTYPE_Q8_0, DTYPE_F32};
    for (size_t i = 0; i < 3; i++)
        check_both(types[i], types[i], (struct shape){8, 3, 256, 300, 2}, (uint32_t)i);
}

static void moe__products__widths_that_are_no_multiple_of_anything(void **state)
{
    (void)state;
    static const enum dtype types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
    for (size_t i = 0; i < 3; i++)
        for (size_t k = 1; k < 40; k += 3)
            check_both(types[i], types[i], (struct shape){4, 67, k, 3, 2}, (uint32_t)k);
    for (size_t k = 32; k <= 160; k += 32)
        check_both(DTYPE_Q8_0, DTYPE_Q4_0, (struct shape){4, 129, k, 2, 2}, (uint32_t)k);
}

static void moe__gate_and_up__may_differ_in_type(void **state)
{
    (void)state;
    static const enum dtype pairs[][2] = {
        {DTYPE_Q4_K, DTYPE_Q6_K}, {DTYPE_F32, DTYPE_Q8_0}, {DTYPE_Q5_0, DTYPE_BF16}};
    for (size_t i = 0; i < 3; i++)
        for (size_t n_tokens = 1; n_tokens < 40; n_tokens += 19)
            check_both(pairs[i][0], pairs[i][1], (struct shape){6, 9, 256, n_tokens, 3}, (uint32_t)i);
}

static void moe__products__all_tokens_want_one_expert(void **state)
{
    (void)state;
    for (size_t n_parts = 1; n_parts <= 2; n_parts++) {
        enum dtype types[] = {DTYPE_Q4_K, DTYPE_Q4_K};
        struct moe_case *c = case_new(types, n_parts, (struct shape){9, 4, 256, 50, 1}, 3);
        for (size_t t = 0; t < 50; t++)
            c->ids[t] = 8;
        check(c);
        case_free(c);
    }
}

static void moe__products__a_token_may_want_one_expert_twice(void **state)
{
    (void)state;
    enum dtype types[] = {DTYPE_Q8_0, DTYPE_Q8_0};
    struct moe_case *c = case_new(types, 2, (struct shape){4, 4, 64, 5, 4}, 3);
    for (size_t t = 0; t < 5; t++)
        c->ids[4 * t + 3] = c->ids[4 * t];
    check(c);
    case_free(c);
}

static void moe__products__more_pairs_than_a_pass(void **state)
{
    (void)state;
    check_both(DTYPE_Q8_0, DTYPE_Q8_0, (struct shape){16, 1, 32, 8300, 8}, 5);
}

/* One token whose slots alone are more columns than the scratch holds. */
static void moe__products__wide_rows_of_many_experts(void **state)
{
    (void)state;
    enum dtype type = DTYPE_Q4_0;
    struct moe_case *c = case_new(&type, 1, (struct shape){760, 1, 32768, 1, 760}, 7);
    double *exact = solve(c);
    float *out = run(&backends[CPU_SCALAR], c, 1);
    assert_true(fixture_nmse(out, exact, 760) <= MAX_ROUNDING);
    mem_free(exact);
    mem_free(out);
    case_free(c);
}

/* Whatever the tokens of a call and the threads. */
static void check_bits(const struct moe_case *c, int isa)
{
    static const size_t at_once[] = {2, 3, 7, 33};
    static const int threads[] = {1, 3, 5};
    size_t n_bytes = c->n_tokens * c->n_used * c->n_each * sizeof(float);
    float *one = run(&backends[isa], c, 1);
    for (size_t i = 0; i < sizeof at_once / sizeof *at_once; i++) {
        float *other = run(&backends[isa], c, at_once[i]);
        assert_memory_equal(one, other, n_bytes);
        mem_free(other);
    }
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
        struct backend b = fixture_open(threads[i], cpu_isa_name((enum cpu_isa)isa));
        float *other = run(&b, c, c->n_tokens);
        assert_memory_equal(one, other, n_bytes);
        mem_free(other);
        backend_close(&b);
    }
    mem_free(one);
}

static void moe__products__same_bits_for_all_tokens_and_threads(void **state)
{
    (void)state;
    static const enum dtype mixes[][2] = {
        {DTYPE_Q4_K, DTYPE_Q6_K}, {DTYPE_Q8_0, DTYPE_Q4_0}, {DTYPE_F32, DTYPE_F16}, {DTYPE_BF16, DTYPE_Q5_K}};
    for (size_t i = 0; i < 4; i++)
        for (size_t n_parts = 1; n_parts <= 2; n_parts++) {
            struct moe_case *c = case_new(mixes[i], n_parts, (struct shape){6, 133, 256, 33, 3}, 11);
            for (int isa = 0; isa < CPU_ISA_N; isa++)
                if (backends[isa].ops)
                    check_bits(c, isa);
            case_free(c);
        }
}

/* What is no number stays with its token. */
static void moe__products__nan_stays_in_its_row(void **state)
{
    (void)state;
    enum dtype types[] = {DTYPE_Q4_K, DTYPE_F32};
    for (int isa = 0; isa < CPU_ISA_N; isa++) {
        if (!backends[isa].ops)
            continue;
        struct moe_case *c = case_new(types, 2, (struct shape){3, 4, 256, 9, 2}, 2);
        float *before = run(&backends[isa], c, 9);
        c->x[4 * 256 + 100] = NAN;
        float *after = run(&backends[isa], c, 9);
        size_t row = 2 * 4;
        for (size_t i = 0; i < row; i++)
            assert_true(isnan(after[4 * row + i]));
        assert_memory_equal(before, after, 4 * row * sizeof *after);
        assert_memory_equal(before + 5 * row, after + 5 * row, 4 * row * sizeof *after);
        mem_free(before);
        mem_free(after);
        case_free(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moe__products__every_type_equals_the_emulation),
        cmocka_unit_test(moe__products__more_columns_than_a_tile),
        cmocka_unit_test(moe__products__widths_that_are_no_multiple_of_anything),
        cmocka_unit_test(moe__gate_and_up__may_differ_in_type),
        cmocka_unit_test(moe__products__all_tokens_want_one_expert),
        cmocka_unit_test(moe__products__a_token_may_want_one_expert_twice),
        cmocka_unit_test(moe__products__more_pairs_than_a_pass),
        cmocka_unit_test(moe__products__wide_rows_of_many_experts),
        cmocka_unit_test(moe__products__same_bits_for_all_tokens_and_threads),
        cmocka_unit_test(moe__products__nan_stays_in_its_row),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
