/* timeline.h: one token prefix, the KV pages that hold it, and the logits after its last token.
 *
 * Invariants
 *  1. KV rows 0 .. n-1 hold exactly the tokens ids[0 .. n-1], in the pages of the block table.
 *  2. The logits belong to token n-1, or are absent (n = 0, or after timeline_keep).
 *  3. n <= n_ctx always; a call that would pass it fails with ERR_PROMPT before anything is changed.
 *  4. A cancelled or failed call leaves a shorter valid prefix: rows past the last finished batch do not
 * count.
 *  5. Decoding (n_new = 1) allocates nothing.
 * Ownership: belongs to one thread (the engine's); model and backend outlive it. */
#ifndef FERRUM_TIMELINE_H
#define FERRUM_TIMELINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/prof.h"
#include "engine/model.h"

struct timeline;

struct timeline_options {
    uint32_t n_ctx;     /* positions; 0: the trained length, or less: see timeline_default_ctx */
    enum dtype kv_type; /* DTYPE_F16 or DTYPE_F32 */
    uint32_t n_batch;   /* tokens per prefill step, 0: 512 */
};

/* The trained length, or what fits in half of the memory left (memory_left.h; a multiple of KV_BLOCK_TOKENS,
 * at least 512 or the trained length); *limited says that memory decided. */
uint32_t timeline_default_ctx(const struct model *m, enum dtype kv_type, bool *limited);
/* Bytes of KV per token. */
size_t timeline_kv_bytes(const struct model *m, enum dtype kv_type);

struct timeline *timeline_new(struct model *m, const struct timeline_options *options, struct err *err);
void timeline_free(struct timeline *t);

uint32_t timeline_n_ctx(const struct timeline *t);
size_t timeline_length(const struct timeline *t);

/* Cuts the prefix to what it shares with ids[0..n), but leaves at least one of the n tokens to compute, so
 * that logits follow. Returns the tokens kept. */
size_t timeline_keep(struct timeline *t, const int32_t *ids, size_t n);

struct eval_control {
    const atomic_bool *cancel; /* looked at before every layer; NULL: never */
    /* After each batch, from the calling thread; may be NULL. */
    void (*progress)(void *arg, size_t done, size_t total);
    void *arg;
};

/* Appends n tokens. all_logits (host, f32 [n, n_vocab], may be NULL) gets the logits of every position; else
 * only the last is computed. Ids are checked against the vocabulary. Errors: ERR_PROMPT, ERR_USAGE (id),
 * ERR_CANCELLED, ERR_RUNTIME, ERR_MEMORY. control may be NULL. */
bool timeline_eval(struct timeline *t, const int32_t *ids, size_t n, const struct eval_control *control,
                   float *all_logits, struct err *err);

/* f32 [n_vocab] after the last token, host memory owned by the timeline, valid until the next eval; the
 * sampler may change it in place. NULL when absent. */
float *timeline_logits(struct timeline *t);

/* KV bytes that decoding the next token reads. */
size_t timeline_kv_read_bytes(const struct timeline *t);

const struct prof *timeline_prof(const struct timeline *t);

#endif
