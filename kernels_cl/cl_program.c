#include "kernels_cl/cl_program.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "kernels_cl/cl_cache.h"
#include "kernels_cl/kernel_texts.h"

struct group_info {
    const char *name, *text;
    const char *kernels[CL_KERNELS_MAX];
};

static const struct group_info infos[] = {
    [CL_GROUP_ELEMENTS] = {"elements",
                           cl_text_elements,
                           {[CL_RMS_NORM] = "rms_norm",
                            [CL_SILU_MUL] = "silu_mul",
                            [CL_WEIGHTED_SUM] = "weighted_sum",
                            [CL_ADD_GATED] = "add_gated",
                            [CL_LARGEST] = "largest"}},
    [CL_GROUP_ROUTE] = {"route", cl_text_route, {[CL_ROUTE] = "route", [CL_MAKE_TILES] = "make_tiles"}},
    [CL_GROUP_MATRIX] = {"matrix", cl_text_matrix, {[CL_MATRIX] = "matrix"}},
    [CL_GROUP_KV_F16] = {"attention",
                         cl_text_attention,
                         {[CL_ROPE_CACHE] = "rope_cache",
                          [CL_ATTENTION] = "attention",
                          [CL_ATTENTION_PART] = "attention_part",
                          [CL_ATTENTION_MERGE] = "attention_merge"}},
    [CL_GROUP_WEIGHT] = {"weights",
                         cl_text_weights,
                         {[CL_PRODUCT] = "product",
                          [CL_EXPERT_PRODUCT] = "expert_product",
                          [CL_EXPAND] = "expand",
                          [CL_LOOKUP] = "lookup"}},
};

static const struct group_info *info_of(enum cl_group group)
{
    if (group >= CL_GROUP_WEIGHT)
        return &infos[CL_GROUP_WEIGHT];
    return group >= CL_GROUP_KV_F16 ? &infos[CL_GROUP_KV_F16] : &infos[group];
}

static enum dtype kv_type_of(enum cl_group group)
{
    return group == CL_GROUP_KV_F16 ? DTYPE_F16 : group == CL_GROUP_KV_F32 ? DTYPE_F32 : DTYPE_I8;
}

enum cl_group cl_group_of_kv(enum dtype type)
{
    return type == DTYPE_F16 ? CL_GROUP_KV_F16 : type == DTYPE_F32 ? CL_GROUP_KV_F32 : CL_GROUP_KV_I8;
}

/* The data type a group is built for, NULL for none. */
static const char *type_name_of(enum cl_group group)
{
    if (group >= CL_GROUP_WEIGHT)
        return dtype_info((enum dtype)(group - CL_GROUP_WEIGHT))->name;
    return group >= CL_GROUP_KV_F16 ? dtype_info(kv_type_of(group))->name : NULL;
}

void cl_group_name(enum cl_group group, char out[32])
{
    const char *type = type_name_of(group);
    snprintf(out, 32, "%s%s%s", info_of(group)->name, type ? " of " : "", type ? type : "");
}

const char *cl_kernel_name(enum cl_group group, int i)
{
    return i < CL_KERNELS_MAX ? info_of(group)->kernels[i] : NULL;
}

/* ---- options, sources, key ---- */

struct variant {
    enum cl_style style;
    bool fma;
};

/* " -DW_Q4_K" or " -DKV_I8" */
static void type_option(enum cl_group group, char out[32])
{
    const char *type = type_name_of(group);
    if (group == CL_GROUP_KV_I8)
        type = "i8";
    snprintf(out, 32, type ? " -D%s_%s" : "", group >= CL_GROUP_WEIGHT ? "W" : "KV", type ? type : "");
    for (char *c = out + 3; type && *c; c++)
        *c = (char)toupper((unsigned char)*c);
}

static void make_options(enum cl_group group, struct variant v, char out[128])
{
    char type[32];
    type_option(group, type);
    snprintf(out, 128, "-cl-std=CL1.2%s%s%s", v.style == CL_STYLE_GPU ? " -DGPU_STYLE" : "",
             v.fma ? " -DHAS_FMA" : "", type);
}

#define N_TEXTS 3
static void list_texts(enum cl_group group, const char *texts[N_TEXTS])
{
    texts[0] = cl_text_kernel_sizes;
    texts[1] = cl_text_common;
    texts[2] = info_of(group)->text;
}

/* Everything that changes what the compiler makes. */
static uint64_t key_of(const struct cl_programs *ps, enum cl_group group, const char *options)
{
    const struct cl_device *d = ps->device;
    const char *texts[N_TEXTS];
    list_texts(group, texts);
    const char *parts[] = {d->platform_name, d->vendor, d->name,  d->driver, d->version,
                           options,          texts[0],  texts[1], texts[2]};
    return cl_cache_key(parts, sizeof parts / sizeof *parts);
}

uint64_t cl_programs_source_key(enum cl_group group)
{
    const char *texts[N_TEXTS];
    list_texts(group, texts);
    return cl_cache_key(texts, N_TEXTS);
}

/* ---- building ---- */

static void drop(const struct cl_programs *ps, struct cl_program *p)
{
    for (int i = 0; i < CL_KERNELS_MAX; i++)
        if (p->kernels[i])
            ps->api->clReleaseKernel(p->kernels[i]);
    if (p->program)
        ps->api->clReleaseProgram(p->program);
    *p = (struct cl_program){.is_bad = p->is_bad, .why = p->why};
}

static void first_error_line(const char *log, char *out, size_t n)
{
    const char *at = strstr(log, "error:");
    at = at ? at : log;
    snprintf(out, n, "%.*s", (int)(strcspn(at, "\n") < n ? strcspn(at, "\n") : n - 1), at);
    for (char *c = out; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
}

/* Keeps the log and makes the sentence. */
static bool build_failed(const struct cl_programs *ps, struct cl_program *p, enum cl_group group, cl_int code,
                         struct err *err)
{
    char name[32], line[160] = "", where[200] = "";
    size_t n = 0;
    cl_group_name(group, name);
    char *log = NULL;
    if (p->program && ps->api->clGetProgramBuildInfo(p->program, ps->device->id, CL_PROGRAM_BUILD_LOG, 0,
                                                     NULL, &n) == CL_SUCCESS)
        log = mem_alloc(n + 1, NULL);
    if (log && ps->api->clGetProgramBuildInfo(p->program, ps->device->id, CL_PROGRAM_BUILD_LOG, n, log,
                                              NULL) == CL_SUCCESS) {
        first_error_line(log, line, sizeof line);
        cl_cache_keep_log(ps->cache_dir, p->key, log, where, sizeof where);
    }
    mem_free(log);
    return err_set(err, ERR_RUNTIME, "OpenCL: the kernels \"%s\" do not build on %.60s: %s (%d)%s%s%s%s",
                   name, ps->device->name, cl_code_name(code), code, *line ? ": " : "", line,
                   *where ? "; the whole log is in " : "", where);
}

static bool make_kernels(const struct cl_programs *ps, struct cl_program *p, enum cl_group group,
                         cl_int *code)
{
    const struct group_info *info = info_of(group);
    for (int i = 0; i < CL_KERNELS_MAX && info->kernels[i]; i++)
        if (!(p->kernels[i] = ps->api->clCreateKernel(p->program, info->kernels[i], code)))
            return false;
    return true;
}

/* A binary of an earlier run; whatever is wrong with it, the source is there. */
static bool load_binary(const struct cl_programs *ps, struct cl_program *p, enum cl_group group,
                        const char *options)
{
    size_t n;
    unsigned char *bytes = cl_cache_load(ps->cache_dir, p->key, CL_CACHE_PROGRAM, &n);
    cl_int code, status;
    if (!bytes)
        return false;
    p->program = ps->api->clCreateProgramWithBinary(ps->context, 1, &ps->device->id, &n,
                                                    (const unsigned char **)&bytes, &status, &code);
    mem_free(bytes);
    p->from_cache = true;
    if (p->program && code == CL_SUCCESS && status == CL_SUCCESS &&
        ps->api->clBuildProgram(p->program, 1, &ps->device->id, options, NULL, NULL) == CL_SUCCESS &&
        make_kernels(ps, p, group, &code))
        return true;
    log_line("OpenCL: the driver refuses a program of the cache; it is built anew");
    drop(ps, p);
    return false;
}

static bool build_source(const struct cl_programs *ps, struct cl_program *p, enum cl_group group,
                         const char *options, struct err *err)
{
    const char *texts[N_TEXTS];
    cl_int code;
    list_texts(group, texts);
    p->program = ps->api->clCreateProgramWithSource(ps->context, N_TEXTS, texts, NULL, &code);
    if (p->program)
        code = ps->api->clBuildProgram(p->program, 1, &ps->device->id, options, NULL, NULL);
    if (p->program && code == CL_SUCCESS && make_kernels(ps, p, group, &code))
        return true;
    build_failed(ps, p, group, code, err);
    drop(ps, p);
    return false;
}

/* A binary that answers wrongly is removed; a program that does so fresh from the compiler stays out. */
static bool is_quarantined(const struct cl_programs *ps, enum cl_group group, uint64_t key, struct err *err)
{
    char name[32], where[200];
    if (!cl_cache_is_bad(ps->cache_dir, key, where, sizeof where))
        return false;
    cl_group_name(group, name);
    err_set(err, ERR_RUNTIME,
            "OpenCL: the kernels \"%s\" have computed something wrong on %.60s before; remove %s to try them "
            "again",
            name, ps->device->name, where);
    return true;
}

static bool build_variant(struct cl_programs *ps, enum cl_group group, struct variant v, struct err *err)
{
    struct cl_program *p = &ps->list[group];
    char options[128];
    make_options(group, v, options);
    uint64_t key = key_of(ps, group, options);
    p->key = key;
    if (is_quarantined(ps, group, key, err))
        return false;
    if (!load_binary(ps, p, group, options)) {
        p->key = key;
        if (!build_source(ps, p, group, options, err))
            return false;
    }
    p->style = v.style;
    enum cl_answer answer = ps->check ? ps->check(ps->check_arg, group, err) : CL_ANSWER_RIGHT;
    if (answer == CL_ANSWER_RIGHT)
        return true;
    if (p->from_cache)
        cl_cache_remove(ps->cache_dir, key);
    else if (answer == CL_ANSWER_WRONG)
        cl_cache_mark_bad(ps->cache_dir, key);
    drop(ps, p);
    return false;
}

struct cl_program *cl_programs_get(struct cl_programs *ps, enum cl_group group, struct err *err)
{
    struct cl_program *p = &ps->list[group];
    if (p->program)
        return p;
    enum cl_style own = ps->device->style, other = own == CL_STYLE_GPU ? CL_STYLE_CPU : CL_STYLE_GPU;
    const struct variant variants[] = {{own, true}, {own, false}, {other, true}, {other, false}};
    for (size_t i = 0; i < 4 && !p->is_bad; i++) {
        if ((variants[i].fma && !ps->device->has_fma) || (variants[i].style != own && ps->style_is_forced))
            continue;
        if (build_variant(ps, group, variants[i], &p->why))
            return p;
        log_line("%s; trying another way to write them", p->why.text);
    }
    p->is_bad = true;
    if (err)
        *err = p->why;
    return NULL;
}

/* ---- the end ---- */

static void keep_binary(const struct cl_programs *ps, const struct cl_program *p)
{
    size_t n = 0;
    if (ps->api->clGetProgramInfo(p->program, CL_PROGRAM_BINARY_SIZES, sizeof n, &n, NULL) != CL_SUCCESS ||
        !n)
        return;
    unsigned char *bytes = mem_alloc(n, NULL);
    if (bytes &&
        ps->api->clGetProgramInfo(p->program, CL_PROGRAM_BINARIES, sizeof bytes, &bytes, NULL) == CL_SUCCESS)
        cl_cache_store(ps->cache_dir, p->key, CL_CACHE_PROGRAM, bytes, n);
    mem_free(bytes);
}

void cl_programs_fini(struct cl_programs *ps)
{
    for (int i = 0; i < CL_GROUP_N; i++) {
        struct cl_program *p = &ps->list[i];
        if (p->program && !p->from_cache && ps->cache_dir && !ps->device->keeps_programs)
            keep_binary(ps, p);
        drop(ps, p);
    }
}
