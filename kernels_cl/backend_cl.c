/* backend_cl.c: the OpenCL backend behind engine/backend.h: its op table, opening and closing. */
#include "kernels_cl/backend_cl.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "kernels_cl/cl_backend.h"

_Static_assert(PAGE_TOKENS == KV_BLOCK_TOKENS, "the kernels' page is the seam's");
_Static_assert(LARGEST_MAX == OP_LARGEST_MAX, "as many as the seam asks for");

static const char *describe(void *ctx)
{
    const struct cl_backend *b = ctx;
    return b->description;
}

/* A GPU computes by itself: one thread of the host feeds it. */
static int n_threads(void *ctx)
{
    const struct cl_backend *b = ctx;
    return b->device.shares_memory && b->device.n_units ? (int)b->device.n_units : 1;
}

static bool supports_weight(void *ctx, enum dtype type)
{
    (void)ctx;
    return (unsigned)type < DTYPE_I8;
}

/* Asked before a cache is made: its kernels are there from then on. */
static bool supports_kv(void *ctx, enum dtype type)
{
    struct cl_backend *b = ctx;
    if (type != DTYPE_F16 && type != DTYPE_F32 && type != DTYPE_I8)
        return false;
    return cl_programs_get(&b->programs, cl_group_of_kv(type), NULL) != NULL;
}

static size_t buf_bytes(const struct bbuf *buf)
{
    return buf->n_bytes;
}

static void weight_shape(const struct bweight *w, size_t *n, size_t *k, size_t *n_bytes)
{
    *n = w->n;
    *k = w->k;
    *n_bytes = w->n_bytes;
}

static void experts_shape(const struct bexperts *w, struct experts_shape *out)
{
    *out = w->shape;
}

static bool sync(void *ctx)
{
    return cl_wait(ctx);
}

static bool is_lost(void *ctx)
{
    const struct cl_backend *b = ctx;
    return b->is_lost;
}

static void close_cl(void *ctx)
{
    struct cl_backend *b = ctx;
    if (!b)
        return;
    if (b->queue)
        b->api.clFinish(b->queue);
    cl_launches_fini(b);
    if (b->context)
        cl_programs_fini(&b->programs);
    const cl_mem rooms[] = {b->expanded.mem, b->starts.mem, b->pairs.mem,  b->tiles.mem,
                            b->gate_up.mem,  b->parts.mem,  b->firsts.mem, b->nothing};
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++)
        if (rooms[i])
            b->api.clReleaseMemObject(rooms[i]);
    cl_shown_fini(b, &b->table);
    cl_shown_fini(b, &b->lens);
    cl_shown_fini(b, &b->ids);
    cl_times_fini(b);
    if (b->queue)
        b->api.clReleaseCommandQueue(b->queue);
    if (b->context)
        b->api.clReleaseContext(b->context);
    mem_free(b);
}

static const struct backend_ops cl_ops = {
    .name = "opencl",
    .close = close_cl,
    .describe = describe,
    .n_threads = n_threads,
    .supports_weight = supports_weight,
    .supports_kv = supports_kv,
    .buf_new = cl_buf_new,
    .buf_free = cl_buf_free,
    .buf_write = cl_buf_write,
    .buf_read = cl_buf_read,
    .buf_bytes = buf_bytes,
    .buf_room = cl_buf_room,
    .weight_bind = cl_weight_bind,
    .weight_free = cl_weight_free,
    .weight_shape = weight_shape,
    .experts_bind = cl_experts_bind,
    .experts_free = cl_experts_free,
    .experts_shape = experts_shape,
    .gemm = cl_gemm,
    .embed = cl_embed,
    .rms_norm = cl_rms_norm,
    .silu_mul = cl_silu_mul,
    .qkv_rope_cache = cl_qkv_rope_cache,
    .attention = cl_attention,
    .route = cl_route,
    .moe_gate_up = cl_moe_gate_up,
    .moe_down = cl_moe_down,
    .weighted_sum = cl_weighted_sum,
    .add_gated = cl_add_gated,
    .largest = cl_largest,
    .sync = sync,
    .is_lost = is_lost,
    .time_begin = cl_time_begin,
    .time_mark = cl_time_mark,
    .time_end = cl_time_end,
    .idle = cl_tuning_step,
};

/* What drivers have to say about a context. */
static void CL_CALLBACK hear(const char *text, const void *info, size_t n_info, void *arg)
{
    (void)info;
    (void)n_info;
    (void)arg;
    log_line("OpenCL: the driver says: %.200s", text);
}

static bool choose_style(struct cl_backend *b, const char *style, struct err *err)
{
    if (!style)
        return true;
    if (strcmp(style, "gpu") != 0 && strcmp(style, "cpu") != 0)
        return err_set(err, ERR_USAGE, "OpenCL: no style of kernels is called \"%.20s\"; expected gpu or cpu",
                       style);
    b->device.style = strcmp(style, "gpu") == 0 ? CL_STYLE_GPU : CL_STYLE_CPU;
    b->programs.style_is_forced = true;
    return true;
}

static bool open_device(struct cl_backend *b, struct err *err)
{
    const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM,
                                                (cl_context_properties)b->device.platform, 0};
    cl_int code;
    b->context = b->api.clCreateContext(properties, 1, &b->device.id, hear, NULL, &code);
    if (b->context)
        b->queue = b->api.clCreateCommandQueue(b->context, b->device.id, 0, &code);
    if (b->queue)
        b->nothing = b->api.clCreateBuffer(b->context, CL_MEM_READ_WRITE, 64, NULL, &code);
    if (b->nothing)
        return true;
    return err_set(err, ERR_RUNTIME, "OpenCL: %.60s cannot be opened: %s (%d); use --backend cpu",
                   b->device.name, cl_code_name(code), code);
}

static bool prepare(struct cl_backend *b, const char *cache_dir, struct err *err)
{
    if (!cl_shown_init(b, &b->table, err) || !cl_shown_init(b, &b->lens, err) ||
        !cl_shown_init(b, &b->ids, err) || !cl_times_init(b, err) || !cl_launches_init(b, err))
        return false;
    b->programs.api = &b->api;
    b->programs.device = &b->device;
    b->programs.context = b->context;
    b->programs.cache_dir = cache_dir;
    b->programs.check = cl_check;
    b->programs.check_arg = b;
    cl_tuning_load(b);
    return cl_programs_get(&b->programs, CL_GROUP_ELEMENTS, err) &&
           cl_programs_get(&b->programs, CL_GROUP_MATRIX, err);
}

bool backend_cl_open(struct backend *out, const struct backend_cl_options *o, struct err *err)
{
    struct cl_backend *b = mem_alloc(sizeof *b, err);
    if (!b)
        return false;
    if (!cl_api_open(&b->api, err) || !cl_device_choose(&b->api, o->gpu_only, &b->device, err) ||
        !choose_style(b, o->style, err) || !open_device(b, err) || !prepare(b, o->cache_dir, err)) {
        close_cl(b);
        return false;
    }
    snprintf(b->description, sizeof b->description, "opencl %.40s %s", b->device.name,
             b->programs.list[CL_GROUP_MATRIX].style == CL_STYLE_GPU ? "gpu" : "cpu");
    *out = (struct backend){&cl_ops, b};
    return true;
}

static void show(const struct cl_device *d, struct backend_cl_device *out)
{
    *out = (struct backend_cl_device){
        .type = cl_device_type_name(d->type),
        .style = d->style == CL_STYLE_GPU ? "gpu" : "cpu",
        .n_units = d->n_units,
        .memory_bytes = d->memory_bytes,
        .max_alloc_bytes = d->max_alloc_bytes,
        .shares_memory = d->shares_memory,
        .has_fma = d->has_fma,
    };
    memcpy(out->name, d->name, sizeof out->name);
    memcpy(out->platform, d->platform_name, sizeof out->platform);
    memcpy(out->driver, d->driver, sizeof out->driver);
    memcpy(out->version, d->version, sizeof out->version);
    memcpy(out->refusal, d->refusal, sizeof out->refusal);
}

size_t backend_cl_devices(struct backend_cl_device *out, size_t max, struct err *err)
{
    struct cl_api api;
    struct cl_device best = {0}, *all = mem_array(CL_DEVICES_MAX, sizeof *all, err);
    size_t n = all && cl_api_open(&api, err) ? cl_devices_list(&api, all, err) : 0;
    n = n < max ? n : max;
    bool has_best = n && cl_device_choose(&api, false, &best, NULL);
    for (size_t i = 0; i < n; i++) {
        show(&all[i], &out[i]);
        out[i].is_default = has_best && all[i].id == best.id;
    }
    mem_free(all);
    return n;
}
