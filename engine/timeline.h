/* timeline.h: one token prefix, the KV pages that hold it, and the logits after its last token.
 *
 * Invariants
 *  1. KV rows 0 .. n-1 hold exactly the tokens ids[0 .. n-1], in the pages of the block table.
 *  2. The logits belong to token n-1, or are absent (n = 0, or after timeline_keep).
 *  3. n <= n_ctx always; a call that would pass it fails with ERR_PROMPT before anything is changed.
 *  4. A cancelled or failed call leaves a shorter valid prefix: rows past the last finished batch do not
 * count.
 *  5. Decoding (n_new = 1, and what is tried) allocates nothing, and waits for nothing but the backend.
 *  6. Guesses are no part of the prefix, nor are their rows seen by the shelf, until they are accepted.
 *  7. A prefix that was loaded has the bits that were saved. What cannot be loaded leaves it as it was.
 * Ownership: belongs to one thread (the engine's); model and backend outlive it. */
#ifndef FERRUM_TIMELINE_H
#define FERRUM_TIMELINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/kv_block.h"
#include "engine/base/prof.h"
#include "engine/model.h"

struct timeline;
struct trace;
struct profiling;

struct timeline_options {
    uint32_t n_ctx;               /* positions; 0: the trained length, or less: see timeline_default_ctx */
    enum dtype kv_type;           /* DTYPE_F16, DTYPE_F32 or DTYPE_I8 */
    uint32_t n_batch;             /* tokens per prefill step at most, 0: 512 */
    const struct kv_shelf *shelf; /* where blocks are kept, or NULL; lives longer */
    struct trace *trace;          /* where operations are recorded one by one, or NULL; lives longer */
    bool untimed;                 /* no profile: to measure what that costs */
};

/* The trained length, or what fits in half of the memory left (memory_left.h; a multiple of KV_BLOCK_TOKENS,
 * at least 512 or the trained length); *limited says that memory decided. */
uint32_t timeline_default_ctx(const struct model *m, enum dtype kv_type, bool *limited);
/* Bytes of KV per token. */
size_t timeline_kv_bytes(const struct model *m, enum dtype kv_type);

struct timeline *timeline_new(struct model *m, const struct timeline_options *options, struct err *err);
/* Waits until the shelf needs no page any more. NULL is fine. */
void timeline_free(struct timeline *t);

uint32_t timeline_n_ctx(const struct timeline *t);
size_t timeline_length(const struct timeline *t);

/* After model_move: everything is made anew where the model is now. The prefix is empty then, and its ids are
 * the caller's to give again. False: only timeline_free is left. */
bool timeline_rebuild(struct timeline *t, struct err *err);

/* How many of ids[0..n) the prefix begins with. */
size_t timeline_shared(const struct timeline *t, const int32_t *ids, size_t n);
/* Cuts the prefix to what it shares with ids[0..n-1): of n tokens the last is left to compute, so that logits
 * follow. It is not looked at; who wants no logits gives one more than there are ids. Returns the tokens
 * kept. */
size_t timeline_keep(struct timeline *t, const int32_t *ids, size_t n);

struct eval_control {
    const atomic_bool *cancel; /* looked at before every layer or block; NULL: never */
    /* After each batch or block, and, without a device, after each layer of a batch, as that share of its
     * tokens; from the calling thread; may be NULL. */
    void (*progress)(void *arg, size_t done, size_t total);
    void *arg;
    bool is_prompt; /* one token too is prefill, in the profile; else it is decode */
    bool is_ahead;  /* nobody waits for it, and what is asked next cancels it: batches are short */
};

/* Tokens of the next prefill step when the last one took ns_per_token (0: not known): a multiple of
 * KV_BLOCK_TOKENS, n_batch at most. A batch is what a cancel loses, and what reads all weights: work that
 * somebody waits for gets up to four seconds of it; what is done ahead, and what a device is given, which
 * cannot be stopped in between, one. */
size_t timeline_batch_tokens(double ns_per_token, size_t n_batch, bool is_short);

/* Appends n tokens. all_logits (host, f32 [n, n_vocab], may be NULL) gets the logits of every position; else
 * only the last is computed. Ids are checked against the vocabulary. Errors: ERR_PROMPT, ERR_USAGE (id),
 * ERR_CANCELLED, ERR_RUNTIME, ERR_MEMORY. control may be NULL. */
bool timeline_eval(struct timeline *t, const int32_t *ids, size_t n, const struct eval_control *control,
                   float *all_logits, struct err *err);

/* --- guesses (speculation.h) --- */

/* The tokens of the prefix, [timeline_length]. */
const int32_t *timeline_ids(const struct timeline *t);

/* How many guesses there is room to try behind one token more. */
size_t timeline_most_guesses(const struct timeline *t);

/* As timeline_eval of ids[0] alone, with the bits that gives; in the same pass it computes rows for the n-1
 * <= timeline_most_guesses tokens behind, which are guesses: kept until anything else but timeline_accept is
 * called. */
bool timeline_try(struct timeline *t, const int32_t *ids, size_t n, const struct eval_control *control,
                  struct err *err);

/* The next guess whose row is there, -1: none. */
int32_t timeline_guess(const struct timeline *t);
/* Appends that token, as timeline_eval would. Fails where the device does, then as timeline_eval. */
bool timeline_accept(struct timeline *t, struct err *err);

/* --- the shelf --- */

/* The chat that blocks saved and loaded from now on belong to. */
void timeline_set_owner(struct timeline *t, const unsigned char owner[KV_OWNER_BYTES]);
/* Rows that are computed from now on are for a turn to come: what keeps them tells that apart. */
void timeline_set_ahead(struct timeline *t, bool is_ahead);

struct load_stats {
    uint32_t n_tokens;              /* rows that came from the shelf */
    uint32_t foreign_tokens;        /* of them, computed by another backend or other kernels */
    char kernels[KV_KERNELS_BYTES]; /* the first of those, see struct kv_found */
    uint32_t damaged_blocks;
    uint64_t ns; /* finding and reading */
};

/* After timeline_keep with the same ids and n: rows that the shelf has, as long as reading them is cheaper
 * than computing; the last of the n tokens is left to compute here too. Returns the length. It fails by
 * loading less: when cancelled, or at a block that is damaged. control may be NULL. */
size_t timeline_load(struct timeline *t, const int32_t *ids, size_t n, const struct eval_control *control,
                     struct load_stats *stats);

/* Offers what the shelf has not got: whole pages (timeline_eval does that too), and the rows of the last page
 * at the end of a turn. Returns how many blocks there was no room for: call it again later. */
size_t timeline_save(struct timeline *t);

/* f32 [n_vocab] after the last token, host memory owned by the timeline, valid until the next eval; the
 * sampler may change it in place. NULL when absent. */
float *timeline_logits(struct timeline *t);

/* From now on only the n largest logits (<= OP_LARGEST_MAX) are wanted behind a token, where the backend can
 * choose them, 0: all, as in the beginning. */
void timeline_want(struct timeline *t, size_t n);

/* Those after the last token, as struct op_largest has them, *n of them. NULL: absent, or all are there
 * (timeline_logits, which is NULL when these are not). */
const struct logit *timeline_largest(const struct timeline *t, size_t *n);

/* The timers; NULL: untimed. */
const struct prof *timeline_prof(const struct timeline *t);
/* For the engine, which adds what it measures outside of the timeline; not for an untimed one. */
struct profiling *timeline_profiling(struct timeline *t);

#endif
