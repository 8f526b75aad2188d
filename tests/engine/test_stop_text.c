/* Stop strings in streamed text: however the text is cut into pieces, the same is shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/stop_text.h"

/* What is shown of text, fed in pieces of the given size; *found tells of a stop. */
static void feed(const char *text, size_t piece, const char *const *stops, size_t n_stops, struct buf *shown,
                 bool *found)
{
    struct stop_text s;
    const char *out;
    size_t n_out, n = strlen(text);
    assert_true(stop_text_init(&s, stops, n_stops, NULL));
    *found = false;
    for (size_t at = 0; at < n && !*found; at += piece) {
        *found = stop_text_push(&s, text + at, n - at < piece ? n - at : piece, &out, &n_out);
        buf_append(shown, out, n_out);
    }
    if (!*found) {
        stop_text_flush(&s, &out, &n_out);
        buf_append(shown, out, n_out);
    }
    stop_text_fini(&s);
}

static void check(const char *text, const char *const *stops, size_t n_stops, const char *expected,
                  bool expect_found)
{
    for (size_t piece = 1; piece <= strlen(text); piece++) {
        struct buf shown = {0};
        bool found;
        feed(text, piece, stops, n_stops, &shown, &found);
        assert_string_equal(buf_text(&shown), expected);
        assert_int_equal(found, expect_found);
        buf_fini(&shown);
    }
}

static void stop_text__push__any_cut_shows_the_same(void **state)
{
    (void)state;
    static const char *const user[] = {"User:"}, *const lines[] = {"\n\n", "END"}, *const self[] = {"aab"};
    static const char *const empty[] = {""}, *const none[] = {"nothing"};
    check("Hello. User: hi", user, 1, "Hello. ", true);
    check("Use Us User", user, 1, "Use Us User", false);
    check("one\ntwo\n\nthree END", lines, 2, "one\ntwo", true);
    check("one END\n\n", lines, 2, "one ", true);
    check("aaaab", self, 1, "aa", true);
    check("abc", empty, 1, "abc", false);
    check("abc", none, 0, "abc", false);
    check("User:", user, 1, "", true);
}

/* A shorter stop inside the beginning of a longer one wins as soon as it is there. */
static void stop_text__push__overlapping_stops(void **state)
{
    (void)state;
    static const char *const stops[] = {"abcdef", "cd"};
    struct stop_text s;
    const char *out;
    size_t n_out;
    assert_true(stop_text_init(&s, stops, 2, NULL));
    assert_false(stop_text_push(&s, "xabc", 4, &out, &n_out));
    assert_int_equal(n_out, 1);
    assert_true(stop_text_push(&s, "d", 1, &out, &n_out));
    assert_int_equal(n_out, 2);
    assert_memory_equal(out, "ab", 2);
    stop_text_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stop_text__push__any_cut_shows_the_same),
        cmocka_unit_test(stop_text__push__overlapping_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
