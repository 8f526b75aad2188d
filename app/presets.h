/* presets.h: the sampling settings that the makers of known model families recommend, for files that carry
 * none of their own (general.sampling.*).
 *
 * Pure functions over one constant table; any thread. Sources: model cards and generation_config.json, see
 * the rows. */
#ifndef FERRUM_PRESETS_H
#define FERRUM_PRESETS_H

#include <stdbool.h>

#include "engine/gguf.h"
#include "engine/sampler.h"

struct preset;

/* The preset of the file's family for answers with or without reasoning; NULL: the family is not known, the
 * name says that the file is something made from it, or the file is no chat model (it has no template) or has
 * settings of its own. */
const struct preset *preset_find(const struct gguf *g, bool reasons);
const char *preset_name(const struct preset *p);
/* Overwrites the fields that the preset names. */
void preset_apply(const struct preset *p, struct sampler_params *params);

#endif
