/* Owns the start of threads: mask and signal stack. */
#include "engine/base/thread.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>

#include "engine/base/mem.h"

#define SIGNAL_STACK_BYTES 65536

/* What a new thread needs to begin; it owns and frees it. */
struct start {
    void *(*run)(void *);
    void *ctx;
    char signal_stack[SIGNAL_STACK_BYTES];
};

static void *run_thread(void *ctx)
{
    struct start *start = ctx;
    stack_t mine = {.ss_sp = start->signal_stack, .ss_size = sizeof start->signal_stack}, old;
    sigaltstack(&mine, &old);
    void *result = start->run(start->ctx);
    sigaltstack(&old, NULL);
    mem_free(start);
    return result;
}

int thread_start(pthread_t *thread, void *(*run)(void *), void *ctx)
{
    static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    struct start *start = mem_alloc(sizeof *start, NULL);
    if (!start)
        return ENOMEM;
    start->run = run;
    start->ctx = ctx;
    sigset_t blocked, before;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++)
        sigdelset(&blocked, crashes[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    int failed = pthread_create(thread, NULL, run_thread, start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        mem_free(start);
    return failed;
}
