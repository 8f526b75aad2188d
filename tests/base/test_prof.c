/* Profiles: sums over layers, what lies between two copies, shapes that are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/base/prof.h"

static const struct prof_shape moe = {.n_layers = 3, .n_experts = 5, .n_used = 2};

static void prof__add__counts_in_its_layer_and_phase(void **state)
{
    (void)state;
    struct prof *p = prof_new(&moe, NULL);
    prof_add(p, PROF_DECODE, 1, PROF_DOWN, 10, 100);
    prof_add(p, PROF_DECODE, 2, PROF_DOWN, 20, 200);
    prof_add(p, PROF_DECODE, 3, PROF_LM_HEAD, 7, 70);
    prof_add(p, PROF_PREFILL, 1, PROF_DOWN, 1000, 1);
    assert_int_equal(prof_at(p, PROF_DECODE, 1, PROF_DOWN)->ns, 10);
    assert_int_equal(prof_at(p, PROF_DECODE, 0, PROF_DOWN)->calls, 0);
    struct prof_entry down = prof_sum(p, PROF_DECODE, PROF_DOWN);
    assert_int_equal(down.ns, 30);
    assert_int_equal(down.calls, 2);
    assert_int_equal(down.bytes, 300);
    assert_int_equal(prof_sum(p, PROF_DECODE, PROF_LM_HEAD).ns, 7);
    assert_int_equal(prof_sum(p, PROF_PREFILL, PROF_DOWN).ns, 1000);
    assert_int_equal(prof_sum_ns(p, PROF_DECODE), 37);
    p->timer_ns = 11;
    assert_int_equal(prof_cost_ns(p, PROF_DECODE), 33);
    prof_free(p);
}

static void prof__subtract__leaves_what_lies_between(void **state)
{
    (void)state;
    struct prof *p = prof_new(&moe, NULL), *before = prof_new(&moe, NULL);
    p->n_tokens[PROF_DECODE] = 4;
    prof_add(p, PROF_DECODE, 2, PROF_DOWN, 20, 200);
    prof_pairs(p, PROF_PREFILL, 2)[4] = 6;
    prof_pairs(p, PROF_DECODE, 0)[0] = 1;
    p->repeats[2] = 3;
    p->n_followed = 3;
    prof_copy(before, p);
    p->n_tokens[PROF_DECODE] = 6;
    prof_add(p, PROF_DECODE, 2, PROF_DOWN, 5, 50);
    prof_pairs(p, PROF_PREFILL, 2)[4] = 10;
    p->repeats[2] = 4;
    p->n_followed = 5;
    prof_newest(p, 2)[1] = 4;
    prof_subtract(p, before);
    assert_int_equal(p->n_tokens[PROF_DECODE], 2);
    assert_int_equal(prof_at(p, PROF_DECODE, 2, PROF_DOWN)->ns, 5);
    assert_int_equal(prof_at(p, PROF_DECODE, 2, PROF_DOWN)->calls, 1);
    assert_int_equal(prof_pairs(p, PROF_PREFILL, 2)[4], 4);
    assert_int_equal(prof_pairs(p, PROF_DECODE, 0)[0], 0);
    assert_int_equal(p->repeats[2], 1);
    assert_int_equal(p->n_followed, 2);
    assert_int_equal(prof_newest(p, 2)[1], 4);
    assert_int_equal(prof_newest(before, 2)[1], 0);
    prof_free(before);
    prof_free(p);
}

/* Two of eight tokens were sampled: the device's 30 ns stand for 120, and the wait is what is left. */
static void prof__use_device__keeps_the_sum(void **state)
{
    (void)state;
    struct prof *p = prof_new(&moe, NULL);
    p->n_tokens[PROF_DECODE] = 8;
    prof_add(p, PROF_DECODE, 1, PROF_QKV, 10, 100);
    prof_add(p, PROF_DECODE, 1, PROF_NORM, 3, 0);
    prof_add(p, PROF_DECODE, 3, PROF_SYNC, 200, 0);
    p->device_ns[1 * PROF_N_OPS + PROF_QKV] = 30;
    p->n_device = 2;
    prof_use_device(p);
    assert_int_equal(prof_at(p, PROF_DECODE, 1, PROF_QKV)->ns, 120);
    assert_int_equal(prof_at(p, PROF_DECODE, 1, PROF_NORM)->ns, 3); /* the device has no time of it */
    assert_int_equal(prof_at(p, PROF_DECODE, 3, PROF_SYNC)->ns, 90);
    assert_int_equal(prof_sum_ns(p, PROF_DECODE), 213);
    prof_use_device(p); /* no samples: nothing changes */
    assert_int_equal(prof_sum_ns(p, PROF_DECODE), 213);
    p->device_ns[1 * PROF_N_OPS + PROF_NORM] = 1000; /* more than the host has seen: no wait is left */
    p->n_device = 8;
    prof_use_device(p);
    assert_int_equal(prof_at(p, PROF_DECODE, 3, PROF_SYNC)->ns, 0);
    prof_free(p);
}

static void prof__new__refuses_shapes_beyond_the_limits(void **state)
{
    (void)state;
    struct err err = {0};
    assert_null(prof_new(&(struct prof_shape){.n_layers = PROF_MAX_LAYERS + 1}, &err));
    assert_null(prof_new(&(struct prof_shape){.n_layers = 1, .n_experts = PROF_MAX_EXPERTS + 1}, &err));
    assert_null(prof_new(&(struct prof_shape){.n_layers = 1, .n_experts = 2, .n_used = 3}, &err));
    assert_int_equal(err.code, ERR_RUNTIME);
    prof_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prof__add__counts_in_its_layer_and_phase),
        cmocka_unit_test(prof__subtract__leaves_what_lies_between),
        cmocka_unit_test(prof__use_device__keeps_the_sum),
        cmocka_unit_test(prof__new__refuses_shapes_beyond_the_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
