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
/* A page of the model file's map that cannot be read any more (the file was cut short, its disk fails) ends
 * the program with a sentence and ERR_MODEL, not with a core. Nothing else here is mapped from files. */
void signals_explain_bus_error(void);
/* 128 + the number, as shells count. */
int signals_exit_code(int signal_number);

#endif
