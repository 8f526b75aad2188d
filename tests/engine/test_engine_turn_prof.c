/* The profile of one turn: its own tokens and nothing of the turns and the warming before it. */
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
    struct tiny_options moe = {.arch = "qwen3moe", .type = DTYPE_F32, .n_ctx = 2048, .seed = 5};
    return backend_cpu_open(&backend, 2, forced_cpu(), NULL) && tiny_model_save(&moe, path) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    backend_close(&backend);
    return 0;
}

static struct engine *open_engine(void)
{
    struct engine_options options = {.model_path = path, .backend = &backend, .kv_type = DTYPE_F16};
    return open_ready(&options);
}

/* n bytes of text, as many tokens. */
static uint64_t submit(struct engine *e, char letter, size_t n, bool warm)
{
    struct engine_request r = {.raw = true, .warm = warm, .sampler = sampler_defaults(), .n_predict = 5};
    struct err err = {0};
    uint64_t number;
    r.sampler.temp = 0;
    r.msgs = mem_need(sizeof *r.msgs);
    r.n_msgs = 1;
    r.msgs[0] = (struct engine_msg){.role = CHAT_USER, .text = mem_need(n + 1), .n_bytes = n};
    memset(r.msgs[0].text, letter, n);
    if (!engine_submit(e, &r, &number, &err))
        fail_msg("%s", err.text);
    return number;
}

static struct turn_stats finish(struct engine *e, uint64_t number)
{
    struct engine_event event;
    do {
        wait_event(e, &event);
        if (event.type == ENGINE_PROMPT)
            mem_free(event.n_ids_of);
        mem_free(event.ids);
    } while (event.type != ENGINE_DONE || event.request != number);
    assert_int_not_equal(event.reason, FINISH_ERROR);
    return event.stats;
}

static uint64_t n_pairs(const struct prof *p, enum prof_phase phase, uint32_t layer)
{
    uint64_t n = 0;
    for (uint32_t e = 0; e < p->shape.n_experts; e++)
        n += prof_pairs(p, phase, layer)[e];
    return n;
}

/* What the turn says of itself, the layers among each other, and the experts all agree. */
static void assert_of_turn(struct engine *e, const struct turn_stats *stats)
{
    struct prof *p = NULL;
    assert_true(engine_turn_prof(e, &p, NULL));
    assert_int_equal(p->n_tokens[PROF_PREFILL], stats->prefilled_tokens);
    assert_in_range(p->n_tokens[PROF_DECODE], stats->completion_tokens - 1, stats->completion_tokens);
    for (int phase = 0; phase < PROF_N_PHASES; phase++)
        for (uint32_t layer = 0; layer < p->shape.n_layers; layer++) {
            assert_int_equal(prof_at(p, (enum prof_phase)phase, layer, PROF_QKV)->calls,
                             prof_at(p, (enum prof_phase)phase, 0, PROF_QKV)->calls);
            assert_int_equal(n_pairs(p, (enum prof_phase)phase, layer), p->n_tokens[phase] * p->shape.n_used);
        }
    prof_free(p);
}

static void engine__turn_prof__counts_one_turn(void **state)
{
    (void)state;
    struct engine *e = open_engine();
    struct turn_stats first = finish(e, submit(e, 'a', 60, false));
    assert_of_turn(e, &first);
    struct turn_stats second = finish(e, submit(e, 'b', 30, false));
    assert_of_turn(e, &second);
    assert_true(second.prefilled_tokens < first.prefilled_tokens);
    struct turn_stats again = finish(e, submit(e, 'b', 30, false));
    assert_int_equal(again.prefilled_tokens, 1); /* prefill all the same */
    assert_of_turn(e, &again);
    engine_close(e);
}

/* Warming that is done, and warming that gives way in the middle of a batch. */
static void engine__turn_prof__leaves_warming_out(void **state)
{
    (void)state;
    struct engine *e = open_engine();
    finish(e, submit(e, 'c', 300, true));
    struct turn_stats stats = finish(e, submit(e, 'd', 40, false));
    assert_of_turn(e, &stats);
    for (int i = 0; i < 8; i++) {
        submit(e, (char)('e' + i), 1500, true);
        usleep((useconds_t)(i * 3000));
        stats = finish(e, submit(e, (char)('E' + i), 40, false));
        assert_of_turn(e, &stats);
    }
    struct prof *all = NULL;
    assert_true(engine_prof(e, &all, NULL));
    assert_true(all->n_tokens[PROF_PREFILL] >= 300 + 9 * 40); /* the warming is in the profile of all */
    prof_free(all);
    engine_close(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(engine__turn_prof__counts_one_turn),
        cmocka_unit_test(engine__turn_prof__leaves_warming_out),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
