/* commands.h: the subcommands. Each prints to stdout and returns true, or fills err, whose code is the exit
 * code. */
#ifndef FERRUM_COMMANDS_H
#define FERRUM_COMMANDS_H

#include "app/options.h"
#include "app/paths.h"

bool cmd_bench(const struct options *o, struct err *err);
bool cmd_logits(const struct options *o, struct err *err);
bool cmd_tokenize(const struct options *o, struct err *err);
bool cmd_render(const struct options *o, struct err *err);
bool cmd_devices(const struct options *o, struct err *err);
bool cmd_inspect(const struct options *o, struct err *err);
bool cmd_sessions(const struct options *o, const struct paths *paths, struct err *err);
bool cmd_kv(const struct options *o, const struct paths *paths, struct err *err);

#endif
