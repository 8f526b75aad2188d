#include "kernels_cl/cl_device.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "kernels_cl/kernel_sizes.h"

#define PLATFORMS_MAX 16
/* What the largest kernel takes: attention with a head of HEAD_DIM_LIMIT. */
#define LOCAL_BYTES_NEEDED (GQA_HEADS * (HEAD_DIM_LIMIT + 2 * GPU_LANES) * sizeof(cl_float))

static void make_printable(char *text)
{
    for (char *c = text; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
}

/* A text that does not fit is cut: drivers list a whole page in some. */
static void read_text(const struct cl_api *api, cl_device_id id, cl_device_info what, char *out, size_t n)
{
    char text[4096] = "";
    size_t found = 0;
    if (api->clGetDeviceInfo(id, what, sizeof text - 1, text, &found) != CL_SUCCESS)
        text[0] = '\0';
    text[sizeof text - 1] = '\0';
    snprintf(out, n, "%.*s", (int)n - 1, text + strspn(text, " "));
    make_printable(out);
}

static bool read_value(const struct cl_api *api, cl_device_id id, cl_device_info what, void *out, size_t n)
{
    return api->clGetDeviceInfo(id, what, n, out, NULL) == CL_SUCCESS;
}

/* The sentence part that says why, or "". */
static void judge(const struct cl_api *api, struct cl_device *d)
{
    cl_bool available = CL_FALSE, compiler = CL_FALSE, little = CL_FALSE;
    int major = 0, minor = 0;
    read_value(api, d->id, CL_DEVICE_AVAILABLE, &available, sizeof available);
    read_value(api, d->id, CL_DEVICE_COMPILER_AVAILABLE, &compiler, sizeof compiler);
    read_value(api, d->id, CL_DEVICE_ENDIAN_LITTLE, &little, sizeof little);
    bool has_version = sscanf(d->c_version, "OpenCL C %d.%d", &major, &minor) == 2;
    if (!available)
        snprintf(d->refusal, sizeof d->refusal, "its driver says it is not available");
    else if (!compiler)
        snprintf(d->refusal, sizeof d->refusal, "its driver has no compiler");
    else if (!little)
        snprintf(d->refusal, sizeof d->refusal, "it is big-endian");
    else if (!has_version || major < 1 || (major == 1 && minor < 2))
        snprintf(d->refusal, sizeof d->refusal, "it has \"%.20s\", expected OpenCL C 1.2", d->c_version);
    else if (d->max_group < GPU_LANES)
        snprintf(d->refusal, sizeof d->refusal, "its work-groups have %zu items, expected %d", d->max_group,
                 GPU_LANES);
    else if (d->local_bytes < LOCAL_BYTES_NEEDED)
        snprintf(d->refusal, sizeof d->refusal, "it has %llu bytes of local memory, expected %zu",
                 (unsigned long long)d->local_bytes, LOCAL_BYTES_NEEDED);
}

static void read_device(const struct cl_api *api, struct cl_device *d)
{
    cl_device_fp_config fp = 0;
    read_text(api, d->id, CL_DEVICE_NAME, d->name, sizeof d->name);
    read_text(api, d->id, CL_DEVICE_VENDOR, d->vendor, sizeof d->vendor);
    read_text(api, d->id, CL_DRIVER_VERSION, d->driver, sizeof d->driver);
    read_text(api, d->id, CL_DEVICE_VERSION, d->version, sizeof d->version);
    read_text(api, d->id, CL_DEVICE_OPENCL_C_VERSION, d->c_version, sizeof d->c_version);
    read_value(api, d->id, CL_DEVICE_TYPE, &d->type, sizeof d->type);
    read_value(api, d->id, CL_DEVICE_MAX_COMPUTE_UNITS, &d->n_units, sizeof d->n_units);
    read_value(api, d->id, CL_DEVICE_MAX_WORK_GROUP_SIZE, &d->max_group, sizeof d->max_group);
    read_value(api, d->id, CL_DEVICE_GLOBAL_MEM_SIZE, &d->memory_bytes, sizeof d->memory_bytes);
    read_value(api, d->id, CL_DEVICE_MAX_MEM_ALLOC_SIZE, &d->max_alloc_bytes, sizeof d->max_alloc_bytes);
    read_value(api, d->id, CL_DEVICE_LOCAL_MEM_SIZE, &d->local_bytes, sizeof d->local_bytes);
    read_value(api, d->id, CL_DEVICE_SINGLE_FP_CONFIG, &fp, sizeof fp);
    d->shares_memory = d->type & CL_DEVICE_TYPE_CPU;
    d->has_fma = fp & CL_FP_FMA;
    d->keeps_programs = strcmp(d->platform_name, "Portable Computing Language") == 0;
    d->style = d->type & CL_DEVICE_TYPE_CPU ? CL_STYLE_CPU : CL_STYLE_GPU;
    judge(api, d);
}

static size_t list_platform(const struct cl_api *api, cl_platform_id platform, struct cl_device *out,
                            size_t max)
{
    cl_device_id ids[CL_DEVICES_MAX];
    cl_uint n = 0;
    char name[sizeof out->platform_name] = "";
    if (api->clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, CL_DEVICES_MAX, ids, &n) != CL_SUCCESS)
        return 0;
    if (api->clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof name - 1, name, NULL) != CL_SUCCESS)
        name[0] = '\0';
    make_printable(name);
    size_t n_kept = n < max ? n : max;
    for (size_t i = 0; i < n_kept; i++) {
        out[i] = (struct cl_device){.platform = platform, .id = ids[i]};
        memcpy(out[i].platform_name, name, sizeof name);
        read_device(api, &out[i]);
    }
    return n_kept;
}

size_t cl_devices_list(const struct cl_api *api, struct cl_device *out, struct err *err)
{
    cl_platform_id platforms[PLATFORMS_MAX];
    cl_uint n_platforms = 0;
    size_t n = 0;
    if (api->clGetPlatformIDs(PLATFORMS_MAX, platforms, &n_platforms) != CL_SUCCESS)
        n_platforms = 0;
    if (n_platforms > PLATFORMS_MAX)
        n_platforms = PLATFORMS_MAX;
    for (cl_uint i = 0; i < n_platforms && n < CL_DEVICES_MAX; i++)
        n += list_platform(api, platforms[i], out + n, CL_DEVICES_MAX - n);
    if (!n)
        err_set(
            err, ERR_RUNTIME,
            "OpenCL: found no device (%u drivers answered); install a driver for your device (for the CPU, "
            "on Debian: pocl-opencl-icd), or use --backend cpu",
            n_platforms);
    return n;
}

/* Higher is better, 0 is never taken. */
static int rank(const struct cl_device *d, bool gpu_only)
{
    if (d->refusal[0])
        return 0;
    if (d->type & CL_DEVICE_TYPE_GPU)
        return 3;
    if (gpu_only)
        return 0;
    return d->type & CL_DEVICE_TYPE_ACCELERATOR ? 2 : 1;
}

bool cl_device_choose(const struct cl_api *api, bool gpu_only, struct cl_device *out, struct err *err)
{
    struct cl_device *all = mem_array(CL_DEVICES_MAX, sizeof *all, err), *best = NULL;
    size_t n = all ? cl_devices_list(api, all, err) : 0;
    for (size_t i = 0; i < n; i++) {
        int mine = rank(&all[i], gpu_only), other = best ? rank(best, gpu_only) : 0;
        if (mine > other || (mine && mine == other && all[i].memory_bytes > best->memory_bytes))
            best = &all[i];
    }
    if (best)
        *out = *best;
    else if (n)
        err_set(err, ERR_RUNTIME,
                "OpenCL: none of the %zu devices here can be used (%s: %s); use --backend cpu", n,
                all[0].name, all[0].refusal[0] ? all[0].refusal : "it is no GPU");
    mem_free(all);
    return best != NULL;
}

const char *cl_device_type_name(cl_device_type type)
{
    return type & CL_DEVICE_TYPE_GPU ? "GPU" : type & CL_DEVICE_TYPE_CPU ? "CPU" : "accelerator";
}
