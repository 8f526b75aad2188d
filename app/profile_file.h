/* profile_file.h: the timers of the engine as a JSON file (--profile). Any thread. */
#ifndef FERRUM_PROFILE_FILE_H
#define FERRUM_PROFILE_FILE_H

#include "engine/base/err.h"
#include "engine/base/prof.h"

/* {prefill: {tokens, ops: [{op, ms, calls, bytes}]}, decode: {...}}; ERR_RUNTIME when the file cannot be
 * written. */
bool profile_file_write(const struct prof *prof, const char *path, struct err *err);

#endif
