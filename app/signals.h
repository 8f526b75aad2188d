/* signals.h: interrupt, terminate and hang-up as something to poll, for the faces of the chat.
 * Called on the main thread before any other thread starts, so that all inherit the mask. */
#ifndef FERRUM_SIGNALS_H
#define FERRUM_SIGNALS_H

#include "engine/base/err.h"

/* Blocks those of SIGINT, SIGTERM and SIGHUP that are not ignored and returns a descriptor that is readable
 * when one came; -1 with err. */
int signals_open(struct err *err);
/* The next signal, 0 when none is waiting. */
int signals_next(int fd);
/* 128 + the number, as shells count. */
int signals_exit_code(int signal_number);

#endif
