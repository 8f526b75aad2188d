/* editor_watchdog.c: the last resort against an endless loop inside readline (vi `t` and `f` on a line that
 * starts with a combining mark is a known one): after a second of CPU time of this thread the feed is left
 * with siglongjmp. What it leaves is pure computation on the line, without locks. */
#include "ui/editor_state.h"

#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_SECONDS 1

static sigjmp_buf leave;
static volatile sig_atomic_t running;

static void on_timer(int sig)
{
    (void)sig;
    if (!running)
        return;
    running = 0;
    siglongjmp(leave, 1);
}

static bool make_timer(timer_t *timer)
{
    struct sigaction action = {.sa_handler = on_timer};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGVTALRM);
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGVTALRM};
    event._sigev_un._tid = gettid();
    return sigaction(SIGVTALRM, &action, NULL) == 0 && pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0 &&
           timer_create(CLOCK_THREAD_CPUTIME_ID, &event, timer) == 0;
}

static void set_timer(timer_t timer, time_t seconds)
{
    struct itimerspec spec = {.it_value.tv_sec = seconds};
    timer_settime(timer, 0, &spec, NULL);
}

bool editor_watchdog_run(void (*feed)(struct editor *e), struct editor *e)
{
    static timer_t timer;
    static bool made;
    if (!made && !make_timer(&timer)) { /* no timers on this system: run without */
        feed(e);
        return true;
    }
    made = true;
    if (sigsetjmp(leave, 1))
        return false;
    running = 1;
    set_timer(timer, LIMIT_SECONDS);
    feed(e);
    running = 0;
    set_timer(timer, 0);
    return true;
}
