/* test_err.c: the sentence, its cut, its prefix. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/err.h"

static void err_set__fills_code_and_text_and_returns_false(void **state)
{
    (void)state;
    struct err err = {0};
    assert_false(err_set(&err, ERR_MODEL, "%s: %d", "file", 3));
    assert_int_equal(err.code, ERR_MODEL);
    assert_string_equal(err.text, "file: 3");
    assert_false(err_set(NULL, ERR_MODEL, "nobody asks"));
    err_clear(&err);
    assert_true(err.code == ERR_NONE && err.text[0] == '\0');
}

static void err_set__cuts_long_texts(void **state)
{
    (void)state;
    struct err err;
    char text[1000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    err_set(&err, ERR_USAGE, "%s", text);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    err_prefix(&err, "%s", text);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
}

static void err_prefix__keeps_the_code(void **state)
{
    (void)state;
    struct err err;
    err_set(&err, ERR_DATABASE, "disk full");
    assert_false(err_prefix(&err, "chat %d", 7));
    assert_int_equal(err.code, ERR_DATABASE);
    assert_string_equal(err.text, "chat 7: disk full");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(err_set__fills_code_and_text_and_returns_false),
        cmocka_unit_test(err_set__cuts_long_texts),
        cmocka_unit_test(err_prefix__keeps_the_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
