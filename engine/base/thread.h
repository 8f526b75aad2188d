/* thread.h: starting the program's own threads, so that signals and crashes find them as they should.
 *
 * A new thread has every signal blocked but those of a crash (SEGV, BUS, FPE, ILL, ABRT, TRAP, SYS):
 * asynchronous signals are the main thread's, while a fault that is blocked would end the process without its
 * handler, and with that leave the terminal in the state of the full screen. It also has a signal stack of
 * its own, so that the handler runs after an overflow of the thread's stack. Any thread may call. */
#ifndef FERRUM_THREAD_H
#define FERRUM_THREAD_H

#include <pthread.h>

/* Like pthread_create without attributes; returns 0 or an errno value. */
int thread_start(pthread_t *thread, void *(*run)(void *), void *ctx);

#endif
