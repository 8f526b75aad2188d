/* screen.h: a real pseudo-terminal with a terminal emulator (libvterm) on our side and the screen driver on
 * the other. Waits look for a pattern until a deadline; there are no sleeps. A wait only sees complete frames
 * (synchronised updates). Any failure fails the cmocka test with the screen printed. */
#ifndef FERRUM_TEST_SCREEN_H
#define FERRUM_TEST_SCREEN_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/buf.h"

struct screen;

struct screen *screen_start(int columns, int rows, bool no_color);
/* On a terminal of this TERM; screen_start: xterm-256color. */
struct screen *screen_start_on(const char *term, int columns, int rows, bool no_color);
/* Ends the driver if it still runs and checks its exit code. */
void screen_stop(struct screen *s);

void screen_type(struct screen *s, const char *keys);
__attribute__((format(printf, 2, 3))) void screen_tell(struct screen *s, const char *format, ...);
void screen_resize(struct screen *s, int columns, int rows);
/* Closes the terminal under the driver. */
void screen_hang_up(struct screen *s);

void screen_wait(struct screen *s, const char *pattern);
void screen_wait_gone(struct screen *s, const char *pattern);
/* Waits for the driver's report to hold this line. */
void screen_wait_report(struct screen *s, const char *line);
/* Waits until the driver has ended; returns what was on the normal screen then. */
const char *screen_wait_end(struct screen *s);

/* Rows without trailing blanks, each with its LF. */
void screen_text(struct screen *s, struct buf *out);
/* One letter per cell: '.' plain, 'b' bold, 'r' reverse, a to z by first use for colours, upper case when
 * bold. */
void screen_looks(struct screen *s, struct buf *out);
/* The same for the backgrounds, ' ' for the terminal's own. False: there is no other. */
bool screen_grounds(struct screen *s, struct buf *out);
/* Waits for the cursor to be seen there. */
void screen_wait_cursor(struct screen *s, int column, int row);
/* Whether everything that was switched on has been switched off: alternate screen, paste, mouse, hidden
 * cursor. */
bool screen_is_given_back(struct screen *s);

#endif
