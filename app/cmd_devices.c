/* cmd_devices.c: `devices`: what can compute, what it says about itself, and whether it works. */
#include <stdio.h>

#include "app/commands.h"
#include "app/loader.h"
#include "engine/base/mem.h"
#include "kernels_cl/backend_cl.h"
#include "kernels_cpu/backend_cpu.h"

#define MAX_DEVICES 32

static double mib(uint64_t n_bytes)
{
    return (double)n_bytes / (1024.0 * 1024.0);
}

static void print_device(const struct backend_cl_device *d)
{
    printf("opencl  %s, %s, %u units, %.0f MiB%s, up to %.0f MiB in one piece\n", d->name, d->type,
           d->n_units, mib(d->memory_bytes), d->shares_memory ? " of the host" : "", mib(d->max_alloc_bytes));
    printf("        %s, driver %s, %s, %s kernels%s\n", d->platform, d->driver, d->version, d->style,
           d->has_fma ? ", fused multiply-add" : "");
    if (d->refusal[0])
        printf("        cannot be used: %s\n", d->refusal);
}

/* Opens a backend as a chat would, which asks its kernels for known answers. */
static void print_health(const char *name)
{
    struct loader_backends b;
    struct err why;
    struct options o = {0};
    o.value[OPT_BACKEND] = (struct opt_value){.source = OPT_FROM_LINE, .text = name};
    if (!loader_backends(&o, true, &b, &why)) {
        printf("        does not work: %s\n", why.text);
        return;
    }
    const struct backend *backend = loader_main_backend(&b);
    printf("        works: %s\n", backend->ops->describe(backend->ctx));
    loader_backends_close(&b);
}

bool cmd_devices(const struct options *o, struct err *err)
{
    if (o->n_words)
        return err_set(err, ERR_USAGE, "devices takes no words, found \"%.60s\"; usage: ferrum-chat %s",
                       o->words[0], command_info(CMD_DEVICES)->usage);
    struct err why = {0};
    struct backend_cl_device *devices = mem_array(MAX_DEVICES, sizeof *devices, err);
    if (!devices)
        return false;
    printf("cpu     %d cores\n", backend_cpu_cores());
    print_health("cpu");
    size_t n = backend_cl_devices(devices, MAX_DEVICES, &why);
    if (!n)
        printf("opencl  %s\n", why.text);
    for (size_t i = 0; i < n; i++) {
        print_device(&devices[i]);
        if (devices[i].is_default)
            print_health("opencl");
    }
    mem_free(devices);
    return true;
}
