/* test_utf8.c: every code point both ways, ill-formed input by maximal subparts, unfinished tails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/utf8.h"

static void utf8__every_code_point_survives_the_round_trip(void **state)
{
    (void)state;
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        char bytes[UTF8_MAX_BYTES];
        uint32_t back = 0;
        bool valid = false;
        size_t n = utf8_encode(c, bytes);
        if (utf8_decode(bytes, n, &back, &valid) != n || !valid)
            fail_msg("U+%04X does not come back", c);
        if (back != (c >= 0xD800 && c <= 0xDFFF ? UTF8_REPLACEMENT : c))
            fail_msg("U+%04X comes back as U+%04X", c, back);
    }
}

static void utf8_decode__refuses_ill_formed_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t used;
    } cases[] = {
        {"\x80", 1},             /* a continuation byte alone */
        {"\xc0\x80", 1},         /* overlong */
        {"\xe0\x80\x80", 1},     /* overlong */
        {"\xed\xa0\x80", 1},     /* surrogate */
        {"\xf4\x90\x80\x80", 1}, /* above U+10FFFF */
        {"\xf5\x80\x80\x80", 1},
        {"\xff", 1},
        {"\xe2\x96", 2}, /* cut: one maximal subpart */
        {"\xf0\x9f\x98z", 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t c = 0;
        bool valid = true;
        size_t used = utf8_decode(cases[i].bytes, strlen(cases[i].bytes), &c, &valid);
        assert_int_equal(used, cases[i].used);
        assert_int_equal(c, UTF8_REPLACEMENT);
        assert_false(valid);
        assert_false(utf8_is_valid(cases[i].bytes, strlen(cases[i].bytes)));
    }
    assert_true(utf8_is_valid("na\xc3\xafve \xf0\x9f\x98\x80", 11));
}

static void utf8_incomplete_tail__counts_what_more_bytes_could_complete(void **state)
{
    (void)state;
    assert_int_equal(utf8_incomplete_tail("", 0), 0);
    assert_int_equal(utf8_incomplete_tail("abc", 3), 0);
    assert_int_equal(utf8_incomplete_tail("a\xf0", 2), 1);
    assert_int_equal(utf8_incomplete_tail("a\xf0\x9f", 3), 2);
    assert_int_equal(utf8_incomplete_tail("a\xf0\x9f\x98", 4), 3);
    assert_int_equal(utf8_incomplete_tail("a\xf0\x9f\x98\x80", 5), 0);
    assert_int_equal(utf8_incomplete_tail("a\xed\xa0", 3), 0); /* nothing can complete a surrogate */
    assert_int_equal(utf8_incomplete_tail("\x80\x80\x80\x80", 4), 0);
}

static void utf8_append_clean__replaces_each_ill_formed_part(void **state)
{
    (void)state;
    struct buf out = {0};
    assert_int_equal(utf8_append_clean(&out, "a\xff\xe2\x96z", 5), 2);
    assert_string_equal(buf_text(&out), "a\xef\xbf\xbd\xef\xbf\xbdz");
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8__every_code_point_survives_the_round_trip),
        cmocka_unit_test(utf8_decode__refuses_ill_formed_bytes),
        cmocka_unit_test(utf8_incomplete_tail__counts_what_more_bytes_could_complete),
        cmocka_unit_test(utf8_append_clean__replaces_each_ill_formed_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
