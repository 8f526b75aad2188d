#include "app/signals.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* What the caller has the program ignore (nohup, a shell's background job) stays ignored: a blocked signal
 * would be seen all the same. */
static void add_unless_ignored(sigset_t *set, int number)
{
    struct sigaction now;
    if (sigaction(number, NULL, &now) || now.sa_handler != SIG_IGN)
        sigaddset(set, number);
}

int signals_open(struct err *err)
{
    sigset_t set;
    sigemptyset(&set);
    add_unless_ignored(&set, SIGINT);
    add_unless_ignored(&set, SIGTERM);
    add_unless_ignored(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        err_set(err, ERR_RUNTIME, "no descriptor for signals: %s", strerror(errno));
    return fd;
}

int signals_next(int fd)
{
    struct signalfd_siginfo info;
    return read(fd, &info, sizeof info) == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

/* The screen, where there is one, has been given back by ui's handler, which then raises the signal again. */
static void on_bus_error(int number)
{
    static const char sentence[] = "ferrum-chat: the model file cannot be read any more: it was cut short, "
                                   "or its disk fails; all but the last "
                                   "seconds of the chat are saved; get the file again and start anew\n";
    (void)number;
    ssize_t n = write(STDERR_FILENO, sentence, sizeof sentence - 1);
    (void)n;
    _exit(ERR_MODEL);
}

void signals_explain_bus_error(void)
{
    struct sigaction action = {.sa_handler = on_bus_error};
    sigaction(SIGBUS, &action, NULL);
}

int signals_exit_code(int signal_number)
{
    return 128 + signal_number;
}
