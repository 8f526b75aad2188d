/* Tests of the byte tokenizer: keys, sequences, timers, pastes, and that cutting the bytes changes nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "ui/input.h"

#define MS 1000000ull
#define N(array) (sizeof(array) / sizeof((array)[0]))

/* A token as text, so that whole streams compare at once. */
static void describe(struct buf *out, const struct input_token *t)
{
    static const char *const types[] = {"key", "paste", "wheel", "click", "focus"};
    buf_printf(out, "%s", types[t->type]);
    if (t->type == INPUT_KEY) {
        buf_printf(out, " %d/%u ", (int)t->key, t->modifiers);
        for (size_t i = 0; i < t->n_bytes; i++)
            buf_printf(out, "%02x", (unsigned char)t->bytes[i]);
    } else if (t->type == INPUT_PASTE) {
        buf_printf(out, " [%.*s]%d", (int)t->n_paste, t->paste, t->cut);
    } else {
        buf_printf(out, " %d %d %d,%d", t->lines, t->button, t->column, t->row);
    }
    buf_putc(out, '\n');
}

static void take_all(struct input *in, uint64_t now, struct buf *out)
{
    struct input_token token;
    while (input_next(in, now, &token))
        describe(out, &token);
}

static struct input *new_input(void)
{
    return input_new(&(struct input_options){.escape_ms = 50});
}

/* One token from these bytes, with all timers run out. */
static void expect_one(const char *bytes, size_t n, enum input_key key, unsigned modifiers)
{
    struct input *in = new_input();
    struct input_token token, more;
    input_feed(in, bytes, n, 1000 * MS);
    if (!input_next(in, 1000 * MS, &token))
        assert_true(input_next(in, 3000 * MS, &token));
    assert_int_equal(token.type, INPUT_KEY);
    assert_int_equal(token.key, key);
    assert_int_equal(token.modifiers, modifiers);
    assert_false(input_next(in, 9000 * MS, &more));
    input_free(in);
}
#define EXPECT_ONE(bytes, key, modifiers) expect_one(bytes, sizeof(bytes) - 1, key, modifiers)

static void input__next__names_keys(void **state)
{
    (void)state;
    EXPECT_ONE("a", INPUT_KEY_CHARACTER, 0);
    EXPECT_ONE("\xe6\xbc\xa2", INPUT_KEY_CHARACTER, 0);
    EXPECT_ONE("\r", INPUT_KEY_ENTER, 0);
    EXPECT_ONE("\n", INPUT_KEY_CONTROL, 0);
    EXPECT_ONE("\0", INPUT_KEY_CONTROL, 0);
    EXPECT_ONE("\x7f", INPUT_KEY_CONTROL, 0);
    EXPECT_ONE("\033", INPUT_KEY_ESC, 0);
    EXPECT_ONE("\033\r", INPUT_KEY_ENTER, INPUT_ALT);
    EXPECT_ONE("\033o", INPUT_KEY_CHARACTER, INPUT_ALT);
    EXPECT_ONE("\033O", INPUT_KEY_CHARACTER, INPUT_ALT);
    EXPECT_ONE("\033[", INPUT_KEY_CHARACTER, INPUT_ALT);
    EXPECT_ONE("\033\xc3\xa9", INPUT_KEY_CHARACTER, INPUT_ALT);
    EXPECT_ONE("\033[A", INPUT_KEY_UP, 0);
    EXPECT_ONE("\033OB", INPUT_KEY_DOWN, 0);
    EXPECT_ONE("\033[1;5F", INPUT_KEY_END, INPUT_CTRL);
    EXPECT_ONE("\033[8^", INPUT_KEY_OTHER, 0);
    EXPECT_ONE("\033[5~", INPUT_KEY_PAGE_UP, 0);
    EXPECT_ONE("\033[6;2~", INPUT_KEY_PAGE_DOWN, INPUT_SHIFT);
    EXPECT_ONE("\033OP", INPUT_KEY_F1, 0);
    EXPECT_ONE("\033[11~", INPUT_KEY_F1, 0);
    EXPECT_ONE("\033[[A", INPUT_KEY_F1, 0);
    EXPECT_ONE("\033[24~", INPUT_KEY_F12, 0);
    EXPECT_ONE("\033[Z", INPUT_KEY_BACKTAB, 0);
    EXPECT_ONE("\033\033[C", INPUT_KEY_RIGHT, INPUT_ALT);
    EXPECT_ONE("\033[13;2u", INPUT_KEY_ENTER, INPUT_SHIFT);
    EXPECT_ONE("\033[27;2;13~", INPUT_KEY_ENTER, INPUT_SHIFT);
    EXPECT_ONE("\033[27u", INPUT_KEY_ESC, 0);
}

static void input__next__makes_classic_bytes_of_csi_u(void **state)
{
    (void)state;
    struct input *in = new_input();
    struct buf out = {0};
    input_feed(in, "\033[97;5u\033[97;3u\033[97;2u\033[233u\033[97;1:3u", 36, 0);
    take_all(in, 0, &out);
    assert_string_equal(buf_text(&out), "key 2/4 01\nkey 1/2 1b61\nkey 1/1 41\nkey 1/0 c3a9\n");
    buf_fini(&out);
    input_free(in);
}

static void input__next__waits_for_the_rest_of_a_sequence(void **state)
{
    (void)state;
    struct input *in = new_input();
    struct input_token token;
    input_feed(in, "\033", 1, 100 * MS);
    assert_int_equal(input_deadline_ns(in), 150 * MS);
    assert_false(input_next(in, 149 * MS, &token));
    input_feed(in, "[D", 2, 149 * MS);
    assert_true(input_next(in, 149 * MS, &token));
    assert_int_equal(token.key, INPUT_KEY_LEFT);
    assert_int_equal(input_deadline_ns(in), 0);
    input_feed(in, "\033", 1, 200 * MS);
    assert_true(input_next(in, 250 * MS, &token));
    assert_int_equal(token.key, INPUT_KEY_ESC);
    input_free(in);
}

static void input__next__drops_what_is_no_text(void **state)
{
    (void)state;
    static const char *const dropped[] = {
        "\xff",         "\xc3(",          "\xed\xa0\x80", "\xc2\x9b",  "\xef\xb7\x90",
        "\xef\xbf\xbf", "\033[?2026;2$y", "\033[<0;1;1m", "\033[201~",
    };
    for (size_t i = 0; i < N(dropped); i++) {
        struct input *in = new_input();
        struct buf out = {0};
        input_feed(in, dropped[i], strlen(dropped[i]), 0);
        input_feed(in, "x", 1, 0);
        take_all(in, 5000 * MS, &out);
        assert_non_null(strstr(buf_text(&out), "key 1/0 78\n"));
        assert_true(out.len <= strlen("key 1/0 28\nkey 1/0 78\n"));
        buf_fini(&out);
        input_free(in);
    }
}

static void input__next__survives_an_endless_sequence(void **state)
{
    (void)state;
    struct input *in = new_input();
    struct buf out = {0};
    input_feed(in, "\033[", 2, 0);
    for (int i = 0; i < 1000; i++) {
        input_feed(in, "11;", 3, 0);
        take_all(in, 0, &out);
    }
    input_feed(in, "mq", 2, 0);
    take_all(in, 0, &out);
    assert_string_equal(buf_text(&out), "key 1/0 71\n");
    buf_fini(&out);
    input_free(in);
}

static void input__next__reads_the_mouse(void **state)
{
    (void)state;
    struct input *in = new_input();
    struct buf out = {0};
    static const char bytes[] = "\033[<64;10;5M\033[<65;1;1M\033[<0;3;4M\033[<35;3;4M\033[M`!!\033[I";
    input_feed(in, bytes, sizeof bytes - 1, 0);
    take_all(in, 0, &out);
    assert_string_equal(buf_text(&out),
                        "wheel -1 0 9,4\nwheel 1 1 0,0\nclick 0 0 2,3\nwheel -1 0 0,0\nfocus 1 0 0,0\n");
    buf_fini(&out);
    input_free(in);
}

static void input__paste__is_cleaned(void **state)
{
    (void)state;
    struct input *in = new_input();
    struct buf out = {0};
    static const char bytes[] = "\033[200~a\r\nb\rc\td\033[31m\x07\xff\xc2\x85z\033[201~q";
    input_feed(in, bytes, sizeof bytes - 1, 0);
    take_all(in, 0, &out);
    assert_string_equal(buf_text(&out), "paste [a\nb\nc\td[31mz]0\nkey 1/0 71\n");
    buf_fini(&out);
    input_free(in);
}

static void input__paste__without_end_is_ended_by_silence(void **state)
{
    (void)state;
    struct input *in = new_input();
    struct input_token token;
    input_feed(in, "\033[200~abc\033[20", 13, 100 * MS);
    assert_false(input_next(in, 100 * MS, &token));
    assert_int_equal(input_deadline_ns(in), 1100 * MS);
    assert_true(input_next(in, 1100 * MS, &token));
    assert_int_equal(token.type, INPUT_PASTE);
    assert_string_equal(token.paste, "abc");
    assert_int_equal(input_deadline_ns(in), 0);
    input_free(in);
}

static void input__paste__is_bounded(void **state)
{
    (void)state;
    struct input *in = input_new(&(struct input_options){.max_paste = 100000});
    struct input_token token;
    char block[4096];
    memset(block, 'p', sizeof block);
    input_feed(in, "\033[200~", 6, 0);
    for (int i = 0; i < 2560; i++) { /* 10 MB */
        input_feed(in, block, sizeof block, 0);
        assert_false(input_next(in, 0, &token));
    }
    input_feed(in, "\033[201~", 6, 0);
    assert_true(input_next(in, 0, &token));
    assert_int_equal(token.n_paste, 100000);
    assert_true(token.cut);
    input_free(in);
}

/* Two cuts of the same bytes give the same tokens; so do single bytes. */
static void input__feed__is_the_same_for_every_cut(void **state)
{
    (void)state;
    static const char bytes[] =
        "h\xc3\xa9\xff\xe6\xbc\xa2\033[1;5A\033OP\033\033[C\033x\033\xc3\xa9\r\n\033[<64;7;8M"
        "\033[200~a\r\nb\033[20x\xe6\033[201~\033[13;2u\033[27;2;13~\033[[B\033[M !!\033[?1;2c"
        "\033\033\x18\033[1\x01\xe6\xbcz\033\033[200~p\033[201~!";
    size_t n = sizeof bytes - 1;
    struct buf whole = {0};
    struct input *in = new_input();
    input_feed(in, bytes, n, 0);
    take_all(in, 0, &whole);
    input_free(in);
    assert_non_null(strstr(buf_text(&whole), "paste [a\nb[20x]0"));
    for (size_t cut = 0; cut <= n; cut++) {
        struct buf out = {0};
        in = new_input();
        for (size_t i = 0; i < n; i++) {
            input_feed(in, bytes + i, 1, 0);
            if (cut == n || i + 1 == cut || i + 1 == n)
                take_all(in, 0, &out);
        }
        assert_string_equal(buf_text(&out), buf_text(&whole));
        buf_fini(&out);
        input_free(in);
    }
    buf_fini(&whole);
}

static void input__next__takes_any_bytes(void **state)
{
    (void)state;
    uint32_t seed = 12345;
    struct input *in = new_input();
    struct input_token token;
    uint64_t now = 0;
    for (int i = 0; i < 100000; i++) {
        seed = seed * 1664525u + 1013904223u;
        static const char often[] = "\033[O<;0123~Mu\r";
        char byte = seed & 0x10000 ? often[(seed >> 20) % (sizeof often - 1)] : (char)(seed >> 24);
        now += (seed >> 8 & 63) * MS;
        input_feed(in, &byte, 1, now);
        while (input_next(in, now, &token))
            assert_true(token.type != INPUT_KEY ||
                        (token.n_bytes > 0 && token.n_bytes <= INPUT_MAX_SEQUENCE));
    }
    input_free(in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(input__next__names_keys),
        cmocka_unit_test(input__next__makes_classic_bytes_of_csi_u),
        cmocka_unit_test(input__next__waits_for_the_rest_of_a_sequence),
        cmocka_unit_test(input__next__drops_what_is_no_text),
        cmocka_unit_test(input__next__survives_an_endless_sequence),
        cmocka_unit_test(input__next__reads_the_mouse),
        cmocka_unit_test(input__paste__is_cleaned),
        cmocka_unit_test(input__paste__without_end_is_ended_by_silence),
        cmocka_unit_test(input__paste__is_bounded),
        cmocka_unit_test(input__feed__is_the_same_for_every_cut),
        cmocka_unit_test(input__next__takes_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
