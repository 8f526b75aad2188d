#include "engine/answer.h"

#include <assert.h>
#include <string.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/engine.h"

bool answer_init(struct answer *a, const struct answer_options *options, struct err *err)
{
    *a = (struct answer){.options = *options};
    detok_init(&a->reader, options->vocab, options->at_start);
    detok_init(&a->sender, options->vocab, options->at_start);
    reasoning_init(&a->reasoning, options->pair, options->is_open);
    a->cap = options->max_tokens + 1; /* and the end token */
    a->tokens = mem_array(a->cap, sizeof *a->tokens, err);
    return a->tokens && stop_text_init(&a->stop, options->stops, options->n_stops, err);
}

void answer_fini(struct answer *a)
{
    mem_free(a->tokens);
    stop_text_fini(&a->stop);
}

/* ---- reading ---- */

static bool read_answer(struct answer *a, const char *text, size_t n)
{
    const char *ready;
    size_t n_ready;
    a->found = stop_text_push(&a->stop, text, n, &ready, &n_ready);
    a->n_released += n_ready;
    return a->found;
}

/* After the splitter has moved: text[0..n) is what it left over. */
static bool follow(struct answer *a, const char *text, size_t n)
{
    struct reasoning *r = &a->reasoning;
    if (r->state != REASONING_ANSWER) {
        a->n_released = r->n_settled;
        return false;
    }
    if (!a->in_answer) {
        char held[REASONING_MAX_HELD];
        a->in_answer = true;
        a->n_released = r->answer_begin;
        if (read_answer(a, held, reasoning_take_held(r, held)))
            return true;
    }
    return read_answer(a, text, n);
}

static bool read_piece(struct answer *a, const char *piece, size_t n)
{
    size_t n_looked_at = reasoning_push(&a->reasoning, piece, n);
    a->n_read += n;
    return follow(a, piece + n_looked_at, n - n_looked_at);
}

/* Control tokens have no text, but may be markers. */
static bool read_mark(struct answer *a, int32_t id)
{
    const struct vocab *v = a->options.vocab;
    if (a->reasoning.state == REASONING_ANSWER || vocab_token_type(v, id) != TOKEN_CONTROL)
        return false;
    struct gguf_string spelling = vocab_token_spelling(v, id);
    reasoning_push_mark(&a->reasoning, spelling.data, spelling.n);
    return follow(a, "", 0);
}

bool answer_push(struct answer *a, int32_t id)
{
    char piece[STOP_TEXT_MAX_PIECE];
    assert(a->n < a->cap);
    size_t n = read_mark(a, id) ? 0 : detok_push(&a->reader, id, piece, sizeof piece);
    while (n && !read_piece(a, piece, n))
        n = detok_more(&a->reader, piece, sizeof piece);
    a->tokens[a->n++] =
        (struct answer_token){.id = id, .unfinished = a->reader.n_held > 0, .text_end = a->n_read};
    answer_send(a);
    return a->found;
}

/* What was held is no marker, and if it is no stop either, all of it is shown. */
static bool read_end(struct answer *a)
{
    char piece[STOP_TEXT_MAX_PIECE];
    const char *ready;
    size_t n_ready;
    if (read_piece(a, piece, detok_flush(&a->reader, piece)))
        return true;
    reasoning_end(&a->reasoning);
    if (follow(a, "", 0))
        return true;
    stop_text_flush(&a->stop, &ready, &n_ready);
    a->n_released += n_ready;
    return false;
}

bool answer_end_text(struct answer *a)
{
    if (!a->ended && !a->found)
        read_end(a);
    if (!a->ended && a->n)
        a->tokens[a->n - 1].text_end = a->n_read;
    a->ended = true;
    answer_send(a);
    return a->found;
}

void answer_push_end(struct answer *a, int32_t id)
{
    assert(a->n < a->cap);
    a->tokens[a->n++] = (struct answer_token){.id = id, .end = true, .text_end = a->n_read};
    answer_send(a);
}

/* ---- sending ---- */

/* The newest token keeps its id while it may get U+FFFD for a character that never ends. */
static bool may_send(const struct answer *a, size_t i)
{
    if (a->found || a->ended)
        return true;
    const struct answer_token *t = &a->tokens[i];
    return t->text_end <= a->n_released && !(t->unfinished && i + 1 == a->n);
}

/* The next part of the text of tokens[i], whether or not it is shown; 0 when there is no more. */
static size_t next_part(const struct answer *a, struct detok *d, size_t i, bool is_first, char *out,
                        size_t max)
{
    if (a->tokens[i].end)
        return 0;
    size_t n = is_first ? detok_push(d, a->tokens[i].id, out, max) : detok_more(d, out, max);
    bool is_last = i + 1 == a->n || a->tokens[i + 1].end;
    if (a->ended && is_last && n + UTF8_MAX_BYTES <= max)
        n += detok_flush(d, out + n);
    return n;
}

/* What is to be shown next of part[0..n): *begin is its place in the part, the result its length, perhaps 0.
 */
static size_t next_shown(const struct answer *a, size_t n, size_t *begin, bool *is_reasoning)
{
    size_t end = 0, part_end = a->part_begin + n;
    if (part_end > a->n_released)
        part_end = a->n_released;
    for (size_t at = a->part_begin + a->n_of_part; at < part_end; at = end) {
        bool shows = reasoning_shows(&a->reasoning, at, &end, is_reasoning);
        end = end < part_end ? end : part_end;
        if (!shows)
            continue;
        *begin = at - a->part_begin;
        return end - at;
    }
    *begin = n;
    *is_reasoning = false;
    return 0;
}

static bool send_event(struct answer *a, struct engine_event *event)
{
    const struct answer_token *t = &a->tokens[a->n_sent];
    event->type = ENGINE_TOKEN;
    event->request = a->options.request;
    event->token = a->has_id ? -1 : t->id;
    event->end = t->end;
    if (!queue_push(a->options.events, event))
        return false;
    a->has_id = true;
    return true;
}

/* Sends the next event of tokens[n_sent], or goes to its next part or to the next token. False when the queue
 * is full. */
static bool send_part(struct answer *a)
{
    struct engine_event event = {0};
    char part[sizeof event.text];
    struct detok after = a->sender;
    size_t begin, n = next_part(a, &after, a->n_sent, !a->has_part, part, sizeof part);
    size_t n_shown = next_shown(a, n, &begin, &event.is_reasoning);
    if (n_shown) {
        event.n_text = (uint32_t)n_shown;
        memcpy(event.text, part + begin, n_shown);
        if (!send_event(a, &event))
            return false;
        a->n_of_part = begin + n_shown;
        return true;
    }
    if (n == 0 && !a->has_id && !send_event(a, &event))
        return false;
    a->sender = after;
    a->part_begin += n;
    a->n_of_part = 0;
    a->has_part = n > 0;
    if (n == 0) {
        a->has_id = false;
        a->n_sent++;
    }
    return true;
}

bool answer_send(struct answer *a)
{
    while (a->n_sent < a->n && (a->has_id || may_send(a, a->n_sent)))
        if (!send_part(a))
            return false;
    return a->n_sent == a->n;
}

/* ---- what is kept ---- */

/* The text of the tokens from byte `from` to where the stop begins. */
static void text_before_stop(const struct answer *a, size_t from, struct buf *out)
{
    char piece[STOP_TEXT_MAX_PIECE];
    struct detok d;
    size_t at = 0;
    detok_init(&d, a->options.vocab, a->options.at_start);
    for (size_t i = 0; i < a->n && at < a->n_released; i++) {
        size_t n = next_part(a, &d, i, true, piece, sizeof piece);
        for (; n; n = next_part(a, &d, i, false, piece, sizeof piece)) {
            size_t begin = from > at ? from - at : 0, end = a->n_released - at;
            end = end < n ? end : n;
            if (begin < end)
                buf_append(out, piece + begin, end - begin);
            at += n;
            if (at >= a->n_released)
                return;
        }
    }
}

bool answer_kept_ids(const struct answer *a, struct token_list *out, struct err *err)
{
    size_t n = 0;
    while (n < a->n && a->tokens[n].text_end <= a->n_released)
        n++;
    while (n && a->tokens[n - 1].unfinished)
        n--;
    if (!token_list_reserve(out, n, err))
        return false;
    for (size_t i = 0; i < n; i++)
        out->ids[out->n++] = a->tokens[i].id;
    struct buf rest = {0};
    text_before_stop(a, n ? a->tokens[n - 1].text_end : 0, &rest);
    bool ok = !rest.len || vocab_encode(a->options.vocab, buf_text(&rest), rest.len,
                                        n || !a->options.at_start ? VOCAB_CONTINUES : VOCAB_PLAIN, out, err);
    buf_fini(&rest);
    return ok;
}
