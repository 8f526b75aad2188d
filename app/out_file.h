/* out_file.h: a file that an option names and that bears its name only when it is whole.
 *
 * It is written under another name beside it, then renamed; a file that was there keeps its mode, a link
 * stays one; a device or a pipe is written itself. SIGINT, SIGTERM and SIGHUP, where they would end the
 * program, take the unfinished one along. One at a time; single thread. */
#ifndef FERRUM_OUT_FILE_H
#define FERRUM_OUT_FILE_H

#include <stdbool.h>
#include <stdio.h>

#include "engine/base/err.h"

struct out_file {
    FILE *file;
    const char *option;     /* "--out", for messages */
    char *path, *temporary; /* NULL: no renaming */
};

/* Before the work: whether it could be opened, as far as that can be seen without touching anything.
 * ERR_RUNTIME. */
bool out_file_check(const char *option, const char *path, struct err *err);
/* ERR_RUNTIME; out_file_close is needed in every case. option is borrowed. */
bool out_file_open(struct out_file *out, const char *option, const char *path, struct err *err);
/* The sentence for a write that failed: false, with errno's reason. */
bool out_file_fail(const struct out_file *out, struct err *err);
/* Ends the file: under its name if all went well (ok), else without a trace. */
bool out_file_close(struct out_file *out, bool ok, struct err *err);

#endif
