/* The sanitiser: each rule by example, and the promise of sanitize.h for any bytes. */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include <cmocka.h>
#include <utf8proc.h>

#include "engine/base/utf8.h"
#include "engine/base/mem.h"
#include "ui/sanitize.h"

static void check(const char *in, size_t n, const char *want)
{
    struct buf out = {0};
    sanitize_append(&out, in, n);
    assert_string_equal(buf_text(&out), want);
    buf_fini(&out);
}
#define CHECK(in, want) check(in, sizeof(in) - 1, want)

static void sanitize__append__plain_text_stays(void **state)
{
    (void)state;
    CHECK("", "");
    CHECK("Hello, wörld. 漢字 ёлка\n", "Hello, wörld. 漢字 ёлка\n");
}

static void sanitize__append__escapes_become_pictures(void **state)
{
    (void)state;
    CHECK("\033[31mred\033[0m", "␛[31mred␛[0m");
    CHECK("a\007\010b\177", "a␇␈b␡");
    CHECK("\033]52;c;AAAA\007", "␛]52;c;AAAA␇");
    CHECK("a\0b", "a␀b");
}

static void sanitize__append__c1_is_replaced(void **state)
{
    (void)state;
    CHECK("x\302\233"
          "31m",
          "x\xEF\xBF\xBD"
          "31m");
}

static void sanitize__append__line_ends(void **state)
{
    (void)state;
    CHECK("a\r\nb\rc\n\rd\v\f", "a\nb\nc\n\nd\n\n");
    CHECK("a\u2028b\u2029c", "a\nb\nc");
}

static void sanitize__append__tabs_go_to_the_next_stop(void **state)
{
    (void)state;
    CHECK("a\tb", "a       b");
    CHECK("漢\tb", "漢      b");
    CHECK("12345678\tb\n\tc", "12345678        b\n        c");
}

static void sanitize__append__ill_formed_bytes(void **state)
{
    (void)state;
    CHECK("a\xFFz", "a\uFFFDz");
    CHECK("\xE2\x82", "\uFFFD");
    CHECK("\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD");
    CHECK("\xC0\xAF", "\uFFFD\uFFFD");
}

static void sanitize__append__bidi_controls_are_seen(void **state)
{
    (void)state;
    CHECK("a\u202Eb\u2066c\u200Fd\u061C", "a␦b␦c␦d␦");
}

static void sanitize__append__emoji_parts(void **state)
{
    (void)state;
    CHECK("👩\u200D💻", "👩💻");
    CHECK("👍🏽!", "👍!");
    CHECK("❤\uFE0F 1\uFE0F\u20E3", "❤ 1");
    CHECK("a\U000E0041\U000E007Fb\u00ADc\u200B", "abc");
}

static void sanitize__append__no_width_is_replaced(void **state)
{
    (void)state;
    CHECK("\U0001FFFE \U000EFFFF", "\uFFFD \uFFFD");
}

static void sanitize__append__composes(void **state)
{
    (void)state;
    CHECK("e\u0301", "é");
    CHECK("\u1112\u1161\u11AB", "한");
    CHECK("\u212B", "Å");
}

static void sanitize__append__caps_marks(void **state)
{
    (void)state;
    CHECK("x\u0321\u0322\u0327\u0328\u0331\u0332y", "x\u0321\u0322\u0327\u0328y");
    CHECK("\u0301a", "◌\u0301a");
    CHECK("a\n\u0301", "a\n◌\u0301");
}

static uint64_t random_state = 88172645463325252u;
static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* The promise of sanitize.h. */
static void assert_clean(const struct buf *out)
{
    int marks = 0;
    for (size_t i = 0; i < out->len;) {
        uint32_t c;
        bool valid;
        i += utf8_decode(out->data + i, out->len - i, &c, &valid);
        assert_true(valid);
        if (c == '\n') {
            marks = 5;
            continue;
        }
        assert_true(c >= 0x20 && c != 0x7F && !(c >= 0x80 && c < 0xA0));
        assert_false((c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069));
        int width = wcwidth((wchar_t)c);
        assert_in_range(width, 0, 2);
        marks = width > 0 ? 0 : marks + 1;
        assert_in_range(marks, 0, 4);
    }
    utf8proc_uint8_t *nfc = NULL;
    utf8proc_map((const utf8proc_uint8_t *)buf_text(out), (utf8proc_ssize_t)out->len, &nfc,
                 UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    assert_non_null(nfc);
    assert_string_equal((const char *)nfc, buf_text(out));
    free(nfc);
}

/* Half bytes at random, half characters from the blocks that are hard. */
static size_t hard_text(char *out, size_t max)
{
    static const uint32_t blocks[] = {0x00,   0x300,  0x0600, 0x0900, 0x0E00,  0x1100,  0x11A0, 0x2000,
                                      0x2060, 0x3000, 0xAC00, 0xFE00, 0x1F1E0, 0x1F3F0, 0xE0000};
    size_t n = 0, want = random_next() % max;
    while (n + UTF8_MAX_BYTES < want) {
        uint64_t r = random_next();
        if (r % 4 == 0)
            out[n++] = (char)(r >> 8);
        else
            n += utf8_encode(blocks[(r >> 8) % (sizeof blocks / sizeof *blocks)] + (uint32_t)(r >> 20) % 96,
                             out + n);
    }
    return n;
}

static void sanitize__append__any_bytes_come_out_clean(void **state)
{
    (void)state;
    char text[300];
    for (int round = 0; round < 4000; round++) {
        struct buf once = {0}, twice = {0};
        size_t n = hard_text(text, sizeof text);
        sanitize_append(&once, text, n);
        assert_clean(&once);
        sanitize_append(&twice, buf_text(&once), once.len);
        assert_string_equal(buf_text(&once), buf_text(&twice));
        buf_fini(&once);
        buf_fini(&twice);
    }
}

static void sanitizer__push__pieces_equal_the_whole(void **state)
{
    (void)state;
    char text[300];
    for (int round = 0; round < 4000; round++) {
        struct buf whole = {0}, pieces = {0};
        struct sanitizer s = {0};
        size_t n = hard_text(text, sizeof text);
        sanitize_append(&whole, text, n);
        for (size_t i = 0; i < n;) {
            size_t k = 1 + random_next() % 7;
            if (k > n - i)
                k = n - i;
            sanitizer_push(&s, &pieces, text + i, k);
            i += k;
        }
        sanitizer_flush(&s, &pieces);
        assert_string_equal(buf_text(&whole), buf_text(&pieces));
        buf_fini(&whole);
        buf_fini(&pieces);
    }
}

static void sanitize__line__is_one_line(void **state)
{
    (void)state;
    char *line = sanitize_line("a\r\nb\033c");
    assert_string_equal(line, "a b␛c");
    mem_free(line);
    line = sanitize_line(NULL);
    assert_string_equal(line, "");
    mem_free(line);
}

static void text__width__counts_columns(void **state)
{
    (void)state;
    assert_int_equal(text_width("abc", 3), 3);
    assert_int_equal(text_width("漢字", 6), 4);
    assert_int_equal(text_width("😀", 4), 2);
    assert_int_equal(text_width("x\u0321", 3), 1);
    assert_int_equal(text_width("", 0), 0);
}

static void text__fit__keeps_whole_cells(void **state)
{
    (void)state;
    assert_int_equal(text_fit("漢字", 6, 3), 3);
    assert_int_equal(text_fit("x\u0321y", 4, 1), 3);
    assert_int_equal(text_fit("abc", 3, 9), 3);
}

int main(void)
{
    if (!setlocale(LC_CTYPE, "C.UTF-8"))
        return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sanitize__append__plain_text_stays),
        cmocka_unit_test(sanitize__append__escapes_become_pictures),
        cmocka_unit_test(sanitize__append__c1_is_replaced),
        cmocka_unit_test(sanitize__append__line_ends),
        cmocka_unit_test(sanitize__append__tabs_go_to_the_next_stop),
        cmocka_unit_test(sanitize__append__ill_formed_bytes),
        cmocka_unit_test(sanitize__append__bidi_controls_are_seen),
        cmocka_unit_test(sanitize__append__emoji_parts),
        cmocka_unit_test(sanitize__append__no_width_is_replaced),
        cmocka_unit_test(sanitize__append__composes),
        cmocka_unit_test(sanitize__append__caps_marks),
        cmocka_unit_test(sanitize__append__any_bytes_come_out_clean),
        cmocka_unit_test(sanitizer__push__pieces_equal_the_whole),
        cmocka_unit_test(sanitize__line__is_one_line),
        cmocka_unit_test(text__width__counts_columns),
        cmocka_unit_test(text__fit__keeps_whole_cells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
