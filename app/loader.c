#include "app/loader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/output.h"
#include "app/paths.h"
#include "engine/base/log.h"
#include "kernels_cl/backend_cl.h"
#include "kernels_cpu/backend_cpu.h"

static const char *cpu_kernels, *cl_style, *cl_cache_dir;

void loader_cpu_kernels(const char *name)
{
    cpu_kernels = name;
}

void loader_cl_kernels(const char *style, const char *cache_dir)
{
    cl_style = style;
    cl_cache_dir = cache_dir;
}

static const char *speculation;

void loader_speculation(const char *name)
{
    speculation = name;
}

bool loader_speculation_mode(enum speculation_mode *out, struct err *err)
{
    bool never = speculation && !strcmp(speculation, "off"),
         always = speculation && !strcmp(speculation, "always");
    *out = never ? SPECULATION_NEVER : always ? SPECULATION_ALWAYS : SPECULATION_WHEN_IT_PAYS;
    return never || always || !speculation ||
           err_set(err, ERR_USAGE, "FERRUM_SPECULATE is \"%s\"; expected off or always", speculation);
}

/* Without a compiled program on disk the next start only takes longer. */
static bool open_cl(bool gpu_only, struct backend *out, struct err *err)
{
    struct err why;
    struct backend_cl_options options = {cl_cache_dir, cl_style, gpu_only};
    if (cl_cache_dir && !paths_make_directories(cl_cache_dir, &why)) {
        log_line("%s; compiled OpenCL programs are not kept", why.text);
        options.cache_dir = NULL;
    }
    return backend_cl_open(out, &options, err);
}

/* Whether a driver for a GPU runs: where there is none, looking for one through OpenCL would load compilers
 * for nothing. */
static bool may_have_gpu(void)
{
    static const char *const nodes[] = {"/dev/dri/renderD128", "/dev/nvidia0",  "/dev/kfd",
                                        "/dev/mali0",          "/dev/kgsl-3d0", "/dev/dxg"};
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++)
        if (!access(nodes[i], F_OK))
            return true;
    return false;
}

/* Whole numbers, or auto. */
static bool read_layers(const struct options *o, uint32_t *out, struct err *err)
{
    const char *text = opt_text(o, OPT_GPU_LAYERS);
    *out = UINT32_MAX;
    if (!text || !strcmp(text, "auto"))
        return true;
    size_t n = strspn(text, "0123456789");
    if (!n || n > 6 || text[n])
        return err_set(err, ERR_USAGE, "--gpu-layers %.20s: expected a number of layers, or auto", text);
    *out = (uint32_t)strtoul(text, NULL, 10);
    return true;
}

static bool open_device(const struct options *o, bool must_have, struct loader_backends *b, struct err *err)
{
    const char *name = opt_text(o, OPT_BACKEND);
    bool is_asked = name && !strcmp(name, "opencl"), is_auto = !name || !strcmp(name, "auto");
    struct err why = {0};
    if (!b->n_device || (!is_asked && !(is_auto && may_have_gpu())) || open_cl(!is_asked, &b->device, &why))
        return true;
    if (is_asked && (must_have || why.code == ERR_USAGE)) {
        *err = why;
        return false;
    }
    log_line("%s", why.text);
    if (is_asked)
        snprintf(b->note, sizeof b->note, "%.400s; the CPU computes instead", why.text);
    return true;
}

bool loader_backends(const struct options *o, bool must_have, struct loader_backends *b, struct err *err)
{
    int n_threads = (int)opt_int(o, OPT_THREADS, backend_cpu_cores());
    *b = (struct loader_backends){0};
    if (read_layers(o, &b->n_device, err) && open_device(o, must_have, b, err) &&
        backend_cpu_open(&b->cpu, n_threads, cpu_kernels, err))
        return true;
    loader_backends_close(b);
    return false;
}

void loader_backends_close(struct loader_backends *b)
{
    if (b->device.ops)
        backend_close(&b->device);
    if (b->cpu.ops)
        backend_close(&b->cpu);
}

struct backend *loader_main_backend(struct loader_backends *b)
{
    return b->device.ops ? &b->device : &b->cpu;
}

bool loader_kv_type(const struct options *o, enum dtype fallback, enum dtype *out, struct err *err)
{
    static const enum dtype types[] = {DTYPE_F16, DTYPE_F32, DTYPE_I8};
    const char *name = opt_text(o, OPT_KV_TYPE);
    *out = fallback;
    for (size_t i = 0; name && i < sizeof types / sizeof *types; i++)
        if (!strcmp(name, dtype_info(types[i])->name)) {
            *out = types[i];
            return true;
        }
    return !name || err_set(err, ERR_USAGE, "--kv-type %s: expected f16, f32 or int8", name);
}

static bool progress_is_on;

void loader_progress_on(bool on)
{
    progress_is_on = on;
}

void loader_progress(const char *what, uint64_t done, uint64_t total)
{
    static int last_percent = -1;
    if (!progress_is_on || !total)
        return;
    int percent = (int)(100.0 * (double)done / (double)total);
    if (percent == last_percent)
        return;
    last_percent = percent;
    if (done >= total)
        fputs("\r\033[K", stderr);
    else
        fprintf(stderr, "\r%s %d %%", what, percent);
    fflush(stderr);
}

void loader_progress_text(const char *text)
{
    if (!progress_is_on)
        return;
    fprintf(stderr, "\r\033[K%s", text);
    fflush(stderr);
}

static bool report(void *arg, uint64_t done, uint64_t total)
{
    (void)arg;
    loader_progress("loading", done, total);
    return true;
}

static bool traces_experts;

void loader_trace_experts(bool on)
{
    traces_experts = on;
}

void loader_say_experts(const struct model *m, void (*say)(void *arg, const char *line), void *arg)
{
    struct buf experts = {0}, line = {0};
    for (uint32_t layer = 0; traces_experts && layer < model_config(m)->n_layer; layer++) {
        experts.len = line.len = 0;
        if (!model_say_experts(m, layer, &experts))
            continue;
        buf_printf(&line, "experts of layer %u: %s", layer, buf_text(&experts));
        log_line("%s", buf_text(&line));
        if (say)
            say(arg, buf_text(&line));
    }
    buf_fini(&experts);
    buf_fini(&line);
}

static void say_line(void *arg, const char *line)
{
    (void)arg;
    report_line("%s", line);
}

static void say_warnings(const struct model *m)
{
    const char *warnings[] = {vocab_warning(model_vocab(m)), model_warning(m), model_fewer(m)};
    for (size_t i = 0; i < sizeof warnings / sizeof *warnings; i++)
        if (warnings[i])
            report_line("%s", warnings[i]);
    loader_say_experts(m, say_line, NULL);
}

struct model *loader_model(const char *path, struct loader_backends *b, struct err *err)
{
    const struct load_progress progress = {.report = report};
    const struct model_places places = {&b->cpu, b->device.ops ? &b->device : NULL, b->n_device};
    struct model *m = model_load_on(path, &places, &progress, err);
    loader_progress("loading", 1, 1);
    if (m)
        say_warnings(m);
    return m;
}

bool loader_model_word(const struct options *o, const char **path, struct err *err)
{
    if (o->n_words != 1)
        return err_set(err, ERR_USAGE, "%s; usage: ferrum-chat %s",
                       o->n_words ? "expected one model file, found more words" : "no model file was given",
                       command_info(o->command)->usage);
    *path = o->words[0];
    return true;
}

const char *loader_display_name(const struct model_config *config, const char *path)
{
    const char *slash = strrchr(path, '/');
    return config->name[0] ? config->name : slash ? slash + 1 : path;
}
