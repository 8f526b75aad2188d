/* Rate and remaining time, on a clock of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ui/progress.h"

#define MS 1000000u

static void progress__eta__is_silent_for_a_second(void **state)
{
    (void)state;
    struct progress p;
    progress_start(&p, 1000 * MS);
    for (uint64_t t = 0; t < 1000; t += 100)
        progress_update(&p, t * 10, 100000, (1000 + t) * MS);
    assert_int_equal(progress_eta_s(&p), -1);
    assert_true(progress_rate(&p) > 0);
    progress_update(&p, 11000, 100000, 2100 * MS);
    assert_int_equal(progress_eta_s(&p), 10); /* 8.9 s, told in a round step */
}

static void progress__rate__is_of_the_last_seconds(void **state)
{
    (void)state;
    struct progress p;
    uint64_t done = 0, now = 0;
    progress_start(&p, 0);
    for (; now < 5000; now += 125)
        progress_update(&p, done += 1000, 1 << 30, now * MS);
    assert_in_range((uint64_t)progress_rate(&p), 7999, 8001);
    for (; now < 8000; now += 125)
        progress_update(&p, done += 10, 1 << 30, now * MS);
    assert_in_range((uint64_t)progress_rate(&p), 79, 81);
}

static void progress__eta__rises_by_one_step_at_a_time(void **state)
{
    (void)state;
    struct progress p;
    uint64_t done = 0, now = 0;
    progress_start(&p, 0);
    for (; now <= 2000; now += 125)
        progress_update(&p, done += 1000, 40000, now * MS);
    int eta = progress_eta_s(&p);
    assert_true(eta >= 2 && eta <= 5);
    progress_update(&p, done, 4000000, (now + 125) * MS);
    assert_true(progress_eta_s(&p) <= eta * 5 / 2 + 1);
}

static void progress__fraction__without_a_total(void **state)
{
    (void)state;
    struct progress p;
    progress_start(&p, 0);
    assert_true(progress_fraction(&p) == 0);
    progress_update(&p, 5, 0, 0);
    assert_true(progress_fraction(&p) == 0);
    progress_update(&p, 5, 10, 200 * MS);
    assert_true(progress_fraction(&p) == 0.5);
    assert_int_equal(progress_eta_s(&p), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(progress__eta__is_silent_for_a_second),
        cmocka_unit_test(progress__rate__is_of_the_last_seconds),
        cmocka_unit_test(progress__eta__rises_by_one_step_at_a_time),
        cmocka_unit_test(progress__fraction__without_a_total),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
