/* test_vocab_text.c: whole texts through a vocabulary: the ids published tokenizers give, and back again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "engine/vocab.h"
#include "random_text.h"
#include "tests/support/shared_path.h"
#include "tests/support/tiny_model.h"
#include "vocab_fixture.h"

static struct vocab *make(void (*fixture)(struct fixture *))
{
    struct fixture f;
    fixture(&f);
    return fixture_good_vocab(&f);
}

/* --- there and back --- */

/* The bytes of the ids, with no rule for the first space. */
static void decode(const struct vocab *v, const struct token_list *list, struct buf *out)
{
    for (size_t i = 0; i < list->n; i++) {
        struct gguf_string s = vocab_token_bytes(v, list->ids[i], false);
        buf_append(out, s.data, s.n);
    }
}

/* What a streaming reader of a text from its start sees. */
static void read_aloud(const struct vocab *v, const struct token_list *list, struct buf *out)
{
    struct detok d;
    char part[64];
    detok_init(&d, v, true);
    for (size_t i = 0; i < list->n; i++)
        for (size_t k = detok_push(&d, list->ids[i], part, sizeof part); k;
             k = detok_more(&d, part, sizeof part))
            buf_append(out, part, k);
    buf_append(out, part, detok_flush(&d, part));
}

/* SPM's own mark for the space cannot come back as itself. */
static size_t marks_to_spaces(char *text, size_t n)
{
    static const char mark[] = "\u2581";
    size_t used = 0;
    for (size_t i = 0; i < n;) {
        bool is_mark = n - i >= 3 && memcmp(text + i, mark, 3) == 0;
        text[used++] = is_mark ? ' ' : text[i];
        i += is_mark ? 3 : 1;
    }
    return used;
}

static void assert_same_text(const struct buf *got, const char *text, size_t n)
{
    if (got->len != n || (n && memcmp(got->data, text, n) != 0))
        fail_msg("\"%.*s\" came back as \"%s\"", (int)n, text, buf_text(got));
}

static void check_round_trips(const struct vocab *v, int rounds)
{
    uint64_t seed = 3;
    bool has_marks = strcmp(vocab_model_name(v), "gpt2") != 0;
    for (int round = 0; round < rounds; round++) {
        char text[160];
        size_t n = random_text(&seed, text, sizeof text);
        struct token_list plain = {0}, rest = {0};
        struct buf bytes = {0}, aloud = {0};
        assert_true(vocab_encode(v, text, n, VOCAB_PLAIN, &plain, NULL));
        assert_true(vocab_encode(v, text, n, VOCAB_CONTINUES, &rest, NULL));
        for (size_t i = 0; i < plain.n; i++)
            assert_int_not_equal(vocab_token_type(v, plain.ids[i]), TOKEN_CONTROL);
        decode(v, &rest, &bytes);
        read_aloud(v, &plain, &aloud);
        if (has_marks)
            n = marks_to_spaces(text, n);
        assert_same_text(&bytes, text, n);
        assert_same_text(&aloud, text, n);
        buf_fini(&bytes);
        buf_fini(&aloud);
        token_list_fini(&plain);
        token_list_fini(&rest);
    }
}

static void vocab__encode__random_text_comes_back(void **state)
{
    (void)state;
    struct vocab *made[] = {make(fixture_bpe), make(fixture_spm), make(fixture_gemma)};
    for (size_t i = 0; i < 3; i++) {
        check_round_trips(made[i], 10000);
        vocab_free(made[i]);
    }
}

static void vocab__encode__random_text_of_the_tiny_model(void **state)
{
    (void)state;
    struct tiny_options options = {.arch = "llama", .type = DTYPE_Q8_0, .chatml = true, .seed = 1};
    struct buf file = {0};
    struct err err = {0};
    assert_true(tiny_model_make(&options, &file));
    struct gguf *g = gguf_open_memory(buf_text(&file), file.len, "tiny.gguf", false, &err);
    struct vocab *v = g ? vocab_new(g, &err) : NULL;
    if (!v)
        fail_msg("%s", err.text);
    check_round_trips(v, 10000);
    vocab_free(v);
    gguf_close(g);
    buf_fini(&file);
}

static void vocab__encode__long_runs(void **state)
{
    (void)state;
    static char text[200000];
    static const char kinds[] = "l <\n";
    struct vocab *both[] = {make(fixture_bpe), make(fixture_spm)};
    for (size_t k = 0; k < sizeof kinds - 1; k++) {
        memset(text, kinds[k], sizeof text);
        for (int i = 0; i < 2; i++) {
            struct token_list list = {0};
            assert_true(vocab_encode(both[i], text, sizeof text, VOCAB_CONTINUES, &list, NULL));
            assert_true(list.n >= sizeof text / 2 && list.n <= sizeof text);
            token_list_fini(&list);
        }
    }
    vocab_free(both[0]);
    vocab_free(both[1]);
}

/* --- the vocabularies of published models --- */

static char *read_all(const char *path, size_t *n)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    *n = (size_t)ftell(file);
    rewind(file);
    char *text = mem_need(*n + 1);
    assert_int_equal(fread(text, 1, *n, file), *n);
    fclose(file);
    return text;
}

static int count_wrong_lines(const struct vocab *v, const char *input, size_t n, char *expected, int *n_lines)
{
    static const char mark[] = "\n__ggml_vocab_test__\n";
    int wrong = 0;
    char *rest = expected;
    for (size_t at = 0; at < n; (*n_lines)++) {
        const char *stop = memmem(input + at, n - at, mark, sizeof mark - 1);
        size_t length = stop ? (size_t)(stop - input) - at : n - at;
        struct token_list list = {0};
        assert_true(vocab_encode(v, input + at, length, VOCAB_PLAIN, &list, NULL));
        char *line = strsep(&rest, "\n"), *end;
        assert_non_null(line);
        size_t i = 0;
        bool same = true;
        for (long id; id = strtol(line, &end, 10), end != line; line = end, i++)
            same = same && i < list.n && list.ids[i] == id;
        wrong += !same || i != list.n;
        token_list_fini(&list);
        at += length + sizeof mark - 1;
    }
    return wrong;
}

static void check_published(const char *name)
{
    char file[64];
    size_t n, n_out;
    int n_lines = 0;
    snprintf(file, sizeof file, "vocab/%s.gguf", name);
    const char *path = shared_path(file);
    if (!path)
        skip();
    struct err err = {0};
    struct gguf *g = gguf_open(path, false, &err);
    struct vocab *v = g ? vocab_new(g, &err) : NULL;
    if (!v)
        fail_msg("%s", err.text);
    snprintf(file, sizeof file, "vocab/%s.inp", name);
    char *input = read_all(shared_path(file), &n);
    snprintf(file, sizeof file, "vocab/%s.out", name);
    char *expected = read_all(shared_path(file), &n_out);
    assert_int_equal(count_wrong_lines(v, input, n, expected, &n_lines), 0);
    assert_int_equal(n_lines, 46);
    assert_null(vocab_warning(v));
    check_round_trips(v, 10000);
    mem_free(input);
    mem_free(expected);
    vocab_free(v);
    gguf_close(g);
}

static void vocab__encode__qwen3_lines(void **state)
{
    (void)state;
    check_published("qwen3");
}

static void vocab__encode__llama3_lines(void **state)
{
    (void)state;
    check_published("llama3");
}

static void vocab__encode__gpt2_lines(void **state)
{
    (void)state;
    check_published("gpt-2");
}

static void vocab__encode__llama_spm_lines(void **state)
{
    (void)state;
    check_published("llama-spm");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vocab__encode__qwen3_lines),
        cmocka_unit_test(vocab__encode__llama3_lines),
        cmocka_unit_test(vocab__encode__gpt2_lines),
        cmocka_unit_test(vocab__encode__llama_spm_lines),
        cmocka_unit_test(vocab__encode__random_text_comes_back),
        cmocka_unit_test(vocab__encode__random_text_of_the_tiny_model),
        cmocka_unit_test(vocab__encode__long_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
