/* Threads and signals: a crash in a thread reaches the handler, also when its stack is full; other signals do
 * not reach the thread. Crashes happen in children. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/thread.h"

#define HANDLED 42

static volatile int depth;

static int overflow(int n)
{
    volatile char frame[4096];
    frame[0] = (char)n;
    depth++;
    return depth < 0 ? frame[0] : overflow(n + 1) + frame[0];
}

static void *overflow_main(void *ctx)
{
    overflow(0);
    return ctx;
}

static void *fault_main(void *ctx)
{
    volatile int *nowhere = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *nowhere = 1;
    return ctx;
}

static void *mask_main(void *ctx)
{
    pthread_sigmask(SIG_SETMASK, NULL, ctx);
    return ctx;
}

static void on_crash(int sig)
{
    _exit(sig == SIGSEGV || sig == SIGBUS ? HANDLED : 1);
}

/* Runs a thread in a child that has a handler for crashes; returns how the child ended. */
static int end_of(void *(*run)(void *))
{
    pid_t child = fork();
    if (child == 0) {
        pthread_t thread;
        struct sigaction action = {.sa_handler = on_crash, .sa_flags = SA_ONSTACK};
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        sigaction(SIGSEGV, &action, NULL);
        sigaction(SIGBUS, &action, NULL);
        if (thread_start(&thread, run, NULL) == 0)
            pthread_join(thread, NULL);
        _exit(2);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void thread__fault__reaches_the_handler(void **state)
{
    (void)state;
    int status = end_of(fault_main);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), HANDLED);
}

static void thread__stack_overflow__reaches_the_handler(void **state)
{
    (void)state;
    int status = end_of(overflow_main);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), HANDLED);
}

static void thread__start__blocks_what_is_no_crash(void **state)
{
    (void)state;
    sigset_t before, mask, after;
    pthread_t thread;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    assert_int_equal(thread_start(&thread, mask_main, &mask), 0);
    void *result;
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, &mask);
    assert_true(sigismember(&mask, SIGTERM) && sigismember(&mask, SIGWINCH) && sigismember(&mask, SIGINT));
    assert_false(sigismember(&mask, SIGSEGV) || sigismember(&mask, SIGABRT));
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_int_equal(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thread__fault__reaches_the_handler),
        cmocka_unit_test(thread__stack_overflow__reaches_the_handler),
        cmocka_unit_test(thread__start__blocks_what_is_no_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
