/* stall.h: keeps a terminal that takes no output (a stalled ssh, a paused window) from holding the program.
 *
 * Between stall_begin and stall_end a write to stdout may block. A timer looks every second: if the terminal
 * then takes nothing for four seconds (one, when a signal to end waits), what is left of the output goes to
 * /dev/null, and the caller goes on. A slow terminal takes a little now and then and is waited for. Owns
 * SIGALRM and two descriptors from stall_open to stall_close. Where the system has no timers all writes are
 * waited for. Thread rule: the thread that opened the terminal. */
#ifndef FERRUM_STALL_H
#define FERRUM_STALL_H

#include <stdbool.h>

void stall_open(void);
void stall_close(void);

/* Whether stdout takes anything within ms. True for one that is gone: writing says so at once. */
bool stall_takes_output(int ms);

void stall_begin(void);
/* False: the terminal stalled, and some of what was written since stall_begin is lost. */
bool stall_end(void);

/* From here on what is written to the descriptor goes nowhere. */
void stall_silence(int fd);

#endif
