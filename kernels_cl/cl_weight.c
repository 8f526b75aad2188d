/* cl_weight.c: weights on the device. Where it works in host memory they stay in the file map: a buffer over
 * the pages they lie in and an offset. Else they are copied once. Rows stay in GGUF's own layout. */
#include <stdint.h>
#include <string.h>

#include "engine/base/mem.h"
#include "kernels_cl/cl_backend.h"

/* Of the system, and of what drivers want of memory that is not theirs. */
#define PAGE_BYTES ((uintptr_t)4096)
/* So that every vector of a row lies at the alignment of its numbers. */
#define ROW_ALIGNMENT ((uintptr_t)16)
#define UPLOAD_BYTES ((size_t)32 << 20)

static bool cannot_take(const struct cl_backend *b, const struct tensor *t, cl_int code, struct err *err)
{
    const double mib = 1024.0 * 1024.0;
    return err_set(
        err, ERR_MEMORY,
        "tensor %s: %.60s does not take its %.1f MiB: %s (%d), it gives up to %.0f MiB in one piece; use "
        "a smaller model, or --backend cpu",
        t->name, b->device.name, (double)t->n_bytes / mib, cl_code_name(code), code,
        (double)b->device.max_alloc_bytes / mib);
}

static bool map_tensor(struct cl_backend *b, const struct tensor *t, struct cl_rows *rows)
{
    uintptr_t at = (uintptr_t)t->data, page = at / PAGE_BYTES * PAGE_BYTES;
    cl_int code;
    if (!b->device.shares_memory || at % ROW_ALIGNMENT)
        return false;
    rows->base = at - page;
    rows->mem = b->api.clCreateBuffer(b->context, CL_MEM_READ_ONLY | CL_MEM_USE_HOST_PTR,
                                      at - page + t->n_bytes, (void *)page, &code);
    return rows->mem != NULL;
}

static bool copy_tensor(struct cl_backend *b, const struct tensor *t, struct cl_rows *rows, struct err *err)
{
    cl_int code;
    rows->base = 0;
    rows->taken_bytes += t->n_bytes;
    code = cl_take(b, t->n_bytes) ? CL_SUCCESS : CL_MEM_OBJECT_ALLOCATION_FAILURE;
    if (code == CL_SUCCESS)
        rows->mem = b->api.clCreateBuffer(b->context, CL_MEM_READ_ONLY, t->n_bytes, NULL, &code);
    for (size_t at = 0; rows->mem && code == CL_SUCCESS && at < t->n_bytes; at += UPLOAD_BYTES) {
        size_t n = t->n_bytes - at < UPLOAD_BYTES ? t->n_bytes - at : UPLOAD_BYTES;
        code = b->api.clEnqueueWriteBuffer(b->queue, rows->mem, CL_TRUE, at, n, (const char *)t->data + at, 0,
                                           NULL, NULL);
    }
    return (rows->mem && code == CL_SUCCESS) || cannot_take(b, t, code, err);
}

static bool fits_kernels(const struct tensor *t, struct err *err)
{
    return (t->dims[0] <= INT32_MAX && t->dims[1] <= INT32_MAX && t->dims[2] <= INT32_MAX) ||
           err_set(err, ERR_MODEL,
                   "tensor %s: found %zu x %zu x %zu, expected less than 2^31 of each; the file is "
                   "damaged: get it again from its source",
                   t->name, t->dims[0], t->dims[1], t->dims[2]);
}

static bool bind_rows(struct cl_backend *b, const struct tensor *t, struct cl_rows *rows, struct err *err)
{
    rows->type = t->type;
    rows->n = t->dims[1];
    return fits_kernels(t, err) && dtype_row_bytes(t->type, t->dims[0], &rows->row_bytes) &&
           cl_programs_get(&b->programs, CL_GROUP_WEIGHT + t->type, err) &&
           (map_tensor(b, t, rows) || copy_tensor(b, t, rows, err));
}

static bool bind_bias(struct cl_backend *b, const struct tensor *bias, struct cl_rows *rows, struct err *err)
{
    struct cl_rows copy = {0};
    if (!bias)
        return true;
    bool ok = copy_tensor(b, bias, &copy, err);
    rows->bias = copy.mem;
    rows->taken_bytes += copy.taken_bytes;
    return ok;
}

static void release_rows(struct cl_backend *b, struct cl_rows *rows, size_t n)
{
    b->api.clFinish(b->queue); /* the file may be unmapped next */
    for (size_t i = 0; i < n; i++) {
        if (rows[i].mem)
            b->api.clReleaseMemObject(rows[i].mem);
        if (rows[i].bias)
            b->api.clReleaseMemObject(rows[i].bias);
        b->used_bytes -= rows[i].taken_bytes;
    }
}

struct bweight *cl_weight_bind(void *ctx, const struct weight_part *parts, size_t n_parts, struct err *err)
{
    struct cl_backend *b = ctx;
    struct bweight *w = mem_alloc(sizeof *w, err);
    if (!w)
        return NULL;
    w->k = parts[0].weight->dims[0];
    w->n_parts = n_parts;
    for (size_t i = 0; i < n_parts; i++) {
        if (!bind_rows(b, parts[i].weight, &w->parts[i], err) ||
            !bind_bias(b, parts[i].bias, &w->parts[i], err)) {
            cl_weight_free(ctx, w);
            return NULL;
        }
        w->n += w->parts[i].n;
        w->n_bytes += parts[i].weight->n_bytes;
    }
    return w;
}

void cl_weight_free(void *ctx, struct bweight *w)
{
    if (!w)
        return;
    release_rows(ctx, w->parts, w->n_parts);
    mem_free(w);
}

struct bexperts *cl_experts_bind(void *ctx, const struct tensor *const *parts, size_t n_parts,
                                 struct err *err)
{
    struct cl_backend *b = ctx;
    struct bexperts *w =
        cl_programs_get(&b->programs, CL_GROUP_ROUTE, err) ? mem_alloc(sizeof *w, err) : NULL;
    if (!w)
        return NULL;
    w->shape = (struct experts_shape){.n_experts = parts[0]->dims[2], .k = parts[0]->dims[0]};
    w->n_parts = n_parts;
    for (size_t i = 0; i < n_parts; i++) {
        if (!bind_rows(b, parts[i], &w->parts[i], err)) {
            cl_experts_free(ctx, w);
            return NULL;
        }
        w->shape.n += w->parts[i].n;
        w->shape.expert_bytes += w->parts[i].n * w->parts[i].row_bytes;
    }
    return w;
}

void cl_experts_free(void *ctx, struct bexperts *w)
{
    if (!w)
        return;
    release_rows(ctx, w->parts, w->n_parts);
    mem_free(w);
}
