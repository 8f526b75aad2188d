/* vocab_fixture.h: two small vocabularies, made in memory, that can be spoiled before they are loaded.
 * Single thread. The caller frees what it gets (vocab_free, gguf_close). */
#ifndef FERRUM_TEST_VOCAB_FIXTURE_H
#define FERRUM_TEST_VOCAB_FIXTURE_H

#include "engine/gguf.h"
#include "engine/prompt_template.h"
#include "engine/vocab.h"

#define FIXTURE_MAX 512

struct fixture {
    const char *model, *pre; /* NULL: the key is left out */
    const char *tokens[FIXTURE_MAX];
    int32_t types[FIXTURE_MAX];
    float scores[FIXTURE_MAX];
    size_t n_tokens, n_types, n_scores; /* n_types, n_scores 0: left out */
    const char *merges[FIXTURE_MAX];
    size_t n_merges;
    bool no_merges;         /* the key is left out */
    uint32_t bos, eos, eot; /* UINT32_MAX: left out */
    int add_bos, add_space; /* -1: left out */
    char spelled[256][8];   /* the spellings of the bytes */
};

/* Ids of fixture_bpe: byte b is b; those after them: */
enum {
    BPE_HE = 256,
    BPE_LL,
    BPE_HELL,
    BPE_HELLO,
    BPE_SP_W,
    BPE_OR,
    BPE_LD,
    BPE_ORLD,
    BPE_SP_WORLD,
    BPE_NL2,
    BPE_AB,
    BPE_ABC_CONTROL,
    BPE_IM_START,
    BPE_IM_END,
    BPE_END,
    BPE_THINK,
    BPE_TWO_SPACES,
    BPE_N
};
void fixture_bpe(struct fixture *f);

/* Ids of fixture_spm: 0 <unk>, 1 <s>, 2 </s>, byte b is 3 + b; those after them: */
enum {
    SPM_MARK = 259,
    SPM_H,
    SPM_E,
    SPM_L,
    SPM_O,
    SPM_W,
    SPM_LT,
    SPM_S,
    SPM_GT,
    SPM_HE,
    SPM_LL,
    SPM_HELL,
    SPM_HELLO,
    SPM_MARK_HELLO,
    SPM_MARK_MARK,
    SPM_S_GT,
    SPM_LO,
    SPM_USER,
    SPM_N
};
void fixture_spm(struct fixture *f);

/* The pieces of fixture_spm merged by rank, in the manner of Gemma 4; three tokens differ:
 * 2 <turn|>, SPM_LO "\n\n", SPM_W "</s>" (user-defined). */
void fixture_gemma(struct fixture *f);

/* The fixture as an open file (the temporary file is gone already). */
struct gguf *fixture_open(const struct fixture *f);
/* Both steps; NULL with *err set if the vocabulary is refused. */
struct vocab *fixture_vocab(const struct fixture *f, struct err *err);
/* The same; fails the test if the vocabulary is refused. */
struct vocab *fixture_good_vocab(const struct fixture *f);

/* An open file with nothing but this template. */
struct gguf *fixture_template_file(const char *text);
/* The template as if a file had it, with this vocabulary; NULL with *err set if it is refused. */
struct chat_template *fixture_template(const char *text, const struct vocab *v, struct err *err);

/* Fails the test unless vocab_encode(text, flags) gives exactly the ids of the list, ended by -1. */
void assert_ids(const struct vocab *v, const char *text, unsigned flags, const int32_t *expected);
#define ASSERT_IDS(v, text, flags, ...) assert_ids(v, text, flags, (const int32_t[]){__VA_ARGS__})

#endif
