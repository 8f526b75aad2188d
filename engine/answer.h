/* answer.h: the way of an answer from sampled ids to ENGINE_TOKEN events.
 *
 * Invariants
 *  1. Every id pushed gives one event that carries it and its share of the text, in order. Only the rest of a
 * token longer than an event, or on both sides of the end of the reasoning, goes without an id (-1).
 *  2. An id waits while its text may still begin a stop or a marker of reasoning, or its last character is
 * unfinished, and while the event queue is full; nobody waits for the reader. Only ids wait: their text is
 * made again when they are sent, so nothing grows.
 *  3. The texts of all events that are no reasoning, joined, are the answer: valid UTF-8, cut in front of a
 * stop; those of the others are the reasoning, where no stop is looked for. Ids that lie inside the stop or a
 * marker of reasoning (reasoning.h) are sent all the same, without text.
 * Belongs to the engine's thread. Only answer_init and answer_kept_ids allocate. */
#ifndef FERRUM_ANSWER_H
#define FERRUM_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/queue.h"
#include "engine/reasoning.h"
#include "engine/stop_text.h"
#include "engine/vocab.h"

struct answer_token {
    int32_t id;
    bool end;        /* closes the turn, has no text */
    bool unfinished; /* its last bytes begin a character */
    size_t text_end; /* bytes of text up to here, uncut */
};

struct answer_options {
    struct queue *events;
    uint64_t request;
    const struct vocab *vocab;
    bool at_start;     /* as in detok_init */
    size_t max_tokens; /* ids that will be pushed, at most */
    const char *const *stops;
    size_t n_stops;
    const struct reasoning_pair *pair; /* NULL: all is answer */
    bool is_open;                      /* the prompt opened the reasoning */
};

struct answer {
    struct answer_options options;
    struct answer_token *tokens; /* [cap] every id pushed, n of them */
    size_t n, cap;
    /* reading: looks for stops as the ids come */
    struct detok reader;
    struct reasoning reasoning;
    struct stop_text stop; /* of the answer */
    size_t n_read;         /* bytes of text so far */
    size_t n_released;     /* bytes of it that begin neither a stop nor a marker */
    bool in_answer;        /* n_released counts on from reasoning.answer_begin */
    bool found, ended;     /* a stop; the last text has come */
    /* sending: some tokens behind */
    struct detok sender;
    size_t n_sent; /* tokens that are done with */
    bool has_id;   /* the id of tokens[n_sent] is sent */
    /* Its text comes in parts, each perhaps in several events. */
    bool has_part;     /* the first part is done with */
    size_t part_begin; /* bytes of text in front of the next part */
    size_t n_of_part;  /* bytes of that part that are done with */
};

/* What the options point to outlives the answer. */
bool answer_init(struct answer *a, const struct answer_options *options, struct err *err);
void answer_fini(struct answer *a);

/* Adds a sampled id; true when its text completes a stop. */
bool answer_push(struct answer *a, int32_t id);
/* After the last id: releases held text (unless a stop was found). True when that completes a stop. */
bool answer_end_text(struct answer *a);
/* The token that closes the turn. */
void answer_push_end(struct answer *a, int32_t id);
/* Sends what the queue takes; true when nothing waits any more. */
bool answer_send(struct answer *a);

/* After a stop (a->found): appends to out the ids in front of the stop, and where it begins inside a token,
 * the encoding of that token's part. Their text is what was shown, and the markers of reasoning. */
bool answer_kept_ids(const struct answer *a, struct token_list *out, struct err *err);

#endif
