#include "engine/answer.h"

#include <assert.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/engine.h"

#define FIRST_TEXT_BYTES 4096

bool answer_init(struct answer *a, struct queue *events, uint64_t request, const struct vocab *vocab,
                 bool at_start, size_t max_tokens, const char *const *stops, size_t n_stops, struct err *err)
{
    *a = (struct answer){.events = events, .request = request};
    detok_init(&a->detok, vocab, at_start);
    /* Each id, the end token, and text without an id. */
    a->cap = max_tokens + 3;
    a->tokens = mem_array(a->cap, sizeof *a->tokens, err);
    if (!a->tokens || !stop_text_init(&a->stop, stops, n_stops, err))
        return false;
    buf_reserve(&a->text, FIRST_TEXT_BYTES);
    return true;
}

void answer_fini(struct answer *a)
{
    mem_free(a->tokens);
    stop_text_fini(&a->stop);
    buf_fini(&a->text);
}

static void add_token(struct answer *a, int32_t id, bool end)
{
    assert(a->n < a->cap);
    a->tokens[a->n++] = (struct answer_token){.id = id, .end = end};
}

static void add_text(struct answer *a, const char *text, size_t n)
{
    if (!n)
        return;
    if (a->first == a->n)
        add_token(a, -1, false);
    buf_append(&a->text, text, n);
    a->tokens[a->n - 1].n_text += n;
}

static bool add_piece(struct answer *a, const char *piece, size_t n)
{
    const char *ready;
    size_t n_ready;
    bool found = stop_text_push(&a->stop, piece, n, &ready, &n_ready);
    add_text(a, ready, n_ready);
    return found;
}

bool answer_push(struct answer *a, int32_t id)
{
    char piece[STOP_TEXT_MAX_PIECE];
    bool found = false;
    add_token(a, id, false);
    size_t n = detok_push(&a->detok, id, piece, sizeof piece);
    while (n && !found) {
        found = add_piece(a, piece, n);
        n = found ? 0 : detok_more(&a->detok, piece, sizeof piece);
    }
    answer_send(a);
    return found;
}

bool answer_end_text(struct answer *a)
{
    char piece[STOP_TEXT_MAX_PIECE];
    const char *ready;
    size_t n_ready;
    if (add_piece(a, piece, detok_flush(&a->detok, piece)))
        return true;
    stop_text_flush(&a->stop, &ready, &n_ready);
    add_text(a, ready, n_ready);
    answer_send(a);
    return false;
}

void answer_push_end(struct answer *a, int32_t id)
{
    add_token(a, id, true);
    answer_send(a);
}

/* How much of text[0..n) one event takes, whole characters. */
static size_t cut_for_event(const char *text, size_t n, size_t max)
{
    if (n <= max)
        return n;
    while (max && ((unsigned char)text[max] & 0xC0) == 0x80)
        max--;
    return max;
}

/* Sends the first waiting token, or the first part of its text; false when the queue is full. */
static bool send_one(struct answer *a)
{
    struct answer_token *t = &a->tokens[a->first];
    struct engine_event event = {.type = ENGINE_TOKEN, .request = a->request, .token = t->id, .end = t->end};
    const char *text = buf_text(&a->text) + a->first_text;
    size_t n = cut_for_event(text, t->n_text, sizeof event.text);
    memcpy(event.text, text, n);
    event.n_text = (uint32_t)n;
    if (!queue_push(a->events, &event))
        return false;
    a->first_text += n;
    t->n_text -= n;
    t->id = -1; /* the rest of a long text goes without the id */
    if (!t->n_text)
        a->first++;
    return true;
}

bool answer_send(struct answer *a)
{
    while (a->first < a->n)
        if (!send_one(a))
            return false;
    a->first = a->n = 0;
    a->first_text = 0;
    buf_truncate(&a->text, 0);
    return true;
}
