/* backend_cl.h: opens the OpenCL backend (engine/backend.h) and tells what devices there are.
 *
 * Thread rule and errors: those of the seam; opening answers with a sentence that says what is missing. The
 * device must know OpenCL C 1.2; no extension is needed. */
#ifndef FERRUM_BACKEND_CL_H
#define FERRUM_BACKEND_CL_H

#include "engine/backend.h"

struct backend_cl_options {
    const char
        *cache_dir;    /* for compiled programs, made when needed; NULL: none. Borrowed until it is closed */
    const char *style; /* "gpu" or "cpu": how kernels are written; NULL: as the device likes it */
    bool gpu_only;     /* do not take a CPU */
};

/* False when there is no library, no device, or the kernels do not build or compute something wrong. */
bool backend_cl_open(struct backend *out, const struct backend_cl_options *options, struct err *err);

/* A device as `devices` shows it. */
struct backend_cl_device {
    char name[96], platform[64], driver[64], version[64];
    const char *type, *style;
    unsigned n_units;
    uint64_t memory_bytes, max_alloc_bytes;
    bool shares_memory, has_fma;
    char refusal[96]; /* why it cannot be used; "" when it can */
    bool is_default;  /* the one that is taken */
};

/* Writes up to max, returns how many; 0 and a sentence when there are none. */
size_t backend_cl_devices(struct backend_cl_device *out, size_t max, struct err *err);

#endif
