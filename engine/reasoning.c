/* reasoning.c owns the table of reasoning markers and the splitter that follows them. */
#include "engine/reasoning.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "engine/base/utf8.h"

/* ---- the table ---- */

/* evidence: what the template must mention; NULL: one of open and close. Rows that are more particular come
 * first. */
static const struct {
    struct reasoning_pair pair;
    const char *evidence;
} known[] = {
    /* Harmony (gpt-oss). */
    {{"<|channel|>analysis<|message|>", "<|end|>", "<|start|>assistant<|channel|>final<|message|>",
      "<|channel|>final<|message|>"},
     "<|channel|>analysis<|message|>"},
    {{"<|channel>thought", "<channel|>", NULL, NULL}, NULL},                 /* Gemma 4 */
    {{"<|START_THINKING|>", "<|END_THINKING|>", NULL, NULL}, NULL},          /* Command R7B, Command A */
    {{"[THINK]", "[/THINK]", NULL, NULL}, NULL},                             /* Magistral */
    {{"<seed:think>", "</seed:think>", NULL, NULL}, NULL},                   /* Seed-OSS */
    {{"\u25C1think\u25B7", "\u25C1/think\u25B7", NULL, NULL}, NULL},         /* Kimi-VL, Kimi-Dev */
    {{"<thought>", "</thought>", NULL, NULL}, NULL},                         /* EXAONE Deep */
    {{"Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]", NULL, NULL}, /* Apriel */
     "[BEGIN FINAL RESPONSE]"},
    {{"<think>", "</think>", "<response>", NULL}, "<response></response>"}, /* Granite 3.3 */
    /* DeepSeek R1 and V3.1, Qwen3, QwQ, GLM, SmolLM3, MiniMax-M2, LFM2.5, Hunyuan, ... */
    {{"<think>", "</think>", NULL, NULL}, NULL},
};

const struct reasoning_pair *reasoning_pair_of(const struct jinja_template *t)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const struct reasoning_pair *pair = &known[i].pair;
        bool is_it = known[i].evidence ? jinja_has_text(t, known[i].evidence)
                                       : jinja_has_text(t, pair->open) || jinja_has_text(t, pair->close);
        if (is_it)
            return pair;
    }
    return NULL;
}

static bool is_spelled(const char *s, size_t n, const char *mark)
{
    return strlen(mark) == n && memcmp(s, mark, n) == 0;
}

bool reasoning_is_mark(const char *s, size_t n)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (is_spelled(s, n, known[i].pair.open) || is_spelled(s, n, known[i].pair.close))
            return true;
    return false;
}

/* Behind the last place of the mark in s[0..n), 0 if there is none. */
static size_t behind_last(const char *s, size_t n, const char *mark)
{
    size_t k = strlen(mark);
    for (size_t end = n; end >= k; end--)
        if (memcmp(s + end - k, mark, k) == 0)
            return end;
    return 0;
}

bool reasoning_is_open(const struct reasoning_pair *pair, const struct jinja_text *rendering)
{
    size_t first = rendering->n_runs;
    while (first > 0 && !rendering->runs[first - 1].is_input)
        first--;
    if (!pair || first == rendering->n_runs)
        return false;
    size_t start = rendering->runs[first].start;
    const char *own = rendering->bytes + start;
    return behind_last(own, rendering->n - start, pair->open) >
           behind_last(own, rendering->n - start, pair->close);
}

/* ---- the splitter ---- */

void reasoning_init(struct reasoning *r, const struct reasoning_pair *pair, bool is_open)
{
    *r = (struct reasoning){.pair = pair,
                            .is_open = is_open,
                            .think_begin = SIZE_MAX,
                            .think_end = SIZE_MAX,
                            .answer_begin = SIZE_MAX};
    if (!pair) {
        r->state = REASONING_ANSWER;
        r->think_begin = r->think_end = r->answer_begin = 0;
    }
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* The place of the first held byte. */
static size_t held_place(const struct reasoning *r)
{
    size_t n_text = 0;
    for (size_t i = 0; i < r->n_held; i++)
        n_text += !r->is_mark[i];
    return r->n_seen - n_text;
}

static size_t n_held_space(const struct reasoning *r)
{
    size_t n = 0;
    while (n < r->n_held && is_space(r->held[n]))
        n++;
    return n;
}

static void drop_held(struct reasoning *r, size_t n)
{
    memmove(r->held, r->held + n, r->n_held - n);
    memmove(r->is_mark, r->is_mark + n, r->n_held - n);
    r->n_held -= n;
}

enum match { MATCH_NO, MATCH_PART, MATCH_WHOLE };

/* Whether held[from..] is the mark, or may become it. */
static enum match match_held(const struct reasoning *r, size_t from, const char *mark)
{
    size_t n = r->n_held - from, n_mark = mark ? strlen(mark) : 0;
    if (n > n_mark || (n && memcmp(r->held + from, mark, n) != 0) || n_mark == 0)
        return MATCH_NO;
    return n == n_mark ? MATCH_WHOLE : MATCH_PART;
}

static void begin_answer(struct reasoning *r)
{
    r->state = REASONING_ANSWER;
    r->answer_begin = r->n_settled = held_place(r);
    if (r->think_begin == SIZE_MAX)
        r->think_begin = r->think_end = r->answer_begin;
}

static void begin_without_mark(struct reasoning *r)
{
    if (r->is_open)
        r->state = REASONING_INSIDE;
    else
        begin_answer(r);
}

/* Returns whether what is held is to be looked at again, in another state. */
static bool settle_start(struct reasoning *r)
{
    size_t from = n_held_space(r);
    enum match open = match_held(r, from, r->pair->open), plain = match_held(r, from, r->pair->plain);
    if (open == MATCH_WHOLE) {
        r->n_held = 0;
        r->state = REASONING_INSIDE;
    } else if (plain == MATCH_WHOLE) {
        r->n_held = 0;
        r->think_begin = r->think_end = r->n_seen;
        r->state = REASONING_BEHIND;
    } else if (from > REASONING_MAX_SPACE || (open == MATCH_NO && plain == MATCH_NO)) {
        begin_without_mark(r);
        return true;
    }
    return false;
}

/* The first held character is reasoning. */
static void take_character(struct reasoning *r)
{
    size_t place = held_place(r), n = 1;
    while (n < r->n_held && ((unsigned char)r->held[n] & 0xC0) == 0x80)
        n++;
    if (!r->is_mark[0] && !is_space(r->held[0])) {
        if (r->think_begin == SIZE_MAX)
            r->think_begin = place;
        r->think_last = place + n;
    }
    drop_held(r, n);
}

static bool settle_inside(struct reasoning *r)
{
    enum match close = MATCH_NO;
    while (r->n_held && (close = match_held(r, 0, r->pair->close)) == MATCH_NO)
        take_character(r);
    if (close == MATCH_WHOLE) {
        if (r->think_begin == SIZE_MAX)
            r->think_begin = r->think_last = held_place(r);
        r->think_end = r->think_last;
        r->n_held = 0;
        r->state = REASONING_BEHIND;
    }
    if (close == MATCH_WHOLE)
        r->n_settled = r->n_seen;
    else
        r->n_settled = r->think_begin == SIZE_MAX ? held_place(r) : r->think_last;
    return false;
}

static bool settle_behind(struct reasoning *r)
{
    drop_held(r, n_held_space(r));
    r->n_settled = held_place(r);
    if (!r->n_held)
        return false;
    enum match answer = r->answer_marked ? MATCH_NO : match_held(r, 0, r->pair->answer);
    if (answer == MATCH_WHOLE) {
        r->answer_marked = true;
        r->n_held = 0;
        r->n_settled = r->n_seen;
    } else if (answer == MATCH_NO) {
        begin_answer(r);
    }
    return false;
}

static void settle(struct reasoning *r)
{
    bool again = true;
    while (again)
        again = r->state == REASONING_START    ? settle_start(r)
                : r->state == REASONING_INSIDE ? settle_inside(r)
                : r->state == REASONING_BEHIND ? settle_behind(r)
                                               : false;
}

static size_t push(struct reasoning *r, const char *s, size_t n, bool is_mark)
{
    size_t at = 0;
    while (at < n && r->state != REASONING_ANSWER) {
        size_t end = at + 1; /* a mark's spelling is the file's, and may be no UTF-8 */
        while (end < n && end - at < UTF8_MAX_BYTES && ((unsigned char)s[end] & 0xC0) == 0x80)
            end++;
        assert(r->n_held + (end - at) <= REASONING_MAX_HELD);
        for (; at < end; at++, r->n_held++) {
            r->held[r->n_held] = s[at];
            r->is_mark[r->n_held] = is_mark;
            r->n_seen += !is_mark;
        }
        settle(r);
    }
    return at;
}

size_t reasoning_push(struct reasoning *r, const char *text, size_t n)
{
    return push(r, text, n, false);
}

void reasoning_push_mark(struct reasoning *r, const char *spelling, size_t n)
{
    push(r, spelling, n, true);
}

void reasoning_end(struct reasoning *r)
{
    if (r->state == REASONING_START)
        begin_without_mark(r);
    if (r->state == REASONING_INSIDE) {
        while (r->n_held)
            take_character(r);
        r->n_settled = r->n_seen;
    }
    if (r->state == REASONING_BEHIND && r->n_held)
        begin_answer(r);
}

size_t reasoning_take_held(struct reasoning *r, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_held; i++)
        if (!r->is_mark[i])
            out[n++] = r->held[i];
    r->n_held = 0;
    return n;
}

bool reasoning_shows(const struct reasoning *r, size_t at, size_t *end, bool *is_reasoning)
{
    *is_reasoning = at >= r->think_begin && at < r->think_end;
    if (at < r->think_begin)
        *end = r->think_begin;
    else if (at < r->think_end)
        *end = r->think_end;
    else
        *end = at < r->answer_begin ? r->answer_begin : SIZE_MAX;
    return *is_reasoning || at >= r->answer_begin;
}
