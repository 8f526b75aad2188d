/* timed_wait.h: condition variables on the monotonic clock: a change of the wall clock moves no deadline. */
#ifndef FERRUM_TIMED_WAIT_H
#define FERRUM_TIMED_WAIT_H

#include <pthread.h>

#include "engine/base/clock.h"

static inline void timed_wait_init(pthread_cond_t *cond)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

/* ms from now, for pthread_cond_timedwait. */
static inline struct timespec timed_wait_until(int ms)
{
    uint64_t ns = clock_now_ns() + (uint64_t)(ms > 0 ? ms : 0) * 1000000u;
    return (struct timespec){.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
}

#endif
