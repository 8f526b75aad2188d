/* Answers with guesses tried and without are the same: greedy, sampled, stopped, resumed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "engine/engine.h"
#include "kernels_cpu/backend_cpu.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/forced_cpu.h"
#include "tests/support/mem_shelf.h"
#include "tests/support/tiny_model.h"

#define MAX_IDS 600
#define N_MODELS 4

static struct backend backend;
static char paths[N_MODELS][64];

static int set_up(void **state)
{
    (void)state;
    static const struct tiny_options models[N_MODELS] = {
        {.arch = "llama", .type = DTYPE_F32, .seed = 1},
        {.arch = "qwen3", .type = DTYPE_Q8_0, .chatml = true, .seed = 2},
        {.arch = "qwen3moe", .type = DTYPE_Q4_0, .seed = 3},
        {.arch = "qwen2", .type = DTYPE_F32, .seed = 4},
    };
    for (int i = 0; i < N_MODELS; i++) {
        strcpy(paths[i], "/tmp/ferrum-speculation-XXXXXX");
        close(mkstemp(paths[i]));
        if (!tiny_model_save(&models[i], paths[i]))
            return -1;
    }
    return backend_cpu_open(&backend, 2, forced_cpu(), NULL) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < N_MODELS; i++)
        unlink(paths[i]);
    backend_close(&backend);
    return 0;
}

struct answer_of {
    int32_t ids[MAX_IDS];
    size_t n;
    struct buf text;
    enum finish_reason reason;
    struct turn_stats stats;
};

static struct engine_request ask(const char *text, int32_t n_predict, float temp, uint64_t seed)
{
    struct engine_request r = {.raw = true, .sampler = sampler_defaults(), .n_predict = n_predict};
    r.sampler.temp = temp;
    r.sampler.seed = seed;
    r.sampler.repeat_penalty = temp > 1 ? 1.05f : 1.0f;
    r.msgs = mem_need(sizeof *r.msgs);
    r.n_msgs = 1;
    r.msgs[0] = (struct engine_msg){.role = CHAT_USER, .text = mem_strdup(text), .n_bytes = strlen(text)};
    return r;
}

static void take(struct answer_of *a, struct engine_event *event)
{
    if (event->type == ENGINE_TOKEN) {
        buf_append(&a->text, event->text, event->n_text);
        if (event->token >= 0)
            a->ids[a->n++] = event->token;
    }
    if (event->type == ENGINE_DONE && event->ids) {
        a->n = event->n_ids;
        memcpy(a->ids, event->ids, a->n * sizeof *a->ids);
    }
    mem_free(event->ids);
    mem_free(event->n_ids_of);
}

static void run(struct engine *e, struct engine_request request, struct answer_of *out)
{
    struct engine_event event;
    uint64_t number;
    *out = (struct answer_of){0};
    assert_true(engine_submit(e, &request, &number, NULL));
    do {
        wait_event(e, &event);
        take(out, &event);
    } while (event.type != ENGINE_DONE);
    out->reason = event.reason;
    out->stats = event.stats;
}

static struct engine *open_as(const char *path, enum speculation_mode mode, enum dtype kv_type,
                              const struct kv_shelf *shelf)
{
    struct engine_options options = {
        .model_path = path, .backend = &backend, .kv_type = kv_type, .shelf = shelf, .speculation = mode};
    return open_ready(&options);
}

static void assert_same(const struct answer_of *a, const struct answer_of *b)
{
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->ids, b->ids, a->n * sizeof *a->ids);
    assert_string_equal(buf_text((struct buf *)&a->text), buf_text((struct buf *)&b->text));
    assert_int_equal(a->reason, b->reason);
    assert_int_equal(a->stats.completion_tokens, b->stats.completion_tokens);
}

static const char *const prompts[] = {"abc abc abc abc abc", "one two one two", "x"};

/* All prompts, one after the other in one engine, at that temperature. Returns the right guesses. */
static size_t compare(const char *path, enum speculation_mode mode, enum dtype kv_type, float temp)
{
    struct engine *off = open_as(path, SPECULATION_NEVER, kv_type, NULL),
                  *on = open_as(path, mode, kv_type, NULL);
    size_t n_right = 0;
    for (size_t i = 0; i < sizeof prompts / sizeof *prompts; i++) {
        static struct answer_of a, b;
        int32_t n_predict = i == 1 ? 61 : 130;
        run(off, ask(prompts[i], n_predict, temp, 7 + i), &a);
        run(on, ask(prompts[i], n_predict, temp, 7 + i), &b);
        assert_same(&a, &b);
        assert_int_equal(a.stats.guessed_tokens, 0);
        assert_true(b.stats.right_guesses <= b.stats.guessed_tokens);
        n_right += b.stats.right_guesses;
        buf_fini(&a.text);
        buf_fini(&b.text);
    }
    engine_close(off);
    engine_close(on);
    return n_right;
}

static void speculation__answers_are_the_same(void **state)
{
    (void)state;
    static const enum dtype kv_types[] = {DTYPE_F16, DTYPE_F32, DTYPE_I8};
    static const float temps[] = {0.0f, 0.3f, 1.2f};
    size_t n_right = 0;
    for (int m = 0; m < N_MODELS; m++)
        for (int k = 0; k < 3; k++)
            n_right += compare(paths[m], SPECULATION_ALWAYS, kv_types[(m + k) % 3], temps[k]);
    assert_true(n_right > 20); /* greedy random models run in circles */
    for (int m = 0; m < N_MODELS; m++)
        compare(paths[m], SPECULATION_WHEN_IT_PAYS, DTYPE_F16, 0.5f * (float)m);
}

/* Greedy random models run in circles: most of it is guessed, and the profile says what was done for it. */
static void speculation__a_repeating_text_takes_fewer_passes(void **state)
{
    (void)state;
    struct answer_of a;
    struct engine *e = open_as(paths[0], SPECULATION_ALWAYS, DTYPE_F16, NULL);
    run(e, ask(prompts[0], 150, 0, 1), &a);
    assert_int_equal(a.reason, FINISH_LENGTH);
    print_message("%u of %u guesses were right\n", a.stats.right_guesses, a.stats.guessed_tokens);
    assert_true(a.stats.right_guesses > 5);
    struct prof *prof = NULL;
    assert_true(engine_turn_prof(e, &prof, NULL));
    assert_int_equal(prof->n_tokens[PROF_DECODE], 149); /* the first came with the prompt */
    assert_int_equal(prof_sum(prof, PROF_DECODE, PROF_LM_HEAD).calls, 149 - a.stats.right_guesses);
    assert_int_equal(prof_sum(prof, PROF_DECODE, PROF_SAMPLE).calls, 150);
    assert_true(prof_sum_ns(prof, PROF_DECODE) <= prof->wall_ns[PROF_DECODE]);
    prof_free(prof);
    buf_fini(&a.text);
    engine_close(e);
}

static void speculation__stops_are_the_same(void **state)
{
    (void)state;
    struct answer_of a, b, whole;
    struct engine *off = open_as(paths[0], SPECULATION_NEVER, DTYPE_F16, NULL),
                  *on = open_as(paths[0], SPECULATION_ALWAYS, DTYPE_F16, NULL);
    run(off, ask(prompts[0], 120, 0, 1), &whole);
    for (size_t at = 10; at + 3 < whole.text.len; at += 29) {
        struct engine_request first = ask(prompts[0], 120, 0, 1), second = ask(prompts[0], 120, 0, 1);
        struct engine_request *both[] = {&first, &second};
        for (int i = 0; i < 2; i++) {
            both[i]->stops = mem_need(sizeof *both[i]->stops);
            both[i]->stops[0] = mem_strndup(whole.text.data + at, 3);
            both[i]->n_stops = 1;
        }
        run(off, first, &a);
        run(on, second, &b);
        assert_same(&a, &b);
        buf_fini(&a.text);
        buf_fini(&b.text);
    }
    buf_fini(&whole.text);
    engine_close(off);
    engine_close(on);
}

/* What a turn with guesses leaves on the shelf is what the next process goes on with. */
static void speculation__a_chat_resumes_from_what_was_saved(void **state)
{
    (void)state;
    struct mem_shelf shelf;
    struct answer_of a, b;
    mem_shelf_init(&shelf);
    struct engine *e = open_as(paths[0], SPECULATION_ALWAYS, DTYPE_F16, &shelf.shelf);
    run(e, ask(prompts[0], 180, 0, 1), &a);
    assert_true(a.stats.guessed_tokens > a.stats.right_guesses);
    assert_true(a.stats.right_guesses > 0);
    struct buf next = {0};
    buf_puts(&next, prompts[0]);
    buf_append(&next, a.text.data, a.text.len);
    buf_fini(&a.text);
    engine_close(e);
    assert_true(shelf.n_blocks > 1);
    e = open_as(paths[0], SPECULATION_ALWAYS, DTYPE_F16, &shelf.shelf);
    run(e, ask(buf_text(&next), 40, 0, 1), &a);
    engine_close(e);
    e = open_as(paths[0], SPECULATION_NEVER, DTYPE_F16, NULL);
    run(e, ask(buf_text(&next), 40, 0, 1), &b);
    engine_close(e);
    assert_true(a.stats.reused_disk > 0);
    assert_same(&a, &b);
    buf_fini(&a.text);
    buf_fini(&b.text);
    buf_fini(&next);
    assert_true(mem_shelf_fini(&shelf));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(speculation__answers_are_the_same),
        cmocka_unit_test(speculation__a_repeating_text_takes_fewer_passes),
        cmocka_unit_test(speculation__stops_are_the_same),
        cmocka_unit_test(speculation__a_chat_resumes_from_what_was_saved),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
