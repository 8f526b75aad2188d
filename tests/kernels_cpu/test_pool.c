#include "kernels_cpu/pool.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>

#include "engine/base/err.h"
#include "engine/base/mem.h"

#define MAX_THREADS 9

struct tally {
    int calls[MAX_THREADS]; /* plain on purpose: the pool makes the writes visible, TSan looks on */
    int n_threads;
    int round;
};

static void count_call(void *arg, int thread, int n_threads)
{
    struct tally *t = arg;
    t->calls[thread] += t->round;
    if (thread == 0)
        t->n_threads = n_threads;
}

static void check_rounds(int n_threads, int n_rounds, int park_every)
{
    struct err err = {0};
    struct pool *p = pool_new(n_threads, &err);
    assert_non_null(p);
    assert_int_equal(pool_n_threads(p), n_threads);
    struct tally t = {0};
    int expected = 0;
    for (int i = 1; i <= n_rounds; i++) {
        t.round = i;
        expected += i;
        pool_run(p, count_call, &t);
        for (int k = 0; k < n_threads; k++)
            assert_int_equal(t.calls[k], expected);
        if (park_every && i % park_every == 0)
            pool_park(p);
    }
    assert_int_equal(t.n_threads, n_threads);
    pool_free(p);
}

static void pool_run__calls_every_thread_once(void **state)
{
    (void)state;
    for (int n = 1; n <= 4; n++)
        check_rounds(n, 500, 0);
}

static void name_places(void *arg, int thread, int n_threads)
{
    const void *const places[POOL_MAX_AHEAD] = {arg, NULL, (const char *)arg + 1, arg};
    (void)n_threads;
    pool_ahead(arg, thread, places, (size_t)thread % (POOL_MAX_AHEAD + 1));
}

/* What is named may be nowhere, and less or more of it than last time. */
static void pool_ahead__any_places__changes_no_run(void **state)
{
    (void)state;
    for (int n_threads = 1; n_threads <= MAX_THREADS; n_threads++) {
        struct pool *p = pool_new(n_threads, NULL);
        struct tally t = {.round = 1};
        for (int i = 0; i < 200; i++) {
            pool_run(p, name_places, p);
            pool_run(p, count_call, &t);
        }
        for (int k = 0; k < n_threads; k++)
            assert_int_equal(t.calls[k], 200);
        pool_free(p);
    }
}

static void pool_run__works_with_more_threads_than_cores(void **state)
{
    (void)state;
    check_rounds(MAX_THREADS, 50, 0);
}

static void pool_run__wakes_parked_threads(void **state)
{
    (void)state;
    check_rounds(3, 100, 1);
}

/* Longer than spinning and yielding together: both sides have gone to sleep by then. */
static void sleep_in_turns(void *arg, int thread, int n_threads)
{
    (void)n_threads;
    int *slow = arg;
    if (thread == *slow)
        usleep(3000);
}

static void pool_run__wakes_sleepers_on_both_sides(void **state)
{
    (void)state;
    struct pool *p = pool_new(2, NULL);
    assert_non_null(p);
    for (int i = 0; i < 10; i++) {
        int slow = i % 2;
        pool_run(p, sleep_in_turns, &slow);
        usleep(2000);
    }
    pool_free(p);
}

static void note_blocked(void *arg, int thread, int n_threads)
{
    (void)n_threads;
    sigset_t now;
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    ((int *)arg)[thread] = sigismember(&now, SIGINT) == 1 && sigismember(&now, SIGTERM) == 1;
}

static void pool_new__blocks_signals_in_workers_only(void **state)
{
    (void)state;
    struct pool *p = pool_new(2, NULL);
    assert_non_null(p);
    int blocked[2] = {0};
    pool_run(p, note_blocked, blocked);
    assert_int_equal(blocked[0], 0);
    assert_int_equal(blocked[1], 1);
    pool_free(p);
}

static void pool_new__reports_failed_allocations(void **state)
{
    (void)state;
    for (long n = 0; n < 2; n++) {
        struct err err = {0};
        mem_fail_after(n);
        assert_null(pool_new(2, &err));
        assert_true(mem_fail_happened());
        assert_int_equal(err.code, ERR_MEMORY);
    }
    mem_fail_after(-1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pool_run__calls_every_thread_once),
        cmocka_unit_test(pool_ahead__any_places__changes_no_run),
        cmocka_unit_test(pool_run__works_with_more_threads_than_cores),
        cmocka_unit_test(pool_run__wakes_parked_threads),
        cmocka_unit_test(pool_run__wakes_sleepers_on_both_sides),
        cmocka_unit_test(pool_new__blocks_signals_in_workers_only),
        cmocka_unit_test(pool_new__reports_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
