/* Tests of the terminal's life in a real pty: however a program ends, the tty settings are as before and the
 * modes off; it can be stopped and taken up again, and is told of a new size. */
#include <curses.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <utmp.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "ui/terminal.h"

#define WAIT_MS 20000

/* ---- the program in the pty ---- */

static volatile int depth;

static int overflow(int n)
{
    volatile char frame[4096];
    frame[0] = (char)n;
    depth++;
    return depth < 0 ? frame[0] : overflow(n + 1) + frame[0];
}

static void *crash_thread(void *key)
{
    volatile int *nowhere = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (*(char *)key == 'A')
        abort();
    *nowhere = 1; /* a fault of the processor, not a signal somebody sent */
    return NULL;
}

/* Two threads crash at once, or one aborts, while this one waits. */
static void crash_elsewhere(char key)
{
    pthread_t threads[2];
    for (int i = 0; i < (key == 'S' ? 2 : 1); i++)
        if (pthread_create(&threads[i], NULL, crash_thread, &key) != 0)
            _exit(97);
    pthread_join(threads[0], NULL);
}

/* Opens the terminal, shows "ready", obeys single letters, and says what happens. */
static void obey(const char *term)
{
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    signal(SIGSEGV, SIG_DFL); /* cmocka has its own */
    if (!terminal_open(&(struct terminal_options){.term = term}, NULL))
        _exit(99);
    fputs("lost\033words\n", stderr);
    mvprintw(0, 0, "ready");
    wnoutrefresh(stdscr);
    terminal_flush();
    for (;;) {
        struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
                                {.fd = terminal_fd(), .events = POLLIN}};
        char key = 0;
        unsigned changes = 0;
        if (poll(fds, 2, -1) < 0)
            continue;
        if (fds[1].revents)
            changes = terminal_take_changes();
        if (fds[0].revents && read(STDIN_FILENO, &key, 1) != 1)
            _exit(98);
        if (key == 'q') {
            terminal_close();
            _exit(7); /* not exit: the test framework of the parent must not run here */
        }
        if (key == 's')
            raise(SIGSEGV);
        if (key == 'a')
            abort();
        if (key == 'o')
            overflow(0);
        if (key == 'S' || key == 'A')
            crash_elsewhere(key);
        if (key == 'r')
            terminal_restore();
        if (key == 'z')
            changes |= terminal_suspend();
        int columns, rows;
        terminal_size(&columns, &rows);
        mvprintw(1, 0, "<%u %dx%d %c>", changes, columns, rows, key ? key : '-');
        wnoutrefresh(stdscr);
        if (key != 'r')
            terminal_flush();
    }
}

/* ---- the other side ---- */

struct session {
    int master;
    pid_t child;
    int slave; /* kept open, so that the settings can be read after the child is gone */
    struct termios before;
    struct buf output;
};

static void start(struct session *s, const char *term)
{
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    *s = (struct session){0};
    assert_int_equal(openpty(&s->master, &s->slave, NULL, NULL, &size), 0);
    assert_int_equal(tcgetattr(s->slave, &s->before), 0);
    s->child = fork();
    assert_true(s->child >= 0);
    if (s->child == 0) {
        close(s->master);
        login_tty(s->slave);
        /* A group of its own inside the session: the leader's cannot be stopped. */
        pid_t program = fork();
        if (program == 0) {
            setpgid(0, 0);
            signal(SIGTTOU, SIG_IGN);
            tcsetpgrp(STDIN_FILENO, getpid());
            signal(SIGTTOU, SIG_DFL);
            obey(term);
        }
        int status;
        while (waitpid(program, &status, WUNTRACED) == program && WIFSTOPPED(status)) {
            (void)!write(STDOUT_FILENO, "[stopped]", 9);
            usleep(1000);
            kill(program, SIGCONT);
        }
        (void)!write(STDOUT_FILENO, "[end]", 5);
        _exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
    }
}

/* Reads until text was shown behind offset `from`; returns where it ends. */
static size_t wait_for(struct session *s, size_t from, const char *text)
{
    for (;;) {
        const char *found = s->output.len > from ? strstr(s->output.data + from, text) : NULL;
        if (found)
            return (size_t)(found - s->output.data) + strlen(text);
        char block[4096];
        struct pollfd fd = {.fd = s->master, .events = POLLIN};
        if (poll(&fd, 1, WAIT_MS) <= 0)
            fail_msg("\"%s\" did not come; there was: %s", text, buf_text(&s->output));
        ssize_t n = read(s->master, block, sizeof block);
        if (n <= 0)
            fail_msg("the pty closed before \"%s\"", text);
        for (ssize_t i = 0; i < n; i++)
            if (block[i])
                buf_putc(&s->output, block[i]);
    }
}

static void press(struct session *s, char key)
{
    assert_int_equal(write(s->master, &key, 1), 1);
}

static void signal_program(struct session *s, int sig)
{
    pid_t group = tcgetpgrp(s->master);
    assert_true(group > 1);
    assert_int_equal(kill(-group, sig), 0);
}

static void expect_settings_as_before(struct session *s)
{
    struct termios now;
    assert_int_equal(tcgetattr(s->slave, &now), 0);
    assert_int_equal(now.c_iflag, s->before.c_iflag);
    assert_int_equal(now.c_oflag, s->before.c_oflag);
    assert_int_equal(now.c_lflag, s->before.c_lflag);
    assert_int_equal(now.c_cflag, s->before.c_cflag);
    assert_memory_equal(now.c_cc, s->before.c_cc, sizeof now.c_cc);
}

static void expect_modes_off(struct session *s, size_t from)
{
    static const char *const off[] = {"\033[?1000l", "\033[?1006l", "\033[?2004l", "\033[?1049l"};
    for (size_t i = 0; i < sizeof off / sizeof off[0]; i++)
        if (!strstr(buf_text(&s->output) + from, off[i]))
            fail_msg("mode not left: %s", off[i] + 1);
}

static void finish(struct session *s, int expected)
{
    int status;
    assert_int_equal(waitpid(s->child, &status, 0), s->child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), expected);
    close(s->master);
    close(s->slave);
    buf_fini(&s->output);
}

static size_t start_ready(struct session *s)
{
    start(s, "ferrum-unknown-terminal");
    size_t at = wait_for(s, 0, "ready");
    assert_non_null(strstr(s->output.data, "\033[?1049h"));
    assert_non_null(strstr(s->output.data, "\033[?2004h"));
    assert_non_null(strstr(s->output.data, "\033[?1006h"));
    assert_null(strstr(s->output.data, "lost"));
    struct termios now;
    assert_int_equal(tcgetattr(s->slave, &now), 0);
    assert_false(now.c_lflag & (ICANON | ECHO | ISIG));
    return at;
}

/* Ends the program by a key (or a signal to the child's foreground group) and checks what is left. */
static void ends_by(char key, int sig, int expected)
{
    struct session s;
    size_t at = start_ready(&s);
    if (key)
        press(&s, key);
    else
        signal_program(&s, sig);
    wait_for(&s, at, "[end]");
    expect_settings_as_before(&s);
    expect_modes_off(&s, at);
    assert_non_null(strstr(s.output.data + at, "lost?words"));
    assert_null(strstr(s.output.data + at, "\033[999;1H")); /* the shell's screen is not to be touched */
    finish(&s, expected);
}

static void terminal__close__gives_all_back(void **state)
{
    (void)state;
    ends_by('q', 0, 7);
}

static void terminal__segv__gives_all_back(void **state)
{
    (void)state;
    ends_by('s', 0, 128 + SIGSEGV);
}

static void terminal__abort__gives_all_back(void **state)
{
    (void)state;
    ends_by('a', 0, 128 + SIGABRT);
}

static void terminal__segv__clears_the_last_row_of_a_vt100(void **state)
{
    (void)state;
    struct session s;
    start(&s, "vt100");
    size_t at = wait_for(&s, 0, "ready");
    assert_null(strstr(s.output.data, "1049h"));
    press(&s, 's');
    at = wait_for(&s, at, "\033[999;1H\033[K");
    wait_for(&s, at, "lost?words");
    wait_for(&s, at, "[end]");
    expect_settings_as_before(&s);
    finish(&s, 128 + SIGSEGV);
}

static void terminal__segv_in_threads__gives_all_back(void **state)
{
    (void)state;
    ends_by('S', 0, 128 + SIGSEGV);
}

static void terminal__abort_in_a_thread__gives_all_back(void **state)
{
    (void)state;
    ends_by('A', 0, 128 + SIGABRT);
}

static void terminal__stack_overflow__gives_all_back(void **state)
{
    (void)state;
    ends_by('o', 0, 128 + SIGSEGV);
}

static void terminal__hup__gives_all_back(void **state)
{
    (void)state;
    ends_by(0, SIGHUP, 128 + SIGHUP);
}

static void terminal__term__gives_all_back(void **state)
{
    (void)state;
    ends_by(0, SIGTERM, 128 + SIGTERM);
}

static void terminal__restore__is_enough_alone(void **state)
{
    (void)state;
    struct session s;
    size_t at = start_ready(&s);
    press(&s, 'r');
    wait_for(&s, at, "lost?words");
    expect_settings_as_before(&s);
    expect_modes_off(&s, at);
    signal_program(&s, SIGKILL);
    wait_for(&s, at, "[end]");
    finish(&s, 128 + SIGKILL);
}

static void stops_and_resumes(bool by_key)
{
    struct session s;
    size_t at = start_ready(&s);
    if (by_key)
        press(&s, 'z');
    else
        signal_program(&s, SIGTSTP);
    size_t stopped = wait_for(&s, at, "[stopped]");
    expect_modes_off(&s, at);
    size_t back = wait_for(&s, stopped, by_key ? "<3 80x24 z>" : "<3 80x24 ->");
    assert_non_null(strstr(s.output.data + stopped, "\033[?1049h"));
    assert_non_null(strstr(s.output.data + stopped, "\033[?2004h"));
    assert_non_null(strstr(s.output.data + stopped, "ready"));
    press(&s, 'q');
    wait_for(&s, back, "[end]");
    expect_settings_as_before(&s);
    finish(&s, 7);
}

static void terminal__suspend__comes_back(void **state)
{
    (void)state;
    stops_and_resumes(true);
}

static void terminal__sigtstp__comes_back(void **state)
{
    (void)state;
    stops_and_resumes(false);
}

static void terminal__resize__is_told(void **state)
{
    (void)state;
    struct session s;
    size_t at = start_ready(&s);
    struct winsize size = {.ws_row = 10, .ws_col = 33};
    assert_int_equal(ioctl(s.master, TIOCSWINSZ, &size), 0);
    at = wait_for(&s, at, "33x10");
    press(&s, 'q');
    wait_for(&s, at, "[end]");
    finish(&s, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(terminal__close__gives_all_back),
        cmocka_unit_test(terminal__segv__gives_all_back),
        cmocka_unit_test(terminal__segv__clears_the_last_row_of_a_vt100),
        cmocka_unit_test(terminal__abort__gives_all_back),
        cmocka_unit_test(terminal__segv_in_threads__gives_all_back),
        cmocka_unit_test(terminal__abort_in_a_thread__gives_all_back),
        cmocka_unit_test(terminal__stack_overflow__gives_all_back),
        cmocka_unit_test(terminal__hup__gives_all_back),
        cmocka_unit_test(terminal__term__gives_all_back),
        cmocka_unit_test(terminal__restore__is_enough_alone),
        cmocka_unit_test(terminal__suspend__comes_back),
        cmocka_unit_test(terminal__sigtstp__comes_back),
        cmocka_unit_test(terminal__resize__is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
