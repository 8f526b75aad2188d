/* test_buf.c: growth, terminating zero, hand-over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"

static void buf_append__keeps_bytes_and_a_zero_behind_them(void **state)
{
    (void)state;
    struct buf buf = {0};
    for (int i = 0; i < 1000; i++)
        buf_putc(&buf, (char)('a' + i % 26));
    assert_int_equal(buf.len, 1000);
    assert_int_equal(buf.data[999], 'a' + 999 % 26);
    assert_int_equal(buf.data[1000], '\0');
    buf_append(&buf, "x\0y", 3);
    assert_memory_equal(buf.data + 1000, "x\0y", 4);
    buf_fini(&buf);
    assert_null(buf.data);
}

static void buf_printf__appends_text_longer_than_the_room(void **state)
{
    (void)state;
    struct buf buf = {0};
    buf_puts(&buf, ">");
    buf_printf(&buf, "%0200d|%s", 7, "end");
    assert_int_equal(buf.len, 1 + 200 + 4);
    assert_string_equal(buf.data + 200, "7|end");
    buf_printf(&buf, "%s", "");
    assert_int_equal(buf.len, 205);
    buf_fini(&buf);
}

static void buf_text__is_empty_before_the_first_append(void **state)
{
    (void)state;
    struct buf buf = {0};
    assert_string_equal(buf_text(&buf), "");
    char *taken = buf_take(&buf);
    assert_string_equal(taken, "");
    mem_free(taken);
}

static void buf_truncate__only_shortens(void **state)
{
    (void)state;
    struct buf buf = {0};
    buf_puts(&buf, "hello");
    buf_truncate(&buf, 9);
    assert_string_equal(buf_text(&buf), "hello");
    buf_truncate(&buf, 2);
    assert_string_equal(buf_text(&buf), "he");
    char *taken = buf_take(&buf);
    assert_string_equal(taken, "he");
    assert_int_equal(buf.len, 0);
    mem_free(taken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buf_append__keeps_bytes_and_a_zero_behind_them),
        cmocka_unit_test(buf_printf__appends_text_longer_than_the_room),
        cmocka_unit_test(buf_text__is_empty_before_the_first_append),
        cmocka_unit_test(buf_truncate__only_shortens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
