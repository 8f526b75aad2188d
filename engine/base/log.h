/* log.h: the log file. Lines go to the file opened by log_open, nowhere else; before that they are dropped.
 * Never the terminal: the screen belongs to the ui. Any thread; one write(2) per line, no allocation. */
#ifndef FERRUM_LOG_H
#define FERRUM_LOG_H

#include <stdbool.h>

#include "engine/base/err.h"

/* Appends to path (mode 0600). A file above 1 MiB is started anew. */
bool log_open(const char *path, struct err *err);
void log_close(void);
__attribute__((format(printf, 1, 2))) void log_line(const char *format, ...);

#endif
