/* config.h: the environment and the config file; the one place where getenv is called.
 *
 * The file is $XDG_CONFIG_HOME/ferrum-chat/config: lines `name = value` with the names of the long options,
 * `#` begins a comment line, blank lines are skipped. Single thread, before other threads start. */
#ifndef FERRUM_CONFIG_H
#define FERRUM_CONFIG_H

#include <stdbool.h>

#include "app/options.h"
#include "engine/base/err.h"

/* Borrowed strings of the environment; NULL where unset, empty or (directories) not absolute. */
struct environment {
    const char *home, *config_home, *data_home, *cache_home, *state_home;
    const char *term;
    const char *cpu;       /* FERRUM_CPU: the kernels to compute with; for tests */
    const char *cl_style;  /* FERRUM_CL_STYLE: how OpenCL kernels are written (gpu, cpu); for tests */
    const char *speculate; /* FERRUM_SPECULATE: whether tokens are guessed (off, always); for tests */
    bool moe_profile;      /* FERRUM_MOE_PROFILE: a table of the profile at the end of one turn */
    bool moe_load_trace;   /* FERRUM_MOE_LOAD_TRACE: how the experts of each layer are computed */
    bool no_color;
    int escape_ms; /* ESCDELAY, 0 unset */
};
void config_environment(struct environment *env);

/* Fills options the command line left unset. No file: true. Errors: ERR_USAGE "path:line: key: value:
 * reason", or what the file is that it should not be; ERR_RUNTIME when it cannot be read. */
bool config_load(struct options *o, const char *path, struct err *err);

#endif
