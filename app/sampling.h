/* sampling.h: which sampling settings a turn uses, and their JSON form in chat.db.
 *
 * Order, later wins: built-in defaults, the model file's general.sampling.*, the config file, the chat's last
 * turn, the command line. The seed is never taken from a chat. Pure functions. */
#ifndef FERRUM_SAMPLING_H
#define FERRUM_SAMPLING_H

#include "app/options.h"
#include "engine/base/chat.h"
#include "engine/sampler.h"

/* Built-in defaults and what the model file says: the base of the rest. */
struct sampler_params sampling_of_model(const struct gguf *g);
bool sampling_resolve(struct sampler_params *out, const struct sampler_params *of_model,
                      const struct options *o, const struct chat *chat, struct err *err);
/* A random seed that every JSON reader keeps exactly (1 .. 2^53-1). */
uint64_t sampling_random_seed(void);
/* mem_free'd by the caller. */
char *sampling_to_json(const struct sampler_params *params);

#endif
