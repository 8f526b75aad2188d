/* From ids to events: every id its event, texts whole, and what is left of the ids when a stop cuts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/answer.h"
#include "engine/base/utf8.h"
#include "engine/engine.h"
#include "vocab_fixture.h"

#define LONG_BYTES 600
#define LONG_ID BPE_N
#define MAX_TOKENS 16

static struct vocab *vocab;

static int set_up(void **state)
{
    (void)state;
    static char spelling[LONG_BYTES + 1];
    struct fixture f;
    memset(spelling, 'x', LONG_BYTES);
    fixture_bpe(&f);
    f.tokens[LONG_ID] = spelling;
    f.types[LONG_ID] = TOKEN_NORMAL;
    f.n_tokens = LONG_ID + 1;
    f.n_types = f.n_types ? LONG_ID + 1 : 0;
    vocab = fixture_vocab(&f, NULL);
    return vocab ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    vocab_free(vocab);
    return 0;
}

/* An answer, its queue of two places, and what was read from it. */
struct run {
    struct queue queue;
    struct answer answer;
    struct buf text;
    int32_t ids[64]; /* of the events, -1 too */
    char first[64][8];
    size_t n;
};

static void begin_reasoning(struct run *r, const char *const *stops, size_t n_stops,
                            const struct reasoning_pair *pair, bool is_open)
{
    *r = (struct run){0};
    assert_true(queue_init(&r->queue, 2, sizeof(struct engine_event), NULL));
    struct answer_options options = {.events = &r->queue,
                                     .request = 1,
                                     .vocab = vocab,
                                     .max_tokens = MAX_TOKENS,
                                     .stops = stops,
                                     .n_stops = n_stops,
                                     .pair = pair,
                                     .is_open = is_open};
    assert_true(answer_init(&r->answer, &options, NULL));
}

static void begin(struct run *r, const char *const *stops, size_t n_stops)
{
    begin_reasoning(r, stops, n_stops, NULL, false);
}

static void read_events(struct run *r)
{
    struct engine_event event;
    while (queue_pop(&r->queue, &event)) {
        assert_true(r->n < 64 && utf8_is_valid(event.text, event.n_text));
        r->ids[r->n] = event.token;
        memcpy(r->first[r->n++], event.text, event.n_text < 7 ? event.n_text : 7);
        buf_append(&r->text, event.text, event.n_text);
        answer_send(&r->answer);
    }
}

static void end(struct run *r)
{
    answer_fini(&r->answer);
    queue_fini(&r->queue);
    buf_fini(&r->text);
}

static void assert_events(const struct run *r, const int32_t *ids, const char *const *texts, size_t n)
{
    assert_int_equal(r->n, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(r->ids[i], ids[i]);
        assert_string_equal(r->first[i], texts[i]);
    }
}

static void answer__push__long_token_goes_in_parts(void **state)
{
    (void)state;
    static const int32_t ids[] = {'a', LONG_ID, -1, -1, 'b', BPE_IM_END};
    static const char *const texts[] = {"a", "xxxxxxx", "xxxxxxx", "xxxxxxx", "b", ""};
    struct run r;
    begin(&r, NULL, 0);
    /* Nobody reads at first: the queue is full after two. */
    assert_false(answer_push(&r.answer, 'a'));
    assert_false(answer_push(&r.answer, LONG_ID));
    assert_false(answer_push(&r.answer, 'b'));
    assert_false(answer_end_text(&r.answer));
    answer_push_end(&r.answer, BPE_IM_END);
    assert_false(answer_send(&r.answer));
    read_events(&r);
    assert_true(answer_send(&r.answer));
    assert_events(&r, ids, texts, 6);
    assert_int_equal(r.text.len, LONG_BYTES + 2);
    end(&r);
}

/* A character of three byte tokens, held because a stop may begin with it. */
static void answer__push__character_over_tokens(void **state)
{
    (void)state;
    static const char *const stops[] = {"\u2603!"}, *const texts[] = {"a", "", "", "\u2603", "?"};
    static const int32_t ids[] = {'a', 0xE2, 0x98, 0x83, '?'};
    struct run r;
    begin(&r, stops, 1);
    for (size_t i = 0; i < 4; i++) {
        assert_false(answer_push(&r.answer, ids[i]));
        read_events(&r);
    }
    assert_string_equal(buf_text(&r.text), "a");
    assert_false(answer_push(&r.answer, '?'));
    read_events(&r);
    assert_events(&r, ids, texts, 5);
    end(&r);
}

static void answer__end_text__unfinished_character_has_an_id(void **state)
{
    (void)state;
    static const int32_t ids[] = {'a', 0xE2, 0x98};
    static const char *const texts[] = {"a", "", "\uFFFD"};
    struct run r;
    begin(&r, NULL, 0);
    for (size_t i = 0; i < 3; i++)
        assert_false(answer_push(&r.answer, ids[i]));
    assert_false(answer_end_text(&r.answer));
    read_events(&r);
    assert_events(&r, ids, texts, 3);
    end(&r);
}

/* Pushes ids, of which the last completes the stop; what is kept must be as expected. */
static void check_kept(const char *stop, const int32_t *ids, size_t n, const char *text, const int32_t *kept,
                       size_t n_kept)
{
    struct run r;
    struct token_list list = {0};
    begin(&r, &stop, 1);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(answer_push(&r.answer, ids[i]), i + 1 == n);
        read_events(&r);
    }
    assert_true(answer_end_text(&r.answer));
    read_events(&r);
    assert_int_equal(r.n, n);
    assert_memory_equal(r.ids, ids, n * sizeof *ids);
    assert_string_equal(buf_text(&r.text), text);
    assert_true(answer_kept_ids(&r.answer, &list, NULL));
    assert_int_equal(list.n, n_kept);
    if (n_kept)
        assert_memory_equal(list.ids, kept, n_kept * sizeof *kept);
    token_list_fini(&list);
    end(&r);
}
#define IDS(...) (const int32_t[]){__VA_ARGS__}, sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t)

static void answer__kept_ids__agree_with_the_text(void **state)
{
    (void)state;
    check_kept("llo", IDS(' ', BPE_HELLO), " he", IDS(' ', BPE_HE));
    check_kept("hello", IDS(BPE_HELLO), "", NULL, 0);
    check_kept("b", IDS('a', 'b'), "a", IDS('a'));
    check_kept("b!", IDS('a', 'b', '!'), "a", IDS('a'));
    /* the bytes in front of the stop belong to it */
    check_kept("\u2603", IDS('a', 0xE2, 0x98, 0x83), "a", IDS('a'));
    /* the character stays, the token behind it does not */
    check_kept("!", IDS('a', 0xE2, 0x98, 0x83, '!'), "a\u2603", IDS('a', 0xE2, 0x98, 0x83));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answer__push__long_token_goes_in_parts),
        cmocka_unit_test(answer__push__character_over_tokens),
        cmocka_unit_test(answer__end_text__unfinished_character_has_an_id),
        cmocka_unit_test(answer__kept_ids__agree_with_the_text),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
