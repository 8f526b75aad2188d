/* test_queue.c: order, refusal when full, the wake-up descriptor, two threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <sched.h>

#include "engine/base/mem.h"
#include "engine/base/queue.h"

static bool is_awake(const struct queue *q)
{
    struct pollfd p = {.fd = queue_wake_fd(q), .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static void queue_push__refuses_when_full_and_keeps_order(void **state)
{
    (void)state;
    struct queue q;
    struct err err;
    assert_true(queue_init(&q, 3, sizeof(int), &err)); /* rounded up to 4 */
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 4; i++)
            assert_true(queue_push(&q, &i));
        assert_false(queue_push(&q, &(int){99}));
        for (int i = 0, got = -1; i < 4; i++)
            assert_true(queue_pop(&q, &got) && got == i);
        assert_false(queue_pop(&q, &(int){0}));
    }
    queue_fini(&q);
    queue_fini(&q);
}

static void queue_clear_wake__sleeps_until_the_next_push(void **state)
{
    (void)state;
    struct queue q;
    struct err err;
    assert_true(queue_init(&q, 8, sizeof(int), &err));
    assert_false(is_awake(&q));
    queue_push(&q, &(int){1});
    queue_push(&q, &(int){2});
    assert_true(is_awake(&q));
    queue_clear_wake(&q);
    assert_false(is_awake(&q));
    queue_push(&q, &(int){3});
    assert_true(is_awake(&q));
    queue_wait(&q, -1); /* returns at once: readable */
    queue_fini(&q);
}

static void queue_init__says_so_without_memory(void **state)
{
    (void)state;
    struct queue q;
    struct err err = {0};
    mem_fail_after(0);
    assert_false(queue_init(&q, 8, 4, &err));
    mem_fail_after(-1);
    assert_int_equal(err.code, ERR_MEMORY);
    queue_fini(&q);
}

enum { N_ITEMS = 20000 };

static void *produce(void *arg)
{
    for (int i = 0; i < N_ITEMS;)
        if (queue_push(arg, &i))
            i++;
        else
            sched_yield();
    return NULL;
}

static void queue__two_threads_lose_and_reorder_nothing(void **state)
{
    (void)state;
    struct queue q;
    struct err err;
    pthread_t producer;
    assert_true(queue_init(&q, 64, sizeof(int), &err));
    assert_int_equal(pthread_create(&producer, NULL, produce, &q), 0);
    for (int expected = 0, got; expected < N_ITEMS;) {
        queue_wait(&q, -1);
        queue_clear_wake(&q);
        while (queue_pop(&q, &got))
            assert_int_equal(got, expected++);
    }
    pthread_join(producer, NULL);
    queue_fini(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queue_push__refuses_when_full_and_keeps_order),
        cmocka_unit_test(queue_clear_wake__sleeps_until_the_next_push),
        cmocka_unit_test(queue_init__says_so_without_memory),
        cmocka_unit_test(queue__two_threads_lose_and_reorder_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
