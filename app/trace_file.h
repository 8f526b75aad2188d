/* trace_file.h: the engine's trace (engine/trace.h) as a file for Perfetto or chrome://tracing (--trace).
 *
 * Source: the "Trace Event Format" of Chromium, JSON object form: complete events (ph X), ts and dur in
 * microseconds with nanoseconds behind the point, from the first step on. One track has the steps (decoded
 * tokens and batches of a prompt), the other the operations, with layer and bytes. Single thread. */
#ifndef FERRUM_TRACE_FILE_H
#define FERRUM_TRACE_FILE_H

#include "engine/trace.h"

/* ERR_RUNTIME when the file cannot be written; it is then as it was. */
bool trace_file_write(const struct trace *trace, const char *path, struct err *err);

#endif
