/* Gate and up in one operation against the product and its silu apart, bit by bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cpu_fixture.h"
#include "engine/base/mem.h"
#include "gemm_cases.h"

#define WIDTH ((size_t)512)

/* Of one part each for gate and up, or of one for both. */
struct shape {
    enum dtype types[2];
    size_t n_parts, n_ff, n_tokens;
    bool with_bias;
};

/* The result, [n_tokens, n_ff], for the caller to free. */
static float *compute(struct backend *b, const struct gemm_case *c, const struct shape *s)
{
    struct err err = {0};
    struct bbuf *x = fixture_buf(b, c->a, s->n_tokens * WIDTH);
    struct bbuf *product = fixture_buf(b, NULL, s->n_tokens * 2 * s->n_ff);
    struct bbuf *out = fixture_buf(b, NULL, s->n_tokens * s->n_ff);
    struct op_gate_up op = {.w = c->bound, .x = x, .product = product, .out = out, .n_tokens = s->n_tokens};
    if (!backend_gate_up(b, &op, &err))
        fail_msg("%s", err.text);
    mem_free(fixture_read(b, product, s->n_tokens * 2 * s->n_ff));
    float *result = fixture_read(b, out, s->n_tokens * s->n_ff);
    backend_buf_free(b, x);
    backend_buf_free(b, product);
    backend_buf_free(b, out);
    return result;
}

static void compare(struct backend *b, const struct shape *s)
{
    struct backend_ops apart_ops = *b->ops;
    struct backend apart = {&apart_ops, b->ctx};
    size_t n_each = 2 * s->n_ff / s->n_parts;
    struct gemm_case *c =
        gemm_case_unsolved(s->types, s->n_parts, n_each, WIDTH, s->n_tokens, s->with_bias, 5);
    assert_non_null(b->ops->gate_up);
    apart_ops.gate_up = NULL;
    float *got = compute(b, c, s), *want = compute(&apart, c, s);
    if (memcmp(got, want, s->n_tokens * s->n_ff * sizeof *got))
        fail_msg("%s: %s and %s, %zu tokens to %zu: other bits", b->ops->describe(b->ctx),
                 dtype_info(s->types[0])->name, dtype_info(s->types[1])->name, s->n_tokens, s->n_ff);
    mem_free(got);
    mem_free(want);
    gemm_case_free(c);
}

static void each_backend(void (*check)(struct backend *b))
{
    for (size_t i = 0; i < fixture_n_isas(); i++)
        for (int n_threads = 1; n_threads <= 3; n_threads += 2) {
            struct backend b = fixture_open(n_threads, cpu_isa_name(fixture_isa(i)));
            check(&b);
            backend_close(&b);
        }
}

/* Less than a tile, one, and what is left behind the last whole one. */
static void check_sizes(struct backend *b)
{
    static const size_t tokens[] = {1, 8, 9, 73}, widths[] = {16, 30, 64, 100, 192};
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
        for (size_t j = 0; j < sizeof widths / sizeof *widths; j++) {
            compare(b, &(struct shape){{DTYPE_Q4_K, DTYPE_Q4_K}, 2, widths[j], tokens[i], false});
            compare(b, &(struct shape){{DTYPE_Q8_0, DTYPE_Q8_0}, 1, widths[j], tokens[i], false});
        }
}

static void gate_up__any_size__has_the_bits_of_the_two_apart(void **state)
{
    (void)state;
    each_backend(check_sizes);
}

static void check_types(struct backend *b)
{
    static const enum dtype types[] = {DTYPE_F32,  DTYPE_F16,  DTYPE_BF16, DTYPE_Q4_0,  DTYPE_Q5_1,
                                       DTYPE_Q4_K, DTYPE_Q6_K, DTYPE_Q2_K, DTYPE_IQ4_XS};
    size_t n = sizeof types / sizeof *types;
    for (size_t i = 0; i < n; i++) {
        compare(b, &(struct shape){{types[i], types[i]}, 2, 100, 21, false});
        compare(b, &(struct shape){{types[i], types[(i + 1) % n]}, 2, 100, 21, false});
    }
    compare(b, &(struct shape){{DTYPE_Q4_K, DTYPE_Q4_K}, 2, 100, 21, true});
}

static void gate_up__any_type__has_the_bits_of_the_two_apart(void **state)
{
    (void)state;
    each_backend(check_types);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gate_up__any_size__has_the_bits_of_the_two_apart),
        cmocka_unit_test(gate_up__any_type__has_the_bits_of_the_two_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
