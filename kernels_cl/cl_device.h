/* cl_device.h: which OpenCL devices there are, what they say about themselves, and which one is taken.
 *
 * Texts come from drivers: control characters and what is not ASCII are replaced. Values of a moment: memory
 * sizes change between two starts. Single thread. */
#ifndef FERRUM_CL_DEVICE_H
#define FERRUM_CL_DEVICE_H

#include "kernels_cl/cl_api.h"

#define CL_DEVICES_MAX 32

/* How kernels are written for it (common.cl). */
enum cl_style { CL_STYLE_CPU, CL_STYLE_GPU };

struct cl_device {
    cl_platform_id platform;
    cl_device_id id;
    cl_device_type type;
    char name[96], platform_name[64], vendor[64], driver[64], version[64], c_version[64];
    cl_uint n_units;
    size_t max_group;
    cl_ulong memory_bytes, max_alloc_bytes, local_bytes;
    bool shares_memory; /* works in the memory of the host: a CPU */
    bool has_fma;       /* a fused multiply-add in hardware */
    /* The driver keeps compiled programs itself, and compiles all of them once more when it is asked for the
     * binary: PoCL. */
    bool keeps_programs;
    enum cl_style style;
    char refusal[96]; /* why it cannot be used; "" when it can */
};

/* Up to CL_DEVICES_MAX of them; 0 is an answer (*err says why). */
size_t cl_devices_list(const struct cl_api *api, struct cl_device *out, struct err *err);

/* The GPU with the most memory, else an accelerator, else a CPU; gpu_only: nothing but a GPU. */
bool cl_device_choose(const struct cl_api *api, bool gpu_only, struct cl_device *out, struct err *err);

const char *cl_device_type_name(cl_device_type type);

#endif
