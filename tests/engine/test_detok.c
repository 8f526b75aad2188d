#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/utf8.h"
#include "engine/vocab.h"
#include "vocab_fixture.h"

static struct vocab *make(void (*fixture)(struct fixture *))
{
    struct fixture f;
    fixture(&f);
    return fixture_good_vocab(&f);
}

/* Everything the ids say, through a window of max bytes; every part must be valid UTF-8 by itself. */
static void run(const struct vocab *v, const int32_t *ids, size_t n, bool at_start, size_t max,
                struct buf *out)
{
    struct detok d;
    char part[64];
    assert_true(max <= sizeof part);
    detok_init(&d, v, at_start);
    for (size_t i = 0; i < n; i++)
        for (size_t k = detok_push(&d, ids[i], part, max); k; k = detok_more(&d, part, max)) {
            assert_true(k <= max);
            assert_true(utf8_is_valid(part, k));
            buf_append(out, part, k);
        }
    size_t k = detok_flush(&d, part);
    assert_true(k == 0 || k == 3);
    buf_append(out, part, k);
    assert_int_equal(detok_flush(&d, part), 0);
}

static void check(const struct vocab *v, const int32_t *ids, size_t n, bool at_start, const char *expected)
{
    struct buf out = {0};
    run(v, ids, n, at_start, 8, &out);
    assert_string_equal(buf_text(&out), expected);
    buf_fini(&out);
}
#define CHECK(v, at_start, expected, ...)                                                                    \
    check(v, (const int32_t[]){__VA_ARGS__}, sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t),       \
          at_start, expected)

static void detok__push__holds_half_a_character(void **state)
{
    (void)state;
    struct vocab *v = make(fixture_bpe);
    struct detok d;
    char out[8];
    detok_init(&d, v, true);
    assert_int_equal(detok_push(&d, 0xF0, out, sizeof out), 0);
    assert_int_equal(detok_push(&d, 0x9F, out, sizeof out), 0);
    assert_int_equal(detok_push(&d, 0xA6, out, sizeof out), 0);
    assert_int_equal(detok_push(&d, 0x99, out, sizeof out), 4);
    assert_memory_equal(out, "\U0001F999", 4);
    vocab_free(v);
}

/* Unicode 15, table 3-8: one U+FFFD for each maximal subpart. */
static void detok__push__replaces_maximal_subparts(void **state)
{
    (void)state;
    struct vocab *v = make(fixture_bpe);
    CHECK(v, false, "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd", 'a', 0xF1, 0x80, 0x80, 0xE1, 0x80, 0xC2, 'b',
          0x80, 'c', 0x80, 0xBF, 'd');
    CHECK(v, false, "\uFFFD\uFFFD\uFFFDh", 0xED, 0xA0, 0x80, 'h');
    CHECK(v, false, "\uFFFDhello", 0xE2, 0x82, BPE_HELLO);
    CHECK(v, false, "x\uFFFD", 'x', 0xF0, 0x9F, 0x99);
    vocab_free(v);
}

static void detok__push__control_says_nothing(void **state)
{
    (void)state;
    struct vocab *v = make(fixture_bpe);
    CHECK(v, true, "hello<think>", BPE_IM_START, BPE_HELLO, BPE_IM_END, BPE_THINK, -1, BPE_N, 1 << 30);
    vocab_free(v);
}

static void detok__init__space_in_front(void **state)
{
    (void)state;
    struct vocab *v = make(fixture_spm);
    CHECK(v, true, "hello hello", 1, SPM_MARK_HELLO, SPM_MARK_HELLO);
    CHECK(v, true, " hello", SPM_MARK_MARK, SPM_HELLO);
    CHECK(v, true, "h ", SPM_H, SPM_MARK);
    CHECK(v, false, " hello", SPM_MARK_HELLO);
    CHECK(v, false, "\uFFFD\n", 0, 3 + '\n');
    vocab_free(v);
}

static void detok__more__long_token_in_parts(void **state)
{
    (void)state;
    struct fixture f;
    struct err err = {0};
    fixture_bpe(&f);
    f.tokens[BPE_TWO_SPACES] =
        "\U0001F999\U0001F999\u00e9\U0001F999 and more than fits into a window of eight";
    struct vocab *v = fixture_vocab(&f, &err);
    assert_non_null(v);
    CHECK(v, false, "\U0001F999\U0001F999\u00e9\U0001F999 and more than fits into a window of eighth",
          BPE_TWO_SPACES, 'h');
    vocab_free(v);
}

static void check_random(const struct vocab *v, int32_t n_ids)
{
    srand(11);
    for (int round = 0; round < 1000; round++) {
        int32_t ids[40];
        size_t n = (size_t)rand() % 40;
        struct buf raw = {0}, clean = {0}, small = {0}, large = {0};
        for (size_t i = 0; i < n; i++) {
            ids[i] = rand() % n_ids;
            struct gguf_string s = vocab_token_bytes(v, ids[i], false);
            buf_append(&raw, s.data, s.n);
        }
        utf8_append_clean(&clean, buf_text(&raw), raw.len);
        run(v, ids, n, false, 8, &small);
        run(v, ids, n, false, 64, &large);
        assert_int_equal(small.len, clean.len);
        assert_int_equal(large.len, clean.len);
        assert_memory_equal(buf_text(&small), buf_text(&clean), clean.len);
        assert_memory_equal(buf_text(&large), buf_text(&clean), clean.len);
        buf_fini(&raw);
        buf_fini(&clean);
        buf_fini(&small);
        buf_fini(&large);
    }
}

static void detok__push__pieces_equal_the_whole(void **state)
{
    (void)state;
    struct vocab *v = make(fixture_bpe);
    check_random(v, BPE_N);
    vocab_free(v);
    v = make(fixture_spm);
    check_random(v, SPM_N);
    vocab_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(detok__push__holds_half_a_character),
        cmocka_unit_test(detok__push__replaces_maximal_subparts),
        cmocka_unit_test(detok__push__control_says_nothing),
        cmocka_unit_test(detok__init__space_in_front),
        cmocka_unit_test(detok__more__long_token_in_parts),
        cmocka_unit_test(detok__push__pieces_equal_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
