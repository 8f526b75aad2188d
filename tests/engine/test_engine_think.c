/* Reasoning through the engine's door: models that say what the test wants, templates that reason. */
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

#define ANSWER "The answer is the answer."
#define SCRIPT "<think>\nfirst this,\nthen that\n</think>\n\n" ANSWER
#define REASONING "first this,\nthen that"

static struct backend backend;

static int set_up(void **state)
{
    (void)state;
    return backend_cpu_open(&backend, 2, forced_cpu(), NULL) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    backend_close(&backend);
    return 0;
}

static struct engine *open_scripted(bool opens, const char *script)
{
    char path[] = "/tmp/ferrum-think-XXXXXX";
    struct tiny_options tiny = {.arch = "qwen3",
                                .type = DTYPE_F32,
                                .think = !opens,
                                .think_opens = opens,
                                .script = script,
                                .seed = 3};
    struct engine_options options = {.model_path = path, .backend = &backend, .kv_type = DTYPE_F16};
    close(mkstemp(path));
    assert_true(tiny_model_save(&tiny, path));
    struct engine *e = open_ready(&options);
    unlink(path);
    return e;
}

/* --- a chat: its messages, with the ids that app would keep --- */

struct talk {
    struct engine *e;
    struct engine_msg msgs[8];
    size_t n;
    enum think_mode think;
    int32_t n_predict;
    const char *stop;
    /* of the last turn */
    struct turn_stats stats;
    enum finish_reason reason;
    size_t n_reasoning_events;
};

static struct talk begin(struct engine *e)
{
    return (struct talk){.e = e, .n_predict = -1};
}

static struct engine_msg copy(const struct engine_msg *msg)
{
    struct engine_msg c = *msg;
    c.text = mem_strndup(msg->text, msg->n_bytes);
    c.think = msg->think ? mem_strndup(msg->think, msg->n_think) : NULL;
    if (msg->tokens) {
        c.tokens = mem_need(msg->n_tokens * sizeof *c.tokens);
        memcpy(c.tokens, msg->tokens, msg->n_tokens * sizeof *c.tokens);
    }
    return c;
}

static struct engine_request request_of(const struct talk *c)
{
    struct engine_request r = {.sampler = sampler_defaults(), .n_predict = c->n_predict, .think = c->think};
    r.msgs = mem_need(c->n * sizeof *r.msgs);
    for (r.n_msgs = 0; r.n_msgs < c->n; r.n_msgs++)
        r.msgs[r.n_msgs] = copy(&c->msgs[r.n_msgs]);
    if (c->stop) {
        r.stops = mem_need(sizeof *r.stops);
        r.stops[r.n_stops++] = mem_strdup(c->stop);
    }
    return r;
}

static void keep_prompt(struct talk *c, struct engine_event *event)
{
    size_t last = c->n - 1, n = event->n_ids_of[last];
    if (n) {
        c->msgs[last].tokens = mem_need(n * sizeof *event->ids);
        c->msgs[last].n_tokens = n;
        memcpy(c->msgs[last].tokens, event->ids + event->n_ids - n, n * sizeof *event->ids);
    }
    mem_free(event->ids);
    mem_free(event->n_ids_of);
}

static void take(struct talk *c, const struct engine_event *event, struct buf *text, struct buf *think,
                 struct engine_msg *answer)
{
    buf_append(event->is_reasoning ? think : text, event->text, event->n_text);
    c->n_reasoning_events += event->is_reasoning;
    if (event->token < 0)
        return;
    answer->tokens = mem_need_resize(answer->tokens, answer->n_tokens + 1, sizeof *answer->tokens);
    answer->tokens[answer->n_tokens++] = event->token;
}

static void say(struct talk *c, const char *question)
{
    struct engine_event event;
    struct buf text = {0}, think = {0};
    struct engine_msg answer = {.role = CHAT_ASSISTANT};
    uint64_t number;
    c->n_reasoning_events = 0;
    c->msgs[c->n++] =
        (struct engine_msg){.role = CHAT_USER, .text = mem_strdup(question), .n_bytes = strlen(question)};
    struct engine_request r = request_of(c);
    assert_true(engine_submit(c->e, &r, &number, NULL));
    do {
        wait_event(c->e, &event);
        if (event.type == ENGINE_PROMPT) {
            event.n_ids = 0;
            for (size_t i = 0; i < event.n_msgs; i++)
                event.n_ids += event.n_ids_of[i];
            keep_prompt(c, &event);
        } else if (event.type == ENGINE_TOKEN) {
            take(c, &event, &text, &think, &answer);
        }
    } while (event.type != ENGINE_DONE);
    mem_free(event.ids);
    c->stats = event.stats;
    c->reason = event.reason;
    answer.text = mem_strndup(buf_text(&text), text.len);
    answer.n_bytes = text.len;
    answer.think = mem_strndup(buf_text(&think), think.len);
    answer.n_think = think.len;
    c->msgs[c->n++] = answer;
    buf_fini(&text);
    buf_fini(&think);
}

static void end(struct talk *c)
{
    for (size_t i = 0; i < c->n; i++) {
        mem_free(c->msgs[i].text);
        mem_free(c->msgs[i].think);
        mem_free(c->msgs[i].tokens);
    }
}

static void assert_answer(const struct talk *c, const char *think, const char *text)
{
    assert_string_equal(c->msgs[c->n - 1].think, think);
    assert_string_equal(c->msgs[c->n - 1].text, text);
}

/* --- tests --- */

static void engine__think__apart_from_the_answer(void **state)
{
    (void)state;
    struct engine *e = open_scripted(false, SCRIPT);
    struct talk c = begin(e);
    say(&c, "hello");
    assert_answer(&c, REASONING, ANSWER);
    assert_int_equal(c.reason, FINISH_STOP);
    /* every sampled id, and the one that ends the turn */
    assert_int_equal(c.msgs[1].n_tokens, c.stats.completion_tokens + 1);
    const struct vocab *v = model_vocab(engine_model(e));
    assert_int_equal(c.msgs[1].tokens[0], vocab_find(v, "<think>", 7));
    end(&c);
    engine_close(e);
}

static void engine__think__opened_by_the_prompt(void **state)
{
    (void)state;
    struct engine *e = open_scripted(true, REASONING "\n</think>\n\n" ANSWER);
    struct talk c = begin(e);
    say(&c, "hello");
    assert_answer(&c, REASONING, ANSWER);
    end(&c);
    engine_close(e);
}

static void engine__think__switched_off(void **state)
{
    (void)state;
    for (int opens = 0; opens < 2; opens++) {
        struct engine *e = open_scripted(opens, opens ? REASONING "\n</think>\n\n" ANSWER : SCRIPT);
        struct talk c = begin(e);
        assert_true(chat_template_can_switch(model_template(engine_model(e))));
        c.think = THINK_OFF;
        say(&c, "hello");
        assert_answer(&c, "", ANSWER);
        assert_int_equal(c.n_reasoning_events, 0);
        c.think = THINK_ON;
        say(&c, "hello");
        assert_answer(&c, REASONING, ANSWER);
        end(&c);
        engine_close(e);
    }
}

/* The block is not closed: there is no answer. */
static void engine__think__cut_inside(void **state)
{
    (void)state;
    struct engine *e = open_scripted(false, SCRIPT);
    struct talk c = begin(e);
    c.n_predict = 3;
    say(&c, "hello");
    assert_int_equal(c.reason, FINISH_LENGTH);
    assert_int_equal(c.msgs[1].n_bytes, 0);
    assert_true(c.msgs[1].n_think > 0);
    assert_memory_equal(c.msgs[1].think, REASONING, c.msgs[1].n_think);
    end(&c);
    engine_close(e);
}

static void engine__think__stop_in_the_answer_alone(void **state)
{
    (void)state;
    struct engine *e = open_scripted(false, "<think>\na stop here\n</think>\n\nNow a stop there.");
    struct talk c = begin(e);
    c.stop = "stop";
    say(&c, "hello");
    assert_answer(&c, "a stop here", "Now a ");
    assert_int_equal(c.reason, FINISH_STOP);
    end(&c);
    engine_close(e);
}

static void engine__think__not_in_raw_text(void **state)
{
    (void)state;
    struct engine *e = open_scripted(false, SCRIPT);
    struct engine_request r = {.raw = true, .sampler = sampler_defaults(), .n_predict = -1};
    struct engine_event event;
    struct buf text = {0};
    uint64_t number;
    r.msgs = mem_need(sizeof *r.msgs);
    r.n_msgs = 1;
    r.msgs[0] = (struct engine_msg){.role = CHAT_USER, .text = mem_strdup("a\n"), .n_bytes = 2};
    assert_true(engine_submit(e, &r, &number, NULL));
    do {
        wait_event(e, &event);
        if (event.type == ENGINE_PROMPT) {
            mem_free(event.ids);
            mem_free(event.n_ids_of);
        } else if (event.type == ENGINE_TOKEN) {
            assert_false(event.is_reasoning);
            buf_append(&text, event.text, event.n_text);
        }
    } while (event.type != ENGINE_DONE);
    assert_string_equal(buf_text(&text), SCRIPT);
    buf_fini(&text);
    engine_close(e);
}

/* The template leaves the reasoning out of the second prompt; what stands before it is reused. */
static void engine__think__history_follows_the_template(void **state)
{
    (void)state;
    struct engine *e = open_scripted(false, SCRIPT);
    struct talk c = begin(e);
    say(&c, "hello");
    uint32_t n_first = c.stats.prompt_tokens, n_answer = c.stats.completion_tokens;
    size_t n_question = c.msgs[0].n_tokens;
    assert_int_equal(n_question, n_first);
    say(&c, "hello");
    assert_answer(&c, REASONING, ANSWER);
    /* for this turn alone: nothing of it is to be stored */
    assert_null(c.msgs[2].tokens);
    assert_int_equal(c.stats.reused_tokens, n_first);
    assert_true(n_answer > 0 && c.stats.prompt_tokens > n_first);
    end(&c);
    engine_close(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(engine__think__apart_from_the_answer),
        cmocka_unit_test(engine__think__opened_by_the_prompt),
        cmocka_unit_test(engine__think__switched_off),
        cmocka_unit_test(engine__think__cut_inside),
        cmocka_unit_test(engine__think__stop_in_the_answer_alone),
        cmocka_unit_test(engine__think__not_in_raw_text),
        cmocka_unit_test(engine__think__history_follows_the_template),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
