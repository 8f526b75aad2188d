#include "vocab_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "engine/base/mem.h"
#include "tests/support/gguf_write.h"

static void add(struct fixture *f, const char *spelling, enum token_type type, float score)
{
    f->tokens[f->n_tokens] = spelling;
    f->types[f->n_tokens] = (int32_t)type;
    f->scores[f->n_tokens] = score;
    f->n_tokens++;
}

static void begin(struct fixture *f, const char *model)
{
    memset(f, 0, sizeof *f);
    f->model = model;
    f->bos = f->eos = f->eot = UINT32_MAX;
    f->add_bos = f->add_space = -1;
}

/* GPT-2's alphabet as a list, made another way than the code under test makes it. */
static void spell_bytes(struct fixture *f)
{
    unsigned next = 256;
    for (unsigned b = 0; b < 256; b++) {
        bool plain = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE);
        unsigned c = plain ? b : next++;
        if (c < 0x80)
            snprintf(f->spelled[b], sizeof f->spelled[b], "%c", (int)c);
        else
            snprintf(f->spelled[b], sizeof f->spelled[b], "%c%c", (int)(0xC0 | c >> 6),
                     (int)(0x80 | (c & 0x3F)));
    }
}

void fixture_bpe(struct fixture *f)
{
    static const char *const words[] = {"he", "ll",   "hell",        "hello",        "\u0120w", "or",
                                        "ld", "orld", "\u0120world", "\u010a\u010a", "ab"};
    static const char *const merges[] = {"h e", "l l",   "he ll",        "hell o",        "\u0120 w", "o r",
                                         "l d", "or ld", "\u0120w orld", "\u010a \u010a", "a b",      "ab c"};
    begin(f, "gpt2");
    f->pre = "qwen2";
    spell_bytes(f);
    for (int b = 0; b < 256; b++)
        add(f, f->spelled[b], TOKEN_NORMAL, 0);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        add(f, words[i], TOKEN_NORMAL, 0);
    add(f, "abc", TOKEN_CONTROL, 0);
    add(f, "<|im_start|>", TOKEN_CONTROL, 0);
    add(f, "<|im_end|>", TOKEN_CONTROL, 0);
    add(f, "<|endoftext|>", TOKEN_CONTROL, 0);
    add(f, "<think>", TOKEN_USER_DEFINED, 0);
    add(f, "  ", TOKEN_USER_DEFINED, 0);
    memcpy(f->merges, merges, sizeof merges);
    f->n_merges = sizeof merges / sizeof *merges;
    f->n_types = f->n_tokens;
    f->bos = f->eos = BPE_END;
    assert_int_equal(f->n_tokens, BPE_N);
}

void fixture_spm(struct fixture *f)
{
    static const struct {
        const char *spelling;
        float score;
    } pieces[] = {{"\u2581", -10}, {"h", -11},   {"e", -12},    {"l", -13},          {"o", -14},
                  {"w", -15},      {"<", -16},   {"s", -17},    {">", -18},          {"he", -2},
                  {"ll", -3},      {"hell", -4}, {"hello", -5}, {"\u2581hello", -6}, {"\u2581\u2581", -1},
                  {"s>", -0.5f},   {"lo", -3}};
    begin(f, "llama");
    add(f, "<unk>", TOKEN_UNKNOWN, 0);
    add(f, "<s>", TOKEN_CONTROL, 0);
    add(f, "</s>", TOKEN_CONTROL, 0);
    for (int b = 0; b < 256; b++) {
        snprintf(f->spelled[b], sizeof f->spelled[b], "<0x%02X>", b);
        add(f, f->spelled[b], TOKEN_BYTE, 0);
    }
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        add(f, pieces[i].spelling, TOKEN_NORMAL, pieces[i].score);
    add(f, "wow!", TOKEN_USER_DEFINED, 0);
    f->n_types = f->n_scores = f->n_tokens;
    f->bos = 1;
    f->eos = 2;
    f->no_merges = true;
    assert_int_equal(f->n_tokens, SPM_N);
}

void fixture_gemma(struct fixture *f)
{
    static const char *const merges[] = {"\u2581 h", "h e",          "l l",          "he ll",
                                         "hell o",   "\u2581 hello", "\u2581 \u2581"};
    fixture_spm(f);
    f->model = "gemma4";
    f->tokens[SPM_LO] = "\n\n";
    f->types[SPM_LO] = TOKEN_NORMAL;
    f->tokens[SPM_W] = "</s>";
    f->types[SPM_W] = TOKEN_USER_DEFINED;
    f->tokens[2] = "<turn|>";
    f->types[2] = TOKEN_CONTROL;
    f->no_merges = false;
    memcpy(f->merges, merges, sizeof merges);
    f->n_merges = sizeof merges / sizeof *merges;
}

static void write_id(struct gguf_writer *w, const char *key, uint32_t id)
{
    if (id != UINT32_MAX)
        gguf_write_u32(w, key, id);
}

static void write_fixture(const struct fixture *f, struct buf *out)
{
    struct gguf_writer w = {0};
    if (f->model)
        gguf_write_string(&w, "tokenizer.ggml.model", f->model);
    if (f->pre)
        gguf_write_string(&w, "tokenizer.ggml.pre", f->pre);
    gguf_write_strings(&w, "tokenizer.ggml.tokens", f->tokens, f->n_tokens);
    if (f->n_types)
        gguf_write_array(&w, "tokenizer.ggml.token_type", GGUF_I32, f->types, f->n_types,
                         f->n_types * sizeof *f->types);
    if (f->n_scores)
        gguf_write_array(&w, "tokenizer.ggml.scores", GGUF_F32, f->scores, f->n_scores,
                         f->n_scores * sizeof *f->scores);
    if (!f->no_merges)
        gguf_write_strings(&w, "tokenizer.ggml.merges", f->merges, f->n_merges);
    write_id(&w, "tokenizer.ggml.bos_token_id", f->bos);
    write_id(&w, "tokenizer.ggml.eos_token_id", f->eos);
    write_id(&w, "tokenizer.ggml.eot_token_id", f->eot);
    if (f->add_bos >= 0)
        gguf_write_bool(&w, "tokenizer.ggml.add_bos_token", f->add_bos);
    if (f->add_space >= 0)
        gguf_write_bool(&w, "tokenizer.ggml.add_space_prefix", f->add_space);
    gguf_write_finish(&w, out);
}

/* The bytes as an open file. */
static struct gguf *open_bytes(struct buf *file)
{
    char path[] = "/tmp/ferrum-vocab-XXXXXX";
    struct err err = {0};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, file->data, file->len), file->len);
    close(fd);
    buf_fini(file);
    struct gguf *g = gguf_open(path, false, &err);
    unlink(path);
    if (!g)
        fail_msg("%s", err.text);
    return g;
}

struct gguf *fixture_open(const struct fixture *f)
{
    struct buf file = {0};
    write_fixture(f, &file);
    return open_bytes(&file);
}

struct gguf *fixture_template_file(const char *text)
{
    struct buf file = {0};
    struct gguf_writer w = {0};
    gguf_write_string(&w, "tokenizer.chat_template", text);
    gguf_write_finish(&w, &file);
    return open_bytes(&file);
}

struct chat_template *fixture_template(const char *text, const struct vocab *v, struct err *err)
{
    struct gguf *g = fixture_template_file(text);
    struct chat_template *t = chat_template_new(g, v, err);
    gguf_close(g);
    return t;
}

struct vocab *fixture_vocab(const struct fixture *f, struct err *err)
{
    struct gguf *g = fixture_open(f);
    struct vocab *v = vocab_new(g, err);
    gguf_close(g);
    return v;
}

struct vocab *fixture_good_vocab(const struct fixture *f)
{
    struct err err = {0};
    struct vocab *v = fixture_vocab(f, &err);
    if (!v)
        fail_msg("%s", err.text);
    return v;
}

void assert_ids(const struct vocab *v, const char *text, unsigned flags, const int32_t *expected)
{
    struct token_list list = {0};
    struct err err = {0};
    assert_true(vocab_encode(v, text, strlen(text), flags, &list, &err));
    size_t n = 0;
    while (expected[n] != -1)
        n++;
    bool same = n == list.n && (n == 0 || memcmp(list.ids, expected, n * sizeof *expected) == 0);
    for (size_t i = 0; !same && i < list.n; i++)
        printf(" %d", list.ids[i]);
    if (!same)
        fail_msg("^ ids of \"%s\" differ", text);
    token_list_fini(&list);
}
