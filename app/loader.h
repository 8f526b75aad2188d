/* loader.h: opens the backend and the model the way the options ask; shared by the chat and the subcommands.
 * Single thread. */
#ifndef FERRUM_LOADER_H
#define FERRUM_LOADER_H

#include "app/options.h"
#include "engine/model.h"
#include "engine/speculation.h"

/* Said once at the start, borrowed: the CPU kernels to take (see backend_cpu_open), NULL: the best. */
void loader_cpu_kernels(const char *name);
/* The same for OpenCL (see backend_cl.h): the style of its kernels and the directory of compiled programs,
 * which is made when it is needed; NULL: the device's own, and none. */
void loader_cl_kernels(const char *style, const char *cache_dir);
/* What computes: the CPU, and the device that takes layers from it. */
struct loader_backends {
    struct backend cpu, device; /* device.ops NULL: none */
    uint32_t n_device;          /* layers, --gpu-layers */
    char note[512];             /* the device that was asked for cannot be used: what to tell people, or "" */
};

/* --backend and --gpu-layers. auto takes a GPU whose kernels compute what they should. must_have: an OpenCL
 * device that was asked for and cannot be used is an error, else a note. */
bool loader_backends(const struct options *o, bool must_have, struct loader_backends *out, struct err *err);
void loader_backends_close(struct loader_backends *b);
/* The one that most is asked of. */
struct backend *loader_main_backend(struct loader_backends *b);
/* Said once at the start, borrowed: FERRUM_SPECULATE, or NULL. What it means, or a sentence when it is no
 * such word. */
void loader_speculation(const char *name);
bool loader_speculation_mode(enum speculation_mode *out, struct err *err);
/* --kv-type, or the fallback. */
bool loader_kv_type(const struct options *o, enum dtype fallback, enum dtype *out, struct err *err);
/* Loads on this thread, with progress on stderr if that is a terminal, then what is unusual about the model,
 * one line each. */
struct model *loader_model(const char *path, struct loader_backends *b, struct err *err);
/* The model word of a subcommand; a sentence when it is missing or too much follows. */
bool loader_model_word(const struct options *o, const char **path, struct err *err);

/* Said once at the start: loader_say_experts has something to say (FERRUM_MOE_LOAD_TRACE). */
void loader_trace_experts(bool on);
/* A line per layer about how its experts are computed: to say (NULL: nobody) and to the log. */
void loader_say_experts(const struct model *m, void (*say)(void *arg, const char *line), void *arg);

/* "general.name" or the file's base name. */
const char *loader_display_name(const struct model_config *config, const char *path);

/* Said once at the start: stderr is a terminal that knows escapes. */
void loader_progress_on(bool on);
/* One changing line on stderr, if that is on. done = total erases it. */
void loader_progress(const char *what, uint64_t done, uint64_t total);
/* The same line with any text; "" erases it. */
void loader_progress_text(const char *text);

#endif
