/* Two profiles side by side, and what is said of experts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "app/profile_compare.h"

static struct prof *new_prof(uint32_t n_experts)
{
    struct prof *p =
        prof_new(&(struct prof_shape){.n_layers = 2, .n_experts = n_experts, .n_used = n_experts / 2}, NULL);
    p->n_tokens[PROF_DECODE] = 10;
    p->wall_ns[PROF_DECODE] = 100000000;
    prof_add(p, PROF_DECODE, 0, PROF_QKV, 30000000, 60000000);
    prof_add(p, PROF_DECODE, 1, PROF_QKV, 20000000, 40000000);
    prof_add(p, PROF_DECODE, 2, PROF_SAMPLE, 25000000, 0);
    return p;
}

static void assert_text(struct buf *out, const char *expected)
{
    assert_string_equal(buf_text(out), expected);
    buf_truncate(out, 0);
}

static void profile_compare__gives_ratios_of_what_both_have(void **state)
{
    (void)state;
    struct prof *a = new_prof(0), *b = new_prof(4);
    struct buf out = {0};
    b->n_tokens[PROF_DECODE] = 5;
    prof_add(b, PROF_DECODE, 1, PROF_ROUTER, 10000000, 0);
    profile_compare(&out, a, b, PROF_PREFILL);
    assert_text(&out, "");
    profile_compare(&out, a, b, PROF_DECODE);
    assert_text(&out, "\ndecode: 10 and 5 tokens\n"
                      "ms/token                 A           B     B / A\n"
                      "qkv                  5.000      10.000      2.00\n"
                      "router                   -       2.000         -\n"
                      "sample               2.500       5.000      2.00\n"
                      "not timed            2.500       3.000      1.20\n"
                      "all                 10.000      20.000      2.00\n");
    prof_free(a);
    prof_free(b);
    buf_fini(&out);
}

static void profile_experts__line_and_csv__count(void **state)
{
    (void)state;
    struct prof *p = new_prof(4);
    struct buf out = {0};
    for (uint32_t e = 0; e < 4; e++) {
        prof_pairs(p, PROF_DECODE, 0)[e] = 5;
        prof_pairs(p, PROF_DECODE, 1)[e] = e == 3 ? 10 : e == 1 ? 10 : 0;
    }
    prof_pairs(p, PROF_PREFILL, 1)[2] = 7;
    p->n_followed = 9;
    p->repeats[0] = p->repeats[1] = 9;
    profile_experts_line(&out, p, PROF_DECODE);
    assert_text(&out,
                "2 of 4 experts: balance 0.75, entropy 1.50 of 2.00 bits, overlap 0.50 (0.50 by chance), "
                "busiest 1 in layer 1 (50.0 %)\n");
    profile_csv(&out, p);
    assert_text(&out, "layer,expert,prefill,decode\n0,0,0,5\n0,1,0,5\n0,2,0,5\n0,3,0,5\n"
                      "1,0,0,0\n1,1,0,10\n1,2,7,0\n1,3,0,10\n");
    prof_free(p);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(profile_compare__gives_ratios_of_what_both_have),
        cmocka_unit_test(profile_experts__line_and_csv__count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
