/* Guesses, and when they are tried. The worlds here have costs and texts of their own; no clock is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/speculation.h"

#define ROW_NS 10000000.0

/* --- matches --- */

static void assert_match(const int32_t *ids, size_t n, size_t place, size_t length)
{
    size_t n_match = 99;
    assert_int_equal(speculation_match(ids, n - 1, ids[n - 1], &n_match), place);
    assert_int_equal(n_match, length);
}

#define MATCH(place, length, ...)                                                                            \
    do {                                                                                                     \
        const int32_t ids[] = {__VA_ARGS__};                                                                 \
        assert_match(ids, sizeof ids / sizeof *ids, place, length);                                          \
    } while (0)

static void speculation_match__finds_the_longest_and_of_equals_the_newest(void **state)
{
    (void)state;
    MATCH(0, 0, 7);
    MATCH(0, 0, 7, 7);
    MATCH(0, 0, 1, 2, 3, 2); /* one token is no match */
    MATCH(2, 2, 1, 2, 3, 1, 2);
    MATCH(0, 0, 5, 5, 1, 5);
    MATCH(3, 3, 1, 2, 3, 9, 2, 3, 8, 1, 2, 3);
    MATCH(7, 3, 1, 2, 3, 9, 1, 2, 3, 8, 1, 2, 3); /* of equals the newest */
}

static void speculation_match__is_at_most_sixteen_long(void **state)
{
    (void)state;
    int32_t ids[100];
    size_t n_match;
    for (int i = 0; i < 100; i++)
        ids[i] = 4;
    assert_int_equal(speculation_match(ids, 99, 4, &n_match), 99);
    assert_int_equal(n_match, 16);
}

/* --- guesses --- */

static void speculation_guess__runs_on_into_itself(void **state)
{
    (void)state;
    static const int32_t ids[] = {9, 1, 2, 3, 1, 2}, expected[] = {1, 2, 3, 1, 2, 3, 1};
    struct speculation s;
    int32_t out[SPECULATION_MAX];
    speculation_init(&s, SPECULATION_ALWAYS);
    assert_int_equal(speculation_guess(&s, ids, 6, 3, SPECULATION_MAX, out), SPECULATION_MAX);
    assert_memory_equal(out, expected, sizeof expected);
    assert_int_equal(speculation_guess(&s, ids, 6, 3, 2, out), 2);
    assert_int_equal(speculation_guess(&s, ids, 6, 3, 0, out), 0);
    assert_int_equal(speculation_guess(&s, ids, 6, 8, SPECULATION_MAX, out), 0);
    assert_int_equal(speculation_guess(&s, ids, 0, 8, SPECULATION_MAX, out), 0);
    speculation_init(&s, SPECULATION_NEVER);
    assert_int_equal(speculation_guess(&s, ids, 6, 3, SPECULATION_MAX, out), 0);
}

/* --- when it pays --- */

struct world {
    double row_cost;   /* of a row more, in passes of one row */
    int n_right_of_16; /* guesses that come true, at random */
    double passes;     /* spent, in passes of one row */
    size_t n_tokens, n_guesses;
    uint32_t random;
};

static bool comes_true(struct world *w)
{
    w->random = w->random * 1664525u + 1013904223u;
    return (int)(w->random >> 28) < w->n_right_of_16;
}

/* n tokens of a text where every place has a match of nine. */
static void live(struct speculation *s, struct world *w, size_t n)
{
    static const int32_t ids[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8};
    int32_t out[SPECULATION_MAX];
    for (size_t end = w->n_tokens + n; w->n_tokens < end;) {
        size_t k = speculation_guess(s, ids, sizeof ids / sizeof *ids, 9, SPECULATION_MAX, out);
        double cost = 1 + w->row_cost * (double)k;
        speculation_passed(s, k, (uint64_t)(cost * ROW_NS));
        w->passes += cost;
        w->n_guesses += k;
        w->n_tokens++;
        for (size_t i = 0; i < k; i++) {
            bool is_right = comes_true(w);
            speculation_judge(s, is_right);
            if (!is_right)
                break;
            w->n_tokens++;
        }
    }
}

static void speculation__costs_no_more_than_one_percent(void **state)
{
    (void)state;
    for (int right = 0; right <= 4; right++)
        for (double row_cost = 0.3; row_cost < 1.3; row_cost += 0.3) {
            struct speculation s;
            struct world w = {.row_cost = row_cost, .n_right_of_16 = right, .random = 3};
            speculation_init(&s, SPECULATION_WHEN_IT_PAYS);
            live(&s, &w, 2000);
            assert_true(w.n_guesses > 0);
            if (w.passes > 1.01 * (double)w.n_tokens)
                fail_msg("%d of 16 right, a row costs %.1f: %.0f passes for %zu tokens", right, row_cost,
                         w.passes, w.n_tokens);
        }
}

static void speculation__gains_where_guesses_come_true(void **state)
{
    (void)state;
    struct speculation s;
    struct world w = {.row_cost = 0.15, .n_right_of_16 = 15};
    speculation_init(&s, SPECULATION_WHEN_IT_PAYS);
    live(&s, &w, 500);
    assert_true(w.passes < 0.45 * (double)w.n_tokens);
}

/* A text that changes its ways is followed, in both directions. */
static void speculation__gives_up_and_comes_back(void **state)
{
    (void)state;
    struct speculation s;
    struct world w = {.row_cost = 0.2, .n_right_of_16 = 15};
    speculation_init(&s, SPECULATION_WHEN_IT_PAYS);
    live(&s, &w, 200);
    struct world bad = {.row_cost = 0.2, .n_right_of_16 = 0};
    live(&s, &bad, 1000);
    assert_true(bad.passes < 1.01 * (double)bad.n_tokens + 6);
    struct world good = {.row_cost = 0.2, .n_right_of_16 = 15};
    live(&s, &good, 1000);
    assert_true(good.passes < 0.7 * (double)good.n_tokens);
}

/* One pass that was held up by others says nothing about speculation. */
static void speculation__forgives_a_hiccup(void **state)
{
    (void)state;
    struct speculation s;
    struct world w = {.row_cost = 0.15, .n_right_of_16 = 15}, after = w;
    speculation_init(&s, SPECULATION_WHEN_IT_PAYS);
    live(&s, &w, 100);
    speculation_passed(&s, 3, (uint64_t)(300 * ROW_NS));
    speculation_judge(&s, false);
    speculation_passed(&s, 0, (uint64_t)(300 * ROW_NS));
    live(&s, &after, 300);
    assert_true(after.passes < 0.6 * (double)after.n_tokens);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(speculation_match__finds_the_longest_and_of_equals_the_newest),
        cmocka_unit_test(speculation_match__is_at_most_sixteen_long),
        cmocka_unit_test(speculation_guess__runs_on_into_itself),
        cmocka_unit_test(speculation__costs_no_more_than_one_percent),
        cmocka_unit_test(speculation__gains_where_guesses_come_true),
        cmocka_unit_test(speculation__gives_up_and_comes_back),
        cmocka_unit_test(speculation__forgives_a_hiccup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
