/* What the engine measures: its own rounds, and reads of the weights in idle time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/engine.h"
#include "engine/trace.h"
#include "kernels_cpu/backend_cpu.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/forced_cpu.h"
#include "tests/support/tiny_model.h"

static struct backend backend;
static char path[] = "/tmp/ferrum-engine-XXXXXX";

static int set_up(void **state)
{
    (void)state;
    close(mkstemp(path));
    struct tiny_options moe = {.arch = "qwen2moe", .type = DTYPE_Q8_0, .seed = 5};
    return backend_cpu_open(&backend, 2, forced_cpu(), NULL) && tiny_model_save(&moe, path) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    backend_close(&backend);
    return 0;
}

static struct engine *open_engine(struct backend *b)
{
    struct engine_options options = {
        .model_path = path, .backend = b, .kv_type = DTYPE_F16, .speculation = SPECULATION_NEVER};
    return open_ready(&options);
}

/* A turn of n tokens from its submission to its end; ENGINE_MEASURED in between are counted. */
static size_t run_turn(struct engine *e, int32_t n_predict)
{
    struct engine_request r = {.raw = true, .sampler = sampler_defaults(), .n_predict = n_predict};
    struct engine_event event;
    size_t n_measured = 0;
    uint64_t number;
    r.sampler.temp = 0;
    r.msgs = mem_need(sizeof *r.msgs);
    r.n_msgs = 1;
    r.msgs[0] = (struct engine_msg){.role = CHAT_USER, .text = mem_strdup("hello there"), .n_bytes = 11};
    assert_true(engine_submit(e, &r, &number, NULL));
    do {
        wait_event(e, &event);
        n_measured += event.type == ENGINE_MEASURED;
        if (event.type == ENGINE_PROMPT)
            mem_free(event.n_ids_of);
        mem_free(event.ids);
    } while (event.type != ENGINE_DONE);
    return n_measured;
}

static void wait_measured(struct engine *e)
{
    struct engine_event event;
    do
        wait_event(e, &event);
    while (event.type != ENGINE_MEASURED);
}

static void engine__measure_read__gives_a_number_and_says_so(void **state)
{
    (void)state;
    struct engine *e = open_engine(&backend);
    assert_true(engine_read_gb_s(e) == 0);
    engine_measure_read(e);
    wait_measured(e);
    assert_true(engine_read_gb_s(e) > 0);
    engine_close(e);
}

/* Whatever comes first, the turn is answered and the measurement is made. */
static void engine__measure_read__gives_way_to_a_request(void **state)
{
    (void)state;
    struct engine *e = open_engine(&backend);
    for (int i = 0; i < 20; i++) {
        engine_measure_read(e);
        if (!run_turn(e, 3))
            wait_measured(e);
    }
    engine_measure_read(e);
    engine_close(e); /* in the middle of it */
}

static double no_reading(void *ctx, const void *p, size_t n_bytes)
{
    (void)ctx;
    (void)p;
    (void)n_bytes;
    return 0;
}

/* A backend that cannot tell leaves it unknown, and nobody waits for it. */
static void engine__measure_read__may_stay_unknown(void **state)
{
    (void)state;
    double (*const readers[])(void *, const void *, size_t) = {NULL, no_reading};
    for (size_t i = 0; i < 2; i++) {
        struct backend_ops ops = *backend.ops;
        struct backend other = {&ops, backend.ctx};
        ops.read_bandwidth = readers[i];
        struct engine *e = open_engine(&other);
        engine_measure_read(e);
        assert_int_equal(run_turn(e, 3), 0);
        assert_true(engine_read_gb_s(e) == 0);
        engine_close(e);
    }
}

/* What the engine adds: sampling, copying, the time between two forward passes. */
static void engine__prof__counts_whole_rounds(void **state)
{
    (void)state;
    struct engine *e = open_engine(&backend);
    struct prof *prof = NULL;
    for (uint64_t turns = 1; turns <= 3; turns++) {
        run_turn(e, 9);
        assert_true(engine_prof(e, &prof, NULL));
        assert_int_equal(prof_sum(prof, PROF_DECODE, PROF_SAMPLE).calls, turns * 9);
        assert_int_equal(prof_sum(prof, PROF_DECODE, PROF_GATE_UP).calls,
                         prof->n_tokens[PROF_DECODE] * TINY_N_LAYERS);
        assert_int_equal(prof->n_recent, prof->n_tokens[PROF_DECODE]);
        assert_true(prof_sum_ns(prof, PROF_DECODE) <= prof->wall_ns[PROF_DECODE]);
        assert_true(prof_sum_ns(prof, PROF_PREFILL) <= prof->wall_ns[PROF_PREFILL]);
        assert_true(prof_cost_ns(prof, PROF_DECODE) > 0);
        uint64_t recent_us = 0;
        for (uint64_t i = 0; i < prof->n_recent; i++)
            recent_us += prof->recent_us[i];
        assert_true(recent_us <= prof->wall_ns[PROF_DECODE] / 1000);
    }
    prof_free(prof);
    engine_close(e);
}

static void engine__trace__is_there_after_the_engine(void **state)
{
    (void)state;
    struct trace *trace = trace_new(TINY_N_LAYERS, 3, NULL);
    struct engine_options options = {.model_path = path,
                                     .backend = &backend,
                                     .kv_type = DTYPE_F16,
                                     .trace = trace,
                                     .speculation = SPECULATION_NEVER};
    struct engine *e = open_ready(&options);
    run_turn(e, 9);
    engine_close(e);
    assert_int_equal(trace_n_steps(trace, PROF_DECODE), 3);
    assert_int_equal(trace_n_steps(trace, PROF_PREFILL), 1);
    const struct trace_step *step = trace_step_at(trace, PROF_DECODE, 1);
    assert_int_equal(trace_op_at(trace, PROF_DECODE, step, 0)->op, PROF_SAMPLE);
    assert_true(trace_op_at(trace, PROF_DECODE, step, 0)->start_ns >= step->start_ns);
    trace_free(trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(engine__measure_read__gives_a_number_and_says_so),
        cmocka_unit_test(engine__measure_read__gives_way_to_a_request),
        cmocka_unit_test(engine__measure_read__may_stay_unknown),
        cmocka_unit_test(engine__prof__counts_whole_rounds),
        cmocka_unit_test(engine__trace__is_there_after_the_engine),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
