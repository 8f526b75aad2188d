/* Profiles as the forward pass fills them: against what the router said, by hand, and in their sums. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/profiling.h"
#include "kernels_cpu/backend_cpu.h"
#include "tests/engine/model_edit.h"
#include "tests/engine/timeline_fixture.h"
#include "tests/support/forced_cpu.h"
#include "tests/support/tiny_model.h"

#define N_PROMPT 70
#define N_DECODED 10
#define K TINY_N_EXPERTS_USED

static const char *const archs[] = {"llama", "qwen3moe", "qwen2moe", "olmoe"};
#define N_ARCHS (sizeof archs / sizeof *archs)

/* The CPU backend with a router that is watched, or told what to choose. */
static struct backend cpu, watched;
static struct backend_ops watched_ops;
static int32_t ids[N_PROMPT + N_DECODED];

static struct {
    uint64_t pairs[PROF_N_PHASES][TINY_N_LAYERS][TINY_N_EXPERTS];
    int32_t newest[TINY_N_LAYERS][K];
    size_t n_calls, n_tokens;
    bool is_scripted;
    int32_t step; /* a scripted token n goes to experts n * step and n * step + 1 */
    int32_t bad;  /* an id out of range that is chosen in the second layer; 0: none */
} router;

static void script(const struct op_route *op)
{
    for (size_t t = 0; t < op->n_tokens; t++) {
        int32_t n = (int32_t)(router.n_tokens + t) * router.step;
        int32_t chosen[K] = {n % TINY_N_EXPERTS, (n + 1) % TINY_N_EXPERTS};
        if (router.bad && router.n_calls % TINY_N_LAYERS == 1)
            chosen[1] = router.bad;
        cpu.ops->buf_write(cpu.ctx, op->ids, (op->ids_row + t) * sizeof chosen, chosen, sizeof chosen);
    }
}

static bool watched_route(void *ctx, const struct op_route *op)
{
    bool ok = cpu.ops->route(ctx, op);
    size_t layer = router.n_calls % TINY_N_LAYERS;
    enum prof_phase phase = op->n_tokens == 1 ? PROF_DECODE : PROF_PREFILL;
    if (router.is_scripted)
        script(op);
    const int32_t *chosen = (int32_t *)cpu.ops->buf_host(op->ids) + op->ids_row * K;
    for (size_t i = 0; i < op->n_tokens * K && !router.bad; i++)
        router.pairs[phase][layer][chosen[i]]++;
    memcpy(router.newest[layer], chosen, sizeof router.newest[layer]);
    router.n_calls++;
    router.n_tokens += layer == TINY_N_LAYERS - 1 ? op->n_tokens : 0;
    return ok;
}

static int set_up(void **state)
{
    (void)state;
    for (int i = 0; i < N_PROMPT + N_DECODED; i++)
        ids[i] = 3 + i * 37 % (TINY_N_VOCAB - 3);
    if (!backend_cpu_open(&cpu, 2, forced_cpu(), NULL))
        return -1;
    watched_ops = *cpu.ops;
    watched_ops.route = watched_route;
    watched = (struct backend){&watched_ops, cpu.ctx};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    backend_close(&cpu);
    return 0;
}

static struct model *load(const char *arch, struct buf *file)
{
    struct tiny_options options = {.arch = arch, .experts = true, .type = DTYPE_Q8_0, .seed = 21};
    assert_true(tiny_model_make(&options, file));
    memset(&router, 0, sizeof router);
    struct model *m = edit_load(file, &watched, NULL, NULL);
    assert_non_null(m);
    return m;
}

static void decode(struct timeline *t, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_true(timeline_eval(t, ids + timeline_length(t), 1, NULL, NULL, NULL));
}

static uint64_t sum_pairs(const struct prof *p, enum prof_phase phase, uint32_t layer)
{
    uint64_t sum = 0;
    for (uint32_t e = 0; e < p->shape.n_experts; e++)
        sum += prof_pairs(p, phase, layer)[e];
    return sum;
}

static void assert_is_what_the_router_said(const struct prof *p)
{
    for (uint32_t layer = 0; layer < TINY_N_LAYERS; layer++) {
        for (int phase = 0; phase < PROF_N_PHASES; phase++) {
            assert_memory_equal(prof_pairs(p, (enum prof_phase)phase, layer), router.pairs[phase][layer],
                                sizeof router.pairs[phase][layer]);
            assert_int_equal(sum_pairs(p, (enum prof_phase)phase, layer), K * p->n_tokens[phase]);
        }
        for (int i = 0; i < K; i++)
            assert_int_equal(prof_newest(p, layer)[i], router.newest[layer][i]);
    }
}

static void profiling__pairs__are_what_the_router_said(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ARCHS; i++) {
        struct buf file = {0};
        struct model *m = load(archs[i], &file);
        struct timeline *t = open_timeline(m, DTYPE_F16, 16); /* several batches */
        assert_true(timeline_eval(t, ids, N_PROMPT, NULL, NULL, NULL));
        mem_fail_after(0);
        decode(t, N_DECODED);
        assert_false(mem_fail_happened());
        mem_fail_after(-1);
        assert_int_equal(timeline_prof(t)->n_tokens[PROF_PREFILL], N_PROMPT);
        assert_int_equal(timeline_prof(t)->n_tokens[PROF_DECODE], N_DECODED);
        assert_is_what_the_router_said(timeline_prof(t));
        timeline_free(t);
        model_free(m);
        buf_fini(&file);
    }
}

/* Memory that the host does not see: the ids of all layers are read back at once, and that is `sync`. */
static void profiling__pairs__read_back_are_the_same(void **state)
{
    (void)state;
    struct buf file = {0};
    struct model *m = load("qwen3moe", &file);
    watched_ops.buf_host = NULL;
    struct timeline *t = open_timeline(m, DTYPE_F16, 0);
    assert_true(timeline_eval(t, ids, N_PROMPT, NULL, NULL, NULL));
    mem_fail_after(0);
    decode(t, N_DECODED);
    assert_false(mem_fail_happened());
    mem_fail_after(-1);
    const struct prof *p = timeline_prof(t);
    assert_is_what_the_router_said(p);
    /* Behind the logits, and before they are read. */
    assert_int_equal(prof_sum(p, PROF_DECODE, PROF_SYNC).calls, N_DECODED * 2);
    assert_int_equal(prof_at(p, PROF_DECODE, TINY_N_LAYERS, PROF_SYNC)->bytes,
                     N_DECODED * TINY_N_LAYERS * K * sizeof(int32_t));
    assert_true(prof_sum_ns(p, PROF_DECODE) <= p->wall_ns[PROF_DECODE]);
    timeline_free(t);
    model_free(m);
    watched_ops.buf_host = cpu.ops->buf_host;
    buf_fini(&file);
}

/* Token n goes to experts n and n + 1: each shares one with the token before. */
static void profiling__repeats__by_hand(void **state)
{
    (void)state;
    static const struct {
        int32_t step;
        uint64_t common;
    } cases[] = {{0, 2}, {1, 1}, {2, 0}, {7, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf file = {0};
        struct model *m = load("qwen3moe", &file);
        router.is_scripted = true;
        router.step = cases[i].step;
        struct timeline *t = open_timeline(m, DTYPE_F16, 0);
        assert_true(timeline_eval(t, ids, 20, NULL, NULL, NULL));
        decode(t, 5); /* the first follows no decoded token */
        const struct prof *p = timeline_prof(t);
        assert_int_equal(p->n_followed, 4);
        assert_int_equal(p->repeats[0], 4 * cases[i].common);
        assert_int_equal(p->repeats[1], 4 * cases[i].common);
        timeline_keep(t, ids, 23); /* another run: the next token follows none */
        decode(t, 3);
        assert_int_equal(p->n_followed, 6);
        assert_int_equal(p->repeats[1], 6 * cases[i].common);
        assert_true(timeline_eval(t, ids + 25, 5, NULL, NULL, NULL));
        decode(t, 1);
        assert_int_equal(p->n_followed, 6);
        timeline_free(t);
        model_free(m);
        buf_fini(&file);
    }
}

/* Experts that several tokens of a batch go to are read once. */
static void profiling__bytes__of_a_batch_are_those_of_the_experts_used(void **state)
{
    (void)state;
    static const struct {
        int32_t step;
        size_t n_tokens, n_experts;
    } cases[] = {{0, 30, 2}, {1, 3, 4}, {2, 3, 6}, {1, 60, TINY_N_EXPERTS},
                 {0, 30, 2}, {1, 3, 4}, {2, 3, 6}, {1, 60, TINY_N_EXPERTS}};
    size_t row = TINY_N_EMBD / 32 * 34, down_row = TINY_N_FF_EXPERT / 32 * 34;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf file = {0};
        struct model *m = load("qwen3moe", &file);
        router.is_scripted = true;
        router.step = cases[i].step;
        watched_ops.buf_host = i < 4 ? cpu.ops->buf_host : NULL; /* seen by the host, and not */
        struct timeline *t = open_timeline(m, DTYPE_F16, 0);
        assert_true(timeline_eval(t, ids, cases[i].n_tokens, NULL, NULL, NULL));
        watched_ops.buf_host = cpu.ops->buf_host;
        const struct prof *p = timeline_prof(t);
        assert_int_equal(prof_at(p, PROF_PREFILL, 1, PROF_GATE_UP)->bytes,
                         cases[i].n_experts * 2 * TINY_N_FF_EXPERT * row);
        assert_int_equal(prof_at(p, PROF_PREFILL, 1, PROF_DOWN)->bytes,
                         cases[i].n_experts * TINY_N_EMBD * down_row);
        timeline_free(t);
        model_free(m);
        buf_fini(&file);
    }
}

/* A router's numbers that are none: the ids are in range all the same. */
static void profiling__pairs__with_a_router_of_nan(void **state)
{
    (void)state;
    struct buf file = {0};
    struct tiny_options options = {.arch = "olmoe", .type = DTYPE_F32, .seed = 21};
    assert_true(tiny_model_make(&options, &file));
    for (size_t j = 0; j < TINY_N_EMBD; j++)
        edit_weight(&file, "blk.0.ffn_gate_inp.weight", 5 * TINY_N_EMBD + j, NAN);
    memset(&router, 0, sizeof router);
    struct model *m = edit_load(&file, &watched, NULL, NULL);
    struct timeline *t = open_timeline(m, DTYPE_F16, 0);
    assert_true(timeline_eval(t, ids, 20, NULL, NULL, NULL));
    decode(t, 4);
    assert_is_what_the_router_said(timeline_prof(t));
    timeline_free(t);
    model_free(m);
    buf_fini(&file);
}

static void profiling__router_out_of_range__is_an_error(void **state)
{
    (void)state;
    static const int32_t bad[] = {TINY_N_EXPERTS, -1, INT32_MAX};
    for (size_t i = 0; i < 3; i++) {
        struct buf file = {0};
        struct err err = {0};
        struct model *m = load("qwen3moe", &file);
        router.is_scripted = true;
        router.bad = bad[i];
        struct timeline *t = open_timeline(m, DTYPE_F16, 0);
        assert_false(timeline_eval(t, ids, 1, NULL, NULL, &err));
        assert_int_equal(err.code, ERR_RUNTIME);
        assert_non_null(strstr(err.text, "expected 0 to 7"));
        /* The step is not one: nothing is said of its token, but its time has passed. */
        const struct prof *p = timeline_prof(t);
        assert_int_equal(p->n_tokens[PROF_DECODE], 0);
        assert_int_equal(sum_pairs(p, PROF_DECODE, 0), 0);
        assert_true(prof_sum_ns(p, PROF_DECODE) <= p->wall_ns[PROF_DECODE]);
        assert_true(p->wall_ns[PROF_DECODE] > 0);
        timeline_free(t);
        model_free(m);
        buf_fini(&file);
    }
}

/* ---- sums ---- */

static void profiling__sums__stay_within_the_steps(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ARCHS; i++) {
        struct buf file = {0};
        struct model *m = load(archs[i], &file);
        struct timeline *t = open_timeline(m, DTYPE_F16, 16);
        assert_true(timeline_eval(t, ids, N_PROMPT, NULL, NULL, NULL));
        decode(t, N_DECODED);
        const struct prof *p = timeline_prof(t);
        for (int phase = 0; phase < PROF_N_PHASES; phase++) {
            uint64_t sum = prof_sum_ns(p, (enum prof_phase)phase);
            assert_true(sum > 0 && sum <= p->wall_ns[phase]);
        }
        uint64_t recent_us = 0;
        for (uint32_t j = 0; j < N_DECODED; j++)
            recent_us += p->recent_us[j];
        assert_int_equal(p->n_recent, N_DECODED);
        assert_true(recent_us <= p->wall_ns[PROF_DECODE] / 1000);
        assert_true(recent_us + N_DECODED >= p->wall_ns[PROF_DECODE] / 1000);
        assert_true(p->timer_ns > 0 && p->timer_ns < 1000000);
        assert_int_equal(prof_sum(p, PROF_DECODE, PROF_EMBED).calls, N_DECODED);
        timeline_free(t);
        model_free(m);
        buf_fini(&file);
    }
}

/* Every operation that the backend is asked for lies in one that is timed; none is in two. */
static void profiling__trace__has_every_operation_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ARCHS; i++) {
        struct buf file = {0};
        struct model *m = load(archs[i], &file);
        struct trace *trace = trace_new(TINY_N_LAYERS, 4, NULL);
        struct timeline_options options = {
            .n_ctx = TIMELINE_N_CTX, .kv_type = DTYPE_F16, .n_batch = 16, .trace = trace};
        struct timeline *t = timeline_new(m, &options, NULL);
        assert_true(timeline_eval(t, ids, N_PROMPT, NULL, NULL, NULL));
        struct prof *before = prof_new(&timeline_prof(t)->shape, NULL);
        decode(t, N_DECODED - 1);
        prof_copy(before, timeline_prof(t));
        decode(t, 1);
        assert_int_equal(trace_n_steps(trace, PROF_PREFILL), 5);
        assert_int_equal(trace_n_steps(trace, PROF_DECODE), 4);
        const struct trace_step *step = trace_step_at(trace, PROF_DECODE, 3);
        assert_int_equal(step->pos, N_PROMPT + N_DECODED - 1);
        uint64_t at = step->start_ns, n_calls = 0;
        for (uint32_t j = 0; j < step->n_ops; j++) {
            const struct trace_op *op = trace_op_at(trace, PROF_DECODE, step, j);
            assert_true(op->start_ns >= at && op->layer <= TINY_N_LAYERS && op->op < PROF_N_OPS);
            at = op->start_ns + op->ns;
        }
        assert_true(at <= step->end_ns);
        struct prof *last = prof_new(&before->shape, NULL);
        prof_copy(last, timeline_prof(t));
        prof_subtract(last, before);
        for (int op = 0; op < PROF_N_OPS; op++)
            n_calls += prof_sum(last, PROF_DECODE, (enum prof_op)op).calls;
        assert_int_equal(n_calls, step->n_ops);
        assert_int_equal(last->n_tokens[PROF_DECODE], 1);
        assert_int_equal(sum_pairs(last, PROF_DECODE, 0), K);
        prof_free(last);
        prof_free(before);
        timeline_free(t);
        trace_free(trace);
        model_free(m);
        buf_fini(&file);
    }
}

/* Without timers the model computes the same. */
static void profiling__untimed__gives_the_same_bits(void **state)
{
    (void)state;
    struct buf file = {0};
    struct model *m = load("qwen2moe", &file);
    struct timeline_options options = {.n_ctx = TIMELINE_N_CTX, .kv_type = DTYPE_F16, .untimed = true};
    struct timeline *timed = open_timeline(m, DTYPE_F16, 0), *untimed = timeline_new(m, &options, NULL);
    struct timeline *both[] = {timed, untimed};
    for (size_t i = 0; i < 2; i++) {
        assert_true(timeline_eval(both[i], ids, N_PROMPT, NULL, NULL, NULL));
        decode(both[i], N_DECODED);
        timeline_keep(both[i], ids, N_PROMPT);
        decode(both[i], 3);
    }
    assert_null(timeline_prof(untimed));
    assert_memory_equal(timeline_logits(timed), timeline_logits(untimed), TINY_N_VOCAB * sizeof(float));
    timeline_free(timed);
    timeline_free(untimed);
    model_free(m);
    buf_fini(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(profiling__pairs__are_what_the_router_said),
        cmocka_unit_test(profiling__pairs__read_back_are_the_same),
        cmocka_unit_test(profiling__repeats__by_hand),
        cmocka_unit_test(profiling__bytes__of_a_batch_are_those_of_the_experts_used),
        cmocka_unit_test(profiling__pairs__with_a_router_of_nan),
        cmocka_unit_test(profiling__router_out_of_range__is_an_error),
        cmocka_unit_test(profiling__sums__stay_within_the_steps),
        cmocka_unit_test(profiling__trace__has_every_operation_once),
        cmocka_unit_test(profiling__untimed__gives_the_same_bits),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
