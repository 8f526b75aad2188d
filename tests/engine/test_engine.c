/* The engine through its door: requests in, events out, on tiny random models; one trained model when it is
 * there. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/engine.h"
#include "kernels_cpu/backend_cpu.h"
#include "tests/engine/engine_fixture.h"
#include "tests/engine/model_edit.h"
#include "tests/support/forced_cpu.h"
#include "tests/support/shared_path.h"
#include "tests/support/tiny_model.h"

static struct backend backend;
static char raw_path[] = "/tmp/ferrum-engine-XXXXXX", chatml_path[] = "/tmp/ferrum-engine-XXXXXX";

static int set_up(void **state)
{
    (void)state;
    close(mkstemp(raw_path));
    close(mkstemp(chatml_path));
    struct tiny_options raw = {.arch = "llama", .type = DTYPE_F32, .seed = 1};
    struct tiny_options chatml = {.arch = "qwen3", .type = DTYPE_Q8_0, .chatml = true, .seed = 2};
    return backend_cpu_open(&backend, 2, forced_cpu(), NULL) && tiny_model_save(&raw, raw_path) &&
                   tiny_model_save(&chatml, chatml_path)
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(raw_path);
    unlink(chatml_path);
    backend_close(&backend);
    return 0;
}

/* --- one turn, all its events gathered --- */

struct result {
    struct buf text;
    int32_t ids[4096];
    size_t n_ids, n_ends, n_prefill_events, n_without_id;
    int32_t *kept; /* of ENGINE_DONE, or NULL */
    size_t n_kept;
    int32_t end_id;
    int32_t prompt_ids[4096];
    size_t n_prompt_ids, n_prompt_events;
    struct err warning; /* of ENGINE_PROMPT */
    enum finish_reason reason;
    struct turn_stats stats;
    struct err error;
};

static struct engine *open_engine(const char *path, uint32_t n_ctx)
{
    struct engine_options options = {.model_path = path,
                                     .backend = &backend,
                                     .n_ctx = n_ctx,
                                     .kv_type = DTYPE_F16,
                                     .speculation = SPECULATION_NEVER};
    return open_ready(&options);
}

static struct engine_request ask(const char *text, int32_t n_predict)
{
    struct engine_request r = {.raw = true, .sampler = sampler_defaults(), .n_predict = n_predict};
    r.sampler.temp = 0.0f;
    r.msgs = mem_need(sizeof *r.msgs);
    r.n_msgs = 1;
    r.msgs[0] = (struct engine_msg){.role = CHAT_USER, .text = mem_strdup(text), .n_bytes = strlen(text)};
    return r;
}

static void add_stop(struct engine_request *r, const char *stop, size_t n)
{
    r->stops = mem_need_resize(r->stops, r->n_stops + 1, sizeof *r->stops);
    r->stops[r->n_stops++] = mem_strndup(stop, n);
}

static void take_event(struct result *out, const struct engine_event *event)
{
    switch (event->type) {
    case ENGINE_TOKEN:
        assert_true(utf8_is_valid(event->text, event->n_text));
        buf_append(&out->text, event->text, event->n_text);
        if (event->end) {
            out->n_ends++;
            out->end_id = event->token;
        } else if (event->token >= 0) {
            out->ids[out->n_ids++] = event->token;
        } else {
            out->n_without_id++;
        }
        break;
    case ENGINE_PROMPT:
        out->n_prompt_events++;
        out->warning = event->error;
        for (size_t i = 0; i < event->n_msgs; i++)
            out->n_prompt_ids += event->n_ids_of[i];
        memcpy(out->prompt_ids, event->ids, out->n_prompt_ids * sizeof *event->ids);
        mem_free(event->ids);
        mem_free(event->n_ids_of);
        break;
    case ENGINE_PREFILL:
        out->n_prefill_events++;
        assert_true(event->done <= event->total);
        break;
    default:
        break;
    }
}

static void gather(struct engine *e, uint64_t number, struct result *out)
{
    struct engine_event event;
    do {
        wait_event(e, &event);
        assert_int_equal(event.request, number);
        take_event(out, &event);
    } while (event.type != ENGINE_DONE);
    out->reason = event.reason;
    out->stats = event.stats;
    out->error = event.error;
    out->kept = event.ids;
    out->n_kept = event.n_ids;
    assert_int_equal(out->stats.completion_tokens, out->n_ids);
    assert_int_equal(out->n_without_id, 0);
    assert_int_equal(out->stats.prompt_tokens, out->stats.reused_tokens + out->stats.prefilled_tokens);
    assert_false(engine_next_event(e, &event));
}

/* Takes the request over. The result is static: one at a time; clear it with result_fini. */
static struct result *run(struct engine *e, struct engine_request request)
{
    struct result *out = mem_need(sizeof *out);
    uint64_t number;
    struct err err;
    assert_true(engine_submit(e, &request, &number, &err));
    assert_null(request.msgs);
    gather(e, number, out);
    return out;
}

static void result_free(struct result *r)
{
    buf_fini(&r->text);
    mem_free(r->kept);
    mem_free(r);
}

/* A text that fills n bytes. */
static void repeat(char *text, size_t n, char c)
{
    memset(text, c, n - 1);
    text[n - 1] = 0;
}

/* --- tests --- */

static void engine__open__missing_file_says_so(void **state)
{
    (void)state;
    struct engine_options options = {
        .model_path = "/nowhere/x.gguf", .backend = &backend, .kv_type = DTYPE_F16};
    struct engine *e = engine_open(&options, NULL);
    struct engine_event event;
    wait_event(e, &event);
    assert_int_equal(event.type, ENGINE_FAILED);
    assert_int_equal(event.error.code, ERR_MODEL);
    assert_null(engine_model(e));
    struct engine_request r = ask("x", 1);
    uint64_t number;
    assert_false(engine_submit(e, &r, &number, NULL));
    assert_non_null(r.msgs);
    engine_request_fini(&r);
    engine_close(e);
}

static void engine__close__while_loading(void **state)
{
    (void)state;
    struct engine_options options = {.model_path = raw_path, .backend = &backend, .kv_type = DTYPE_F16};
    engine_close(engine_open(&options, NULL));
    engine_close(NULL);
}

static void engine__run__counts_and_ids(void **state)
{
    (void)state;
    struct engine *e = open_engine(raw_path, 0);
    assert_int_equal(engine_n_ctx(e), 512);
    struct result *r = run(e, ask("hello there", 7));
    assert_int_equal(r->reason, FINISH_LENGTH);
    assert_int_equal(r->n_ids, 7);
    assert_int_equal(r->n_prompt_events, 1);
    assert_int_equal(r->stats.prompt_tokens, r->n_prompt_ids);
    assert_int_equal(r->stats.reused_tokens, 0);
    assert_int_equal(r->stats.prefilled_tokens, r->stats.prompt_tokens);
    assert_true(r->n_prefill_events >= 2);
    assert_true(r->stats.seed != 0 && r->stats.ttft_ms > 0);
    assert_int_equal(r->prompt_ids[0], vocab_bos(model_vocab(engine_model(e))));
    struct prof *prof = NULL;
    assert_true(engine_prof(e, &prof, NULL));
    assert_int_equal(prof->n_tokens[PROF_DECODE], 6);
    assert_int_equal(prof_sum(prof, PROF_DECODE, PROF_SAMPLE).calls, 7);
    assert_int_equal(prof_sum(prof, PROF_DECODE, PROF_LM_HEAD).calls, 6);
    prof_free(prof);
    result_free(r);
    engine_close(e);
}

static void engine__run__repeated_prompt_is_reused(void **state)
{
    (void)state;
    struct engine *e = open_engine(raw_path, 0);
    struct result *a = run(e, ask("one two three", 9)), *b = run(e, ask("one two three", 9));
    assert_int_equal(b->stats.reused_tokens, b->stats.prompt_tokens - 1);
    assert_int_equal(b->stats.prefilled_tokens, 1);
    assert_string_equal(buf_text(&a->text), buf_text(&b->text));
    assert_memory_equal(a->ids, b->ids, 9 * sizeof a->ids[0]);
    result_free(a);
    result_free(b);
    engine_close(e);
}

static struct engine_msg stored(enum chat_role role, const char *text, const int32_t *ids, size_t n)
{
    struct engine_msg msg = {.role = role, .text = mem_strdup(text), .n_bytes = strlen(text), .n_tokens = n};
    msg.tokens = mem_need((n ? n : 1) * sizeof *ids);
    memcpy(msg.tokens, ids, n * sizeof *ids);
    return msg;
}

/* The turn after a, whose answer is kept as the given ids. */
static struct engine_request follow(const struct result *a, const int32_t *ids, size_t n)
{
    struct engine_request r = {.raw = true, .sampler = sampler_defaults(), .n_predict = 3, .n_msgs = 3};
    r.sampler.temp = 0.0f;
    r.msgs = mem_need(3 * sizeof *r.msgs);
    r.msgs[0] = stored(CHAT_USER, "first", a->prompt_ids, a->n_prompt_ids);
    r.msgs[1] = stored(CHAT_ASSISTANT, "?", ids, n);
    r.msgs[2] = (struct engine_msg){.role = CHAT_USER, .text = mem_strdup(" and"), .n_bytes = 4};
    return r;
}

/* A second turn gives the stored ids of the first back: all but what was never evaluated is reused. */
static void engine__run__history_keeps_its_ids(void **state)
{
    (void)state;
    struct engine *e = open_engine(raw_path, 0);
    struct result *a = run(e, ask("first", 5));
    assert_null(a->kept);
    size_t n_of[2] = {a->n_prompt_ids, a->n_ids};
    struct result *b = run(e, follow(a, a->ids, a->n_ids));
    assert_int_equal(b->reason, FINISH_LENGTH);
    assert_int_equal(b->stats.reused_tokens, n_of[0] + n_of[1] - 1);
    assert_int_equal(b->stats.prompt_tokens, n_of[0] + n_of[1] + b->n_prompt_ids);
    result_free(a);
    result_free(b);
    engine_close(e);
}

/* Ids no model of this size has: the message is tokenised from its text. */
static void engine__run__foreign_ids_are_replaced(void **state)
{
    (void)state;
    static const int32_t wrong[] = {-1, TINY_N_VOCAB, INT32_MAX, INT32_MIN};
    struct engine *e = open_engine(raw_path, 0);
    struct result *a = run(e, ask("first", 5));
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct engine_request request = follow(a, a->ids, a->n_ids);
        request.msgs[0].tokens[i % a->n_prompt_ids] = wrong[i];
        struct result *b = run(e, request);
        assert_int_equal(b->reason, FINISH_LENGTH);
        assert_true(b->n_prompt_ids > a->n_prompt_ids);
        assert_memory_equal(b->prompt_ids, a->prompt_ids, a->n_prompt_ids * sizeof a->prompt_ids[0]);
        result_free(b);
    }
    result_free(a);
    engine_close(e);
}

static void engine__run__zero_tokens_wanted(void **state)
{
    (void)state;
    struct engine *e = open_engine(raw_path, 0);
    struct result *r = run(e, ask("abc", 0));
    assert_int_equal(r->reason, FINISH_LENGTH);
    assert_int_equal(r->n_ids, 0);
    assert_int_equal(r->text.len, 0);
    result_free(r);
    engine_close(e);
}

static void engine__run__too_long_is_refused_and_nothing_lost(void **state)
{
    (void)state;
    char text[600];
    repeat(text, sizeof text, 'x');
    struct engine *e = open_engine(raw_path, 128);
    result_free(run(e, ask("keep me", 1)));
    struct result *r = run(e, ask(text, 5));
    assert_int_equal(r->reason, FINISH_ERROR);
    assert_int_equal(r->error.code, ERR_PROMPT);
    assert_non_null(strstr(r->error.text, "128"));
    assert_int_equal(r->n_prompt_events, 0);
    result_free(r);
    r = run(e, ask("keep me", 1));
    assert_int_equal(r->stats.prefilled_tokens, 1);
    result_free(r);
    engine_close(e);
}

static void engine__run__ends_where_the_context_ends(void **state)
{
    (void)state;
    struct engine *e = open_engine(raw_path, 100);
    struct result *r = run(e, ask("abc", -1));
    assert_int_equal(r->reason, FINISH_CONTEXT);
    assert_int_equal(r->stats.prompt_tokens + r->stats.completion_tokens, 100);
    result_free(r);
    engine_close(e);
}

/* A damaged weight: no token is made up. */
static void engine__run__logits_that_are_no_numbers_are_an_error(void **state)
{
    (void)state;
    struct tiny_options options = {.arch = "qwen3moe", .type = DTYPE_F32, .seed = 1};
    struct buf file = {0};
    char path[] = "/tmp/ferrum-engine-XXXXXX";
    close(mkstemp(path));
    assert_true(tiny_model_make(&options, &file));
    for (size_t i = 0; i < TINY_N_EMBD; i++)
        edit_weight(&file, "blk.0.ffn_gate_inp.weight", i, NAN);
    assert_true(test_write_file(path, file.data, file.len));
    struct engine *e = open_engine(path, 100);
    struct result *r = run(e, ask("abc", 3));
    assert_int_equal(r->reason, FINISH_ERROR);
    assert_int_equal(r->n_ids, 0);
    assert_non_null(strstr(r->error.text, "no finite number for the next token; its file may be damaged"));
    result_free(r);
    engine_close(e);
    unlink(path);
    buf_fini(&file);
}

static void engine__run__bad_settings_are_an_error(void **state)
{
    (void)state;
    struct engine *e = open_engine(raw_path, 100);
    struct engine_request request = ask("abc", 3);
    request.sampler.top_p = 3.0f;
    struct result *r = run(e, request);
    assert_int_equal(r->reason, FINISH_ERROR);
    assert_int_equal(r->error.code, ERR_USAGE);
    assert_non_null(strstr(r->error.text, "top-p"));
    result_free(r);
    engine_close(e);
}

static void engine__run__same_seed_same_answer(void **state)
{
    (void)state;
    struct engine *e = open_engine(raw_path, 0);
    struct engine_request request = ask("abc", 30);
    request.sampler.temp = 1.5f;
    struct result *a = run(e, request);
    request = ask("abc", 30);
    request.sampler.temp = 1.5f;
    request.sampler.seed = a->stats.seed;
    struct result *b = run(e, request);
    assert_int_equal(a->stats.seed, b->stats.seed);
    assert_int_equal(a->n_ids, b->n_ids);
    assert_memory_equal(a->ids, b->ids, a->n_ids * sizeof a->ids[0]);
    result_free(a);
    result_free(b);
    engine_close(e);
}

static bool starts_character(char c)
{
    return ((unsigned char)c & 0xC0) != 0x80;
}

static struct buf text_of(const struct engine *e, const int32_t *ids, size_t n)
{
    struct buf text = {0};
    struct detok d;
    char piece[256];
    detok_init(&d, model_vocab(engine_model(e)), false);
    for (size_t i = 0; i < n; i++)
        buf_append(&text, piece, detok_push(&d, ids[i], piece, sizeof piece));
    buf_append(&text, piece, detok_flush(&d, piece));
    return text;
}

static size_t n_shared(const int32_t *a, size_t n_a, const int32_t *b, size_t n_b)
{
    size_t n = 0;
    while (n < n_a && n < n_b && a[n] == b[n])
        n++;
    return n;
}

/* What was cut from the text is neither in the ids nor in what the next turn is given. Tells whether a token
 * had to be cut in two. */
static bool check_kept(struct engine *e, const struct result *r)
{
    assert_non_null(r->kept);
    struct buf text = text_of(e, r->kept, r->n_kept);
    assert_string_equal(buf_text(&text), buf_text(&r->text));
    buf_fini(&text);
    size_t n = n_shared(r->kept, r->n_kept, r->ids, r->n_ids);
    struct result *next = run(e, follow(r, r->kept, r->n_kept));
    assert_int_equal(next->stats.prompt_tokens, r->n_prompt_ids + r->n_kept + next->n_prompt_ids);
    assert_true(next->stats.reused_tokens >= r->n_prompt_ids + n - (n == r->n_ids));
    assert_true(next->stats.reused_tokens <= r->n_prompt_ids + r->n_kept + next->n_prompt_ids);
    result_free(next);
    return n < r->n_kept;
}

/* Any stretch of the answer, made a stop, ends it in front of its first occurrence. */
static void engine__stop__also_across_tokens(void **state)
{
    (void)state;
    struct engine *e = open_engine(raw_path, 0);
    struct result *whole = run(e, ask("abc", 40));
    const char *text = buf_text(&whole->text);
    int n_cut_tokens = 0;
    for (size_t at = 3; at + 6 < whole->text.len; at += 5) {
        size_t end = at + 5;
        while (!starts_character(text[at]))
            at++;
        while (end < whole->text.len && !starts_character(text[end]))
            end++;
        struct engine_request request = ask("abc", 40);
        add_stop(&request, "never there", 11);
        add_stop(&request, text + at, end - at);
        char *first = memmem(text, whole->text.len, text + at, end - at);
        struct result *r = run(e, request);
        assert_int_equal(r->reason, FINISH_STOP);
        assert_int_equal(r->text.len, first - text);
        assert_memory_equal(buf_text(&r->text), text, r->text.len);
        assert_memory_equal(r->ids, whole->ids, r->n_ids * sizeof r->ids[0]);
        n_cut_tokens += check_kept(e, r);
        result_free(r);
    }
    assert_true(n_cut_tokens > 0);
    /* What is held back because a stop might begin there comes at the end. */
    struct buf never = {0};
    buf_printf(&never, "%c and on", text[whole->text.len - 1]);
    struct engine_request request = ask("abc", 40);
    add_stop(&request, buf_text(&never), never.len);
    add_stop(&request, "", 0);
    buf_fini(&never);
    struct result *r = run(e, request);
    assert_int_equal(r->reason, FINISH_LENGTH);
    assert_string_equal(buf_text(&r->text), text);
    result_free(r);
    result_free(whole);
    engine_close(e);
}

static void engine__cancel__then_the_same_again(void **state)
{
    (void)state;
    char text[400];
    repeat(text, sizeof text, 'q');
    struct engine *e = open_engine(raw_path, 0);
    struct result *fresh = run(e, ask(text, 5));
    result_free(run(e, ask("other", 1)));
    for (int i = 0; i < 5; i++) {
        struct result *cut = mem_need(sizeof *cut);
        struct engine_request request = ask(text, -1);
        uint64_t number;
        assert_true(engine_submit(e, &request, &number, NULL));
        if (i)
            nanosleep(&(struct timespec){.tv_nsec = i * 500000}, NULL);
        engine_cancel(e);
        gather(e, number, cut);
        assert_true(cut->reason == FINISH_CANCELLED || cut->reason == FINISH_CONTEXT);
        assert_int_equal(cut->error.code, ERR_NONE);
        result_free(cut);
        struct result *again = run(e, ask(text, 5));
        assert_string_equal(buf_text(&again->text), buf_text(&fresh->text));
        result_free(again);
    }
    result_free(fresh);
    engine_close(e);
}

/* Stopped while the prompt is read: the counts tell what was done. */
static void engine__cancel__in_prefill_counts_what_was_done(void **state)
{
    (void)state;
    char text[3000];
    repeat(text, sizeof text, 'q');
    struct engine *e = open_engine(raw_path, 4096);
    struct result *r = mem_need(sizeof *r);
    struct engine_request request = ask(text, -1);
    struct engine_event event;
    uint64_t number;
    assert_true(engine_submit(e, &request, &number, NULL));
    do {
        wait_event(e, &event);
        take_event(r, &event);
    } while (event.type != ENGINE_PREFILL);
    engine_cancel(e);
    gather(e, number, r);
    assert_int_equal(r->reason, FINISH_CANCELLED);
    assert_true(r->stats.prompt_tokens <= r->n_prompt_ids);
    result_free(r);
    engine_close(e);
}

static void engine__cancel__when_idle_does_not_hit_the_next(void **state)
{
    (void)state;
    struct engine *e = open_engine(raw_path, 0);
    engine_cancel(e);
    struct result *r = run(e, ask("abc", 3));
    assert_int_equal(r->reason, FINISH_LENGTH);
    result_free(r);
    engine_close(e);
}

static void engine__submit__busy_keeps_the_request(void **state)
{
    (void)state;
    struct engine *e = open_engine(raw_path, 0);
    struct engine_request first = ask("abc", 20), second = ask("def", 1);
    uint64_t number, other;
    struct err err;
    assert_true(engine_submit(e, &first, &number, &err));
    assert_false(engine_submit(e, &second, &other, &err));
    assert_non_null(second.msgs);
    struct result *r = mem_need(sizeof *r);
    gather(e, number, r);
    assert_true(engine_submit(e, &second, &other, &err));
    assert_true(other > number);
    result_free(r);
    engine_close(e); /* with a request in work */
}

/* Nobody reads: the engine goes on all the same, and all ids and text arrive later. */
static void engine__events__slow_reader_loses_nothing(void **state)
{
    (void)state;
    struct engine *e = open_engine(raw_path, 1024);
    struct result *brisk = run(e, ask("abc", 700)), *slow = mem_need(sizeof *slow);
    struct engine_request request = ask("abc", 700);
    uint64_t number;
    assert_true(engine_submit(e, &request, &number, NULL));
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    gather(e, number, slow);
    assert_int_equal(slow->n_ids, brisk->n_ids);
    assert_memory_equal(slow->ids, brisk->ids, brisk->n_ids * sizeof brisk->ids[0]);
    assert_string_equal(buf_text(&slow->text), buf_text(&brisk->text));
    result_free(brisk);
    result_free(slow);
    engine_close(e);
}

/* At a very high temperature every token is as likely, so an end comes soon. */
static struct result *run_until_end(struct engine *e, bool raw)
{
    struct engine_request request = ask("abc", -1);
    request.raw = raw;
    request.sampler = (struct sampler_params){
        .temp = 100.0f, .top_p = 1.0f, .typical = 1.0f, .repeat_penalty = 1.0f, .seed = 5};
    return run(e, request);
}

static void engine__end__told_in_chatml_alone(void **state)
{
    (void)state;
    struct engine *e = open_engine(chatml_path, 4096);
    struct result *r = run_until_end(e, false);
    assert_int_equal(r->reason, FINISH_STOP);
    assert_int_equal(r->n_ends, 1);
    assert_true(vocab_is_end(model_vocab(engine_model(e)), r->end_id));
    result_free(r);
    r = run_until_end(e, true);
    assert_int_equal(r->reason, FINISH_STOP);
    assert_int_equal(r->n_ends, 0);
    result_free(r);
    engine_close(e);
}

/* The ChatML model, its template changed in one place. */
static struct engine *open_spoiled(const char *from, const char *to)
{
    char path[] = "/tmp/ferrum-engine-XXXXXX";
    struct tiny_options options = {.arch = "qwen3", .type = DTYPE_Q8_0, .chatml = true, .seed = 2};
    struct buf file = {0};
    int fd = mkstemp(path);
    assert_true(tiny_model_make(&options, &file));
    char *place = memmem(file.data, file.len, from, strlen(from));
    assert_non_null(place);
    assert_int_equal(strlen(from), strlen(to));
    memcpy(place, to, strlen(to));
    assert_int_equal(write(fd, file.data, file.len), file.len);
    close(fd);
    struct engine *e = open_engine(path, 0);
    unlink(path);
    buf_fini(&file);
    return e;
}

static struct result *chat(struct engine *e)
{
    struct engine_request request = ask("abc", 3);
    request.raw = false;
    return run(e, request);
}

/* Said once, then the chat goes on with ChatML, which here is what the template would have given. */
static void engine__template__failing_is_said_once(void **state)
{
    (void)state;
    struct engine *good = open_engine(chatml_path, 0),
                  *e = open_spoiled("message['role']", "message.no.role");
    struct result *want = chat(good), *first = chat(e), *second = chat(e);
    assert_int_equal(want->warning.code, ERR_NONE);
    assert_int_equal(first->warning.code, ERR_RUNTIME);
    assert_non_null(strstr(first->warning.text, "line 1, column "));
    assert_non_null(strstr(first->warning.text, "ChatML is used"));
    assert_int_equal(second->warning.code, ERR_NONE);
    struct result *fallen[] = {first, second};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(fallen[i]->reason, FINISH_LENGTH);
        assert_string_equal(buf_text(&fallen[i]->text), buf_text(&want->text));
        assert_int_equal(fallen[i]->n_prompt_ids, want->n_prompt_ids);
        assert_memory_equal(fallen[i]->prompt_ids, want->prompt_ids,
                            want->n_prompt_ids * sizeof want->prompt_ids[0]);
    }
    result_free(want);
    result_free(first);
    result_free(second);
    engine_close(good);
    engine_close(e);
}

static void engine__template__broken_is_a_warning_of_the_model(void **state)
{
    (void)state;
    struct engine *good = open_engine(chatml_path, 0), *e = open_spoiled("{% for message", "{% fox message");
    assert_null(model_warning(engine_model(good)));
    assert_non_null(model_template(engine_model(good)));
    const char *warning = model_warning(engine_model(e));
    assert_non_null(warning);
    assert_non_null(strstr(warning, "line 1"));
    assert_non_null(strstr(warning, "ChatML is used"));
    assert_null(model_template(engine_model(e)));
    struct result *r = chat(e);
    assert_int_equal(r->warning.code, ERR_NONE);
    assert_int_equal(r->reason, FINISH_LENGTH);
    result_free(r);
    engine_close(good);
    engine_close(e);
}

static void engine__stories__continues_as_published(void **state)
{
    (void)state;
    const char *path = shared_path("models/stories260K.gguf");
    if (!path)
        skip();
    static const char expected[] = ", there was a little girl named Lily. She loved to play outside in the "
                                   "park. One day, she saw a big, "
                                   "red ball. She wanted to play with it, but it was too high.";
    struct engine *e = open_engine(path, 0);
    struct result *r = run(e, ask("Once upon a time", 60));
    assert_true(r->text.len >= sizeof expected - 1);
    assert_memory_equal(buf_text(&r->text), expected, sizeof expected - 1);
    result_free(r);
    engine_close(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(engine__open__missing_file_says_so),
        cmocka_unit_test(engine__close__while_loading),
        cmocka_unit_test(engine__run__counts_and_ids),
        cmocka_unit_test(engine__run__repeated_prompt_is_reused),
        cmocka_unit_test(engine__run__history_keeps_its_ids),
        cmocka_unit_test(engine__run__foreign_ids_are_replaced),
        cmocka_unit_test(engine__run__zero_tokens_wanted),
        cmocka_unit_test(engine__run__too_long_is_refused_and_nothing_lost),
        cmocka_unit_test(engine__run__ends_where_the_context_ends),
        cmocka_unit_test(engine__run__logits_that_are_no_numbers_are_an_error),
        cmocka_unit_test(engine__run__bad_settings_are_an_error),
        cmocka_unit_test(engine__run__same_seed_same_answer),
        cmocka_unit_test(engine__stop__also_across_tokens),
        cmocka_unit_test(engine__cancel__then_the_same_again),
        cmocka_unit_test(engine__cancel__in_prefill_counts_what_was_done),
        cmocka_unit_test(engine__cancel__when_idle_does_not_hit_the_next),
        cmocka_unit_test(engine__submit__busy_keeps_the_request),
        cmocka_unit_test(engine__events__slow_reader_loses_nothing),
        cmocka_unit_test(engine__end__told_in_chatml_alone),
        cmocka_unit_test(engine__template__failing_is_said_once),
        cmocka_unit_test(engine__template__broken_is_a_warning_of_the_model),
        cmocka_unit_test(engine__stories__continues_as_published),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
