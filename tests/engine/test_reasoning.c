/* The splitter of reasoning and answer: whatever the pieces, the same parts; and which markers a template
 * means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/reasoning.h"

static const struct reasoning_pair think = {"<think>", "</think>", NULL, NULL};
static const struct reasoning_pair granite = {"<think>", "</think>", "<response>", NULL};
static const struct reasoning_pair harmony = {"<|channel|>analysis<|message|>", "<|end|>",
                                              "<|start|>assistant<|channel|>final<|message|>",
                                              "<|channel|>final<|message|>"};

/* A text, some of whose bytes are spellings of control tokens. */
struct view {
    char bytes[4096];
    bool is_mark[4096];
    size_t n;
};

static void add(struct view *v, const char *s, bool is_mark)
{
    size_t n = strlen(s);
    assert_true(v->n + n < sizeof v->bytes);
    memcpy(v->bytes + v->n, s, n + 1);
    memset(v->is_mark + v->n, is_mark, n);
    v->n += n;
}

struct parts {
    struct buf think, answer;
};

static void free_parts(struct parts *p)
{
    buf_fini(&p->think);
    buf_fini(&p->answer);
}

/* ---- the plain way: with the whole text at hand ---- */

static size_t skip_space(const struct view *v, size_t at)
{
    while (at < v->n && strchr(" \n\t\r", v->bytes[at]))
        at++;
    return at;
}

static bool skip_mark(const struct view *v, size_t *at, const char *mark)
{
    if (!mark || strncmp(v->bytes + *at, mark, strlen(mark)) != 0)
        return false;
    *at += strlen(mark);
    return true;
}

static void add_text(struct buf *out, const struct view *v, size_t from, size_t end)
{
    for (size_t i = from; i < end; i++)
        if (!v->is_mark[i])
            buf_append(out, v->bytes + i, 1);
}

static void strip(struct buf *text, bool both)
{
    size_t from = strspn(buf_text(text), " \n\t\r"), end = text->len;
    while (both && end > from && strchr(" \n\t\r", buf_text(text)[end - 1]))
        end--;
    struct buf out = {0};
    buf_append(&out, buf_text(text) + from, end - from);
    buf_fini(text);
    *text = out;
}

static void split_whole(const struct view *v, const struct reasoning_pair *pair, bool is_open,
                        struct parts *out)
{
    size_t at = skip_space(v, 0);
    bool may_mark = at <= REASONING_MAX_SPACE, is_inside = may_mark && skip_mark(v, &at, pair->open);
    if (!is_inside && !(may_mark && skip_mark(v, &at, pair->plain))) {
        at = 0;
        if (!is_open) {
            add_text(&out->answer, v, 0, v->n);
            return;
        }
        is_inside = true;
    }
    if (is_inside) {
        const char *close = strstr(v->bytes + at, pair->close);
        size_t end = close ? (size_t)(close - v->bytes) : v->n;
        add_text(&out->think, v, at, end);
        strip(&out->think, close != NULL);
        at = close ? end + strlen(pair->close) : v->n;
    }
    at = skip_space(v, at);
    if (skip_mark(v, &at, pair->answer))
        at = skip_space(v, at);
    add_text(&out->answer, v, at, v->n);
}

/* ---- piece by piece ---- */

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* What is shown of text[0..n) by now; what was settled before must not change. */
static void show(const struct reasoning *r, const struct buf *text, size_t n, struct parts *out)
{
    size_t end;
    bool is_reasoning;
    for (size_t at = 0; at < n; at = end) {
        bool shows = reasoning_shows(r, at, &end, &is_reasoning);
        assert_true(end > at);
        end = end < n ? end : n;
        if (shows)
            buf_append(is_reasoning ? &out->think : &out->answer, buf_text(text) + at, end - at);
    }
}

static void assert_begins(const struct buf *whole, const struct buf *begin)
{
    assert_true(begin->len <= whole->len);
    if (begin->len)
        assert_memory_equal(whole->data, begin->data, begin->len);
}

static size_t piece_end(const struct view *v, size_t at, uint64_t *seed)
{
    size_t end = at + 1, most = at + 1 + next_random(seed) % 12;
    while (end < v->n && v->is_mark[end] == v->is_mark[at] &&
           (end < most || ((unsigned char)v->bytes[end] & 0xC0) == 0x80))
        end++;
    return end;
}

static void split_pieces(const struct view *v, const struct reasoning_pair *pair, bool is_open,
                         const struct parts *want, uint64_t *seed)
{
    struct reasoning r;
    struct buf text = {0};
    char held[REASONING_MAX_HELD];
    reasoning_init(&r, pair, is_open);
    for (size_t at = 0, end; at < v->n; at = end) {
        struct parts now = {{0}, {0}};
        end = piece_end(v, at, seed);
        if (v->is_mark[at]) {
            reasoning_push_mark(&r, v->bytes + at, end - at);
        } else {
            reasoning_push(&r, v->bytes + at, end - at);
            buf_append(&text, v->bytes + at, end - at);
        }
        assert_true(r.n_settled <= text.len);
        show(&r, &text, r.state == REASONING_ANSWER ? text.len : r.n_settled, &now);
        assert_begins(&want->think, &now.think);
        assert_begins(&want->answer, &now.answer);
        free_parts(&now);
    }
    reasoning_end(&r);
    struct parts all = {{0}, {0}};
    show(&r, &text, r.state == REASONING_ANSWER ? text.len : r.n_settled, &all);
    assert_string_equal(buf_text(&all.think), buf_text(&want->think));
    assert_string_equal(buf_text(&all.answer), buf_text(&want->answer));
    if (r.state == REASONING_ANSWER)
        assert_true(reasoning_take_held(&r, held) <= all.answer.len);
    free_parts(&all);
    buf_fini(&text);
}

static void check(const struct view *v, const struct reasoning_pair *pair, bool is_open, uint64_t *seed)
{
    struct parts want = {{0}, {0}};
    split_whole(v, pair, is_open, &want);
    for (int i = 0; i < 3; i++)
        split_pieces(v, pair, is_open, &want, seed);
    free_parts(&want);
}

/* ---- tests ---- */

static void expect(const char *text, const struct reasoning_pair *pair, bool is_open, const char *reasoning,
                   const char *answer)
{
    struct view v = {.n = 0};
    struct parts want = {{0}, {0}};
    uint64_t seed = 7;
    add(&v, text, false);
    buf_append(&want.think, reasoning, strlen(reasoning));
    buf_append(&want.answer, answer, strlen(answer));
    for (int i = 0; i < 20; i++)
        split_pieces(&v, pair, is_open, &want, &seed);
    free_parts(&want);
}

static void reasoning__split__by_the_model(void **state)
{
    (void)state;
    expect("<think>\nfirst\n\nthis\n</think>\n\nThe answer.\n", &think, false, "first\n\nthis",
           "The answer.\n");
    expect(" \n<think></think>yes", &think, false, "", "yes");
    expect("<think>a</think", &think, false, "a</think", "");
    expect("<think>\n \n", &think, false, "", "");
    expect("<think>a \n", &think, false, "a \n", "");
    expect("<think>a</think>  \n", &think, false, "a", "");
    expect("<think>a <think> b</think>c</think>d", &think, false, "a <think> b", "c</think>d");
    expect("<think>a<<</</think>b", &think, false, "a<<</", "b");
    expect("<think>\u00E9</think>\u25C1", &think, false, "\u00E9", "\u25C1");
}

static void reasoning__split__not_where_no_block_begins(void **state)
{
    (void)state;
    expect("  yes <think>no</think>", &think, false, "", "  yes <think>no</think>");
    expect("a</think>b", &think, false, "", "a</think>b");
    expect("<thin", &think, false, "", "<thin");
    expect(" \n ", &think, false, "", " \n ");
    expect("<thinking>a</think>b", &think, false, "", "<thinking>a</think>b");
    expect("<think>a</think>b", NULL, false, "", "<think>a</think>b");
}

/* More space than is held: whatever follows, it is the answer. */
static void reasoning__split__much_space_is_an_answer(void **state)
{
    (void)state;
    static const char text[] = "                                 <think>a</think>b";
    assert_int_equal(strspn(text, " "), REASONING_MAX_SPACE + 1);
    expect(text, &think, false, "", text);
    expect(text + 1, &think, false, "a", "b");
    expect(text, &think, true, "<think>a", "b");
}

static void reasoning__split__by_the_prompt(void **state)
{
    (void)state;
    expect("first\n</think>\n\nyes", &think, true, "first", "yes");
    expect("\n\n</think>yes", &think, true, "", "yes");
    expect("<think>\nfirst</think>yes", &think, true, "first", "yes");
    expect("<t never ends", &think, true, "<t never ends", "");
}

static void reasoning__split__marks_around_the_answer(void **state)
{
    (void)state;
    expect("<think>a</think>\n<response> b</response>", &granite, false, "a", "b</response>");
    expect("<think>a</think><response>\n<response>b", &granite, false, "a", "<response>b");
    expect("<think>a</think> <resp", &granite, false, "a", "<resp");
    expect("<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b", &harmony,
           false, "a", "b");
    expect("<|channel|>final<|message|>b", &harmony, false, "", "b");
    expect("<|channel|>commentary<|message|>b", &harmony, false, "", "<|channel|>commentary<|message|>b");
}

/* Texts of pieces of markers, as text and as control tokens, cut anywhere. */
static void reasoning__split__any_cutting_is_the_same(void **state)
{
    (void)state;
    static const char *const bits[] = {"<think>",
                                       "</think>",
                                       "<",
                                       "</",
                                       "think>",
                                       "<response>",
                                       "<resp",
                                       " ",
                                       "\n",
                                       "\n\n",
                                       "a",
                                       "\u00E9",
                                       "\u25C1",
                                       "<|channel|>",
                                       "analysis",
                                       "final",
                                       "<|message|>",
                                       "<|end|>",
                                       "<|start|>",
                                       "assistant",
                                       "|>",
                                       "                 ",
                                       "<|channel|>analysis<|message|>",
                                       "<|start|>assistant<|channel|>final<|message|>"};
    static const struct reasoning_pair *const pairs[] = {&think, &granite, &harmony};
    uint64_t seed = 42;
    for (int round = 0; round < 6000; round++) {
        struct view v = {.n = 0};
        v.bytes[0] = '\0';
        for (size_t n = next_random(&seed) % 14; n > 0; n--) {
            const char *bit = bits[next_random(&seed) % (sizeof bits / sizeof *bits)];
            add(&v, bit, bit[0] == '<' && bit[strlen(bit) - 1] == '>' && next_random(&seed) % 2);
        }
        check(&v, pairs[round % 3], round % 2, &seed);
    }
}

static const struct reasoning_pair *pair_of(const char *source)
{
    struct err err = {0};
    struct jinja_template *t = jinja_parse(source, strlen(source), &err);
    assert_non_null(t);
    const struct reasoning_pair *pair = reasoning_pair_of(t);
    jinja_free(t);
    return pair;
}

static void reasoning__pair__as_the_template_mentions(void **state)
{
    (void)state;
    assert_null(pair_of("{{ messages[0].content }} thinks"));
    assert_string_equal(pair_of("{{ c.split('</think>') }}")->close, "</think>");
    assert_string_equal(pair_of("<|im_start|>assistant\n<think>\n")->open, "<think>");
    assert_string_equal(pair_of("[THINK]")->close, "[/THINK]");
    assert_string_equal(pair_of("{{ '\u25C1think\u25B7' }}")->close, "\u25C1/think\u25B7");
    assert_string_equal(pair_of("<think></think> and <response></response>")->answer, "<response>");
    assert_string_equal(pair_of("{{ '<|channel|>analysis<|message|>' }}")->close, "<|end|>");
}

static void reasoning__is_open__in_the_templates_own_text(void **state)
{
    (void)state;
    static const struct {
        const char *own, *input, *tail;
        bool is_open;
    } cases[] = {
        {"u", "hi", "a<think>\n", true},      {"u", "hi", "a<think>\n\n</think>\n\n", false},
        {"<think>", "hi", "a", false},        {"u", "hi<think>", "", false},
        {"u", "hi", "</think><think>", true}, {"u", "", "<think>", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf bytes = {0};
        size_t n[3] = {strlen(cases[i].own), strlen(cases[i].input), strlen(cases[i].tail)};
        buf_append(&bytes, cases[i].own, n[0]);
        buf_append(&bytes, cases[i].input, n[1]);
        buf_append(&bytes, cases[i].tail, n[2]);
        struct jtext_run runs[] = {{0, n[0], false}, {n[0], n[1], true}, {n[0] + n[1], n[2], false}};
        struct jinja_text text = {
            .bytes = (char *)bytes.data, .n = bytes.len, .runs = runs, .n_runs = n[2] ? 3 : 2};
        assert_int_equal(reasoning_is_open(&think, &text), cases[i].is_open);
        assert_false(reasoning_is_open(NULL, &text));
        buf_fini(&bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reasoning__split__by_the_model),
        cmocka_unit_test(reasoning__split__not_where_no_block_begins),
        cmocka_unit_test(reasoning__split__much_space_is_an_answer),
        cmocka_unit_test(reasoning__split__by_the_prompt),
        cmocka_unit_test(reasoning__split__marks_around_the_answer),
        cmocka_unit_test(reasoning__split__any_cutting_is_the_same),
        cmocka_unit_test(reasoning__pair__as_the_template_mentions),
        cmocka_unit_test(reasoning__is_open__in_the_templates_own_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
