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
#define MAX_TOKENS 64
#define MAX_EVENTS 512

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
    struct buf text, think;
    int32_t ids[MAX_EVENTS]; /* of the events, -1 too */
    char first[MAX_EVENTS][8];
    bool is_reasoning[MAX_EVENTS];
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
        assert_true(r->n < MAX_EVENTS && utf8_is_valid(event.text, event.n_text));
        r->ids[r->n] = event.token;
        r->is_reasoning[r->n] = event.is_reasoning;
        memcpy(r->first[r->n++], event.text, event.n_text < 7 ? event.n_text : 7);
        buf_append(event.is_reasoning ? &r->think : &r->text, event.text, event.n_text);
        answer_send(&r->answer);
    }
}

static void end(struct run *r)
{
    answer_fini(&r->answer);
    queue_fini(&r->queue);
    buf_fini(&r->text);
    buf_fini(&r->think);
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

/* ---- reasoning ---- */

static const struct reasoning_pair think = {"<think>", "</think>", NULL, NULL};
static const struct reasoning_pair controls = {"<|im_start|>", "a<|im_end|>", NULL, NULL};

/* Adds the ids of a text as single bytes. */
static void add_bytes(struct token_list *ids, const char *text)
{
    for (; *text; text++)
        token_list_add(ids, (unsigned char)*text);
}

static void push_all(struct run *r, const struct token_list *ids)
{
    for (size_t i = 0; i < ids->n && !r->answer.found; i++) {
        answer_push(&r->answer, ids->ids[i]);
        read_events(r);
    }
    answer_end_text(&r->answer);
    read_events(r);
    assert_true(answer_send(&r->answer));
}

/* Every id once and in order, whatever its text is. */
static void assert_ids_complete(const struct run *r, const struct token_list *ids)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++)
        if (r->ids[i] >= 0)
            assert_int_equal(r->ids[i], ids->ids[n++]);
    assert_int_equal(n, r->answer.n);
}

static void answer__reasoning__goes_apart(void **state)
{
    (void)state;
    struct token_list ids = {0};
    struct run r;
    token_list_add(&ids, BPE_THINK);
    add_bytes(&ids, "\nab\n</think>\n\nyes");
    begin_reasoning(&r, NULL, 0, &think, false);
    push_all(&r, &ids);
    assert_string_equal(buf_text(&r.think), "ab");
    assert_string_equal(buf_text(&r.text), "yes");
    assert_ids_complete(&r, &ids);
    assert_int_equal(r.n, ids.n);
    for (size_t i = 0; i < r.n; i++)
        assert_int_equal(r.is_reasoning[i], i == 2 || i == 3);
    end(&r);
    token_list_fini(&ids);
}

/* What may begin the close waits; reasoning before it does not. */
static void answer__reasoning__is_held_no_longer_than_needed(void **state)
{
    (void)state;
    struct token_list ids = {0};
    struct run r;
    static const struct {
        char byte;
        const char *shown;
    } steps[] = {{'a', "a"},      {'\n', "a"},     {'<', "a"},      {'/', "a"},
                 {'b', "a\n</b"}, {'<', "a\n</b"}, {'<', "a\n</b<"}};
    begin_reasoning(&r, NULL, 0, &think, true);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        answer_push(&r.answer, steps[i].byte);
        token_list_add(&ids, steps[i].byte);
        read_events(&r);
        assert_string_equal(buf_text(&r.think), steps[i].shown);
    }
    answer_end_text(&r.answer);
    read_events(&r);
    assert_string_equal(buf_text(&r.think), "a\n</b<<");
    assert_int_equal(r.text.len, 0);
    assert_ids_complete(&r, &ids);
    end(&r);
    token_list_fini(&ids);
}

/* Control tokens have no text; one marker is such a token with an ordinary one in front. */
static void answer__reasoning__marked_by_control_tokens(void **state)
{
    (void)state;
    struct token_list ids = {0};
    struct run r;
    token_list_add(&ids, BPE_IM_START);
    add_bytes(&ids, "ba ");
    token_list_add(&ids, BPE_ABC_CONTROL);
    add_bytes(&ids, "a");
    token_list_add(&ids, BPE_IM_END);
    add_bytes(&ids, " yes");
    token_list_add(&ids, BPE_IM_START);
    add_bytes(&ids, "!");
    begin_reasoning(&r, NULL, 0, &controls, false);
    push_all(&r, &ids);
    assert_string_equal(buf_text(&r.think), "ba");
    assert_string_equal(buf_text(&r.text), "yes!");
    assert_ids_complete(&r, &ids);
    end(&r);
    token_list_fini(&ids);
}

/* One token with both borders in it: its id comes first, the rest of its text without. */
static void answer__reasoning__token_over_the_border(void **state)
{
    (void)state;
    struct fixture f;
    struct run r;
    fixture_bpe(&f);
    f.tokens[LONG_ID] = "ab</think>cd";
    f.types[LONG_ID] = TOKEN_NORMAL;
    f.n_tokens = LONG_ID + 1;
    f.n_types = f.n_types ? LONG_ID + 1 : 0;
    struct vocab *usual = vocab;
    vocab = fixture_vocab(&f, NULL);
    begin_reasoning(&r, NULL, 0, &think, true);
    answer_push(&r.answer, LONG_ID);
    answer_end_text(&r.answer);
    read_events(&r);
    assert_events(&r, (const int32_t[]){LONG_ID, -1}, (const char *const[]){"ab", "cd"}, 2);
    assert_true(r.is_reasoning[0] && !r.is_reasoning[1]);
    end(&r);
    vocab_free(vocab);
    vocab = usual;
}

static void answer__stop__looks_at_the_answer_alone(void **state)
{
    (void)state;
    static const char *const stops[] = {"b!", "</t"};
    struct token_list ids = {0}, kept = {0};
    struct run r;
    add_bytes(&ids, "<think>b!</think>\nab");
    size_t n_kept = ids.n - 1;
    add_bytes(&ids, "!cd");
    begin_reasoning(&r, stops, 2, &think, false);
    push_all(&r, &ids);
    assert_true(r.answer.found);
    assert_string_equal(buf_text(&r.think), "b!");
    assert_string_equal(buf_text(&r.text), "a");
    assert_ids_complete(&r, &ids);
    assert_true(answer_kept_ids(&r.answer, &kept, NULL));
    assert_int_equal(kept.n, n_kept);
    assert_memory_equal(kept.ids, ids.ids, n_kept * sizeof *kept.ids);
    end(&r);
    token_list_fini(&ids);
    token_list_fini(&kept);
}

/* A stop in what was held as a marker that never came. */
static void answer__stop__in_held_text(void **state)
{
    (void)state;
    static const char *const stops[] = {"<th"};
    struct token_list ids = {0};
    struct run r;
    add_bytes(&ids, " <thx");
    begin_reasoning(&r, stops, 1, &think, false);
    push_all(&r, &ids);
    assert_true(r.answer.found);
    assert_string_equal(buf_text(&r.text), " ");
    end(&r);
    token_list_fini(&ids);
}

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static void add_random(struct token_list *ids, uint64_t *seed)
{
    static const char *const bits[] = {"<think>", "</think>", "</", "<thi",        "\n",
                                       " ",       "a",        "b!", "\xE2\x98\x83"};
    static const int32_t tokens[] = {BPE_THINK, BPE_ABC_CONTROL, BPE_NL2, BPE_HELLO, 0xE2, BPE_TWO_SPACES};
    for (size_t n = next_random(seed) % 8; n > 0; n--)
        if (next_random(seed) % 3)
            add_bytes(ids, bits[next_random(seed) % (sizeof bits / sizeof *bits)]);
        else
            token_list_add(ids, tokens[next_random(seed) % (sizeof tokens / sizeof *tokens)]);
}

/* What a splitter fed with the whole text says. */
static void split_whole(const struct token_list *ids, bool is_open, struct buf *reasoning, struct buf *answer)
{
    char piece[64];
    struct detok d;
    struct buf text = {0};
    struct reasoning s;
    size_t end;
    bool is_reasoning;
    reasoning_init(&s, &think, is_open);
    detok_init(&d, vocab, false);
    for (size_t i = 0; i < ids->n; i++) {
        struct gguf_string spelling = vocab_token_spelling(vocab, ids->ids[i]);
        if (vocab_token_type(vocab, ids->ids[i]) == TOKEN_CONTROL)
            reasoning_push_mark(&s, spelling.data, spelling.n);
        size_t n = detok_push(&d, ids->ids[i], piece, sizeof piece);
        reasoning_push(&s, piece, n);
        buf_append(&text, piece, n);
    }
    size_t n = detok_flush(&d, piece);
    reasoning_push(&s, piece, n);
    buf_append(&text, piece, n);
    reasoning_end(&s);
    for (size_t at = 0; at < text.len; at = end) {
        bool shows = reasoning_shows(&s, at, &end, &is_reasoning);
        end = end < text.len ? end : text.len;
        if (shows)
            buf_append(is_reasoning ? reasoning : answer, buf_text(&text) + at, end - at);
    }
    buf_fini(&text);
}

static void cut_at_stop(struct buf *answer, const char *stop)
{
    const char *at = stop ? strstr(buf_text(answer), stop) : NULL;
    if (at)
        answer->len = (size_t)(at - buf_text(answer));
}

static void answer__reasoning__random_tokens(void **state)
{
    (void)state;
    static const char *const stop = "b!";
    uint64_t seed = 1;
    for (int round = 0; round < 1500; round++) {
        struct token_list ids = {0};
        struct buf reasoning = {0}, answer = {0};
        struct run r;
        add_random(&ids, &seed);
        bool is_open = round % 2;
        split_whole(&ids, is_open, &reasoning, &answer);
        cut_at_stop(&answer, round % 3 ? stop : NULL);
        begin_reasoning(&r, &stop, round % 3 ? 1 : 0, &think, is_open);
        push_all(&r, &ids);
        assert_int_equal(r.text.len, answer.len);
        if (answer.len)
            assert_memory_equal(r.text.data, answer.data, answer.len);
        if (!r.answer.found)
            assert_string_equal(buf_text(&r.think), buf_text(&reasoning));
        assert_ids_complete(&r, &ids);
        end(&r);
        buf_fini(&reasoning);
        buf_fini(&answer);
        token_list_fini(&ids);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answer__push__long_token_goes_in_parts),
        cmocka_unit_test(answer__push__character_over_tokens),
        cmocka_unit_test(answer__end_text__unfinished_character_has_an_id),
        cmocka_unit_test(answer__kept_ids__agree_with_the_text),
        cmocka_unit_test(answer__reasoning__goes_apart),
        cmocka_unit_test(answer__reasoning__is_held_no_longer_than_needed),
        cmocka_unit_test(answer__reasoning__marked_by_control_tokens),
        cmocka_unit_test(answer__reasoning__token_over_the_border),
        cmocka_unit_test(answer__stop__looks_at_the_answer_alone),
        cmocka_unit_test(answer__stop__in_held_text),
        cmocka_unit_test(answer__reasoning__random_tokens),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
