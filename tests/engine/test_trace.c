/* The ring of operations: what is kept, what makes room, what was of no step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/trace.h"

static uint64_t now_ns;

static void add_ops(struct trace *t, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++, now_ns += 10)
        trace_add_op(t, PROF_DECODE, &(struct trace_op){.start_ns = now_ns, .ns = 10, .bytes = now_ns});
}

static void add_step(struct trace *t, uint32_t n_ops, uint64_t pos)
{
    uint64_t start_ns = now_ns;
    add_ops(t, n_ops);
    trace_end_step(t, PROF_DECODE, start_ns, now_ns, 1, pos);
}

static void assert_whole(const struct trace *t, size_t i, uint64_t pos, uint32_t n_ops)
{
    const struct trace_step *step = trace_step_at(t, PROF_DECODE, i);
    assert_int_equal(step->pos, pos);
    assert_int_equal(step->n_ops, n_ops);
    assert_int_equal(step->end_ns - step->start_ns, 10 * n_ops);
    for (uint32_t j = 0; j < n_ops; j++)
        assert_int_equal(trace_op_at(t, PROF_DECODE, step, j)->start_ns, step->start_ns + 10 * j);
}

static void trace__steps__the_last_n_are_kept(void **state)
{
    (void)state;
    struct trace *t = trace_new(2, 5, NULL);
    for (uint64_t pos = 0; pos < 23; pos++) {
        assert_int_equal(trace_n_steps(t, PROF_DECODE), pos < 5 ? pos : 5);
        add_step(t, 30, pos);
    }
    for (size_t i = 0; i < 5; i++)
        assert_whole(t, i, 18 + i, 30);
    assert_int_equal(trace_n_steps(t, PROF_PREFILL), 0);
    assert_int_equal(trace_n_layers(t), 2);
    trace_free(t);
}

/* Steps of more operations than were reckoned with: fewer of them, but whole ones. */
static void trace__steps__are_whole_or_not_given(void **state)
{
    (void)state;
    struct trace *t = trace_new(1, 4, NULL); /* room for 4 * 40 operations */
    for (uint64_t pos = 0; pos < 9; pos++)
        add_step(t, 70, pos);
    assert_int_equal(trace_n_steps(t, PROF_DECODE), 2);
    assert_whole(t, 0, 7, 70);
    assert_whole(t, 1, 8, 70);
    add_step(t, 500, 9);
    assert_int_equal(trace_n_steps(t, PROF_DECODE), 0);
    trace_free(t);
}

/* What was dropped is in no step, and what it has overwritten neither. */
static void trace__drop__forgets_the_step_in_work(void **state)
{
    (void)state;
    struct trace *t = trace_new(1, 4, NULL);
    for (uint64_t pos = 0; pos < 4; pos++)
        add_step(t, 40, pos);
    add_ops(t, 50);
    trace_drop(t);
    assert_int_equal(trace_n_steps(t, PROF_DECODE), 2);
    assert_whole(t, 0, 2, 40);
    add_step(t, 40, 4);
    assert_int_equal(trace_n_steps(t, PROF_DECODE), 3);
    assert_whole(t, 2, 4, 40);
    trace_free(t);
}

/* Sampling comes before the forward pass that it is for. */
static void trace__step__begins_with_its_first_operation(void **state)
{
    (void)state;
    struct trace *t = trace_new(1, 4, NULL);
    uint64_t first_ns = now_ns;
    add_ops(t, 1);
    add_step(t, 3, 0);
    assert_int_equal(trace_step_at(t, PROF_DECODE, 0)->start_ns, first_ns);
    assert_int_equal(trace_step_at(t, PROF_DECODE, 0)->n_ops, 4);
    trace_free(t);
}

static void trace__new__every_allocation_may_fail(void **state)
{
    (void)state;
    bool done = false;
    for (long i = 0; !done; i++) {
        struct err err = {0};
        mem_fail_after(i);
        struct trace *t = trace_new(3, 7, &err);
        done = !mem_fail_happened();
        mem_fail_after(-1);
        assert_true(done == (t != NULL));
        trace_free(t);
    }
    trace_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trace__steps__the_last_n_are_kept),
        cmocka_unit_test(trace__steps__are_whole_or_not_given),
        cmocka_unit_test(trace__drop__forgets_the_step_in_work),
        cmocka_unit_test(trace__step__begins_with_its_first_operation),
        cmocka_unit_test(trace__new__every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
