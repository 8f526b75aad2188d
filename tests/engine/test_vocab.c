#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "engine/vocab.h"
#include "vocab_fixture.h"

static struct vocab *must(const struct fixture *f)
{
    struct err err = {0};
    struct vocab *v = fixture_vocab(f, &err);
    if (!v)
        fail_msg("%s", err.text);
    return v;
}

static struct vocab *bpe(void)
{
    struct fixture f;
    fixture_bpe(&f);
    return must(&f);
}

static struct vocab *spm(void)
{
    struct fixture f;
    fixture_spm(&f);
    return must(&f);
}

static struct vocab *gemma(void)
{
    struct fixture f;
    fixture_gemma(&f);
    return must(&f);
}

/* --- byte-level BPE --- */

static void bpe__encode__merges_by_rank(void **state)
{
    (void)state;
    struct vocab *v = bpe();
    ASSERT_IDS(v, "hello world", VOCAB_PLAIN, BPE_HELLO, BPE_SP_WORLD, -1);
    ASSERT_IDS(v, "hellohe", VOCAB_PLAIN, BPE_HELLO, BPE_HE, -1);
    ASSERT_IDS(v, "\n\n\n", VOCAB_PLAIN, BPE_NL2, '\n', -1);
    ASSERT_IDS(v, "", VOCAB_PLAIN, -1);
    ASSERT_IDS(v, "", VOCAB_ADD_BOS, BPE_END, -1);
    vocab_free(v);
}

static void bpe__encode__special_only_when_asked(void **state)
{
    (void)state;
    struct vocab *v = bpe();
    ASSERT_IDS(v, "a<|im_end|>he", VOCAB_PARSE_SPECIAL, 'a', BPE_IM_END, BPE_HE, -1);
    ASSERT_IDS(v, "<|im_end|>", VOCAB_PLAIN, '<', '|', 'i', 'm', '_', 'e', 'n', 'd', '|', '>', -1);
    ASSERT_IDS(v, "<think>", VOCAB_PARSE_SPECIAL, BPE_THINK, -1);
    ASSERT_IDS(v, "<think>", VOCAB_PLAIN, '<', 't', 'h', 'i', 'n', 'k', '>', -1);
    ASSERT_IDS(v, "he  he", VOCAB_PLAIN, BPE_HE, BPE_TWO_SPACES, BPE_HE, -1);
    vocab_free(v);
}

/* Neither a merge nor a piece that is spelled like it may yield a control token. */
static void bpe__encode__no_merge_into_control(void **state)
{
    (void)state;
    struct fixture f;
    fixture_bpe(&f);
    struct vocab *v = must(&f);
    ASSERT_IDS(v, "abc", VOCAB_PLAIN, BPE_AB, 'c', -1);
    ASSERT_IDS(v, "abc", VOCAB_PARSE_SPECIAL, BPE_ABC_CONTROL, -1);
    vocab_free(v);
    f.pre = "llama-bpe";
    v = must(&f);
    ASSERT_IDS(v, "abc", VOCAB_PLAIN, BPE_AB, 'c', -1);
    vocab_free(v);
}

static void bpe__encode__whole_piece_without_merges(void **state)
{
    (void)state;
    struct fixture f;
    fixture_bpe(&f);
    f.n_merges = 0;
    f.pre = "llama-bpe";
    struct vocab *v = must(&f);
    ASSERT_IDS(v, "hello world", VOCAB_PLAIN, BPE_HELLO, BPE_SP_WORLD, -1);
    ASSERT_IDS(v, "hellos", VOCAB_PLAIN, 'h', 'e', 'l', 'l', 'o', 's', -1);
    vocab_free(v);
    f.pre = "qwen2";
    v = must(&f);
    ASSERT_IDS(v, "ab", VOCAB_PLAIN, 'a', 'b', -1);
    vocab_free(v);
}

static void bpe__encode__longest_special_wins(void **state)
{
    (void)state;
    struct fixture f;
    fixture_bpe(&f);
    f.tokens[BPE_THINK] = "<|im";
    f.types[BPE_THINK] = TOKEN_CONTROL;
    struct vocab *v = must(&f);
    ASSERT_IDS(v, "<|im_end|><|im_en", VOCAB_PARSE_SPECIAL, BPE_IM_END, BPE_THINK, '_', 'e', 'n', -1);
    vocab_free(v);
}

static void bpe__encode__ill_formed_bytes_come_back(void **state)
{
    (void)state;
    struct vocab *v = bpe();
    static const char text[] = "he\xFF\xC3(\xE2\x82\xED\xA0\x80 hello\x00\xF0\x9F";
    struct token_list list = {0};
    assert_true(vocab_encode(v, text, sizeof text - 1, VOCAB_PLAIN, &list, NULL));
    struct buf back = {0};
    for (size_t i = 0; i < list.n; i++) {
        struct gguf_string s = vocab_token_bytes(v, list.ids[i], false);
        buf_append(&back, s.data, s.n);
    }
    assert_int_equal(back.len, sizeof text - 1);
    assert_memory_equal(back.data, text, sizeof text - 1);
    buf_fini(&back);
    token_list_fini(&list);
    vocab_free(v);
}

/* Mongolian vowel separator: no white space since Unicode 6.3, though PCRE2's \s takes it; NEL is white
 * space. */
static void pretok__split__unicode_space(void **state)
{
    (void)state;
    struct fixture f;
    fixture_bpe(&f);
    f.n_merges = 0;
    f.tokens[BPE_HE] = "\u0120\u00e1\u0142\u0130"; /* " " and U+180E: one piece of " ?[^\s\p{L}\p{N}]+" */
    f.tokens[BPE_LL] = "\u00c2\u0127\u00c2\u0127"; /* two NEL: one piece of \s+ */
    f.pre = "llama-bpe";
    struct vocab *v = must(&f);
    ASSERT_IDS(v, " \xE1\xA0\x8E", VOCAB_PLAIN, BPE_HE, -1);
    ASSERT_IDS(v, "\xC2\x85\xC2\x85", VOCAB_PLAIN, BPE_LL, -1);
    vocab_free(v);
}

/* --- SPM --- */

static void spm__encode__merges_by_score(void **state)
{
    (void)state;
    struct vocab *v = spm();
    ASSERT_IDS(v, "hello", VOCAB_PLAIN, SPM_MARK_HELLO, -1);
    ASSERT_IDS(v, "hello", VOCAB_CONTINUES, SPM_HELLO, -1);
    ASSERT_IDS(v, "hello", VOCAB_ADD_BOS | VOCAB_PLAIN, 1, SPM_MARK_HELLO, -1);
    ASSERT_IDS(v, " hello", VOCAB_PLAIN, SPM_MARK_MARK, SPM_HELLO, -1);
    ASSERT_IDS(v, "", VOCAB_PLAIN, -1);
    /* equal scores: the left one first */
    ASSERT_IDS(v, "llo", VOCAB_CONTINUES, SPM_LL, SPM_O, -1);
    vocab_free(v);
}

static void spm__encode__bytes_for_unknown(void **state)
{
    (void)state;
    struct vocab *v = spm();
    ASSERT_IDS(v,
               "h\xC3\xA4"
               "e\xFF",
               VOCAB_CONTINUES, SPM_H, 3 + 0xC3, 3 + 0xA4, SPM_E, 3 + 0xFF, -1);
    ASSERT_IDS(v, "\n", VOCAB_PLAIN, SPM_MARK, 3 + '\n', -1);
    vocab_free(v);
}

/* "<" + "s>" would make "<s>", with the best score of all, and "<0x41>" is the spelling of a byte token. */
static void spm__encode__typed_text_never_special(void **state)
{
    (void)state;
    struct fixture f;
    fixture_spm(&f);
    f.tokens[SPM_LO] = "0x41>";
    struct vocab *v = must(&f);
    ASSERT_IDS(v, "<s>", VOCAB_CONTINUES, SPM_LT, SPM_S_GT, -1);
    ASSERT_IDS(v, "<s>h", VOCAB_CONTINUES | VOCAB_PARSE_SPECIAL, 1, SPM_MARK, SPM_H, -1);
    ASSERT_IDS(v, "wow!h", VOCAB_CONTINUES, SPM_USER, SPM_H, -1);
    struct token_list list = {0};
    assert_true(vocab_encode(v, "<0x41>", 6, VOCAB_CONTINUES, &list, NULL));
    for (size_t i = 0; i < list.n; i++)
        assert_int_not_equal(list.ids[i], 3 + 0x41);
    token_list_fini(&list);
    vocab_free(v);
}

static void spm__encode__no_space_in_front_when_the_file_says_so(void **state)
{
    (void)state;
    struct fixture f;
    fixture_spm(&f);
    f.add_space = 0;
    struct vocab *v = must(&f);
    ASSERT_IDS(v, "hello", VOCAB_PLAIN, SPM_HELLO, -1);
    vocab_free(v);
}

/* Gemma 1 to 3: no space in front, and runs of spaces and newlines as tokens of their own, longest first. */
static void spm__encode__runs_of_gemma(void **state)
{
    (void)state;
    struct fixture f;
    fixture_spm(&f);
    f.add_space = 0;
    f.tokens[SPM_USER] = "  ";
    f.tokens[SPM_LO] = "\n\n";
    f.tokens[SPM_W] = "\n\n\n";
    f.types[SPM_LO] = f.types[SPM_W] = TOKEN_USER_DEFINED;
    struct vocab *v = must(&f);
    ASSERT_IDS(v, "hello  hello", VOCAB_PLAIN, SPM_HELLO, SPM_USER, SPM_HELLO, -1);
    ASSERT_IDS(v, "   hello", VOCAB_PLAIN, SPM_USER, SPM_MARK_HELLO, -1);
    ASSERT_IDS(v, "h\n\n\n\n\nh", VOCAB_PLAIN, SPM_H, SPM_W, SPM_LO, SPM_H, -1);
    ASSERT_IDS(v, "h\nh", VOCAB_PLAIN, SPM_H, 3 + '\n', SPM_H, -1);
    vocab_free(v);
}

/* --- BPE over characters --- */

static void gemma__encode__characters_and_bytes(void **state)
{
    (void)state;
    struct vocab *v = gemma();
    ASSERT_IDS(v, "hello hello", VOCAB_PLAIN, SPM_HELLO, SPM_MARK_HELLO, -1);
    ASSERT_IDS(v, "  h", VOCAB_PLAIN, SPM_MARK_MARK, SPM_H, -1);
    ASSERT_IDS(v, "h\u00e4\xFF", VOCAB_PLAIN, SPM_H, 3 + 0xC3, 3 + 0xA4, 3 + 0xFF, -1);
    ASSERT_IDS(v, "<s>", VOCAB_PLAIN, SPM_LT, SPM_S, SPM_GT, -1);
    ASSERT_IDS(v, "<s>h<turn|>", VOCAB_PARSE_SPECIAL, 1, SPM_H, 2, -1);
    vocab_free(v);
}

/* A run of newlines is a token though no merge makes one, but only as a whole. */
static void gemma__encode__newlines(void **state)
{
    (void)state;
    struct vocab *v = gemma();
    ASSERT_IDS(v, "h\n\nh\nh", VOCAB_PLAIN, SPM_H, SPM_LO, SPM_H, 3 + '\n', SPM_H, -1);
    ASSERT_IDS(v, "\n\n\n", VOCAB_PLAIN, 3 + '\n', 3 + '\n', 3 + '\n', -1);
    vocab_free(v);
}

static void gemma__facts__bos_and_html(void **state)
{
    (void)state;
    struct fixture f;
    fixture_gemma(&f);
    f.add_bos = 0; /* as early files say */
    struct vocab *v = must(&f);
    assert_string_equal(vocab_model_name(v), "gemma4");
    assert_null(vocab_warning(v));
    assert_true(vocab_add_bos(v));
    assert_true(vocab_is_end(v, 2));
    assert_false(vocab_is_end(v, SPM_W));
    ASSERT_IDS(v, "h</s>", VOCAB_PLAIN, SPM_H, SPM_W, -1);
    assert_memory_equal(vocab_token_bytes(v, SPM_MARK_HELLO, false).data, " hello", 6);
    vocab_free(v);
}

/* --- the merging, against the plainest way to write it --- */

/* The order of joining a and b (smaller first), or -1. */
static double naive_order(const struct fixture *f, const char *a, const char *b)
{
    char joined[160];
    snprintf(joined, sizeof joined, "%s %s", a, b);
    for (size_t i = 0; f->model[0] == 'g' && i < f->n_merges; i++)
        if (strcmp(f->merges[i], joined) == 0)
            return (double)i;
    snprintf(joined, sizeof joined, "%s%s", a, b);
    for (size_t i = 0; f->model[0] == 'l' && i < f->n_tokens; i++)
        if (f->types[i] == TOKEN_NORMAL && strcmp(f->tokens[i], joined) == 0)
            return -(double)f->scores[i];
    return -1;
}

static size_t naive_merge(const struct fixture *f, char pieces[][64], size_t n)
{
    for (;;) {
        size_t best = n;
        double best_order = -1;
        for (size_t i = 0; i + 1 < n; i++) {
            double order = naive_order(f, pieces[i], pieces[i + 1]);
            if (order >= 0 && (best == n || order < best_order)) {
                best = i;
                best_order = order;
            }
        }
        if (best == n)
            return n;
        size_t length = strlen(pieces[best]);
        for (const char *c = pieces[best + 1]; *c; c++)
            pieces[best][length++] = *c;
        pieces[best][length] = '\0';
        memmove(pieces[best + 1], pieces[best + 2], (n - best - 2) * sizeof pieces[0]);
        n--;
    }
}

static void check_against_naive(const struct fixture *f, const char *const *letters, size_t n_letters)
{
    struct vocab *v = must(f);
    srand(7);
    for (int round = 0; round < 300; round++) {
        static char pieces[40][64];
        char text[256] = "";
        size_t n = 1 + (size_t)rand() % 30;
        for (size_t i = 0; i < n; i++) {
            const char *letter = letters[(size_t)rand() % n_letters];
            strcpy(pieces[i], letter);
            strcat(text, letter);
        }
        n = naive_merge(f, pieces, n);
        struct token_list list = {0};
        assert_true(vocab_encode(v, text, strlen(text), VOCAB_CONTINUES, &list, NULL));
        assert_int_equal(list.n, n);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(list.ids[i], vocab_find(v, pieces[i], strlen(pieces[i])));
        token_list_fini(&list);
    }
    vocab_free(v);
}

static void merge__random__equals_naive_bpe(void **state)
{
    (void)state;
    static const char *const letters[] = {"h", "e", "l", "o", "r", "d"};
    struct fixture f;
    fixture_bpe(&f);
    check_against_naive(&f, letters, 6);
}

static void merge__random__equals_naive_spm(void **state)
{
    (void)state;
    static const char *const letters[] = {"h", "e", "l", "l", "o", "\u2581", "s", ">"};
    struct fixture f;
    fixture_spm(&f);
    check_against_naive(&f, letters, 8);
    /* a token with a mark inside: words may no longer be taken one by one */
    f.tokens[SPM_LO] = "o\u2581";
    f.scores[SPM_LO] = -0.25f;
    check_against_naive(&f, letters, 8);
}

/* --- facts about tokens --- */

static void vocab__facts__ends_and_types(void **state)
{
    (void)state;
    struct vocab *v = bpe();
    assert_int_equal(vocab_size(v), BPE_N);
    assert_string_equal(vocab_model_name(v), "gpt2");
    assert_false(vocab_add_bos(v));
    assert_true(vocab_is_end(v, BPE_IM_END));
    assert_true(vocab_is_end(v, BPE_END));
    assert_false(vocab_is_end(v, BPE_IM_START));
    assert_false(vocab_is_end(v, -1));
    assert_false(vocab_is_end(v, BPE_N));
    assert_int_equal(vocab_token_bytes(v, BPE_N, true).n, 0);
    assert_int_equal(vocab_token_bytes(v, BPE_IM_END, false).n, 0);
    assert_int_equal(vocab_token_bytes(v, BPE_IM_END, true).n, 10);
    assert_int_equal(vocab_find(v, "<|im_end|>", 10), BPE_IM_END);
    assert_int_equal(vocab_find(v, "<|im_end|", 9), -1);
    assert_int_equal(vocab_token_type(v, BPE_THINK), TOKEN_USER_DEFINED);
    assert_memory_equal(vocab_token_bytes(v, BPE_SP_WORLD, false).data, " world", 6);
    vocab_free(v);
    v = spm();
    assert_true(vocab_add_bos(v));
    assert_true(vocab_is_end(v, 2));
    assert_memory_equal(vocab_token_bytes(v, SPM_MARK_HELLO, false).data, " hello", 6);
    assert_int_equal(vocab_token_bytes(v, 3 + 'A', false).data[0], 'A');
    vocab_free(v);
}

static const char *const ends[] = {
    "<|eot_id|>",
    "<|eom_id|>",
    "<|eot|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "<|end|>",
    "<|endofturn|>",
    "[|endofturn|]",
    "<eos>",
    "[EOS]",
    "[EOT]",
    "<EOT>",
    "_<EOT>",
    "[e~[",
    "<turn|>",
    "<|return|>",
    "<|call|>",
    "<|END_OF_TURN_TOKEN|>",
    "<end_of_utterance>",
    "<\uFF5Cend\u2581of\u2581sentence\uFF5C>",
};

/* Whatever type a file gives them: a token of these names ends a turn and is never typed. */
static void vocab__is_end__known_names(void **state)
{
    (void)state;
    static const int32_t types[] = {TOKEN_CONTROL, TOKEN_USER_DEFINED, TOKEN_NORMAL};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        struct fixture f;
        fixture_bpe(&f);
        f.tokens[BPE_IM_END] = f.tokens[BPE_END] = "<other>";
        f.types[BPE_IM_END] = f.types[BPE_END] = TOKEN_NORMAL;
        f.bos = f.eos = UINT32_MAX;
        f.tokens[BPE_THINK] = ends[i];
        f.types[BPE_THINK] = types[i % 3];
        struct vocab *v = must(&f);
        if (!vocab_is_end(v, BPE_THINK) || vocab_is_end(v, BPE_IM_END) || vocab_is_end(v, BPE_IM_START))
            fail_msg("ends with %s", ends[i]);
        struct token_list list = {0};
        assert_true(vocab_encode(v, ends[i], strlen(ends[i]), VOCAB_PLAIN, &list, NULL));
        for (size_t k = 0; k < list.n; k++)
            assert_int_not_equal(list.ids[k], BPE_THINK);
        token_list_fini(&list);
        vocab_free(v);
    }
}

static void vocab__is_end__ids_of_the_file(void **state)
{
    (void)state;
    struct fixture f;
    fixture_bpe(&f);
    f.bos = UINT32_MAX;
    f.tokens[BPE_END] = "<plain>";
    f.eos = BPE_END;
    f.eot = BPE_THINK;
    struct vocab *v = must(&f);
    assert_true(vocab_is_end(v, BPE_END));
    assert_true(vocab_is_end(v, BPE_THINK));
    assert_true(vocab_is_end(v, BPE_IM_END));
    assert_false(vocab_is_end(v, BPE_IM_START));
    vocab_free(v);
}

/* Harmony: behind <|end|> the turn goes on, from the reasoning to the answer. */
static void vocab__is_end__ends_of_messages(void **state)
{
    (void)state;
    struct fixture f;
    fixture_bpe(&f);
    f.tokens[BPE_IM_START] = "<|end|>";
    struct vocab *v = must(&f);
    assert_true(vocab_is_end(v, BPE_IM_START));
    vocab_free(v);
    f.tokens[BPE_IM_END] = "<|return|>";
    f.tokens[BPE_ABC_CONTROL] = "<|call|>";
    v = must(&f);
    assert_false(vocab_is_end(v, BPE_IM_START));
    assert_true(vocab_is_end(v, BPE_IM_END));
    assert_true(vocab_is_end(v, BPE_ABC_CONTROL));
    vocab_free(v);
}

static void vocab__new__unknown_pretokenizer_warns(void **state)
{
    (void)state;
    struct fixture f;
    fixture_bpe(&f);
    f.pre = "martian";
    struct vocab *v = must(&f);
    assert_non_null(strstr(vocab_warning(v), "martian"));
    assert_non_null(strstr(vocab_warning(v), "gpt-2"));
    vocab_free(v);
    f.pre = NULL;
    v = must(&f);
    assert_non_null(vocab_warning(v));
    vocab_free(v);
}

/* A file that calls its end token ordinary text must not let a user type it. */
static void vocab__new__end_token_called_text(void **state)
{
    (void)state;
    struct fixture f;
    fixture_bpe(&f);
    f.types[BPE_IM_END] = TOKEN_NORMAL;
    f.pre = "llama-bpe";
    f.eot = BPE_LL;
    struct vocab *v = must(&f);
    assert_int_equal(vocab_token_type(v, BPE_IM_END), TOKEN_CONTROL);
    assert_true(vocab_is_end(v, BPE_IM_END));
    assert_true(vocab_is_end(v, BPE_LL));
    ASSERT_IDS(v, "ll", VOCAB_PLAIN, 'l', 'l', -1);
    vocab_free(v);
}

static void vocab__new__odd_but_tolerated(void **state)
{
    (void)state;
    struct fixture f;
    fixture_bpe(&f);
    f.merges[f.n_merges++] = "nospace";
    f.merges[f.n_merges++] = "";
    f.merges[f.n_merges++] = " ";
    f.merges[f.n_merges++] = "q zzz";
    f.merges[f.n_merges++] = "h e"; /* a second time, later: the first counts */
    f.tokens[f.n_tokens] = "hello";
    f.types[f.n_tokens++] = TOKEN_NORMAL;
    f.tokens[f.n_tokens] = "";
    f.types[f.n_tokens++] = TOKEN_CONTROL;
    f.n_types = 0;
    struct vocab *v = must(&f);
    ASSERT_IDS(v, "hello", VOCAB_PLAIN, BPE_HELLO, -1);
    vocab_free(v);
}

/* --- files that lie --- */

static void refuse(const struct fixture *f, const char *word)
{
    struct err err = {0};
    struct vocab *v = fixture_vocab(f, &err);
    assert_null(v);
    assert_int_equal(err.code, ERR_MODEL);
    if (!strstr(err.text, word))
        fail_msg("\"%s\" does not name %s", err.text, word);
}

static void vocab__new__bad_bpe_metadata(void **state)
{
    (void)state;
    struct fixture f;
    fixture_bpe(&f);
    f.model = NULL;
    refuse(&f, "tokenizer.ggml.model");
    f.model = "bert";
    refuse(&f, "bert");
    fixture_bpe(&f);
    f.no_merges = true;
    refuse(&f, "tokenizer.ggml.merges");
    fixture_bpe(&f);
    f.n_tokens = f.n_types = 0;
    refuse(&f, "tokenizer.ggml.tokens");
    fixture_bpe(&f);
    f.n_types--;
    refuse(&f, "tokenizer.ggml.token_type");
    fixture_bpe(&f);
    f.types[17] = 99;
    refuse(&f, "item 17");
    fixture_bpe(&f);
    f.types[17] = -1;
    refuse(&f, "item 17");
    fixture_bpe(&f);
    f.bos = BPE_N;
    refuse(&f, "bos_token_id");
    fixture_bpe(&f);
    f.eos = 0x80000000u;
    refuse(&f, "eos_token_id");
}

static void vocab__new__bad_spm_metadata(void **state)
{
    (void)state;
    struct fixture f;
    fixture_spm(&f);
    f.n_scores = 0;
    refuse(&f, "tokenizer.ggml.scores");
    fixture_spm(&f);
    f.n_scores--;
    refuse(&f, "tokenizer.ggml.scores");
    fixture_spm(&f);
    f.eot = SPM_N + 5;
    refuse(&f, "eot_token_id");
}

static void vocab__new__strange_scores_survive(void **state)
{
    (void)state;
    struct fixture f;
    fixture_spm(&f);
    f.scores[SPM_HE] = (float)NAN;
    f.scores[SPM_LL] = (float)INFINITY;
    struct vocab *v = must(&f);
    struct token_list list = {0};
    assert_true(vocab_encode(v, "hello hello", 11, VOCAB_PLAIN, &list, NULL));
    assert_true(list.n > 0);
    token_list_fini(&list);
    vocab_free(v);
}

/* --- memory and noise --- */

static void check_every_failure(const struct fixture *f)
{
    struct gguf *g = fixture_open(f);
    struct vocab *v = NULL;
    for (long n = 0; !v; n++) {
        struct err err = {0};
        mem_fail_after(n);
        v = vocab_new(g, &err);
        bool failed = mem_fail_happened();
        mem_fail_after(-1);
        if (!v) {
            assert_true(failed);
            assert_int_equal(err.code, ERR_MEMORY);
        }
    }
    struct token_list list = {0};
    static const char text[] = "hello world <|im_end|> hello \xFF";
    for (long n = 0, done = false; !done; n++) {
        struct err err = {0};
        token_list_fini(&list);
        mem_fail_after(n);
        bool ok = vocab_encode(v, text, sizeof text - 1, VOCAB_PARSE_SPECIAL | VOCAB_ADD_BOS, &list, &err);
        done = !mem_fail_happened();
        mem_fail_after(-1);
        assert_true(ok || (err.code == ERR_MEMORY && list.n == 0 && !done));
    }
    token_list_fini(&list);
    vocab_free(v);
    gguf_close(g);
}

static void vocab__new_and_encode__nth_allocation_fails(void **state)
{
    (void)state;
    struct fixture f;
    fixture_bpe(&f);
    check_every_failure(&f);
    fixture_spm(&f);
    check_every_failure(&f);
    fixture_gemma(&f);
    check_every_failure(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bpe__encode__merges_by_rank),
        cmocka_unit_test(bpe__encode__special_only_when_asked),
        cmocka_unit_test(bpe__encode__no_merge_into_control),
        cmocka_unit_test(bpe__encode__whole_piece_without_merges),
        cmocka_unit_test(bpe__encode__longest_special_wins),
        cmocka_unit_test(bpe__encode__ill_formed_bytes_come_back),
        cmocka_unit_test(pretok__split__unicode_space),
        cmocka_unit_test(spm__encode__merges_by_score),
        cmocka_unit_test(spm__encode__bytes_for_unknown),
        cmocka_unit_test(spm__encode__typed_text_never_special),
        cmocka_unit_test(spm__encode__no_space_in_front_when_the_file_says_so),
        cmocka_unit_test(spm__encode__runs_of_gemma),
        cmocka_unit_test(gemma__encode__characters_and_bytes),
        cmocka_unit_test(gemma__encode__newlines),
        cmocka_unit_test(gemma__facts__bos_and_html),
        cmocka_unit_test(merge__random__equals_naive_bpe),
        cmocka_unit_test(merge__random__equals_naive_spm),
        cmocka_unit_test(vocab__facts__ends_and_types),
        cmocka_unit_test(vocab__is_end__known_names),
        cmocka_unit_test(vocab__is_end__ids_of_the_file),
        cmocka_unit_test(vocab__is_end__ends_of_messages),
        cmocka_unit_test(vocab__new__unknown_pretokenizer_warns),
        cmocka_unit_test(vocab__new__end_token_called_text),
        cmocka_unit_test(vocab__new__odd_but_tolerated),
        cmocka_unit_test(vocab__new__bad_bpe_metadata),
        cmocka_unit_test(vocab__new__bad_spm_metadata),
        cmocka_unit_test(vocab__new__strange_scores_survive),
        cmocka_unit_test(vocab__new_and_encode__nth_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
