/* terminal.h: the life of the terminal: taken at terminal_open, given back in every case.
 *
 * Owns: the tty settings, ncurses' screen (newterm, raw, no keypad), the alternate screen, bracketed paste
 * (2004), the wheel (1000 + 1006), stderr while the screen is up, and the signals SIGWINCH, SIGTSTP, SIGCONT
 * and the crash group (SEGV BUS FPE ILL ABRT); SIGALRM is stall.h's, which bounds what is written here. TERM,
 * HUP and INT are app's; only where app left them at their default do they restore the terminal before they
 * kill. All of it is installed before newterm, because ncurses takes every signal still at its default. There
 * is one terminal, so the module keeps its state for itself. Thread rule: one thread, except terminal_restore
 * (async-signal-safe, any thread). The signals above must not be blocked in the thread that calls
 * terminal_open (it unblocks them), and should be blocked in all others. Nobody else may call initscr,
 * newterm, endwin, getch or keypad. */
#ifndef FERRUM_TERMINAL_H
#define FERRUM_TERMINAL_H

#include <stdbool.h>

#include "engine/base/err.h"

struct terminal_options {
    const char
        *term; /* the value of TERM; NULL: ncurses looks itself. Unknown ones are retried as xterm-256color */
    bool no_color; /* NO_COLOR was set and is not empty */
};

/* Sets the locale from the environment; if that is not UTF-8, C.UTF-8 (in the environment too, since readline
 * looks there). False: this system has neither. Call before any thread starts; terminal_open calls it too. */
bool terminal_set_locale(void);

/* Takes stdin and stdout. On failure everything is as before. */
bool terminal_open(const struct terminal_options *options, struct err *err);

/* Gives everything back and writes what was printed to stderr meanwhile (control characters as '?'). If the
 * terminal takes no output, what is written to it from here on goes nowhere, so that the program can end.
 * Twice is fine. */
void terminal_close(void);

/* The same with nothing but async-signal-safe calls, for handlers and for the end of memory. Does nothing
 * when the terminal is not ours (any more). ncurses must not be used afterwards. */
void terminal_restore(void);

/* Readable when a signal waits: poll it and call terminal_take_changes. */
int terminal_fd(void);

enum terminal_change {
    TERMINAL_RESIZED = 1, /* LINES and COLUMNS are new: lay out and draw everything */
    TERMINAL_RESUMED = 2, /* back after a stop: the next terminal_flush repaints all cells */
};
/* Does what the waiting signals ask for (a SIGTSTP suspends here) and returns the changes as bits; a storm of
 * resizes is one change. */
unsigned terminal_take_changes(void);

/* Ctrl-Z: modes off, stop the process group, and after `fg` all back; returns the changes, as above. */
unsigned terminal_suspend(void);

void terminal_size(int *columns, int *rows);
#define TERMINAL_DIRECT (1 << 24)
/* 0 (bold, dim and reverse only), 8, 16, 256 or TERMINAL_DIRECT (a colour is 0xRRGGBB). start_color and
 * use_default_colors were called unless 0. */
int terminal_colors(void);

/* doupdate inside a synchronised update (mode 2026): call wnoutrefresh before. It waits for the terminal:
 * stall.h has the way out. */
void terminal_flush(void);
/* Makes the next terminal_flush repaint every cell (Ctrl-L). */
void terminal_redraw_all(void);

#endif
