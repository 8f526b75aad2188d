/* output.h: standard output as a queue of bytes that never makes the program wait where it cannot see a
 * signal.
 *
 * Text for a terminal is sanitised; a pipe or a file gets the exact bytes. poll(2) fd for POLLOUT while
 * output_pending, then output_flush_some. Single thread. */
#ifndef FERRUM_OUTPUT_H
#define FERRUM_OUTPUT_H

#include <stdbool.h>

#include "engine/base/buf.h"
#include "ui/sanitize.h"

struct output {
    int fd;
    bool is_terminal;
    struct sanitizer sanitizer;
    struct buf bytes;
    size_t sent;
    int error; /* errno of the write that failed; nothing is written after it */
};

void output_init(struct output *out, int fd);
void output_fini(struct output *out);
void output_text(struct output *out, const char *text, size_t n);
/* The text so far is complete (an unfinished character cluster is let go), then a newline. */
void output_end_line(struct output *out);
bool output_pending(const struct output *out);
/* Writes at most what a ready pipe takes without waiting. */
void output_flush_some(struct output *out);

/* One sentence on stderr, "ferrum-chat: ...", sanitised for a terminal. */
__attribute__((format(printf, 1, 2))) void report_line(const char *format, ...);

#endif
