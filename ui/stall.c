/* stall.c: ends writes to a terminal that takes no output. ncurses repeats a write that was interrupted or
 * would block, so neither a signal nor O_NONBLOCK alone gets out of it: the descriptor itself is replaced. */
#include "ui/stall.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 4000
#define ENDING_PATIENCE_MS 1000
#define LOOK_MS 100

static struct {
    timer_t timer;
    bool works;
    int null_fd, stdout_copy;
    struct sigaction old_action;
    volatile sig_atomic_t guarded, diverted;
} stall = {.null_fd = -1, .stdout_copy = -1};

bool stall_takes_output(int ms)
{
    return poll(&(struct pollfd){.fd = STDOUT_FILENO, .events = POLLOUT}, 1, ms) != 0;
}

static bool is_told_to_end(void)
{
    sigset_t set;
    return sigpending(&set) == 0 && (sigismember(&set, SIGTERM) == 1 || sigismember(&set, SIGHUP) == 1 ||
                                     sigismember(&set, SIGINT) == 1 || sigismember(&set, SIGQUIT) == 1);
}

/* The write is interrupted while this waits, so whatever the terminal takes makes it writable. */
static void on_alarm(int sig)
{
    (void)sig;
    if (!stall.guarded || stall.diverted)
        return;
    int saved_errno = errno;
    for (int ms = 0; ms < (is_told_to_end() ? ENDING_PATIENCE_MS : PATIENCE_MS); ms += LOOK_MS)
        if (stall_takes_output(LOOK_MS)) {
            errno = saved_errno;
            return;
        }
    dup2(stall.null_fd, STDOUT_FILENO);
    stall.diverted = 1;
    errno = saved_errno;
}

/* Without SA_RESTART, else the kernel would go on with the write to the terminal. */
static bool take_alarm(void)
{
    struct sigaction action = {.sa_handler = on_alarm};
    sigfillset(&action.sa_mask);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    return sigaction(SIGALRM, &action, &stall.old_action) == 0 &&
           pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0;
}

void stall_open(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM};
    event._sigev_un._tid = gettid();
    stall.null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    stall.stdout_copy = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    stall.works = stall.null_fd >= 0 && stall.stdout_copy >= 0 &&
                  timer_create(CLOCK_MONOTONIC, &event, &stall.timer) == 0;
    if (stall.works && !take_alarm()) {
        timer_delete(stall.timer);
        stall.works = false;
    }
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void stall_close(void)
{
    if (stall.works) {
        timer_delete(stall.timer);
        sigaction(SIGALRM, &stall.old_action, NULL);
    }
    stall.works = false;
    close_fd(&stall.null_fd);
    close_fd(&stall.stdout_copy);
}

static void set_timer(time_t seconds)
{
    struct itimerspec spec = {.it_value.tv_sec = seconds, .it_interval.tv_sec = seconds};
    timer_settime(stall.timer, 0, &spec, NULL);
}

void stall_begin(void)
{
    if (!stall.works)
        return;
    stall.diverted = 0;
    stall.guarded = 1;
    set_timer(1);
}

bool stall_end(void)
{
    if (!stall.works)
        return true;
    stall.guarded = 0;
    set_timer(0);
    if (stall.diverted)
        dup2(stall.stdout_copy, STDOUT_FILENO);
    return !stall.diverted;
}

void stall_silence(int fd)
{
    if (stall.null_fd >= 0 && fd >= 0)
        dup2(stall.null_fd, fd);
}
