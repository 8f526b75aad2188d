/* sampler.h: picks the next token from logits.
 *
 * Order, the field's usual: penalties (repeat, frequency, presence over the last n tokens), top-k, typical,
 * top-p, min-p, temperature, then a draw. Temperature 0 (or below) is greedy: penalties, then the largest
 * logit, ties to the lower id. Sources: repeat penalty Keskar et al. 2019 (CTRL) in the sign-aware form;
 * typical Meister et al. 2022; top-p Holtzman et al. 2019; min-p Nguyen et al. 2024; frequency and presence
 * penalties as in the OpenAI API. Thread rule: belongs to one thread. sampler_pick allocates nothing. The
 * same seed, settings and logits give the same tokens on every machine (own generator: xoshiro256**, Blackman
 * and Vigna). */
#ifndef FERRUM_SAMPLER_H
#define FERRUM_SAMPLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/backend.h"
#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/gguf.h"

struct sampler_params {
    float temp;              /* 0 greedy */
    int32_t top_k;           /* 0 off */
    float top_p;             /* 1 off */
    float min_p;             /* 0 off */
    float typical;           /* 1 off */
    float repeat_penalty;    /* 1 off */
    int32_t repeat_last_n;   /* 0 off, -1 the whole context */
    float frequency_penalty; /* 0 off */
    float presence_penalty;  /* 0 off */
    uint64_t seed;           /* 0: random, see sampler_new */
};

/* 0.8 / 40 / 0.95 / 0.05, no penalties (last_n 64). */
struct sampler_params sampler_defaults(void);
/* Overwrites the fields the file names in general.sampling.*; a value of the wrong type or range is ignored,
 * and a line that says so (key, value, range) is appended to `ignored`. */
void sampler_from_gguf(const struct gguf *g, struct sampler_params *params, struct buf *ignored);
/* A sentence naming the first value out of range, ERR_USAGE. */
bool sampler_check(const struct sampler_params *params, struct err *err);

struct sampler;
/* A seed of 0 is replaced by a random one; sampler_seed tells which. max_last_n bounds the penalty window
 * (n_ctx). */
struct sampler *sampler_new(const struct sampler_params *params, int32_t n_vocab, size_t max_last_n,
                            struct err *err);
void sampler_free(struct sampler *s);
uint64_t sampler_seed(const struct sampler *s);

/* Tells the sampler of a token of the context (prompt or sampled), for the penalties. */
void sampler_accept(struct sampler *s, int32_t id);
/* logits f32 [n_vocab], changed in place. Returns an id; -1 if no logit is finite. */
int32_t sampler_pick(struct sampler *s, float *logits);

/* How many of the largest logits are enough to pick, at most OP_LARGEST_MAX; 0: it takes all of them. */
size_t sampler_n_needed(const struct sampler *s);
/* What sampler_pick gives where these are the largest finite logits, as struct op_largest has them: as many
 * as are needed. */
int32_t sampler_pick_of(struct sampler *s, const struct logit *largest, size_t n);

#endif
