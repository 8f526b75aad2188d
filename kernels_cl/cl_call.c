/* cl_call.c: a kernel, its arguments, its launch. */
#include "engine/base/log.h"
#include "kernels_cl/cl_backend.h"

/* Launches after which the driver is told to begin. */
#define FLUSH_EVERY 64

bool cl_fail(struct cl_backend *b, const char *what, cl_int code)
{
    if (!b->is_lost)
        log_line("OpenCL: %s failed on %s: %s (%d)", what, b->device.name, cl_code_name(code), code);
    b->is_lost = true;
    return false;
}

bool cl_wait(struct cl_backend *b)
{
    cl_int code = b->is_lost ? CL_SUCCESS : b->api.clFinish(b->queue);
    b->n_unflushed = 0;
    cl_launches_end(b);
    return code == CL_SUCCESS ? !b->is_lost : cl_fail(b, "waiting for the device", code);
}

struct cl_call cl_call_begin(struct cl_backend *b, enum cl_group group, int kernel)
{
    struct cl_call c = {.b = b, .code = CL_INVALID_KERNEL};
    struct cl_program *p = b->is_lost ? NULL : cl_programs_get(&b->programs, group, NULL);
    if (p) {
        c.launch = cl_launches_next(b, group, kernel);
        c.kernel = c.launch ? c.launch->kernel : p->kernels[kernel];
        c.style = p->style;
        c.code = CL_SUCCESS;
    }
    return c;
}

static void set_arg(struct cl_call *c, const void *value, size_t n_bytes)
{
    cl_uint i = c->n_args++;
    if (c->code != CL_SUCCESS || (c->launch && !cl_launch_binds(c->launch, i, value, n_bytes)))
        return;
    c->code = c->b->api.clSetKernelArg(c->kernel, i, n_bytes, value);
    if (c->code != CL_SUCCESS && c->launch)
        c->launch->n_bound = 0;
}

void cl_arg_mem(struct cl_call *c, cl_mem mem)
{
    mem = mem ? mem : c->b->nothing;
    set_arg(c, &mem, sizeof mem);
}

void cl_arg_buf(struct cl_call *c, const struct bbuf *buf)
{
    cl_arg_mem(c, buf ? buf->mem : NULL);
}

void cl_arg_u32(struct cl_call *c, size_t value)
{
    cl_uint number = (cl_uint)value;
    set_arg(c, &number, sizeof number);
}

void cl_arg_u64(struct cl_call *c, size_t value)
{
    cl_ulong number = value;
    set_arg(c, &number, sizeof number);
}

void cl_arg_f32(struct cl_call *c, float value)
{
    cl_float number = value;
    set_arg(c, &number, sizeof number);
}

bool cl_call_run(struct cl_call *c, size_t groups_x, size_t groups_y)
{
    struct cl_backend *b = c->b;
    size_t lanes = c->style == CL_STYLE_GPU ? GPU_LANES : 1;
    const size_t local[2] = {lanes, 1}, global[2] = {groups_x * lanes, groups_y};
    struct cl_times *t = &b->times;
    cl_event *event = t->on && t->n_events < CL_TIMES_MAX ? &t->events[t->n_events] : NULL;
    if (c->code == CL_SUCCESS)
        c->code = b->api.clEnqueueNDRangeKernel(b->queue, c->kernel, 2, NULL, global, local, 0, NULL, event);
    t->n_events += event && c->code == CL_SUCCESS;
    if (c->code != CL_SUCCESS)
        return cl_fail(b, "a kernel", c->code);
    if (++b->n_unflushed >= FLUSH_EVERY) {
        b->n_unflushed = 0;
        b->api.clFlush(b->queue);
    }
    return true;
}
