/* terminal.c: takes the terminal and gives it back: tty settings, ncurses' screen, modes, signals, stderr. */
#include "ui/terminal.h"

#include <curses.h>
#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <termios.h>
#include <unistd.h>

#include "ui/stall.h"

#define FALLBACK_LOCALE "C.UTF-8"
#define FALLBACK_TERM "xterm-256color"
#define ALTSTACK_BYTES 65536
#define RESTORE_LIMIT_MS 1000
#define CLOSE_LIMIT_MS 1000
#define MAX_REPLAY_BYTES (1 << 20)

#define MODES_ON "\033[?2004h\033[?1000h\033[?1006h"
#define MODES_OFF "\033[?2026l\033[?1000l\033[?1002l\033[?1004l\033[?1006l\033[?2004l"
/* What a crash writes: it cannot ask ncurses, so it leaves every mode any part of this program could have
 * set. */
#define RESET MODES_OFF "\033[?25h\033[0m\033[?1049l\r"
/* Without an alternate screen what follows stands below ours, whose last row is not meant to stay. */
#define LAST_ROW_CLEARED "\033[999;1H\033[K\n"
#define SYNC_ON "\033[?2026h"
#define SYNC_OFF "\033[?2026l"
#define NO_ATTRIBUTES "\033[0m"

/* Bits of `waiting`, set by the handlers. */
enum { WAITING_RESIZE = 1, WAITING_STOP = 2, WAITING_CONTINUE = 4 };

static const int notice_signals[] = {SIGWINCH, SIGTSTP, SIGCONT};
static const int crash_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
static const int kill_signals[] = {SIGTERM, SIGHUP, SIGINT, SIGQUIT};
#define N(array) ((int)(sizeof(array) / sizeof((array)[0])))

static struct {
    atomic_bool open;     /* terminal_close has something to do */
    atomic_bool taken;    /* the terminal is ours this moment: not while stopped, not after a restore */
    atomic_int restoring; /* threads inside terminal_restore that may be at it */
    struct termios saved;
    SCREEN *screen;
    bool has_alternate; /* giving back brings the shell's screen back */
    int colors;
    bool repaint; /* the next flush trusts nothing that is on the screen */
    int event_fd;
    atomic_uint waiting;
    int stderr_copy, stderr_file; /* -1: stderr is no terminal and stays where it is */
    struct sigaction old_actions[NSIG];
    bool replaced[NSIG];
    stack_t old_stack;
} term = {.event_fd = -1, .stderr_copy = -1, .stderr_file = -1};

static char altstack[ALTSTACK_BYTES];

/* ---- writing, from anywhere ---- */

static void write_all(int fd, const char *text, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, text, n);
        if (done > 0) {
            text += done;
            n -= (size_t)done;
        } else if (done < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, 1000);
        } else if (done == 0 || errno != EINTR) {
            return;
        }
    }
}

static void write_text(const char *text)
{
    write_all(STDOUT_FILENO, text, strlen(text));
}

/* ---- stderr ---- */

static void redirect_stderr(void)
{
    if (!isatty(STDERR_FILENO))
        return;
    term.stderr_file = memfd_create("ferrum-stderr", MFD_CLOEXEC);
    term.stderr_copy = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    if (term.stderr_file >= 0 && term.stderr_copy >= 0)
        dup2(term.stderr_file, STDERR_FILENO);
}

/* Puts stderr back and writes what was kept. Libraries print there, so it is as little to be trusted as a
 * model. */
static void replay_stderr(void)
{
    if (term.stderr_copy < 0)
        return;
    dup2(term.stderr_copy, STDERR_FILENO);
    char block[1024];
    for (off_t at = 0; at < MAX_REPLAY_BYTES;) {
        ssize_t n = pread(term.stderr_file, block, sizeof block, at);
        if (n <= 0)
            break;
        for (ssize_t i = 0; i < n; i++)
            if ((unsigned char)block[i] < 0x20 && block[i] != '\n' && block[i] != '\t')
                block[i] = '?';
        write_all(STDERR_FILENO, block, (size_t)n);
        at += n;
    }
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* ---- giving back ---- */

/* A process in the background may set the tty only while SIGTTOU is blocked. */
static void restore_tty(void)
{
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGTTOU);
    pthread_sigmask(SIG_BLOCK, &set, &old);
    tcflush(STDIN_FILENO, TCIFLUSH); /* half a mouse report must not become shell input */
    tcsetattr(STDIN_FILENO, TCSANOW, &term.saved);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void terminal_restore(void)
{
    int saved_errno = errno;
    atomic_fetch_add(&term.restoring, 1);
    bool mine = atomic_exchange(&term.taken, false);
    if (mine) {
        write_all(STDOUT_FILENO, RESET, sizeof RESET - 1);
        if (!term.has_alternate)
            write_all(STDOUT_FILENO, LAST_ROW_CLEARED, sizeof LAST_ROW_CLEARED - 1);
        restore_tty();
        replay_stderr();
    }
    atomic_fetch_sub(&term.restoring, 1);
    /* Threads that crash together must not end the process under the one that restores. */
    for (int i = 0; !mine && i < RESTORE_LIMIT_MS && atomic_load(&term.restoring) > 0; i++)
        poll(NULL, 0, 1);
    errno = saved_errno;
}

static void on_crash(int sig)
{
    terminal_restore();
    sigaction(sig, &term.old_actions[sig], NULL);
    raise(sig); /* delivered when this handler returns */
}

static void on_notice(int sig)
{
    int saved_errno = errno;
    unsigned bit = sig == SIGWINCH ? WAITING_RESIZE : sig == SIGTSTP ? WAITING_STOP : WAITING_CONTINUE;
    atomic_fetch_or(&term.waiting, bit);
    uint64_t one = 1;
    (void)!write(term.event_fd, &one, sizeof one);
    errno = saved_errno;
}

/* ---- signals ---- */

static void take_signal(int sig, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigfillset(&action.sa_mask);
    term.replaced[sig] = sigaction(sig, &action, &term.old_actions[sig]) == 0;
}

static void take_signals(void)
{
    stack_t stack = {.ss_sp = altstack, .ss_size = sizeof altstack};
    sigaltstack(&stack, &term.old_stack);
    for (int i = 0; i < N(notice_signals); i++)
        take_signal(notice_signals[i], on_notice, SA_RESTART);
    for (int i = 0; i < N(crash_signals); i++)
        take_signal(crash_signals[i], on_crash, SA_ONSTACK);
    for (int i = 0; i < N(kill_signals); i++) {
        struct sigaction now;
        if (sigaction(kill_signals[i], NULL, &now) == 0 && now.sa_handler == SIG_DFL)
            take_signal(kill_signals[i], on_crash, SA_ONSTACK);
    }
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < N(notice_signals); i++)
        sigaddset(&set, notice_signals[i]);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static void give_signals_back(void)
{
    for (int sig = 1; sig < NSIG; sig++) {
        if (term.replaced[sig])
            sigaction(sig, &term.old_actions[sig], NULL);
        term.replaced[sig] = false;
    }
    sigaltstack(&term.old_stack, NULL);
}

/* ---- opening and closing ---- */

bool terminal_set_locale(void)
{
    if (setlocale(LC_CTYPE, "") && strcmp(nl_langinfo(CODESET), "UTF-8") == 0)
        return true;
    return setlocale(LC_CTYPE, FALLBACK_LOCALE) && setenv("LC_ALL", FALLBACK_LOCALE, 1) == 0;
}

static void read_size(void)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0)
        resizeterm(size.ws_row, size.ws_col);
}

static int start_colors(bool no_color)
{
    if (no_color || !has_colors() || start_color() == ERR)
        return 0;
    use_default_colors();
    if (COLORS > 256 && tigetflag("RGB") > 0)
        return TERMINAL_DIRECT;
    return COLORS >= 256 ? 256 : COLORS >= 16 ? 16 : COLORS >= 8 ? 8 : 0;
}

static SCREEN *new_screen(const char *name)
{
    use_env(FALSE); /* LINES and COLUMNS in the environment would freeze the size */
    use_tioctl(TRUE);
    SCREEN *screen = newterm(name, stdout, stdin);
    return screen ? screen : newterm(FALLBACK_TERM, stdout, stdin);
}

static void start_screen(const struct terminal_options *options)
{
    raw();
    noecho();
    nonl();
    typeahead(-1); /* ncurses must not look at stdin: it is ours */
    read_size();
    char *leave = tigetstr("rmcup");
    term.has_alternate = leave && leave != (char *)-1;
    term.colors = start_colors(options->no_color);
    stall_begin();
    refresh();
    write_text(MODES_ON);
    if (!stall_end())
        terminal_redraw_all();
}

static bool open_refused(struct err *err)
{
    restore_tty();
    replay_stderr();
    close_fd(&term.stderr_copy);
    close_fd(&term.stderr_file);
    stall_close();
    give_signals_back();
    close_fd(&term.event_fd);
    return err_set(err, ERR_RUNTIME,
                   "terminal: no description for this TERM nor for " FALLBACK_TERM
                   " was found; install ncurses-base, or pass the question with -p");
}

bool terminal_open(const struct terminal_options *options, struct err *err)
{
    if (!terminal_set_locale())
        return err_set(err, ERR_RUNTIME,
                       "locale: neither the environment's nor " FALLBACK_LOCALE
                       " is UTF-8; install a UTF-8 locale");
    if (tcgetattr(STDIN_FILENO, &term.saved) != 0)
        return err_set(err, ERR_RUNTIME, "terminal: stdin is none (%s); use -p without a terminal",
                       strerror(errno));
    term.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (term.event_fd < 0)
        return err_set(err, ERR_RUNTIME, "terminal: eventfd: %s", strerror(errno));
    atomic_store(&term.waiting, 0);
    take_signals();
    stall_open();
    redirect_stderr();
    term.has_alternate = true; /* until we draw, there is nothing of ours to clear */
    atomic_store(&term.taken, true);
    term.screen = new_screen(options->term);
    if (!term.screen) {
        atomic_store(&term.taken, false);
        return open_refused(err);
    }
    atomic_store(&term.open, true);
    start_screen(options);
    return true;
}

static void end_screen(void)
{
    write_text(MODES_OFF);
    if (term.has_alternate) {
        endwin();
        return;
    }
    read_size();
    move(LINES - 1, 0);
    clrtoeol();
    refresh();
    endwin(); /* leaves the cursor in the last row */
    write_text("\r\n");
}

/* Out of the screen, to where the shell goes on. False: the terminal does not take it. */
static bool leave_screen(void)
{
    stall_begin();
    end_screen();
    return stall_end();
}

/* What a stalled terminal has not taken yet is worth nothing any more, and makes room for giving it back;
 * but nothing that waits for it may follow. */
static void leave_for_good(void)
{
    bool takes_output = stall_takes_output(CLOSE_LIMIT_MS);
    if (!takes_output)
        tcflush(STDOUT_FILENO, TCOFLUSH);
    if (leave_screen() && takes_output)
        return;
    stall_silence(STDOUT_FILENO);
    stall_silence(term.stderr_copy);
}

void terminal_close(void)
{
    if (!atomic_exchange(&term.open, false))
        return;
    if (atomic_load(&term.taken)) {
        leave_for_good();
        atomic_store(&term.taken, false);
        restore_tty();
        replay_stderr();
    }
    stall_close();
    give_signals_back();
    delscreen(term.screen);
    term.screen = NULL;
    close_fd(&term.stderr_copy);
    close_fd(&term.stderr_file);
    close_fd(&term.event_fd);
}

/* ---- while it is open ---- */

int terminal_fd(void)
{
    return term.event_fd;
}

static void take_back(void)
{
    reset_prog_mode();
    atomic_store(&term.taken, true);
    read_size();
    redrawwin(stdscr);
    terminal_redraw_all();
    stall_begin();
    doupdate(); /* after endwin this enters the alternate screen again */
    write_text(MODES_ON);
    if (!stall_end())
        terminal_redraw_all();
}

/* Stops the process (all of its group after a key, for whoever started us waits too) and returns after
 * SIGCONT. A group without a shell cannot be stopped: then this returns at once, and all is as before. */
static unsigned stop(bool group)
{
    leave_screen();
    atomic_store(&term.taken, false);
    restore_tty();
    struct sigaction mine, standard = {.sa_handler = SIG_DFL};
    sigaction(SIGTSTP, &standard, &mine);
    if (group)
        kill(0, SIGTSTP);
    else
        raise(SIGTSTP);
    sigaction(SIGTSTP, &mine, NULL);
    take_back();
    atomic_fetch_and(&term.waiting, ~(unsigned)(WAITING_CONTINUE | WAITING_RESIZE | WAITING_STOP));
    return TERMINAL_RESIZED | TERMINAL_RESUMED;
}

unsigned terminal_suspend(void)
{
    return stop(true);
}

unsigned terminal_take_changes(void)
{
    uint64_t count;
    (void)!read(term.event_fd, &count, sizeof count);
    unsigned waiting = atomic_exchange(&term.waiting, 0);
    if (waiting & WAITING_STOP)
        return stop(false);
    if (waiting &
        WAITING_CONTINUE) { /* SIGSTOP gave us no chance to clean up, and the shell has used the screen */
        take_back();
        return TERMINAL_RESIZED | TERMINAL_RESUMED;
    }
    if (!(waiting & WAITING_RESIZE))
        return 0;
    read_size();
    return TERMINAL_RESIZED;
}

void terminal_size(int *columns, int *rows)
{
    *columns = COLS;
    *rows = LINES;
}

int terminal_colors(void)
{
    return term.colors;
}

void terminal_flush(void)
{
    write_text(SYNC_ON);
    if (term.repaint)
        write_text(NO_ATTRIBUTES);
    term.repaint = false;
    doupdate();
    write_text(SYNC_OFF);
}

void terminal_redraw_all(void)
{
    term.repaint = true;
    clearok(curscr, TRUE);
}
