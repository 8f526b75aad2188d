#include "tests/ui/screen.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <vterm.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "tests/ui/screen_driver.h"

#define DEADLINE_NS (20ull * 1000000000u)

struct screen {
    VTerm *vterm;
    VTermScreen *cells;
    int columns, rows;
    int terminal, control, report_fd;
    pid_t pid;
    bool ended;
    int exit_status;
    bool cursor_visible, alternate, mouse;
    struct buf tail; /* of the raw output: to see whether a frame is open, and the paste mode */
    bool frame_open, paste, was_drawn;
    struct buf report;
    struct buf text; /* the latest screen_text */
};

static int set_property(VTermProp property, VTermValue *value, void *user)
{
    struct screen *s = user;
    if (property == VTERM_PROP_CURSORVISIBLE)
        s->cursor_visible = value->boolean;
    else if (property == VTERM_PROP_ALTSCREEN)
        s->alternate = value->boolean;
    else if (property == VTERM_PROP_MOUSE)
        s->mouse = value->number != VTERM_PROP_MOUSE_NONE;
    return 1;
}

static const VTermScreenCallbacks callbacks = {.settermprop = set_property};

static void child(int control, int report_fd, const char *term, bool no_color)
{
    const struct ui_options options = {.term = term, .no_color = no_color};
    int code = screen_driver_run(&options, control, report_fd);
    exit(code); /* not _exit: the leak checker looks then */
}

static void write_all(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t k = write(fd, bytes, n);
        assert_true(k > 0);
        bytes += k;
        n -= (size_t)k;
    }
}

void screen_type(struct screen *s, const char *keys)
{
    write_all(s->terminal, keys, strlen(keys));
}

void screen_tell(struct screen *s, const char *format, ...)
{
    char line[8192];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line - 1, format, args);
    va_end(args);
    assert_in_range(n, 1, sizeof line - 2);
    line[n] = '\n';
    write_all(s->control, line, (size_t)n + 1);
}

void screen_resize(struct screen *s, int columns, int rows)
{
    struct winsize size = {.ws_col = (unsigned short)columns, .ws_row = (unsigned short)rows};
    s->columns = columns;
    s->rows = rows;
    vterm_set_size(s->vterm, rows, columns);
    assert_int_equal(ioctl(s->terminal, TIOCSWINSZ, &size), 0);
}

void screen_hang_up(struct screen *s)
{
    close(s->terminal);
    s->terminal = -1;
}

static const char *last_of(const char *text, const char *word)
{
    const char *found = NULL;
    for (const char *p = text; (p = strstr(p, word)); p++)
        found = p;
    return found;
}

static bool is_on(const char *tail, const char *on, const char *off, bool before)
{
    const char *last_on = last_of(tail, on), *last_off = last_of(tail, off);
    if (!last_on || !last_off)
        return last_on || (!last_off && before);
    return last_on > last_off;
}

/* Modes libvterm does not tell about, looked for in the bytes; a sequence may come in two reads. */
static void watch_modes(struct screen *s, const char *bytes, size_t n)
{
    buf_append(&s->tail, bytes, n);
    s->frame_open = is_on(s->tail.data, "\033[?2026h", "\033[?2026l", s->frame_open);
    s->was_drawn = s->was_drawn || last_of(s->tail.data, "\033[?2026l");
    s->paste = is_on(s->tail.data, "\033[?2004h", "\033[?2004l", s->paste);
    size_t keep = s->tail.len < 8 ? s->tail.len : 8;
    memmove(s->tail.data, s->tail.data + s->tail.len - keep, keep);
    buf_truncate(&s->tail, keep);
}

static void take_end(struct screen *s, int flags)
{
    if (!s->ended && waitpid(s->pid, &s->exit_status, flags) == s->pid)
        s->ended = true;
}

/* Takes what came from the driver, waiting a little if nothing is there. */
static void pump(struct screen *s)
{
    char bytes[16384];
    struct pollfd fds[2] = {{.fd = s->terminal, .events = POLLIN}, {.fd = s->report_fd, .events = POLLIN}};
    poll(fds, 2, 50);
    if (fds[0].revents & (POLLIN | POLLHUP)) {
        ssize_t n = read(s->terminal, bytes, sizeof bytes);
        if (n > 0) {
            vterm_input_write(s->vterm, bytes, (size_t)n);
            watch_modes(s, bytes, (size_t)n);
        } else {
            take_end(s, WNOHANG);
        }
    }
    if (fds[1].revents & POLLIN) {
        ssize_t n = read(s->report_fd, bytes, sizeof bytes);
        if (n > 0)
            buf_append(&s->report, bytes, (size_t)n);
    } else if (fds[1].revents) {
        take_end(s, WNOHANG);
    }
}

static void put_cell(struct buf *out, const VTermScreenCell *cell)
{
    if (cell->chars[0] == 0 || cell->chars[0] == (uint32_t)-1)
        buf_putc(out, ' ');
    for (int i = 0; i < VTERM_MAX_CHARS_PER_CELL && cell->chars[i] && cell->chars[i] != (uint32_t)-1; i++) {
        char utf8[UTF8_MAX_BYTES];
        buf_append(out, utf8, utf8_encode(cell->chars[i], utf8));
    }
}

static void end_row(struct buf *out, size_t start)
{
    while (out->len > start && out->data[out->len - 1] == ' ')
        buf_truncate(out, out->len - 1);
    buf_putc(out, '\n');
}

void screen_text(struct screen *s, struct buf *out)
{
    for (int row = 0; row < s->rows; row++) {
        size_t start = out->len;
        for (int column = 0; column < s->columns;) {
            VTermScreenCell cell;
            vterm_screen_get_cell(s->cells, (VTermPos){.row = row, .col = column}, &cell);
            put_cell(out, &cell);
            column += cell.width > 1 ? cell.width : 1;
        }
        end_row(out, start);
    }
}

/* The colours seen so far, in their order: a letter for each. */
struct letters {
    long seen[26];
    int n;
};

/* -1: the terminal's own. */
static long color_of(const VTermColor *color)
{
    if (VTERM_COLOR_IS_DEFAULT_FG(color) || VTERM_COLOR_IS_DEFAULT_BG(color))
        return -1;
    if (VTERM_COLOR_IS_RGB(color))
        return 1L << 24 | color->rgb.red << 16 | color->rgb.green << 8 | color->rgb.blue;
    return color->indexed.idx;
}

static int letter_of(struct letters *l, long color)
{
    int i = 0;
    while (i < l->n && l->seen[i] != color)
        i++;
    if (i == l->n && l->n < 26)
        l->seen[l->n++] = color;
    return i;
}

void screen_looks(struct screen *s, struct buf *out)
{
    struct letters letters = {0};
    for (int row = 0; row < s->rows; row++) {
        size_t start = out->len;
        for (int column = 0; column < s->columns; column++) {
            VTermScreenCell cell;
            vterm_screen_get_cell(s->cells, (VTermPos){.row = row, .col = column}, &cell);
            long color = color_of(&cell.fg);
            char look = cell.attrs.reverse ? 'r' : cell.attrs.bold ? 'b' : '.';
            if (color >= 0)
                look = (char)((cell.attrs.bold ? 'A' : 'a') + letter_of(&letters, color));
            buf_putc(out, cell.chars[0] == 0 || cell.chars[0] == ' ' ? ' ' : look);
        }
        end_row(out, start);
    }
}

bool screen_grounds(struct screen *s, struct buf *out)
{
    struct letters letters = {0};
    for (int row = 0; row < s->rows; row++) {
        size_t start = out->len;
        for (int column = 0; column < s->columns; column++) {
            VTermScreenCell cell;
            vterm_screen_get_cell(s->cells, (VTermPos){.row = row, .col = column}, &cell);
            long color = color_of(&cell.bg);
            buf_putc(out, color >= 0 ? (char)('a' + letter_of(&letters, color)) : ' ');
        }
        end_row(out, start);
    }
    return letters.n > 0;
}

static const char *now_text(struct screen *s)
{
    buf_truncate(&s->text, 0);
    screen_text(s, &s->text);
    return buf_text(&s->text);
}

/* Fails with the screen: printed apart, because cmocka cuts long messages. */
__attribute__((format(printf, 2, 3), noreturn)) static void give_up(struct screen *s, const char *format, ...)
{
    char message[256];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    fprintf(stderr, "%s", now_text(s));
    fail_msg("%s; exit status %x", message, (unsigned)s->exit_status);
    abort();
}

struct screen *screen_start(int columns, int rows, bool no_color)
{
    return screen_start_on("xterm-256color", columns, rows, no_color);
}

struct screen *screen_start_on(const char *term, int columns, int rows, bool no_color)
{
    struct screen *s = mem_need(sizeof *s);
    struct winsize size = {.ws_col = (unsigned short)columns, .ws_row = (unsigned short)rows};
    int control[2], report_fd[2];
    *s = (struct screen){.columns = columns, .rows = rows, .cursor_visible = true};
    assert_int_equal(pipe2(control, O_CLOEXEC), 0);
    assert_int_equal(pipe2(report_fd, O_CLOEXEC), 0);
    s->vterm = vterm_new(rows, columns);
    vterm_set_utf8(s->vterm, 1);
    s->cells = vterm_obtain_screen(s->vterm);
    vterm_screen_set_callbacks(s->cells, &callbacks, s);
    vterm_screen_enable_altscreen(s->cells, 1);
    vterm_screen_reset(s->cells, 1);
    fflush(NULL); /* what is buffered is not the child's to write */
    s->pid = forkpty(&s->terminal, NULL, NULL, &size);
    assert_true(s->pid >= 0);
    if (s->pid == 0) {
        close(control[1]);
        close(report_fd[0]);
        child(control[0], report_fd[1], term, no_color);
    }
    close(control[0]);
    close(report_fd[1]);
    s->control = control[1];
    s->report_fd = report_fd[0];
    /* Keys typed before the terminal is raw would be changed on their way. */
    uint64_t end = clock_now_ns() + DEADLINE_NS;
    while (!s->was_drawn || s->frame_open) {
        if (s->ended || clock_now_ns() > end)
            give_up(s, "the driver draws nothing");
        pump(s);
    }
    return s;
}

static void wait_for(struct screen *s, const char *pattern, bool present)
{
    uint64_t end = clock_now_ns() + DEADLINE_NS;
    while (s->frame_open || (strstr(now_text(s), pattern) != NULL) != present) {
        if (s->ended || clock_now_ns() > end)
            give_up(s, "waited for \"%s\" to %s", pattern, present ? "come" : "go");
        pump(s);
    }
}

void screen_wait(struct screen *s, const char *pattern)
{
    wait_for(s, pattern, true);
}

void screen_wait_gone(struct screen *s, const char *pattern)
{
    wait_for(s, pattern, false);
}

void screen_wait_report(struct screen *s, const char *line)
{
    uint64_t end = clock_now_ns() + DEADLINE_NS;
    while (!strstr(buf_text(&s->report), line)) {
        if (s->ended || clock_now_ns() > end)
            give_up(s, "waited for the report \"%s\", have\n%s", line, buf_text(&s->report));
        pump(s);
    }
}

const char *screen_wait_end(struct screen *s)
{
    uint64_t end = clock_now_ns() + DEADLINE_NS;
    while (!s->ended) {
        if (clock_now_ns() > end)
            give_up(s, "the driver does not end");
        pump(s);
        take_end(s, WNOHANG);
    }
    struct pollfd fd = {.fd = s->terminal, .events = POLLIN};
    while (s->terminal >= 0 && poll(&fd, 1, 0) > 0 && (fd.revents & POLLIN))
        pump(s);
    return now_text(s);
}

void screen_wait_cursor(struct screen *s, int column, int row)
{
    VTermPos pos = {.row = -1};
    uint64_t end = clock_now_ns() + DEADLINE_NS;
    while (!s->cursor_visible || pos.col != column || pos.row != row) {
        if (s->ended || clock_now_ns() > end)
            give_up(s, "the cursor is at %d, %d", pos.col, pos.row);
        pump(s);
        vterm_state_get_cursorpos(vterm_obtain_state(s->vterm), &pos);
    }
}

bool screen_is_given_back(struct screen *s)
{
    return !s->alternate && !s->mouse && !s->paste && !s->frame_open && s->cursor_visible;
}

void screen_stop(struct screen *s)
{
    close(s->control); /* which the driver takes as: quit */
    screen_wait_end(s);
    if (!WIFEXITED(s->exit_status) || WEXITSTATUS(s->exit_status) != 0)
        give_up(s, "the driver ended badly");
    if (s->terminal >= 0)
        close(s->terminal);
    close(s->report_fd);
    vterm_free(s->vterm);
    buf_fini(&s->tail);
    buf_fini(&s->report);
    buf_fini(&s->text);
    mem_free(s);
}
