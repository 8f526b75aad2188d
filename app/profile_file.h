/* profile_file.h: the timers of the engine as JSON, and as a file of that (--profile). Any thread. */
#ifndef FERRUM_PROFILE_FILE_H
#define FERRUM_PROFILE_FILE_H

#include <jansson.h>

#include "engine/base/err.h"
#include "engine/base/prof.h"

/* {prefill: {tokens, ops: [{op, ms, calls, bytes}]}, decode: {...}}; the caller's. */
json_t *profile_json(const struct prof *prof);
/* ERR_RUNTIME when the file cannot be written. */
bool profile_file_write(const struct prof *prof, const char *path, struct err *err);

#endif
