#include "engine/answer.h"

#include <assert.h>
#include <string.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/engine.h"

bool answer_init(struct answer *a, struct queue *events, uint64_t request, const struct vocab *vocab,
                 bool at_start, size_t max_tokens, const char *const *stops, size_t n_stops, struct err *err)
{
    *a = (struct answer){.events = events, .request = request, .vocab = vocab, .at_start = at_start};
    detok_init(&a->reader, vocab, at_start);
    detok_init(&a->sender, vocab, at_start);
    a->cap = max_tokens + 1; /* and the end token */
    a->tokens = mem_array(a->cap, sizeof *a->tokens, err);
    return a->tokens && stop_text_init(&a->stop, stops, n_stops, err);
}

void answer_fini(struct answer *a)
{
    mem_free(a->tokens);
    stop_text_fini(&a->stop);
}

/* ---- reading ---- */

static bool read_piece(struct answer *a, const char *piece, size_t n)
{
    const char *ready;
    size_t n_ready;
    a->n_read += n;
    a->found = stop_text_push(&a->stop, piece, n, &ready, &n_ready);
    a->n_released += n_ready;
    return a->found;
}

bool answer_push(struct answer *a, int32_t id)
{
    char piece[STOP_TEXT_MAX_PIECE];
    assert(a->n < a->cap);
    size_t n = detok_push(&a->reader, id, piece, sizeof piece);
    while (n && !read_piece(a, piece, n))
        n = detok_more(&a->reader, piece, sizeof piece);
    a->tokens[a->n++] =
        (struct answer_token){.id = id, .unfinished = a->reader.n_held > 0, .text_end = a->n_read};
    answer_send(a);
    return a->found;
}

bool answer_end_text(struct answer *a)
{
    char piece[STOP_TEXT_MAX_PIECE];
    const char *ready;
    size_t n_ready;
    if (!a->ended && !a->found && !read_piece(a, piece, detok_flush(&a->reader, piece))) {
        stop_text_flush(&a->stop, &ready, &n_ready);
        a->n_released += n_ready;
    }
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

/* Sends tokens[n_sent], or a further part of its text; false when the queue is full. */
static bool send_part(struct answer *a)
{
    const struct answer_token *t = &a->tokens[a->n_sent];
    struct detok before = a->sender;
    struct engine_event event = {.type = ENGINE_TOKEN, .request = a->request, .token = -1};
    size_t n = next_part(a, &a->sender, a->n_sent, !a->in_token, event.text, sizeof event.text);
    size_t n_left = a->n_released - a->n_sent_bytes;
    event.n_text = (uint32_t)(n < n_left ? n : n_left);
    if (a->in_token && !event.n_text) {
        a->in_token = false;
        a->n_sent++;
        return true;
    }
    if (!a->in_token) {
        event.token = t->id;
        event.end = t->end;
    }
    if (!queue_push(a->events, &event)) {
        a->sender = before;
        return false;
    }
    a->n_sent_bytes += event.n_text;
    a->in_token = true;
    return true;
}

bool answer_send(struct answer *a)
{
    while (a->n_sent < a->n && (a->in_token || may_send(a, a->n_sent)))
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
    detok_init(&d, a->vocab, a->at_start);
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
    bool ok = !rest.len || vocab_encode(a->vocab, buf_text(&rest), rest.len,
                                        n || !a->at_start ? VOCAB_CONTINUES : VOCAB_PLAIN, out, err);
    buf_fini(&rest);
    return ok;
}
