/* sampling.h: which settings a turn uses (sampling, reasoning), where each comes from, and their JSON form in
 * chat.db.
 *
 * Order, later wins: built-in defaults; the model file's general.sampling.*, or without any the preset of its
 * family; the config file; what the chat's last turn was told; the command line. The seed is never taken from
 * a chat. Pure functions. */
#ifndef FERRUM_SAMPLING_H
#define FERRUM_SAMPLING_H

#include "app/options.h"
#include "engine/base/buf.h"
#include "engine/base/chat.h"
#include "engine/prompt_template.h"
#include "engine/sampler.h"

enum sampling_source {
    SAMPLING_BUILT_IN,
    SAMPLING_PRESET,
    SAMPLING_FILE,
    SAMPLING_CONFIG,
    SAMPLING_CHAT,
    SAMPLING_LINE,
};

#define SAMPLING_N 9 /* settings besides the seed */

struct sampling {
    struct sampler_params params;
    enum sampling_source from[SAMPLING_N];
    const char *preset; /* its name, or NULL */
};

/* One setting, for those who show it. */
struct sampling_row {
    const char *name; /* of the option */
    bool is_int;
    double value;
    enum sampling_source from;
};
struct sampling_row sampling_row(const struct sampling *s, int i); /* i < SAMPLING_N */

/* Built-in defaults and what the model file, else the preset of its family, says: out[0] for answers without
 * reasoning, out[1] with. Lines about values of the file that are ignored are appended to `ignored`. */
void sampling_of_model(struct sampling out[2], const struct gguf *g, struct buf *ignored);
bool sampling_resolve(struct sampling *out, const struct sampling *of_model, const struct options *o,
                      const struct chat *chat, struct err *err);

/* Whether the chat is to reason. *chosen: someone said so (the command line, the chat, the config file). */
enum think_mode sampling_think(const struct options *o, const struct chat *chat, bool *chosen);

/* A random seed that every JSON reader keeps exactly (1 .. 2^53-1). */
uint64_t sampling_random_seed(void);
/* All settings of a turn; "own" lists those that belong to the chat, the others are the model's and are asked
 * for anew. think NULL: nobody said whether to reason. mem_free'd by the caller. */
char *sampling_to_json(const struct sampling *s, const enum think_mode *think);

#endif
