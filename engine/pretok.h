/* pretok.h: cuts text into the pieces that byte-level BPE merges within.
 *
 * Purpose: from a name (tokenizer.ggml.pre) to the regular expressions applied one after the other, each
 * within the pieces the one before left; a new name is a new row in pretok_table.c. Ownership: struct pretok
 * holds compiled expressions, read-only afterwards, any thread; struct pretok_run is what one thread needs
 * while it splits. Errors: want of memory only. Bytes that are not UTF-8 form pieces of their own; where
 * PCRE2 gives up (match limits) the run up to the next change between space and other text is one piece. */
#ifndef FERRUM_PRETOK_H
#define FERRUM_PRETOK_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

struct pretok;

/* What an unknown name is treated as. */
#define PRETOK_FALLBACK "gpt-2"

bool pretok_is_known(const char *name, size_t n);
/* name[0..n) must be known or is treated as PRETOK_FALLBACK. */
struct pretok *pretok_new(const char *name, size_t n, struct err *err);
void pretok_free(struct pretok *p);

/* A piece that is a token is taken as it is, without merging. */
bool pretok_ignores_merges(const struct pretok *p);
/* Whether BOS is put first when the file does not say. */
bool pretok_adds_bos(const struct pretok *p);
/* Tokens are spelled as text, U+2581 for the space, instead of in GPT-2's alphabet of bytes. */
bool pretok_spells_characters(const struct pretok *p);

/* Working memory of a thread; zero it, pass it, and end with pretok_run_fini. */
struct pretok_run {
    void *match, *context, *jit_stack; /* PCRE2's */
};
void pretok_run_fini(struct pretok_run *run);

/* Called for each piece in order; n >= 1. */
typedef bool pretok_piece_fn(void *context, const char *piece, size_t n, struct err *err);
bool pretok_split(const struct pretok *p, struct pretok_run *run, const char *text, size_t n,
                  pretok_piece_fn *piece, void *context, struct err *err);

#endif
