/* The checked calls around experts (engine/backend.h) on the CPU backend: every wrong argument is a sentence,
 * nothing is computed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cpu_fixture.h"

enum { N_EXPERTS = 3, WIDTH = 8, N_FF = 4 };

static struct backend backend;
static struct bbuf *small, *large, *ids; /* 64 and 4096 floats; eight times expert 2 */
static struct bexperts *gate_up, *down;  /* [3, 2*4, 8] and [3, 8, 4] */
static float zeros[N_EXPERTS * 2 * N_FF * WIDTH];

static struct tensor stack(size_t k, size_t n, size_t n_experts)
{
    struct tensor t = {.type = DTYPE_F32,
                       .n_dims = 3,
                       .dims = {k, n, n_experts, 1},
                       .data = zeros,
                       .n_bytes = k * n * n_experts * sizeof(float)};
    strcpy(t.name, "blk.0.exps");
    return t;
}

static int set_up(void **state)
{
    (void)state;
    static const int32_t twos[] = {2, 2, 2, 2, 2, 2, 2, 2};
    struct tensor up_stack = stack(WIDTH, N_FF, N_EXPERTS), down_stack = stack(N_FF, WIDTH, N_EXPERTS);
    const struct tensor *ups[] = {&up_stack, &up_stack}, *downs[] = {&down_stack};
    backend = fixture_open(2, NULL);
    small = fixture_buf(&backend, NULL, 64 - GUARD_FLOATS);
    large = fixture_buf(&backend, zeros, 64);
    ids = backend_buf_new(&backend, sizeof twos, NULL);
    gate_up = backend_experts_bind(&backend, ups, 2, NULL);
    down = backend_experts_bind(&backend, downs, 1, NULL);
    return ids && gate_up && down && backend_buf_write(&backend, ids, 0, twos, sizeof twos, NULL) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    backend_experts_free(&backend, gate_up);
    backend_experts_free(&backend, down);
    backend_experts_free(&backend, NULL);
    backend_buf_free(&backend, small);
    backend_buf_free(&backend, large);
    backend_buf_free(&backend, ids);
    backend_close(&backend);
    return 0;
}

static void expect(bool ok, const struct err *err, const char *words)
{
    assert_false(ok);
    assert_int_not_equal(err->code, ERR_NONE);
    if (!strstr(err->text, words))
        fail_msg("found \"%s\", expected it to say \"%s\"", err->text, words);
}

static void expect_route(struct op_route op, const char *words)
{
    struct err err = {0};
    expect(backend_route(&backend, &op, &err), &err, "route: ");
    expect(false, &err, words);
}

static void backend_route__refuses_wrong_arguments(void **state)
{
    (void)state;
    struct err err = {0};
    const struct op_route good = {large, ids, small, 4, 3, 2, false, 1, 0};
    struct op_route op = good;
    op.ids = large; /* written */
    op.logits = ids;
    op.n_tokens = 2;
    assert_true(backend_route(&backend, &op, &err));
    op = good;
    op.n_used = 0;
    expect_route(op, "found 0 experts used of 3, expected 1 to 3");
    op.n_used = 4;
    expect_route(op, "found 4 experts used of 3, expected 1 to 3");
    op = good;
    op.n_experts = 21;
    expect_route(op, "the logits holds 320 bytes, expected 4 rows of 21");
    op = good;
    op.n_tokens = 5;
    expect_route(op, "the expert ids holds 32 bytes, expected 5 rows of 2");
    op = good;
    op.weights = NULL;
    expect_route(op, "the weights is missing");
    op = good;
    op.n_tokens = SIZE_MAX / 2;
    expect_route(op, "larger than memory");
}

static void expect_gate_up(struct op_moe_gate_up op, const char *words)
{
    struct err err = {0};
    expect(backend_moe_gate_up(&backend, &op, &err), &err, "moe_gate_up: ");
    expect(false, &err, words);
}

static void backend_moe_gate_up__refuses_wrong_arguments(void **state)
{
    (void)state;
    struct err err = {0};
    struct tensor odd_stack = stack(WIDTH, 3, N_EXPERTS);
    const struct tensor *odds[] = {&odd_stack};
    const struct op_moe_gate_up good = {gate_up, large, ids, small, 4, 2, NULL, 0};
    struct op_moe_gate_up op = good;
    assert_true(backend_moe_gate_up(&backend, &op, &err));
    op.w = NULL;
    expect_gate_up(op, "the experts are missing");
    op = good;
    op.n_used = 4;
    expect_gate_up(op, "found 4 experts used of 3");
    op = good;
    op.n_tokens = 5;
    expect_gate_up(op, "the expert ids holds 32 bytes, expected 5 rows of 2");
    op = good;
    op.x = ids;
    expect_gate_up(op, "the input holds 32 bytes, expected 4 rows of 8");
    op = good;
    op.out = ids;
    expect_gate_up(op, "the output holds 32 bytes, expected 8 rows of 4");
    op = good;
    op.x = small;
    expect_gate_up(op, "same buffer");
    op = good;
    op.n_tokens = SIZE_MAX;
    expect_gate_up(op, "larger than memory");
    op = good;
    op.w = backend_experts_bind(&backend, odds, 1, &err);
    expect_gate_up(op, "found 3 rows of gate and up, expected an even number");
    backend_experts_free(&backend, (struct bexperts *)op.w);
}

static void expect_down(struct op_moe_down op, const char *words)
{
    struct err err = {0};
    expect(backend_moe_down(&backend, &op, &err), &err, "moe_down: ");
    expect(false, &err, words);
}

static void backend_moe_down__refuses_wrong_arguments(void **state)
{
    (void)state;
    struct err err = {0};
    const struct op_moe_down good = {down, large, ids, small, 4, 2, NULL, 0};
    struct op_moe_down op = good;
    assert_true(backend_moe_down(&backend, &op, &err));
    op.n_used = 0;
    expect_down(op, "found 0 experts used of 3");
    op = good;
    op.ids = NULL;
    expect_down(op, "the expert ids is missing");
    op = good;
    op.x = ids;
    expect_down(op, "the input holds 32 bytes, expected 8 rows of 4");
    op = good;
    op.out = ids;
    expect_down(op, "the output holds 32 bytes, expected 8 rows of 8");
    op.out = large;
    expect_down(op, "same buffer");
}

/* An id outside would read what lies behind the stack. */
static void backend_moe__refuses_experts_that_are_not_there(void **state)
{
    (void)state;
    static const int32_t wrong[][4] = {
        {0, 1, 2, 3}, {0, 1, -1, 2}, {INT32_MIN, 0, 0, 0}, {0, 0, 0, INT32_MAX}};
    static const char *const words[] = {"pair 3 has expert 3, expected 0 to 2", "pair 2 has expert -1",
                                        "pair 0 has expert -2147483648", "pair 3 has expert 2147483647"};
    struct bbuf *bad = backend_buf_new(&backend, sizeof wrong[0], NULL);
    for (size_t i = 0; i < 4; i++) {
        assert_true(backend_buf_write(&backend, bad, 0, wrong[i], sizeof wrong[i], NULL));
        expect_gate_up((struct op_moe_gate_up){gate_up, large, bad, small, 2, 2, NULL, 0}, words[i]);
        expect_down((struct op_moe_down){down, large, bad, small, 2, 2, NULL, 0}, words[i]);
    }
    backend_buf_free(&backend, bad);
}

static void backend_sums__refuse_wrong_arguments(void **state)
{
    (void)state;
    struct err err = {0};
    struct op_weighted_sum sum = {large, ids, small, 4, 2, 8};
    assert_true(backend_weighted_sum(&backend, &sum, &err));
    sum.n_used = 0;
    expect(backend_weighted_sum(&backend, &sum, &err), &err, "weighted_sum: the number of experts used is 0");
    sum.n_used = 3;
    expect(backend_weighted_sum(&backend, &sum, &err), &err,
           "weighted_sum: the slots holds 320 bytes, expected 12 rows of 8");
    sum.n = 4;
    expect(backend_weighted_sum(&backend, &sum, &err), &err,
           "the weights holds 32 bytes, expected 4 rows of 3");
    sum = (struct op_weighted_sum){small, ids, small, 4, 2, 8};
    expect(backend_weighted_sum(&backend, &sum, &err), &err, "same buffer");
    struct op_add_gated gated = {large, ids, small, 8, 8};
    assert_true(backend_add_gated(&backend, &gated, &err));
    gated.n_tokens = 9;
    expect(backend_add_gated(&backend, &gated, &err), &err,
           "add_gated: the gates holds 32 bytes, expected 9 rows of 1");
    gated = (struct op_add_gated){large, ids, ids, 8, 8};
    expect(backend_add_gated(&backend, &gated, &err), &err, "the output holds 32 bytes");
    gated = (struct op_add_gated){small, ids, small, 8, 8};
    expect(backend_add_gated(&backend, &gated, &err), &err, "same buffer");
}

static void backend_rms_norm__refuses_parts_outside_their_rows(void **state)
{
    (void)state;
    struct err err = {0};
    const struct op_rms_norm good = {
        .x = small, .w = large, .out = small, .n_tokens = 4, .n = 8, .stride = 16, .offset = 8, .eps = 1e-5f};
    struct op_rms_norm op = good;
    assert_true(backend_rms_norm(&backend, &op, &err));
    op.offset = 9;
    expect(backend_rms_norm(&backend, &op, &err), &err, "rms_norm: 8 values at 9 of rows of 16");
    op.offset = SIZE_MAX;
    expect(backend_rms_norm(&backend, &op, &err), &err, "of rows of 16, expected a part of them");
    op = good;
    op.n = 17;
    expect(backend_rms_norm(&backend, &op, &err), &err, "17 values at 8 of rows of 16");
    op = good;
    op.out = large;
    expect(backend_rms_norm(&backend, &op, &err), &err, "in place");
    op = good;
    op.n_tokens = 5;
    expect(backend_rms_norm(&backend, &op, &err), &err, "the rows holds 256 bytes, expected 5 rows of 16");
    op.n = 0;
    expect(backend_rms_norm(&backend, &op, &err), &err, "the width is 0");
}

static void backend_moe__no_tokens__is_a_no_op(void **state)
{
    (void)state;
    struct err err = {0};
    assert_true(backend_route(&backend, &(struct op_route){0}, &err));
    assert_true(backend_moe_gate_up(&backend, &(struct op_moe_gate_up){0}, &err));
    assert_true(backend_moe_down(&backend, &(struct op_moe_down){0}, &err));
    assert_true(backend_weighted_sum(&backend, &(struct op_weighted_sum){0}, &err));
    assert_true(backend_add_gated(&backend, &(struct op_add_gated){0}, &err));
}

static void expect_bind(struct tensor second, const char *words)
{
    struct tensor first = stack(WIDTH, N_FF, N_EXPERTS);
    const struct tensor *parts[] = {&first, &second};
    struct err err = {0};
    assert_null(backend_experts_bind(&backend, parts, 2, &err));
    assert_int_equal(err.code, ERR_MODEL);
    expect(false, &err, words);
}

static void backend_experts_bind__refuses_wrong_tensors(void **state)
{
    (void)state;
    const struct tensor good = stack(WIDTH, N_FF, N_EXPERTS);
    struct tensor bad = stack(WIDTH, N_FF, 2);
    expect_bind(bad, "tensor blk.0.exps: found 2 experts with rows of 8, expected 3 with rows of 8");
    expect_bind(stack(4, N_FF, N_EXPERTS), "found 3 experts with rows of 4, expected 3 with rows of 8");
    expect_bind(stack(WIDTH, 0, N_EXPERTS), "made for another program");
    bad = good;
    bad.n_bytes -= 4;
    expect_bind(bad, "found 380 bytes, which are not 3 experts of 4 rows of 8 in f32");
    bad = good;
    bad.n_bytes += 4;
    expect_bind(bad, "found 388 bytes");
    bad = good;
    bad.n_dims = 4;
    expect_bind(bad, "made for another program");
    bad = good;
    bad.type = DTYPE_Q4_K;
    expect_bind(bad, "rows of 8 in q4_k");
    bad.type = DTYPE_I8;
    expect_bind(bad, "no kernels for int8");
    bad = good;
    bad.dims[1] = SIZE_MAX / 2;
    expect_bind(bad, "found 384 bytes");
}

static void backend_experts_bind__refuses_more_than_it_can_hold(void **state)
{
    (void)state;
    struct err err = {0};
    struct tensor many = stack(1, 1, 4097), wide = stack((1 << 16) + 1, 1, 1), none = stack(WIDTH, N_FF, 0);
    const struct tensor *parts[] = {&many, &many, &many, &many, &many};
    assert_null(backend_experts_bind(&backend, parts, 1, &err));
    expect(false, &err, "found 4097 of them, expected at most 4096");
    parts[0] = &wide;
    assert_null(backend_experts_bind(&backend, parts, 1, &err));
    expect(false, &err, "rows of 65537");
    parts[0] = &none;
    assert_null(backend_experts_bind(&backend, parts, 1, &err));
    expect(false, &err, "found 0 experts");
    assert_null(backend_experts_bind(&backend, parts, 5, &err));
    expect(false, &err, "found 5 parts, expected 1 to 4");
    assert_null(backend_experts_bind(&backend, parts, 0, &err));
    expect(false, &err, "found 0 parts");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backend_route__refuses_wrong_arguments),
        cmocka_unit_test(backend_moe_gate_up__refuses_wrong_arguments),
        cmocka_unit_test(backend_moe_down__refuses_wrong_arguments),
        cmocka_unit_test(backend_moe__refuses_experts_that_are_not_there),
        cmocka_unit_test(backend_sums__refuse_wrong_arguments),
        cmocka_unit_test(backend_rms_norm__refuses_parts_outside_their_rows),
        cmocka_unit_test(backend_moe__no_tokens__is_a_no_op),
        cmocka_unit_test(backend_experts_bind__refuses_wrong_tensors),
        cmocka_unit_test(backend_experts_bind__refuses_more_than_it_can_hold),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
