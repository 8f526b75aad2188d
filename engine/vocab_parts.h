/* vocab_parts.h: the inside of a vocabulary; only the vocab_*.c files and detok.c include it.
 *
 * Invariants
 *  1. Every spelling and every text lies in `arena`; offsets are checked at load and never change.
 *  2. `by_spelling` finds each spelling once. Of tokens with one spelling the first wins, but a special one
 * wins over one made of text, so that no typed text can reach the special one.
 *  3. TOKEN_FLAG_TEXT tokens, and they alone, may come out of ordinary text by merging or as a whole piece.
 *  4. Tokens in `marks` are looked for letter by letter: `marks_typed` in every text, `marks_special` only
 * with VOCAB_PARSE_SPECIAL. Thread rule: written by vocab_load.c only, before vocab_new returns. */
#ifndef FERRUM_VOCAB_PARTS_H
#define FERRUM_VOCAB_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/pretok.h"
#include "engine/vocab.h"

enum vocab_family { FAMILY_SPM, FAMILY_BPE };

enum token_flags {
    TOKEN_FLAG_TEXT = 1,    /* may come out of ordinary text */
    TOKEN_FLAG_SPECIAL = 2, /* never from ordinary text, spelled out or not */
    TOKEN_FLAG_END = 4,     /* ends a turn or a text */
};

struct vocab_token {
    uint32_t spelling, n_spelling; /* in the arena */
    uint32_t text, n_text;         /* in the arena: the bytes a reader sees */
    uint32_t order;                /* SPM: from the score; smaller is merged earlier */
    uint8_t type;                  /* enum token_type */
    uint8_t flags;
};

/* Open addressing, at most half full. id + 1, 0 is free. */
struct spelling_slot {
    uint32_t tag, id_plus_1;
};

/* A merge of two neighbouring ids. left + 1, 0 is free. */
struct merge_slot {
    uint32_t left_plus_1, right, rank;
    int32_t id;
};

/* Ids in the order of their spellings' bytes; `first` says which bytes open one. */
struct mark_list {
    int32_t *ids;
    size_t n;
    bool first[256];
};

struct vocab {
    enum vocab_family family;
    char model_name[16];
    char pre_name[64];
    char warning[256];
    size_t n_tokens;
    struct vocab_token *tokens;
    char *arena;
    uint32_t max_spelling; /* bytes of the longest TEXT token */
    struct spelling_slot *by_spelling;
    size_t spelling_mask;
    struct mark_list marks_typed, marks_special;
    int32_t byte_ids[256];    /* the token of each byte, -1 if there is none */
    uint16_t byte_chars[256]; /* BPE: the code point each byte is spelled as */
    int32_t bos, eos, unknown;
    bool add_bos;
    /* SPM */
    bool add_space_prefix;
    bool words_apart; /* no token has a space mark behind another character: words can be merged one by one */
    /* BPE */
    struct pretok *pretok;
    bool spells_characters; /* tokens are text with SPM's mark for the space, not bytes in GPT-2's alphabet */
    struct merge_slot *merges;
    size_t merge_mask;
};

/* --- vocab_classify.c: what each token is to a text --- */
/* Sets the flags of every token and max_spelling; types where a file gives a wrong one. Needs the ids. */
void vocab_classify(struct vocab *v);
bool vocab_starts_with(const char *s, size_t n, const char *prefix);

/* --- vocab_table.c: the look-ups --- */
bool vocab_table_build(struct vocab *v, struct err *err);
/* -1 if there is none. */
int32_t vocab_table_find(const struct vocab *v, const char *spelling, size_t n);
/* The same, TEXT tokens only. */
int32_t vocab_table_find_text(const struct vocab *v, const char *spelling, size_t n);
/* The same for n spellings at once, whose waits for memory overlap. */
#define VOCAB_FIND_MANY 48
void vocab_table_find_texts(const struct vocab *v, const struct gguf_string *spellings, size_t n,
                            int32_t *ids); /* n <= VOCAB_FIND_MANY */
/* Room for n_merges merges; then each is added once, the first of equal pairs wins. */
bool vocab_table_reserve_merges(struct vocab *v, size_t n_merges, struct err *err);
/* A hint: that pair is added soon. */
void vocab_table_await_merge(const struct vocab *v, int32_t left, int32_t right);
void vocab_table_add_merge(struct vocab *v, int32_t left, int32_t right, uint32_t rank, int32_t id);
bool vocab_table_find_merge(const struct vocab *v, int32_t left, int32_t right, uint32_t *rank, int32_t *id);

/* --- vocab_marks.c: tokens spelled out in a text --- */
bool vocab_marks_build(struct vocab *v, struct err *err);
/* A search that looks for special tokens in the template's text alone and for typed ones everywhere. */
struct mark_scan {
    const struct vocab *v;
    const char *text;
    size_t n;
    const struct jtext_run *runs; /* NULL: one kind of text, `marks` */
    size_t n_runs, run;           /* run: of the place last looked at */
    size_t own_end;               /* end of the template's text there */
    const struct mark_list *marks;
};
/* The first mark in text[from..n), the longest where several begin: its place and id; false if there is none.
 * `from` never goes back. */
bool vocab_marks_scan(struct mark_scan *s, size_t from, size_t *at, int32_t *id);

/* --- vocab_merge.c: the merging that SPM and BPE share --- */
struct merge_symbol {
    uint32_t start, n;  /* bytes of the piece; n 0: merged into its left neighbour */
    int32_t id;         /* -1: no token of its own */
    int32_t prev, next; /* -1 at the ends */
};
struct merge_entry {
    uint64_t key; /* order of the merge, then place: the smallest is next */
    uint32_t n;   /* bytes of both symbols when the entry was made: differs if it is stale */
    int32_t id;
};

/* What one vocab_encode call works with; grown, never shrunk, freed at its end. */
struct encoder {
    const struct vocab *v;
    struct token_list *out;
    struct merge_symbol *symbols;
    size_t cap_symbols;
    struct merge_entry *heap;
    size_t n_heap, cap_heap;
    char *scratch; /* SPM: the word with its marks; BPE: the mapped piece, or the text with its marks */
    size_t n_scratch, cap_scratch;
    struct pretok_run pretok_run;
};
bool encoder_reserve_symbols(struct encoder *e, size_t n, struct err *err);
bool encoder_reserve_scratch(struct encoder *e, size_t n, struct err *err);
/* The symbols of a text before merging, its characters; there is room for n. Returns their number. */
size_t encoder_take_characters(struct encoder *e, const char *text, size_t n);
/* Merges symbols[0..n) of text until nothing merges; afterwards follow next from symbol 0. */
void encoder_merge(struct encoder *e, const char *text, size_t n);

/* --- vocab_spm.c, vocab_bpe.c: one stretch of ordinary text --- */
bool vocab_spm_encode(struct encoder *e, const char *text, size_t n, bool add_space, struct err *err);
bool vocab_bpe_encode(struct encoder *e, const char *text, size_t n, struct err *err);
/* The code point byte-level BPE writes a byte as; and back, -1 if it stands for none. */
uint32_t vocab_bpe_char_of_byte(unsigned char byte);
int vocab_bpe_byte_of_char(uint32_t code_point);

#define SPM_SPACE "\xE2\x96\x81" /* U+2581, what SPM writes a space as */
#define SPM_SPACE_BYTES 3

#endif
