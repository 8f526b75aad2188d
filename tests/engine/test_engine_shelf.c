/* The engine and its shelf: turns that go on where another engine ended, what is said about them, and warm
 * requests, which prepare the next turn and give way to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/engine.h"
#include "kernels_cpu/backend_cpu.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/forced_cpu.h"
#include "tests/support/mem_shelf.h"
#include "tests/support/tiny_model.h"

#define QUESTION "Tell me in a few words what a page is, and what it holds."
#define SCRIPT "<think>\nthe rows of many places\n</think>\n\nSixty-four rows.<|im_end|>"

static struct backend backend;
static struct mem_shelf shelf;
static char chatml_path[] = "/tmp/ferrum-shelf-XXXXXX", think_path[] = "/tmp/ferrum-shelf-XXXXXX";

static int set_up(void **state)
{
    (void)state;
    close(mkstemp(chatml_path));
    close(mkstemp(think_path));
    struct tiny_options chatml = {.arch = "qwen3", .type = DTYPE_Q8_0, .chatml = true, .seed = 2};
    struct tiny_options think = {
        .arch = "qwen3", .type = DTYPE_F32, .think = true, .script = SCRIPT, .n_ctx = 2048, .seed = 3};
    return backend_cpu_open(&backend, 2, forced_cpu(), NULL) && tiny_model_save(&chatml, chatml_path) &&
                   tiny_model_save(&think, think_path)
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(chatml_path);
    unlink(think_path);
    backend_close(&backend);
    return 0;
}

static int open_shelf(void **state)
{
    (void)state;
    mem_shelf_init(&shelf);
    return 0;
}

static int close_shelf(void **state)
{
    (void)state;
    return mem_shelf_fini(&shelf) ? 0 : -1;
}

/* --- a chat: what app would keep of it --- */

struct talk {
    struct engine *engine;
    struct engine_msg msgs[16];
    size_t n_msgs;
    enum finish_reason reason; /* of the last request */
    struct turn_stats stats;
    struct err error, warning; /* warning: of ENGINE_PROMPT */
    size_t n_progress;         /* of ENGINE_PREFILL: the last */
};

static struct engine *open_engine(const char *path, uint32_t n_ctx, bool with_shelf)
{
    struct engine_options options = {.model_path = path,
                                     .backend = &backend,
                                     .n_ctx = n_ctx,
                                     .kv_type = DTYPE_F16,
                                     .shelf = with_shelf ? &shelf.shelf : NULL};
    return open_ready(&options);
}

static void add_text(char **text, size_t *n, const char *more, size_t n_more)
{
    *text = mem_need_resize(*text, *n + n_more + 1, 1);
    memcpy(*text + *n, more, n_more);
    *n += n_more;
    (*text)[*n] = 0;
}

static struct engine_msg *add_msg(struct talk *c, enum chat_role role, const char *text)
{
    struct engine_msg *m = &c->msgs[c->n_msgs++];
    *m = (struct engine_msg){.role = role};
    add_text(&m->text, &m->n_bytes, text, strlen(text));
    return m;
}

static void free_msg(struct engine_msg *m)
{
    mem_free(m->text);
    mem_free(m->think);
    mem_free(m->tokens);
}

static void close_chat(struct talk *c)
{
    for (size_t i = 0; i < c->n_msgs; i++)
        free_msg(&c->msgs[i]);
    engine_close(c->engine);
}

static struct engine_msg copy_msg(const struct engine_msg *m)
{
    struct engine_msg copy = {.role = m->role, .n_tokens = m->n_tokens};
    add_text(&copy.text, &copy.n_bytes, m->text, m->n_bytes);
    if (m->think)
        add_text(&copy.think, &copy.n_think, m->think, m->n_think);
    if (m->tokens) {
        copy.tokens = mem_need((m->n_tokens + 1) * sizeof *m->tokens);
        memcpy(copy.tokens, m->tokens, m->n_tokens * sizeof *m->tokens);
    }
    return copy;
}

static struct engine_request request_of(const struct talk *c, bool warm, int32_t n_predict)
{
    struct engine_request r = {
        .warm = warm, .owner = {7}, .sampler = sampler_defaults(), .n_predict = n_predict};
    r.sampler.temp = 0.0f;
    r.msgs = mem_need(16 * sizeof *r.msgs);
    for (; r.n_msgs < c->n_msgs; r.n_msgs++)
        r.msgs[r.n_msgs] = copy_msg(&c->msgs[r.n_msgs]);
    return r;
}

static uint64_t submit(struct talk *c, bool warm, int32_t n_predict)
{
    uint64_t number;
    struct err err;
    struct engine_request r = request_of(c, warm, n_predict);
    assert_true(engine_submit(c->engine, &r, &number, &err));
    return number;
}

static void take_prompt_ids(struct talk *c, const struct engine_event *event, size_t n_msgs)
{
    const int32_t *ids = event->ids;
    for (size_t i = 0; i < n_msgs; ids += event->n_ids_of[i++]) {
        if (!event->n_ids_of[i])
            continue;
        struct engine_msg *m = &c->msgs[i];
        m->tokens = mem_need(event->n_ids_of[i] * sizeof *m->tokens);
        m->n_tokens = event->n_ids_of[i];
        memcpy(m->tokens, ids, m->n_tokens * sizeof *m->tokens);
    }
    mem_free(event->ids);
    mem_free(event->n_ids_of);
}

static void take_token(struct engine_msg *answer, const struct engine_event *event)
{
    if (event->is_reasoning)
        add_text(&answer->think, &answer->n_think, event->text, event->n_text);
    else
        add_text(&answer->text, &answer->n_bytes, event->text, event->n_text);
    if (event->token < 0)
        return;
    answer->tokens = mem_need_resize(answer->tokens, answer->n_tokens + 1, sizeof *answer->tokens);
    answer->tokens[answer->n_tokens++] = event->token;
}

static void finish(struct talk *c, uint64_t number)
{
    struct engine_event event;
    size_t n_msgs = c->n_msgs;
    c->n_progress = 0;
    do {
        wait_event(c->engine, &event);
        assert_int_equal(event.request, number);
        if (event.type == ENGINE_PREFILL) {
            assert_true(event.done <= event.total && event.done >= c->n_progress);
            c->n_progress = event.done;
        }
        if (event.type == ENGINE_PROMPT) {
            take_prompt_ids(c, &event, n_msgs);
            c->warning = event.error;
            add_msg(c, CHAT_ASSISTANT, "");
        }
        if (event.type == ENGINE_TOKEN)
            take_token(&c->msgs[n_msgs], &event);
    } while (event.type != ENGINE_DONE);
    assert_null(event.ids);
    c->reason = event.reason;
    c->stats = event.stats;
    c->error = event.error;
    assert_int_equal(c->stats.prompt_tokens, c->stats.reused_tokens + c->stats.prefilled_tokens);
    assert_int_equal(c->stats.reused_tokens, c->stats.reused_memory + c->stats.reused_disk);
}

static void ask(struct talk *c, const char *text, int32_t n_predict)
{
    c->n_progress = 0;
    add_msg(c, CHAT_USER, text);
    finish(c, submit(c, false, n_predict));
}

static void warm(struct talk *c)
{
    size_t n_msgs = c->n_msgs;
    c->n_progress = 0;
    finish(c, submit(c, true, -1));
    assert_int_equal(c->n_msgs, n_msgs);
}

/* The same chat in a new engine. */
static void reopen(struct talk *c, const char *path, bool with_shelf)
{
    engine_close(c->engine);
    c->engine = open_engine(path, 0, with_shelf);
}

static void assert_same_answer(const struct talk *a, const struct talk *b)
{
    const struct engine_msg *x = &a->msgs[a->n_msgs - 1], *y = &b->msgs[b->n_msgs - 1];
    assert_int_equal(x->n_tokens, y->n_tokens);
    assert_memory_equal(x->tokens, y->tokens, x->n_tokens * sizeof *x->tokens);
}

/* --- turns --- */

static void engine_shelf__turn__goes_on_in_another_engine(void **state)
{
    (void)state;
    struct talk whole = {.engine = open_engine(chatml_path, 0, false)};
    struct talk cut = {.engine = open_engine(chatml_path, 0, true)};
    ask(&whole, QUESTION, 40);
    ask(&whole, "and?", 20);
    ask(&cut, QUESTION, 40);
    assert_same_answer(&cut, &(struct talk){.n_msgs = 2, .msgs = {whole.msgs[0], whole.msgs[1]}});
    shelf.foreign = true;
    reopen(&cut, chatml_path, true);
    ask(&cut, "and?", 20);
    assert_same_answer(&cut, &whole);
    /* All rows but the new message's, and the last one of the answer, which was never computed. */
    assert_int_equal(cut.stats.prompt_tokens, whole.stats.prompt_tokens);
    assert_int_equal(cut.stats.reused_disk, whole.stats.reused_memory);
    assert_int_equal(cut.stats.prefilled_tokens, whole.stats.prefilled_tokens);
    assert_int_equal(cut.stats.reused_memory, 0);
    assert_int_equal(cut.stats.foreign_tokens, cut.stats.reused_disk);
    assert_true(cut.stats.fetch_ms > 0);
    assert_true(cut.stats.saved_ms == 0); /* no cost is known */
    assert_int_equal(cut.n_progress, cut.stats.prompt_tokens);
    close_chat(&whole);
    close_chat(&cut);
}

static void engine_shelf__turn__costs_are_noted_and_used(void **state)
{
    (void)state;
    struct talk c = {.engine = open_engine(chatml_path, 0, true)};
    ask(&c, QUESTION, 2);
    assert_true(c.stats.prefilled_tokens >= 32);
    assert_true(shelf.noted_ns > 0);
    shelf.noted_ns = 0;
    ask(&c, "x", 2); /* too short to be noted */
    assert_true(shelf.noted_ns == 0);
    shelf.prefill_ns = 1e9;
    reopen(&c, chatml_path, true);
    ask(&c, "y", 1);
    assert_true(c.stats.saved_ms > 0);
    assert_true(c.stats.saved_ms <= 1e3 * c.stats.reused_disk);
    close_chat(&c);
}

static void engine_shelf__turn__damage_is_counted(void **state)
{
    (void)state;
    struct talk c = {.engine = open_engine(chatml_path, 0, true)};
    ask(&c, QUESTION, 60);
    assert_true(shelf.n_blocks >= 3);
    shelf.blocks[1].is_damaged = true;
    reopen(&c, chatml_path, true);
    ask(&c, "go on", 1);
    assert_int_equal(c.stats.damaged_blocks, 1);
    assert_int_equal(c.stats.reused_disk, 64);
    close_chat(&c);
}

/* Rows that pass every check, and are wrong: not numbers. */
static void fail_after_reopening(bool is_warmed)
{
    struct talk whole = {.engine = open_engine(chatml_path, 0, false)};
    struct talk cut = {.engine = open_engine(chatml_path, 0, true)};
    ask(&whole, QUESTION, 30);
    ask(&whole, "more", 5);
    ask(&cut, QUESTION, 30);
    warm(&cut);
    memset((void *)(uintptr_t)shelf.blocks[0].b.bytes, 0xff, shelf.blocks[0].b.n_bytes);
    reopen(&cut, chatml_path, true);
    if (is_warmed)
        warm(&cut);
    assert_int_equal(cut.stats.reused_disk, is_warmed ? cut.stats.prompt_tokens : 0);
    ask(&cut, "more", 5);
    assert_int_equal(cut.reason, FINISH_LENGTH);
    assert_int_equal(cut.stats.reused_disk, 0);
    assert_int_equal(cut.stats.prefilled_tokens, cut.stats.prompt_tokens);
    assert_same_answer(&cut, &whole);
    size_t n_finds = shelf.n_finds;
    ask(&cut, "and", 1);
    assert_int_equal(shelf.n_finds, n_finds);
    close_chat(&whole);
    close_chat(&cut);
}

static void engine_shelf__turn__rows_that_fail_are_computed_once(void **state)
{
    (void)state;
    fail_after_reopening(false);
}

static void engine_shelf__turn__warmed_rows_that_fail_are_computed_once(void **state)
{
    (void)state;
    fail_after_reopening(true);
}

static void engine_shelf__idle__saves_what_was_refused(void **state)
{
    (void)state;
    struct talk c = {.engine = open_engine(chatml_path, 0, true)};
    mem_shelf_set_room(&shelf, 0);
    ask(&c, QUESTION, 30);
    assert_int_equal(mem_shelf_n_blocks(&shelf), 0);
    mem_shelf_set_room(&shelf, 32);
    for (int i = 0; i < 3000 && mem_shelf_n_blocks(&shelf) < 2; i++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    assert_true(mem_shelf_n_blocks(&shelf) >= 2);
    close_chat(&c);
}

/* The rows that are lent lie in the engine's memory. */
static void engine_shelf__close__waits_for_the_shelf(void **state)
{
    (void)state;
    struct talk c = {.engine = open_engine(chatml_path, 0, true)};
    shelf.holds = true;
    ask(&c, QUESTION, 60);
    assert_int_equal(shelf.n_blocks, 0);
    assert_true(shelf.n_ring >= 2);
    mem_shelf_start(&shelf);
    close_chat(&c);
    assert_true(mem_shelf_n_blocks(&shelf) >= 2);
}

/* --- warm requests --- */

/* The template drops old reasoning: what the last turn left in memory is not what the next prompt begins
 * with.
 */
static void engine_shelf__warm__only_the_new_message_is_left(void **state)
{
    (void)state;
    struct talk cold = {.engine = open_engine(think_path, 0, false)};
    struct talk ahead = {.engine = open_engine(think_path, 0, true)};
    ask(&cold, QUESTION, -1);
    ask(&cold, "why", -1);
    ask(&ahead, QUESTION, -1);
    assert_int_equal(ahead.reason, FINISH_STOP);
    assert_non_null(ahead.msgs[1].think);
    warm(&ahead);
    assert_int_equal(ahead.reason, FINISH_STOP);
    assert_true(ahead.stats.reused_memory > 0 && ahead.stats.prefilled_tokens > 0);
    assert_int_equal(ahead.n_progress, ahead.stats.prefilled_tokens);
    uint32_t n_warm = ahead.stats.prompt_tokens;
    warm(&ahead); /* nothing is left to do */
    assert_int_equal(ahead.stats.reused_memory, n_warm);
    assert_int_equal(ahead.stats.prefilled_tokens, 0);
    ask(&ahead, "why", -1);
    assert_int_equal(ahead.stats.reused_memory, n_warm);
    assert_int_equal(ahead.stats.prompt_tokens, cold.stats.prompt_tokens);
    assert_true(ahead.stats.prefilled_tokens < cold.stats.prefilled_tokens);
    /* "why", its end, and what makes the assistant speak */
    assert_true(ahead.stats.prefilled_tokens <= 3 + 20);
    assert_same_answer(&ahead, &cold);
    close_chat(&cold);
    close_chat(&ahead);
}

static void engine_shelf__warm__from_disk_in_a_new_engine(void **state)
{
    (void)state;
    struct talk c = {.engine = open_engine(think_path, 0, true)};
    ask(&c, QUESTION, -1);
    warm(&c);
    uint32_t n_warm = c.stats.prompt_tokens;
    reopen(&c, think_path, true);
    warm(&c);
    assert_int_equal(c.stats.reused_disk, n_warm);
    assert_int_equal(c.stats.prefilled_tokens, 0);
    ask(&c, "why", 1);
    assert_int_equal(c.stats.reused_memory, n_warm);
    close_chat(&c);
}

/* Back from a longer path to one that is all in memory, and to the other, which is all on the shelf. */
static void engine_shelf__warm__another_branch_computes_nothing(void **state)
{
    (void)state;
    struct talk c = {.engine = open_engine(chatml_path, 0, true)}, other = {.engine = c.engine};
    ask(&c, QUESTION, 40);
    ask(&other, "Another one, which has nothing in common with it and which is about as long.", 40);
    warm(&other);
    warm(&c);
    for (int i = 0; i < 2; i++) {
        warm(&other);
        assert_int_equal(other.stats.prefilled_tokens, 0);
        assert_true(other.stats.reused_disk > 0);
        warm(&c);
        assert_int_equal(c.stats.prefilled_tokens, 0);
        assert_int_equal(c.stats.reused_tokens, c.stats.prompt_tokens);
    }
    ask(&c, "and?", 1);
    assert_int_equal(c.reason, FINISH_LENGTH);
    for (size_t i = 0; i < other.n_msgs; i++)
        free_msg(&other.msgs[i]);
    close_chat(&c);
}

static void engine_shelf__warm__stored_ids_where_history_stays(void **state)
{
    (void)state;
    struct talk c = {.engine = open_engine(chatml_path, 0, false)};
    ask(&c, QUESTION, 10);
    warm(&c);
    assert_int_equal(c.reason, FINISH_STOP);
    assert_true(c.stats.prefilled_tokens < 16);
    uint32_t n_warm = c.stats.prompt_tokens;
    ask(&c, "why", 1);
    assert_int_equal(c.stats.reused_memory, n_warm);
    close_chat(&c);
}

static void engine_shelf__warm__a_question_alone_and_nothing(void **state)
{
    (void)state;
    struct talk c = {.engine = open_engine(chatml_path, 0, false)};
    warm(&c);
    assert_int_equal(c.reason, FINISH_STOP);
    add_msg(&c, CHAT_SYSTEM, "Be brief.");
    warm(&c);
    assert_true(c.stats.prompt_tokens > 9);
    uint32_t n_warm = c.stats.prompt_tokens;
    ask(&c, QUESTION, 1);
    assert_int_equal(c.stats.reused_memory, n_warm);
    free_msg(&c.msgs[--c.n_msgs]);
    warm(&c); /* the answer is gone: as before it was asked for */
    assert_int_equal(c.reason, FINISH_STOP);
    close_chat(&c);
}

static void engine_shelf__warm__too_long_for_the_context(void **state)
{
    (void)state;
    char text[300] = {0};
    memset(text, 'x', sizeof text - 1);
    struct talk c = {.engine = open_engine(chatml_path, 128, false)};
    add_msg(&c, CHAT_USER, text);
    warm(&c);
    assert_int_equal(c.reason, FINISH_CONTEXT);
    assert_int_equal(c.stats.prompt_tokens, 0);
    close_chat(&c);
}

static struct engine *open_bytes(struct buf *file)
{
    char path[] = "/tmp/ferrum-shelf-XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, file->data, file->len), file->len);
    close(fd);
    struct engine *e = open_engine(path, 0, false);
    unlink(path);
    buf_fini(file);
    return e;
}

/* What a template has to say for itself is said in a turn. */
static void engine_shelf__warm__template_that_fails(void **state)
{
    (void)state;
    static const char from[] = "message['role']", to[] = "message.no.role";
    struct tiny_options options = {.arch = "qwen3", .type = DTYPE_Q8_0, .chatml = true, .seed = 2};
    struct buf file = {0};
    assert_true(tiny_model_make(&options, &file));
    char *place = memmem(file.data, file.len, from, strlen(from));
    assert_non_null(place);
    memcpy(place, to, strlen(to));
    struct talk c = {.engine = open_bytes(&file)};
    add_msg(&c, CHAT_SYSTEM, "Be brief.");
    warm(&c);
    assert_int_equal(c.reason, FINISH_ERROR);
    assert_int_equal(c.error.code, ERR_RUNTIME);
    ask(&c, QUESTION, 1);
    assert_int_equal(c.reason, FINISH_LENGTH);
    assert_int_equal(c.warning.code, ERR_RUNTIME);
    warm(&c); /* in the layout that is used from now on */
    assert_int_equal(c.reason, FINISH_STOP);
    close_chat(&c);
}

static void engine_shelf__turn__rows_without_numbers_are_not_reused(void **state)
{
    (void)state;
    struct tiny_options options = {.arch = "qwen3", .type = DTYPE_F32, .chatml = true, .seed = 2};
    struct buf file = {0};
    assert_true(tiny_model_make(&options, &file));
    memset(file.data + file.len - 8192, 0xff, 8192); /* weights */
    struct talk c = {.engine = open_bytes(&file)};
    for (int i = 0; i < 2; i++) {
        ask(&c, QUESTION, 5);
        assert_int_equal(c.reason, FINISH_ERROR);
        assert_int_equal(c.error.code, ERR_RUNTIME);
        assert_int_equal(c.stats.reused_tokens, 0);
    }
    close_chat(&c);
}

/* Whatever was offered when the turn ends belongs to the new owner too, and nothing comes for the old one. */
static void engine_shelf__rename__rows_of_the_turn_go_along(void **state)
{
    (void)state;
    static const unsigned char from[KV_OWNER_BYTES] = {7}, to[KV_OWNER_BYTES] = {8},
                               other[KV_OWNER_BYTES] = {9};
    struct talk c = {.engine = open_engine(chatml_path, 0, true)};
    engine_rename_owner(c.engine, other, to); /* not this chat's */
    ask(&c, QUESTION, 60);
    assert_int_equal(shelf.last_owner[0], 7);
    add_msg(&c, CHAT_USER, "go on");
    uint64_t number = submit(&c, false, 200);
    engine_rename_owner(c.engine, from, to);
    c.n_progress = 0;
    finish(&c, number);
    assert_int_equal(shelf.last_owner[0], 8);
    close_chat(&c);
    assert_int_equal(shelf.last_owner[0], 8);
}

static void engine_shelf__warm__gives_way(void **state)
{
    (void)state;
    static char text[1500];
    memset(text, 'x', sizeof text - 1);
    struct talk c = {.engine = open_engine(think_path, 0, true)};
    mem_shelf_start(&shelf);
    size_t n_cancelled = 0;
    for (int round = 0; round < 12; round++) {
        struct engine_event event;
        uint64_t first[3];
        size_t n_warm = 1 + (size_t)round % 3;
        text[0] = (char)('a' + round);
        struct engine_msg *m = add_msg(&c, CHAT_USER, text);
        for (size_t i = 0; i < n_warm; i++)
            first[i] = submit(&c, true, -1);
        nanosleep(&(struct timespec){.tv_nsec = round * 2000000}, NULL);
        m->text[10] = 0;
        m->n_bytes = 10;
        uint64_t number = submit(&c, false, 3);
        for (size_t i = 0; i < n_warm; i++) {
            do
                wait_event(c.engine, &event);
            while (event.type == ENGINE_PREFILL && event.request == first[i]);
            assert_int_equal(event.type, ENGINE_DONE);
            assert_int_equal(event.request, first[i]);
            assert_true(event.reason == FINISH_CANCELLED || event.reason == FINISH_STOP);
            n_cancelled += event.reason == FINISH_CANCELLED;
        }
        c.n_progress = 0;
        finish(&c, number);
        assert_int_equal(c.reason, FINISH_LENGTH);
        while (c.n_msgs)
            free_msg(&c.msgs[--c.n_msgs]);
    }
    assert_true(n_cancelled > 0);
    close_chat(&c);
}

static void engine_shelf__warm__refused_during_a_turn(void **state)
{
    (void)state;
    uint64_t number;
    struct err err;
    struct talk c = {.engine = open_engine(chatml_path, 0, false)};
    add_msg(&c, CHAT_USER, QUESTION);
    number = submit(&c, false, -1);
    struct engine_request r = request_of(&c, true, -1);
    assert_false(engine_submit(c.engine, &r, &number, &err));
    assert_non_null(r.msgs);
    engine_request_fini(&r);
    engine_cancel(c.engine);
    finish(&c, number);
    close_chat(&c);
}

static void engine_shelf__warm__cancelled_by_itself(void **state)
{
    (void)state;
    struct talk c = {.engine = open_engine(chatml_path, 0, false)};
    add_msg(&c, CHAT_USER, QUESTION);
    for (int i = 0; i < 20; i++) {
        uint64_t number = submit(&c, true, -1);
        engine_cancel(c.engine);
        finish(&c, number);
        assert_true(c.reason == FINISH_CANCELLED || c.reason == FINISH_STOP);
    }
    warm(&c); /* an old cancel does not hit it */
    assert_int_equal(c.reason, FINISH_STOP);
    close_chat(&c);
}

static void engine_shelf__warm__only_so_many_wait(void **state)
{
    (void)state;
    uint64_t number = 0;
    struct err err;
    struct talk c = {.engine = open_engine(chatml_path, 0, false)};
    add_msg(&c, CHAT_USER, QUESTION);
    size_t n = 0;
    struct engine_request r = request_of(&c, true, -1);
    for (; engine_submit(c.engine, &r, &number, &err); r = request_of(&c, true, -1))
        n++;
    engine_request_fini(&r);
    assert_int_equal(n, 8);
    for (size_t i = 1; i <= n; i++)
        finish(&c, i);
    warm(&c);
    assert_int_equal(c.reason, FINISH_STOP);
    close_chat(&c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_shelf, close_shelf)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(engine_shelf__turn__goes_on_in_another_engine),
        TEST(engine_shelf__turn__costs_are_noted_and_used),
        TEST(engine_shelf__turn__damage_is_counted),
        TEST(engine_shelf__turn__rows_that_fail_are_computed_once),
        TEST(engine_shelf__turn__warmed_rows_that_fail_are_computed_once),
        TEST(engine_shelf__turn__rows_without_numbers_are_not_reused),
        TEST(engine_shelf__idle__saves_what_was_refused),
        TEST(engine_shelf__close__waits_for_the_shelf),
        TEST(engine_shelf__warm__only_the_new_message_is_left),
        TEST(engine_shelf__warm__from_disk_in_a_new_engine),
        TEST(engine_shelf__warm__another_branch_computes_nothing),
        TEST(engine_shelf__warm__stored_ids_where_history_stays),
        TEST(engine_shelf__warm__a_question_alone_and_nothing),
        TEST(engine_shelf__warm__too_long_for_the_context),
        TEST(engine_shelf__warm__template_that_fails),
        TEST(engine_shelf__rename__rows_of_the_turn_go_along),
        TEST(engine_shelf__warm__gives_way),
        TEST(engine_shelf__warm__refused_during_a_turn),
        TEST(engine_shelf__warm__cancelled_by_itself),
        TEST(engine_shelf__warm__only_so_many_wait),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
