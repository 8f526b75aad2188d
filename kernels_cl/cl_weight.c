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
/* Rows of a piece of a tensor are a multiple of this: groups of all kernels are full, rows stay aligned. */
#define PIECE_ROWS 32

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
    rows->n_experts = t->dims[2];
    return fits_kernels(t, err) && dtype_row_bytes(t->type, t->dims[0], &rows->row_bytes) &&
           cl_programs_get(&b->programs, CL_GROUP_WEIGHT + t->type, err) &&
           (map_tensor(b, t, rows) || copy_tensor(b, t, rows, err));
}

static bool bind_bias(struct cl_backend *b, const struct tensor *bias, struct cl_rows *rows, struct err *err)
{
    struct cl_rows copy = {0};
    bool ok = copy_tensor(b, bias, &copy, err);
    rows->bias = copy.mem;
    rows->taken_bytes += copy.taken_bytes;
    return ok;
}

/* ---- pieces ---- */

/* A tensor that is larger than what the device gives in one piece is bound in several: `each` of its units
 * (rows, or experts of a stack), but for the last one. A unit that is too large by itself is refused when it
 * is bound. */
static size_t units_of_piece(const struct cl_backend *b, const struct tensor *t, size_t n_units)
{
    size_t largest = b->device.max_alloc_bytes > PAGE_BYTES ? b->device.max_alloc_bytes - PAGE_BYTES : 0;
    size_t each = n_units && t->n_bytes > largest ? largest / (t->n_bytes / n_units) : n_units;
    each = each > PIECE_ROWS ? each / PIECE_ROWS * PIECE_ROWS : each;
    return each ? each : 1;
}

/* Units first .. first + n of a tensor. dim is the one that counts them. */
static struct tensor piece_of(const struct tensor *t, int dim, size_t first, size_t n)
{
    struct tensor piece = *t;
    size_t unit_bytes = t->n_bytes / t->dims[dim];
    piece.data = (const char *)t->data + first * unit_bytes;
    piece.n_bytes = n * unit_bytes;
    piece.dims[dim] = n;
    return piece;
}

static void release_rows(struct cl_backend *b, struct cl_rows *rows, size_t n)
{
    cl_launches_forget(b);
    b->api.clFinish(b->queue); /* the file may be unmapped next */
    for (size_t i = 0; rows && i < n; i++) {
        cl_tuning_forget(b, &rows[i]);
        if (rows[i].mem)
            b->api.clReleaseMemObject(rows[i].mem);
        if (rows[i].bias)
            b->api.clReleaseMemObject(rows[i].bias);
        b->used_bytes -= rows[i].taken_bytes;
    }
    mem_free(rows);
}

static bool bind_matrix(struct cl_backend *b, const struct weight_part *part, size_t first,
                        struct cl_rows *rows, size_t *n_parts, struct err *err)
{
    const struct tensor *t = part->weight;
    size_t each = units_of_piece(b, t, t->dims[1]);
    for (size_t at = 0; at < t->dims[1]; at += each) {
        size_t n = t->dims[1] - at < each ? t->dims[1] - at : each;
        struct tensor piece = piece_of(t, 1, at, n);
        struct cl_rows *now = &rows[(*n_parts)++];
        now->first = first + at;
        if (!bind_rows(b, &piece, now, err))
            return false;
        cl_tuning_meet(b, now, t->dims[0]);
        struct tensor bias = part->bias ? piece_of(part->bias, 0, at, n) : (struct tensor){0};
        if (part->bias && !bind_bias(b, &bias, now, err))
            return false;
    }
    return true;
}

struct bweight *cl_weight_bind(void *ctx, const struct weight_part *parts, size_t n_parts, struct err *err)
{
    struct cl_backend *b = ctx;
    struct bweight *w = mem_alloc(sizeof *w, err);
    size_t n_pieces = 0;
    bool ok = w != NULL;
    for (size_t i = 0; i < n_parts; i++)
        n_pieces +=
            cl_groups(parts[i].weight->dims[1], units_of_piece(b, parts[i].weight, parts[i].weight->dims[1]));
    ok = ok && (w->parts = mem_array(n_pieces, sizeof *w->parts, err));
    for (size_t i = 0; ok && i < n_parts; i++) {
        w->k = parts[0].weight->dims[0];
        ok = bind_matrix(b, &parts[i], w->n, w->parts, &w->n_parts, err);
        w->n += parts[i].weight->dims[1];
        w->n_bytes += parts[i].weight->n_bytes;
    }
    if (ok)
        return w;
    cl_weight_free(ctx, w);
    return NULL;
}

void cl_weight_free(void *ctx, struct bweight *w)
{
    if (!w)
        return;
    release_rows(ctx, w->parts, w->n_parts);
    mem_free(w);
}

static bool bind_stack(struct cl_backend *b, const struct tensor *t, size_t first, struct cl_rows *rows,
                       size_t *n_parts, struct err *err)
{
    size_t each = units_of_piece(b, t, t->dims[2]);
    for (size_t at = 0; at < t->dims[2]; at += each) {
        struct tensor piece = piece_of(t, 2, at, t->dims[2] - at < each ? t->dims[2] - at : each);
        struct cl_rows *now = &rows[(*n_parts)++];
        now->first = first;
        now->first_expert = at;
        if (!bind_rows(b, &piece, now, err))
            return false;
    }
    return true;
}

struct bexperts *cl_experts_bind(void *ctx, const struct tensor *const *parts, size_t n_parts,
                                 struct err *err)
{
    struct cl_backend *b = ctx;
    struct bexperts *w =
        cl_programs_get(&b->programs, CL_GROUP_ROUTE, err) ? mem_alloc(sizeof *w, err) : NULL;
    size_t n_pieces = 0;
    bool ok = w != NULL;
    for (size_t i = 0; i < n_parts; i++)
        n_pieces += cl_groups(parts[i]->dims[2], units_of_piece(b, parts[i], parts[i]->dims[2]));
    ok = ok && (w->parts = mem_array(n_pieces, sizeof *w->parts, err));
    for (size_t i = 0; ok && i < n_parts; i++) {
        w->shape.n_experts = parts[0]->dims[2];
        w->shape.k = parts[0]->dims[0];
        ok = bind_stack(b, parts[i], w->shape.n, w->parts, &w->n_parts, err);
        w->shape.n += parts[i]->dims[1];
        w->shape.expert_bytes += parts[i]->n_bytes / parts[i]->dims[2];
    }
    if (ok)
        return w;
    cl_experts_free(ctx, w);
    return NULL;
}

void cl_experts_free(void *ctx, struct bexperts *w)
{
    if (!w)
        return;
    release_rows(ctx, w->parts, w->n_parts);
    mem_free(w);
}
