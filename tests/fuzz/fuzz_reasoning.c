/* fuzz_reasoning.c: any text, parts of it as control tokens, through the splitter of reasoning: pieces give
 * the places that the whole gives, in order, and nothing that was settled changes. Byte 1 switches between
 * text and control tokens. */
#include <stdlib.h>
#include <string.h>

#include "engine/base/utf8.h"
#include "engine/reasoning.h"
#include "tests/fuzz/fuzz.h"

static const struct reasoning_pair pairs[] = {
    {"<think>", "</think>", "<response>", NULL},
    {"<|channel|>analysis<|message|>", "<|end|>", "<|start|>assistant<|channel|>final<|message|>",
     "<|channel|>final<|message|>"},
    {"\u25C1think\u25B7", "\u25C1/think\u25B7", NULL, NULL},
};

static void push(struct reasoning *r, const char *text, size_t n, bool is_mark)
{
    size_t settled = r->n_settled;
    if (is_mark)
        reasoning_push_mark(r, text, n);
    else if (reasoning_push(r, text, n) < n && r->state != REASONING_ANSWER)
        abort();
    if (r->n_settled < settled || r->n_settled > r->n_seen || r->n_held > REASONING_MAX_HELD)
        abort();
}

/* by_character: each character is a piece; else each part between two switches is one. */
static void split(struct reasoning *r, const struct buf *text, bool by_character)
{
    bool is_mark = false;
    for (size_t at = 0, end; at < text->len; at = end) {
        const char *bytes = text->data;
        end = at + 1;
        if (bytes[at] == 1) {
            is_mark = !is_mark;
            continue;
        }
        while (end < text->len && bytes[end] != 1 &&
               (!by_character || ((unsigned char)bytes[end] & 0xC0) == 0x80))
            end++;
        push(r, bytes + at, end - at, is_mark);
    }
    reasoning_end(r);
}

static bool is_ordered(const struct reasoning *r)
{
    return r->think_begin <= r->think_end && r->think_end <= r->answer_begin;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct buf text = {0};
    utf8_append_clean(&text, (const char *)data, n);
    for (size_t i = 0; i < 2 * sizeof pairs / sizeof *pairs; i++) {
        struct reasoning whole, pieces;
        reasoning_init(&whole, &pairs[i / 2], i % 2);
        reasoning_init(&pieces, &pairs[i / 2], i % 2);
        split(&whole, &text, false);
        split(&pieces, &text, true);
        if (whole.state != pieces.state || whole.think_begin != pieces.think_begin ||
            whole.think_end != pieces.think_end || whole.answer_begin != pieces.answer_begin ||
            whole.n_settled != pieces.n_settled || !is_ordered(&whole))
            abort();
    }
    struct reasoning raw; /* a mark's spelling is the model file's: any bytes */
    reasoning_init(&raw, &pairs[n % (sizeof pairs / sizeof *pairs)], false);
    push(&raw, (const char *)data, n, true);
    buf_fini(&text);
    return 0;
}

void fuzz_seed(int i, struct buf *out)
{
    static const char *const seeds[] = {
        "<think>\nfirst this\n</think>\n\n<response>The answer.",
        " \n<think></think>yes</think>",
        "first\n</think> <respons",
        "\1<|channel|>\1analysis\1<|message|>\1why\1<|end|><|start|>\1assistant\1<|channel|>\1final\1<|"
        "message|>"
        "\1yes",
        "\1<|channel|>\1final\1<|message|>\1yes",
        "\u25C1think\u25B7 \u25C1/th \u25C1/think\u25B7 \u00E9",
        "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80"
        "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80"
        "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80"
        "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80"
        "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
    };
    if (i >= 0 && i < (int)(sizeof seeds / sizeof *seeds))
        buf_puts(out, seeds[i]);
}
