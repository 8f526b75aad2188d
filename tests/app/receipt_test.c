/* receipt_test.c: what people read about a turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "app/receipt.h"

static void expect(const struct turn_stats *stats, uint64_t written, const char *text)
{
    struct buf out = {0};
    receipt_append(&out, stats, written, 0);
    assert_string_equal(buf_text(&out), text);
    buf_fini(&out);
}

static void receipt__append__tells_a_resume(void **state)
{
    (void)state;
    const struct turn_stats stats = {.prompt_tokens = 16384,
                                     .reused_tokens = 16320,
                                     .reused_disk = 16320,
                                     .prefilled_tokens = 64,
                                     .fetch_ms = 610,
                                     .saved_ms = 240000};
    expect(&stats, 7340032,
           "resumed 16,320 of 16,384 tokens from disk in 0.6 s (saves about 4 min) · prefilled 64 · wrote "
           "7.0 MiB");
}

static void receipt__append__keeps_a_turn_short(void **state)
{
    (void)state;
    const struct turn_stats stats = {
        .prompt_tokens = 120, .reused_tokens = 100, .reused_memory = 100, .prefilled_tokens = 20};
    expect(&stats, 0, "reused 100 of 120 tokens · prefilled 20");
    const struct turn_stats first = {.prompt_tokens = 20, .prefilled_tokens = 20};
    expect(&first, 100, "prefilled 20 · wrote 100 bytes");
    const struct turn_stats nothing = {0};
    expect(&nothing, 0, "");
}

static void receipt__append__what_was_prepared_is_told_apart(void **state)
{
    (void)state;
    const struct turn_stats stats = {.prompt_tokens = 59, .prefilled_tokens = 59};
    struct buf out = {0};
    receipt_append(&out, &stats, 1024, 160256);
    assert_string_equal(buf_text(&out), "prefilled 59 · wrote 1.0 KiB · prepared 156.5 KiB");
    buf_fini(&out);
}

static void receipt__append__names_oddities(void **state)
{
    (void)state;
    const struct turn_stats stats = {.prompt_tokens = 200,
                                     .reused_tokens = 192,
                                     .reused_disk = 128,
                                     .reused_memory = 64,
                                     .prefilled_tokens = 8,
                                     .foreign_tokens = 64,
                                     .foreign_kernels = "cpu scalar",
                                     .damaged_blocks = 2,
                                     .fetch_ms = 20,
                                     .saved_ms = 100};
    expect(
        &stats, 0,
        "resumed 128 of 200 tokens from disk in 20 ms · 64 from memory · 64 computed by other kernels (cpu "
        "scalar) · 2 damaged blocks dropped · prefilled 8");
}

static void receipt__append__tells_times_as_people_do(void **state)
{
    (void)state;
    struct turn_stats stats = {.prompt_tokens = 64, .reused_disk = 64, .fetch_ms = 9960, .saved_ms = 5400000};
    expect(&stats, 0, "resumed 64 of 64 tokens from disk in 10 s (saves about 90 min)");
    stats.saved_ms = 7200000;
    expect(&stats, 0, "resumed 64 of 64 tokens from disk in 10 s (saves about 2.0 h)");
}

static void receipt__numbers__read_well(void **state)
{
    (void)state;
    struct buf out = {0};
    receipt_count(&out, 0);
    buf_putc(&out, ' ');
    receipt_count(&out, 999);
    buf_putc(&out, ' ');
    receipt_count(&out, 1001002003);
    buf_putc(&out, ' ');
    receipt_bytes(&out, 1);
    buf_putc(&out, ' ');
    receipt_bytes(&out, 1048575);
    buf_putc(&out, ' ');
    receipt_bytes(&out, (uint64_t)16 << 30);
    assert_string_equal(buf_text(&out), "0 999 1,001,002,003 1 byte 1.0 MiB 16.0 GiB");
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(receipt__append__tells_a_resume),
        cmocka_unit_test(receipt__append__keeps_a_turn_short),
        cmocka_unit_test(receipt__append__what_was_prepared_is_told_apart),
        cmocka_unit_test(receipt__append__names_oddities),
        cmocka_unit_test(receipt__append__tells_times_as_people_do),
        cmocka_unit_test(receipt__numbers__read_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
