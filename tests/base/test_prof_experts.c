/* Balance, entropy and overlap, against numbers made by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/base/prof_experts.h"

static const struct prof_shape moe = {.n_layers = 3, .n_experts = 4, .n_used = 2};

static void set_pairs(struct prof *p, uint32_t layer, const uint64_t counts[4])
{
    for (uint32_t e = 0; e < 4; e++)
        prof_pairs(p, PROF_DECODE, layer)[e] = counts[e];
}

static void prof_experts__spread__known_distributions(void **state)
{
    (void)state;
    static const struct {
        uint64_t counts[4];
        double entropy, balance;
        uint32_t n_asked, busiest;
    } cases[] = {
        {{5, 5, 5, 5}, 2, 1, 4, 0},
        {{0, 0, 9, 0}, 0, 0.25, 1, 2},
        {{0, 4, 0, 4}, 1, 0.5, 2, 1},
        {{4, 2, 1, 1}, 1.75, 0.5, 4, 0},
    };
    struct prof *p = prof_new(&moe, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct prof_spread s;
        set_pairs(p, 1, cases[i].counts);
        assert_true(prof_spread(p, PROF_DECODE, 1, &s));
        assert_true(fabs(s.entropy - cases[i].entropy) < 1e-12);
        assert_true(fabs(s.balance - cases[i].balance) < 1e-12);
        assert_int_equal(s.n_asked, cases[i].n_asked);
        assert_int_equal(s.busiest, cases[i].busiest);
        assert_false(prof_spread(p, PROF_PREFILL, 1, &s));
    }
    prof_free(p);
}

/* Layers without tokens do not count. */
static void prof_experts__mean__is_over_layers_with_tokens(void **state)
{
    (void)state;
    struct prof *p = prof_new(&moe, NULL);
    struct prof_spread s;
    assert_false(prof_spread_mean(p, PROF_DECODE, &s));
    set_pairs(p, 0, (const uint64_t[]){1, 1, 1, 1});
    set_pairs(p, 2, (const uint64_t[]){0, 0, 0, 4});
    assert_true(prof_spread_mean(p, PROF_DECODE, &s));
    assert_true(fabs(s.entropy - 1) < 1e-12);
    assert_true(fabs(s.balance - 0.625) < 1e-12);
    assert_int_equal(s.n_pairs, 8);
    prof_free(p);
}

static void prof_experts__overlap__is_a_share_of_the_experts_used(void **state)
{
    (void)state;
    struct prof *p = prof_new(&moe, NULL);
    double overlap;
    assert_false(prof_overlap(p, 0, &overlap));
    assert_false(prof_overlap_mean(p, &overlap));
    p->n_followed = 5;
    p->repeats[0] = 10;
    p->repeats[1] = 5;
    assert_true(prof_overlap(p, 0, &overlap));
    assert_true(overlap == 1);
    assert_true(prof_overlap(p, 2, &overlap));
    assert_true(overlap == 0);
    assert_true(prof_overlap_mean(p, &overlap));
    assert_true(fabs(overlap - 0.5) < 1e-12);
    prof_free(p);
}

/* A dense model has no experts to say anything about, and nothing is divided by zero. */
static void prof_experts__dense__knows_nothing(void **state)
{
    (void)state;
    struct prof *p = prof_new(&(struct prof_shape){.n_layers = 2}, NULL);
    struct prof_spread s;
    double overlap;
    p->n_followed = 3;
    assert_false(prof_spread_mean(p, PROF_PREFILL, &s));
    assert_false(prof_overlap_mean(p, &overlap));
    assert_true(s.entropy == 0 && s.balance == 0 && overlap == 0);
    prof_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prof_experts__spread__known_distributions),
        cmocka_unit_test(prof_experts__mean__is_over_layers_with_tokens),
        cmocka_unit_test(prof_experts__overlap__is_a_share_of_the_experts_used),
        cmocka_unit_test(prof_experts__dense__knows_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
