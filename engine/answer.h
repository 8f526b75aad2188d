/* answer.h: the way of an answer from sampled ids to ENGINE_TOKEN events.
 *
 * Invariants
 *  1. Every id pushed gives exactly one event that carries it; text joins the newest id that is not sent yet,
 * or goes alone (token -1).
 *  2. What finds the event queue full waits here, in order, and grows by merging; nobody waits for the
 * reader.
 *  3. The texts of all events joined are the answer: valid UTF-8, cut in front of a stop.
 * Belongs to the engine's thread. answer_push allocates only when the reader has long stopped reading. */
#ifndef FERRUM_ANSWER_H
#define FERRUM_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/queue.h"
#include "engine/stop_text.h"
#include "engine/vocab.h"

/* A token on its way; its text is the next n_text bytes of answer.text. */
struct answer_token {
    int32_t id;
    bool end;
    size_t n_text;
};

struct answer {
    struct queue *events;
    uint64_t request;
    struct detok detok;
    struct stop_text stop;
    struct answer_token *tokens; /* [cap], waiting are first .. n */
    size_t first, n, cap;
    struct buf text; /* waiting are first_text .. text.len */
    size_t first_text;
};

/* At most max_tokens ids will be pushed. at_start as in detok_init; the stops are the caller's. */
bool answer_init(struct answer *a, struct queue *events, uint64_t request, const struct vocab *vocab,
                 bool at_start, size_t max_tokens, const char *const *stops, size_t n_stops, struct err *err);
void answer_fini(struct answer *a);

/* Adds a sampled id; true when its text completes a stop. */
bool answer_push(struct answer *a, int32_t id);
/* After the last id: releases held text (unless a stop was found). True when that completes a stop. */
bool answer_end_text(struct answer *a);
/* The token that closes the turn. */
void answer_push_end(struct answer *a, int32_t id);
/* Sends what the queue takes; true when nothing waits any more. */
bool answer_send(struct answer *a);

#endif
