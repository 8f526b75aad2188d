/* vocab.h: text to token ids and back.
 *
 * Families (GGUF tokenizer.ggml.model): "llama" = SPM (sentencepiece unigram-by-merge as llama uses it),
 * "gpt2" = byte-level BPE with the pre-tokenizer named in tokenizer.ggml.pre, "gemma4" = BPE over characters,
 * with SPM's mark for the space and bytes for what has no token. Ownership: the vocabulary copies what it
 * needs; the gguf may be closed afterwards. Read-only after vocab_new: any thread, except that each encoding
 * thread needs its own struct buf for output ids. Text a user types never becomes a special token: only
 * vocab_encode with VOCAB_PARSE_SPECIAL looks for them. Special are control tokens and those user-defined
 * ones that are markers or tags: <|...|>, <|...> and <...|> and the marks of reasoning (<think>) everywhere,
 * <...> and [...] in byte-level BPE files (<tool_call>). Other user-defined tokens (runs of spaces, SPM
 * pieces) are text wherever they are spelled out, as in the field. */
#ifndef FERRUM_VOCAB_H
#define FERRUM_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/gguf.h"

struct vocab;

/* A growable list of ids. */
struct token_list {
    int32_t *ids;
    size_t n, cap;
};
void token_list_add(struct token_list *list, int32_t id); /* a needed allocation (mem.h) */
/* Room for n_more ids, so that they can be written without asking. */
bool token_list_reserve(struct token_list *list, size_t n_more, struct err *err);
void token_list_fini(struct token_list *list);

/* Numbers of tokenizer.ggml.token_type. */
enum token_type {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN = 2,
    TOKEN_CONTROL = 3,
    TOKEN_USER_DEFINED = 4,
    TOKEN_UNUSED = 5,
    TOKEN_BYTE = 6
};

struct vocab *vocab_new(const struct gguf *g, struct err *err);
void vocab_free(struct vocab *v);

int vocab_size(const struct vocab *v);
const char *vocab_model_name(const struct vocab *v); /* "llama", "gpt2", "gemma4" */
/* A sentence about something unusual ("unknown pre-tokenizer ..., falling back to ..."), or NULL. */
const char *vocab_warning(const struct vocab *v);

/* -1 where the vocabulary has none. */
int32_t vocab_bos(const struct vocab *v);
int32_t vocab_eos(const struct vocab *v);
bool vocab_add_bos(const struct vocab *v);
/* True for every token that ends a turn or text: eos, eot, eom ids and the known names (<|im_end|>,
 * <|eot_id|>, <|endoftext|>, </s>, <end_of_turn>, ...), but not for those that end a message within a turn
 * (Harmony's <|end|>). */
bool vocab_is_end(const struct vocab *v, int32_t id);
enum token_type vocab_token_type(const struct vocab *v, int32_t id);
/* The token spelled as in the file (NOT NUL-terminated): "<|im_start|>", "Ġthe". */
struct gguf_string vocab_token_spelling(const struct vocab *v, int32_t id);
/* Exact spelling to id, -1 if there is none. For special tokens named by templates. */
int32_t vocab_find(const struct vocab *v, const char *spelling, size_t n);

enum vocab_encode_flags {
    VOCAB_PLAIN = 0,
    VOCAB_PARSE_SPECIAL = 1, /* special tokens spelled in the text become their ids */
    VOCAB_ADD_BOS = 2,       /* put BOS first, if the vocabulary has one (whatever add_bos says) */
    VOCAB_CONTINUES = 4,     /* the text follows other text: no "space in front" of the SPM kind */
};
/* Appends the ids of text[0..n) (any bytes) to out. Fails only for want of memory. */
bool vocab_encode(const struct vocab *v, const char *text, size_t n, unsigned flags, struct token_list *out,
                  struct err *err);

struct jinja_text; /* engine/jinja.h */
/* The same for text->bytes[from..] of a rendered template: special tokens are looked for, but only where they
 * stand wholly in the template's own text; what is spelled in input stays text. */
bool vocab_encode_marked(const struct vocab *v, const struct jinja_text *text, size_t from, unsigned flags,
                         struct token_list *out, struct err *err);

/* Bytes of one token as text: SPM space marks become spaces, byte tokens bytes; control tokens give nothing
 * unless show_special. Returns a pointer inside the vocabulary and the length. */
struct gguf_string vocab_token_bytes(const struct vocab *v, int32_t id, bool show_special);

/* Streaming detokenizer: never emits half a character. Plain value, no allocation. */
struct detok {
    const struct vocab *vocab;
    char held[4]; /* an unfinished UTF-8 character */
    unsigned char n_held;
    bool strip_space; /* SPM: drop the one space in front of the very first token */
    int32_t id;       /* token being written piecewise, see detok_more */
    size_t done;      /* bytes of it already written */
};
/* at_start: nothing precedes the text (raw text from an empty prompt): SPM's leading space is dropped. */
void detok_init(struct detok *d, const struct vocab *v, bool at_start);
/* Writes the text of id, valid UTF-8, to out (capacity max >= 8); returns its bytes. A token longer than max
 * gives its first part; call detok_more until it returns 0. Ill-formed bytes become U+FFFD. */
size_t detok_push(struct detok *d, int32_t id, char *out, size_t max);
size_t detok_more(struct detok *d, char *out, size_t max);
/* At the end of a text: what is still held, as U+FFFD (0 or 3 bytes). */
size_t detok_flush(struct detok *d, char *out);

#endif
