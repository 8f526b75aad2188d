/* Tests of the guarded line editor, in process: the crash regressions, pastes, undo, cursor, and
 * random keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <readline/readline.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "tests/ui/editor_fixture.h"
#include "ui/terminal.h"

static void expect_alive(struct editor_fixture *f)
{
    editor_clear(f->editor);
    if (rl_get_keymap() == vi_movement_keymap)
        TYPE(f, "i");
    TYPE(f, "ok");
    size_t n;
    const char *text = editor_text(f->editor, &n, NULL);
    assert_string_equal(text, "ok");
}

static void editor__feed__survives_the_known_crashes(void **state)
{
    struct editor_fixture *f = *state;
    TYPE(f, "\x12\x18\x09");
    expect_alive(f);
    TYPE(f, "\x13\x18)");
    expect_alive(f);
    TYPE(f, "\x18(\033\033\x18)\x18"
            "e");
    expect_alive(f);
    TYPE(f, "\x18(\x18"
            "e\x18)\x18"
            "e");
    expect_alive(f);
}

static void editor__feed__survives_the_vi_hang(void **state)
{
    struct editor_fixture *f = *state;
    rl_variable_bind("editing-mode", "vi");
    TYPE(f, "\xc3\xa9\xa4\0330E");
    expect_alive(f);
    editor_clear(f->editor);
    TYPE(f, "\033Se\xcc\x81\033y\x17t.");
    expect_alive(f);
}

static void editor__enter__sends_the_text(void **state)
{
    struct editor_fixture *f = *state;
    TYPE(f, "caf\xc3\xa9 \xe6\xbc\xa2\r\r  \rtwo\nlines\r");
    assert_string_equal(buf_text(&f->sent), "caf\xc3\xa9 \xe6\xbc\xa2|two\nlines|");
    assert_true(editor_is_empty(f->editor));
}

static void editor__alt_enter__is_a_new_line(void **state)
{
    struct editor_fixture *f = *state;
    TYPE(f, "a\033\rb\033[13;2uc\033[27;2;13~d\033\ne");
    editor_fixture_expect(f, "a\nb\nc\nd\ne", 9);
    assert_int_equal(rl_editing_mode, 1);
}

static void editor__feed__edits_like_readline(void **state)
{
    struct editor_fixture *f = *state;
    TYPE(f, "one two three\x17");
    editor_fixture_expect(f, "one two ", 8);
    TYPE(f, "\x19");
    editor_fixture_expect(f, "one two three", 13);
    TYPE(f, "\x1f\x1f");
    editor_fixture_expect(f, "one two three", 13);
    TYPE(f, "\x1f");
    editor_set_text(f->editor, "abc", 3, 3);
    TYPE(f, "\0333x\x01\x0b");
    editor_fixture_expect(f, "", 0);
    TYPE(f, "\x19\x02\033[3~");
    editor_fixture_expect(f, "abcxx", 5);
    TYPE(f, "\033[1~>\033[4~<");
    editor_fixture_expect(f, ">abcxx<", 7);
    TYPE(f, "\x16\033");
    editor_fixture_expect(f, ">abcxx<\033", 8);
}

static void editor__kill_line__stops_at_the_line(void **state)
{
    struct editor_fixture *f = *state;
    TYPE(f, "one\ntwo three\nfour\033[A\033[H\033f\x0b"); /* from behind "two" */
    editor_fixture_expect(f, "one\ntwo\nfour", 7);
    TYPE(f, "\x0b"); /* at the end it takes the line break */
    editor_fixture_expect(f, "one\ntwofour", 7);
    TYPE(f, "\x19"); /* both come back as one */
    editor_fixture_expect(f, "one\ntwo three\nfour", 14);
    TYPE(f, "\x05\x0b\x0b");
    editor_fixture_expect(f, "one\ntwo three\nfour", 18);
    TYPE(f, "\x1f");
    editor_fixture_expect(f, "one\ntwofour", 7);
}

static void editor__discard_line__stops_at_the_line(void **state)
{
    struct editor_fixture *f = *state;
    TYPE(f, "one\ntwo three\x02\x02\x15");
    editor_fixture_expect(f, "one\nee", 4);
    TYPE(f, "\x15");
    editor_fixture_expect(f, "oneee", 3);
    TYPE(f, "\x15\x15");
    editor_fixture_expect(f, "ee", 0);
    TYPE(f, "\x19");
    editor_fixture_expect(f, "one\ntwo three", 11);
}

static void editor__kill_line__in_vi_mode(void **state)
{
    struct editor_fixture *f = *state;
    rl_variable_bind("editing-mode", "vi");
    TYPE(f, "one\ntwo\x15x\033");
    editor_fixture_expect(f, "one\nx", 4);
    TYPE(f, "\x0b");
    editor_fixture_expect(f, "one\n", 3); /* a vi command leaves the cursor on a character */
    TYPE(f, "i");
}

static void editor__feed__composes_marks(void **state)
{
    struct editor_fixture *f = *state;
    TYPE(f, "\xcc\x81"
            "e\xcc\x81");
    editor_fixture_expect(f, "\xc3\xa9", 2);
    assert_int_equal(f->n_events[EDITOR_FLASH], 1);
}

/* xterm's form, rxvt's (whose ESC ESC completes when it comes alone), and that of a Meta key. */
static void expect_alt_up(struct editor_fixture *f)
{
    static const char *const forms[] = {"\033[1;3A", "\033\033[A", "\033[1;9A"};
    for (size_t i = 0; i < N(forms); i++) {
        int n = f->n_events[EDITOR_UNBOUND];
        editor_fixture_type(f, forms[i], strlen(forms[i]));
        assert_int_equal(f->n_events[EDITOR_UNBOUND], n + 1);
        assert_int_equal(f->last.token.key, INPUT_KEY_UP);
        assert_int_equal(f->last.token.modifiers, INPUT_ALT);
        editor_fixture_expect(f, "", 0);
    }
}

static void editor__feed__reports_what_is_not_its_own(void **state)
{
    struct editor_fixture *f = *state;
    TYPE(f, "\033[5~");
    assert_int_equal(f->last.type, EDITOR_UNBOUND);
    assert_int_equal(f->last.token.key, INPUT_KEY_PAGE_UP);
    TYPE(f, "\033o");
    assert_int_equal(f->last.token.modifiers, INPUT_ALT);
    TYPE(f, "\033OP");
    assert_int_equal(f->last.token.key, INPUT_KEY_F1);
    TYPE(f, "\033[1;5F");
    assert_int_equal(f->last.token.key, INPUT_KEY_END);
    assert_int_equal(f->n_events[EDITOR_UNBOUND], 4);
    expect_alt_up(f);
    TYPE(f, "\033");
    assert_int_equal(f->last.type, EDITOR_ESC);
    TYPE(f, "\x03");
    assert_int_equal(f->last.type, EDITOR_INTERRUPT);
    TYPE(f, "\x0c");
    assert_int_equal(f->last.type, EDITOR_REDRAW);
    TYPE(f, "\x1a");
    assert_int_equal(f->last.type, EDITOR_SUSPEND);
    TYPE(f, "\x04");
    assert_int_equal(f->last.type, EDITOR_EOF);
    TYPE(f, "ab\x01\x04");
    assert_int_equal(f->n_events[EDITOR_EOF], 1);
    editor_fixture_expect(f, "b", 0);
}

static void editor__paste__of_108_kb_is_one_message(void **state)
{
    struct editor_fixture *f = *state;
    size_t n;
    char *text = editor_fixture_long_text(4300, &n);
    assert_true(n > 108000);
    TYPE(f, "<>\x02");
    editor_fixture_paste(f, text, n);
    struct editor_view view;
    editor_layout(f->editor, 80, &view);
    assert_int_equal(view.n_rows, 1);
    assert_memory_equal(view.rows[0].text, "<[paste: 4300 lines]>", 21);
    assert_int_equal(view.cursor_column, 20);
    TYPE(f, "\x7f\x1f");
    TYPE(f, "\r");
    assert_int_equal(f->n_events[EDITOR_SEND], 1);
    assert_int_equal(f->sent.len, n + 3);
    assert_int_equal(f->sent.data[0], '<');
    assert_memory_equal(f->sent.data + 1, text, n);
    assert_string_equal(f->sent.data + 1 + n, ">|");
    mem_free(text);
}

static void editor__paste__is_undone_at_once(void **state)
{
    struct editor_fixture *f = *state;
    TYPE(f, "a");
    editor_fixture_paste(f, "b\r\nc\td\033[1m", 11);
    editor_fixture_expect(f, "ab\nc\td[1m", 9);
    TYPE(f, "\x1f");
    editor_fixture_expect(f, "a", 1);
}

static void editor__paste__chips_are_kept_apart(void **state)
{
    struct editor_fixture *f = *state;
    size_t n1, n2;
    char *one = editor_fixture_long_text(25, &n1), *two = editor_fixture_long_text(30, &n2);
    editor_fixture_paste(f, one, n1);
    TYPE(f, " and ");
    editor_fixture_paste(f, two, n2);
    size_t n, cursor;
    editor_text(f->editor, &n, &cursor);
    assert_int_equal(n, n1 + 5 + n2);
    assert_int_equal(cursor, n);
    TYPE(f, "\x02\x7f\x7f\x7f\x7f\x7f\x7f");
    const char *text = editor_text(f->editor, &n, &cursor);
    assert_string_equal(text, two);
    assert_int_equal(cursor, 0);
    mem_free(one);
    mem_free(two);
}

static void editor__layout__knows_columns(void **state)
{
    struct editor_fixture *f = *state;
    struct editor_view view;
    TYPE(f, "a\xe6\xbc\xa2\xc3\xa9");
    editor_layout(f->editor, 10, &view);
    assert_int_equal(view.cursor_column, 4);
    TYPE(f, "\x02\x02");
    editor_layout(f->editor, 10, &view);
    assert_int_equal(view.cursor_column, 1);
    editor_set_text(f->editor, "abcd\xe6\xbc\xa2xy\n", 10, 4);
    editor_layout(f->editor, 5, &view); /* a wide character does not fit into the last column */
    assert_int_equal(view.n_rows, 3);
    assert_int_equal(view.rows[0].columns, 4);
    assert_int_equal(view.rows[1].columns, 4);
    assert_int_equal(view.rows[2].columns, 0);
    assert_int_equal(view.cursor_row, 1);
    assert_int_equal(view.cursor_column, 0);
    editor_set_text(f->editor, "abcde", 5, 5);
    editor_layout(f->editor, 5, &view); /* the cursor behind a full row stands on the next */
    assert_int_equal(view.cursor_row, 1);
    assert_int_equal(view.cursor_column, 0);
    editor_set_text(f->editor, "\tx\xe2\x80\xae\xe2\x80\x8d", 8, 0);
    editor_layout(f->editor, 20, &view);
    assert_int_equal(view.rows[0].columns, 10);
    assert_memory_equal(view.rows[0].text, "        x\xef\xbf\xbd", 12);
}

static void editor__up__moves_by_rows_then_history(void **state)
{
    struct editor_fixture *f = *state;
    struct editor_view view;
    TYPE(f, "old\r");
    TYPE(f, "first line\n2\nthird");
    editor_layout(f->editor, 40, &view);
    TYPE(f, "\033[A");
    editor_fixture_expect(f, "first line\n2\nthird", 12);
    TYPE(f, "\033[A");
    editor_fixture_expect(f, "first line\n2\nthird", 5); /* the column is remembered */
    TYPE(f, "\033[A");
    editor_fixture_expect(f, "old", 3);
    TYPE(f, "\033[B");
    size_t n;
    assert_string_equal(editor_text(f->editor, &n, NULL), "first line\n2\nthird");
    TYPE(f, "\033[A\033[H");
    editor_fixture_expect(f, "first line\n2\nthird", 11);
    TYPE(f, "\033[F");
    editor_fixture_expect(f, "first line\n2\nthird", 12);
}

static void editor__tab__completes_commands(void **state)
{
    struct editor_fixture *f = *state;
    struct editor_view view;
    TYPE(f, "/re\t");
    editor_fixture_expect(f, "/regen ", 7);
    editor_clear(f->editor);
    TYPE(f, "/q\t");
    editor_fixture_expect(f, "/qui", 4);
    editor_layout(f->editor, 40, &view);
    assert_int_equal(view.n_candidates, 2);
    assert_string_equal(view.candidates[1], "/quit");
    editor_clear(f->editor);
    TYPE(f, "etc\t");
    editor_fixture_expect(f, "etc", 3);
}

static void editor__search__finds_older_entries(void **state)
{
    struct editor_fixture *f = *state;
    struct editor_view view;
    TYPE(f, "red apple\rgreen pear\rred plum\rdraft\x12"
            "red");
    editor_layout(f->editor, 40, &view);
    assert_true(view.searching);
    assert_string_equal(view.prompt, "search: red");
    assert_memory_equal(view.rows[0].text, "red plum", 8);
    TYPE(f, "\x12");
    editor_layout(f->editor, 40, &view);
    assert_memory_equal(view.rows[0].text, "red apple", 9);
    TYPE(f, "\x12");
    editor_layout(f->editor, 40, &view);
    assert_false(view.found);
    TYPE(f, "\x03");
    editor_fixture_expect(f, "draft", 5);
    TYPE(f, "\x12pear\r");
    editor_fixture_expect(f, "green pear", 6);
    TYPE(f, "\x1f");
    assert_string_equal(editor_text(f->editor, NULL, NULL), "draft");
}

static void editor__prompt__shows_the_argument(void **state)
{
    struct editor_fixture *f = *state;
    struct editor_view view;
    TYPE(f, "\0334");
    editor_layout(f->editor, 40, &view);
    assert_string_equal(view.prompt, "(arg: 4) ");
    TYPE(f, "z");
    editor_fixture_expect(f, "zzzz", 4);
    editor_layout(f->editor, 40, &view);
    assert_string_equal(view.prompt, "");
}

static void editor__vi__works(void **state)
{
    struct editor_fixture *f = *state;
    rl_variable_bind("editing-mode", "vi");
    expect_alt_up(f);
    TYPE(f, "one two\033bcwbig\033x");
    editor_fixture_expect(f, "one bi", 5);
    TYPE(f, "0r\xe6\x97\xa5");
    editor_fixture_expect(f, "\xe6\x97\xa5ne bi", 0);
    TYPE(f, "fb");
    editor_fixture_expect(f, "\xe6\x97\xa5ne bi", 6);
    TYPE(f, "d\033");
    TYPE(f, "A!\r");
    assert_string_equal(buf_text(&f->sent), "\xe6\x97\xa5ne bi!|");
}

static void editor__inputrc__wins(void **state)
{
    struct editor_fixture *f = *state;
    char line[] = "\"\\C-x\\C-h\": \"hi \\C-x\\C-w\"", more[] = "\"\\C-x\\C-w\": \"you\"";
    char self[] = "\"\\C-xr\": \"a\\C-xr\\C-xr\"";
    rl_parse_and_bind(line);
    rl_parse_and_bind(more);
    rl_parse_and_bind(self);
    TYPE(f, "\x18\x08");
    editor_fixture_expect(f, "hi you", 6);
    TYPE(f, "\x18r"); /* a macro that calls itself ends */
    expect_alive(f);
    char page[] = "\"\\e[5~\": beginning-of-line";
    rl_parse_and_bind(page);
    TYPE(f, "\033[5~");
    editor_fixture_expect(f, "ok", 0);
}

static void editor__set_text__counts_revisions(void **state)
{
    struct editor_fixture *f = *state;
    editor_set_text(f->editor, "dr\r\naft\xff\033", 9, 99);
    editor_fixture_expect(f, "dr\naft", 6);
    uint64_t before = editor_revision(f->editor);
    TYPE(f, "\x02");
    assert_int_equal(editor_revision(f->editor), before);
    TYPE(f, "x");
    assert_true(editor_revision(f->editor) > before);
    size_t n;
    char *text = editor_fixture_long_text(9000, &n);
    editor_set_text(f->editor, text, n, 0);
    assert_string_equal(editor_text(f->editor, NULL, NULL), text);
    mem_free(text);
}

static void random_keys(struct editor_fixture *f, const char *mode, uint32_t seed, int n)
{
    static const char *const keys[] = {
        "\033",
        "\033[A",
        "\033[B",
        "\033[C",
        "\033[D",
        "\033[3~",
        "\033[5~",
        "\r",
        "\n",
        "\t",
        "\x7f",
        "\x18",
        "(",
        ")",
        "e",
        "\x12",
        "\x13",
        "\x16",
        "\x1d",
        "\xc3\xa9",
        "\xe6\xbc\xa2",
        "\xcc\x81",
        "\xff",
        "\033\r",
        "t",
        "f",
        "c",
        "d",
        "y",
        ".",
        "u",
        "r",
        "0",
        "E",
        "9",
        "-",
        "/",
        "?",
        "n",
        "m",
        "`",
        "\"",
        "%",
        "\x03",
        "\x1f",
        "\x19",
        "\033y",
        "\x17",
        "\x15",
        "\033[200~a\nb\033[201~",
        "\x1b\x1b",
        "\x07",
        "i",
        "A",
        "S",
        "w",
        "@",
    };
    rl_variable_bind("editing-mode", mode);
    for (int i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        char byte = (char)(seed >> 24);
        const char *key = keys[(seed >> 8) % N(keys)];
        struct input_token token;
        if (seed & 0x800000)
            input_feed(f->input, &byte, 1, f->now);
        else
            input_feed(f->input, key, strlen(key), f->now);
        f->now += (seed & 3) * 30000000u;
        while (input_next(f->input, f->now, &token)) {
            editor_feed(f->editor, &token);
            editor_fixture_take_events(f);
        }
        assert_true(utf8_is_valid(rl_line_buffer, (size_t)rl_end));
        assert_in_range(rl_point, 0, rl_end);
        if (i % 16 == 0) {
            struct editor_view view;
            editor_layout(f->editor, 2 + (int)(seed % 60), &view);
            assert_in_range(view.cursor_row, 0, view.n_rows - 1);
        }
        if (i % 256 == 255)
            editor_set_text(f->editor, "new start", 9, 4);
    }
    buf_truncate(&f->sent, 0);
    TYPE(f, "\033\033\033");
    rl_variable_bind("editing-mode", "emacs");
}

static void editor__feed__survives_random_keys(void **state)
{
    struct editor_fixture *f = *state;
    for (uint32_t seed = 1; seed <= 3; seed++) {
        random_keys(f, "emacs", seed, 5000);
        random_keys(f, "vi", seed, 5000);
    }
    expect_alive(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, editor_fixture_set_up, editor_fixture_tear_down)

int main(void)
{
    setenv("INPUTRC", "/dev/null", 1);
    assert_true(terminal_set_locale());
    const struct CMUnitTest tests[] = {
        TEST(editor__feed__survives_the_known_crashes),
        TEST(editor__feed__survives_the_vi_hang),
        TEST(editor__enter__sends_the_text),
        TEST(editor__alt_enter__is_a_new_line),
        TEST(editor__feed__edits_like_readline),
        TEST(editor__kill_line__stops_at_the_line),
        TEST(editor__discard_line__stops_at_the_line),
        TEST(editor__kill_line__in_vi_mode),
        TEST(editor__feed__composes_marks),
        TEST(editor__feed__reports_what_is_not_its_own),
        TEST(editor__paste__of_108_kb_is_one_message),
        TEST(editor__paste__is_undone_at_once),
        TEST(editor__paste__chips_are_kept_apart),
        TEST(editor__layout__knows_columns),
        TEST(editor__up__moves_by_rows_then_history),
        TEST(editor__tab__completes_commands),
        TEST(editor__search__finds_older_entries),
        TEST(editor__prompt__shows_the_argument),
        TEST(editor__vi__works),
        TEST(editor__set_text__counts_revisions),
        TEST(editor__feed__survives_random_keys),
        TEST(editor__inputrc__wins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
