/* cl_buffer.c: memory of the device. A device that works in host memory gets pages of ours, which the system
 * gives when they are touched; any other one gets buffers that are written once, so that a lack of memory
 * shows here and not in the middle of an answer. */
#include <assert.h>
#include <string.h>

#include "engine/base/mem.h"
#include "kernels_cl/cl_backend.h"

#define ZERO_BYTES ((size_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

static bool no_memory(const struct cl_backend *b, size_t n_bytes, cl_int code, struct err *err)
{
    const double mib = 1024.0 * 1024.0;
    return err_set(
        err, ERR_MEMORY,
        "OpenCL: %.60s does not give %.1f MiB in one piece: %s (%d), it says that it has %.0f MiB and "
        "gives up to %.0f; use a smaller --ctx or model, or --backend cpu",
        b->device.name, (double)n_bytes / mib, cl_code_name(code), code, (double)b->device.memory_bytes / mib,
        (double)b->device.max_alloc_bytes / mib);
}

static cl_int write_zeros(struct cl_backend *b, cl_mem mem, size_t n_bytes)
{
    static const char zeros[ZERO_BYTES];
    cl_int code = CL_SUCCESS;
    for (size_t at = 0; at < n_bytes && code == CL_SUCCESS; at += ZERO_BYTES) {
        size_t n = n_bytes - at < ZERO_BYTES ? n_bytes - at : ZERO_BYTES;
        code = b->api.clEnqueueWriteBuffer(b->queue, mem, CL_FALSE, at, n, zeros, 0, NULL, NULL);
    }
    return code == CL_SUCCESS ? b->api.clFinish(b->queue) : code;
}

static bool fill(struct cl_backend *b, struct bbuf *buf, struct err *err)
{
    cl_int code;
    if (b->device.shares_memory) {
        if (!(buf->host = mem_map(buf->n_bytes, err)))
            return false;
        buf->mem = b->api.clCreateBuffer(b->context, CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR, buf->n_bytes,
                                         buf->host, &code);
    } else {
        code = cl_take(b, buf->n_bytes) ? CL_SUCCESS : CL_MEM_OBJECT_ALLOCATION_FAILURE;
        if (code == CL_SUCCESS)
            buf->mem = b->api.clCreateBuffer(b->context, CL_MEM_READ_WRITE, buf->n_bytes, NULL, &code);
        if (buf->mem)
            code = write_zeros(b, buf->mem, buf->n_bytes);
    }
    return (buf->mem && code == CL_SUCCESS) || no_memory(b, buf->n_bytes, code, err);
}

struct bbuf *cl_buf_new(void *ctx, size_t n_bytes, struct err *err)
{
    struct bbuf *buf = mem_alloc(sizeof *buf, err);
    if (!buf)
        return NULL;
    buf->n_bytes = n_bytes;
    if (!n_bytes || fill(ctx, buf, err))
        return buf;
    cl_buf_free(ctx, buf);
    return NULL;
}

void cl_buf_free(void *ctx, struct bbuf *buf)
{
    struct cl_backend *b = ctx;
    if (!buf)
        return;
    b->tiled = (struct cl_tiled){0};
    cl_launches_forget(b);
    b->api.clFinish(b->queue); /* nothing that is enqueued may use its pages any more */
    if (buf->mem)
        b->api.clReleaseMemObject(buf->mem);
    if (buf->host)
        mem_unmap(buf->host, buf->n_bytes);
    if (!b->device.shares_memory)
        b->used_bytes -= buf->n_bytes;
    mem_free(buf);
}

/* Nobody tells how much of a device's memory others use, and drivers give more than there is: an eighth, and
 * up to a GiB of it, is left to them. */
static uint64_t bytes_left(const struct cl_backend *b)
{
    uint64_t memory = b->device.memory_bytes, others = memory / 8;
    uint64_t usable = memory - (others < GIB ? others : GIB);
    return usable > b->used_bytes ? usable - b->used_bytes : 0;
}

void cl_buf_room(void *ctx, struct buf_room *out)
{
    const struct cl_backend *b = ctx;
    out->left = b->device.shares_memory ? UINT64_MAX : bytes_left(b);
    out->largest = out->left < b->device.max_alloc_bytes ? out->left : b->device.max_alloc_bytes;
}

bool cl_take(struct cl_backend *b, size_t n_bytes)
{
    bool ok = b->device.shares_memory || n_bytes <= bytes_left(b);
    b->used_bytes += n_bytes;
    return ok;
}

bool cl_buf_write(void *ctx, struct bbuf *buf, size_t offset, const void *from, size_t n_bytes)
{
    struct cl_backend *b = ctx;
    assert(offset <= buf->n_bytes && n_bytes <= buf->n_bytes - offset);
    b->tiled = (struct cl_tiled){0};
    cl_launches_end(b);
    if (b->is_lost || !n_bytes)
        return !b->is_lost;
    cl_int code =
        b->api.clEnqueueWriteBuffer(b->queue, buf->mem, CL_TRUE, offset, n_bytes, from, 0, NULL, NULL);
    return code == CL_SUCCESS || cl_fail(b, "writing to the device", code);
}

bool cl_buf_read(void *ctx, const struct bbuf *buf, size_t offset, void *to, size_t n_bytes)
{
    struct cl_backend *b = ctx;
    assert(offset <= buf->n_bytes && n_bytes <= buf->n_bytes - offset);
    cl_launches_end(b);
    if (b->is_lost || !n_bytes)
        return !b->is_lost;
    cl_int code = b->api.clEnqueueReadBuffer(b->queue, buf->mem, CL_TRUE, offset, n_bytes, to, 0, NULL, NULL);
    b->n_unflushed = 0;
    return code == CL_SUCCESS || cl_fail(b, "reading from the device", code);
}

bool cl_room_need(struct cl_backend *b, struct cl_room *room, size_t n_bytes)
{
    cl_int code;
    if (room->n_bytes >= n_bytes)
        return true;
    cl_launches_forget(b);
    if (room->mem)
        b->api.clReleaseMemObject(room->mem); /* lives on until what is enqueued has ended */
    *room = (struct cl_room){0};
    room->mem = b->api.clCreateBuffer(b->context, CL_MEM_READ_WRITE, n_bytes, NULL, &code);
    if (!room->mem)
        return cl_fail(b, "memory for an operation", code);
    room->n_bytes = n_bytes;
    return true;
}

bool cl_shown_init(struct cl_backend *b, struct cl_shown *s, struct err *err)
{
    if (!(s->host = mem_array(CL_SHOWN_MAX, sizeof *s->host, err)))
        return false;
    return cl_room_need(b, &s->room, CL_SHOWN_MAX * sizeof *s->host) ||
           err_set(err, ERR_MEMORY, "OpenCL: %.60s gives no memory; use --backend cpu", b->device.name);
}

/* The last write has read `host`, which may change from now on. */
static cl_int end_write(struct cl_backend *b, struct cl_shown *s)
{
    cl_int code = s->written ? b->api.clWaitForEvents(1, &s->written) : CL_SUCCESS;
    if (s->written)
        b->api.clReleaseEvent(s->written);
    s->written = NULL;
    return code;
}

bool cl_shown_set(struct cl_backend *b, struct cl_shown *s, const uint32_t *from, size_t n)
{
    size_t n_bytes = n * sizeof *from;
    if (b->is_lost)
        return false;
    if (n > CL_SHOWN_MAX)
        return cl_fail(b, "more than 65536 tokens or pages in a call", CL_INVALID_VALUE);
    if (s->n >= n && memcmp(s->host, from, n_bytes) == 0)
        return true;
    s->n = 0;
    cl_int code = end_write(b, s);
    if (code != CL_SUCCESS)
        return cl_fail(b, "waiting for the device", code);
    memcpy(s->host, from, n_bytes);
    code = b->api.clEnqueueWriteBuffer(b->queue, s->room.mem, CL_FALSE, 0, n_bytes, s->host, 0, NULL,
                                       &s->written);
    if (code != CL_SUCCESS)
        return cl_fail(b, "writing to the device", code);
    s->n = n;
    return true;
}

void cl_shown_fini(struct cl_backend *b, struct cl_shown *s)
{
    if (s->written)
        b->api.clReleaseEvent(s->written);
    if (s->room.mem)
        b->api.clReleaseMemObject(s->room.mem);
    mem_free(s->host);
}
