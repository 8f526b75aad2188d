/* cl_times.c owns the times of the device: for one token in some, launches go to a second queue, which notes
 * when each began and ended. The token before has been read back, so that the queues never work at once; the
 * times are asked for when this token has been read back too, so that nobody waits for them. */
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "kernels_cl/cl_backend.h"

bool cl_times_init(struct cl_backend *b, struct err *err)
{
    struct cl_times *t = &b->times;
    cl_int code;
    t->events = mem_array(CL_TIMES_MAX, sizeof *t->events, err);
    t->marks = t->events ? mem_array(CL_TIMES_MAX, sizeof *t->marks, err) : NULL;
    if (!t->marks)
        return false;
    t->queue = b->api.clCreateCommandQueue(b->context, b->device.id, CL_QUEUE_PROFILING_ENABLE, &code);
    if (!t->queue)
        log_line("OpenCL: %s times nothing: %s (%d)", b->device.name, cl_code_name(code), code);
    return true;
}

bool cl_time_begin(void *ctx)
{
    struct cl_backend *b = ctx;
    struct cl_times *t = &b->times;
    if (b->is_lost || t->on || !t->queue || !cl_wait(b))
        return false;
    t->other = b->queue;
    b->queue = t->queue;
    t->n_events = t->n_marks = 0;
    t->on = true;
    return true;
}

void cl_time_mark(void *ctx, uint32_t number)
{
    struct cl_times *t = &((struct cl_backend *)ctx)->times;
    if (!t->on || t->n_marks == CL_TIMES_MAX)
        return;
    t->marks[t->n_marks].number = number;
    t->marks[t->n_marks++].n_events = t->n_events;
}

/* Takes the event; 0 where the driver has no answer. */
static uint64_t time_of(const struct cl_backend *b, cl_event event)
{
    cl_ulong begin = 0, end = 0;
    bool ok =
        !b->is_lost &&
        b->api.clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof begin, &begin, NULL) ==
            CL_SUCCESS &&
        b->api.clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL) == CL_SUCCESS;
    b->api.clReleaseEvent(event);
    return ok && end > begin ? end - begin : 0;
}

void cl_time_end(void *ctx, void (*take)(void *arg, uint32_t number, uint64_t ns), void *arg)
{
    struct cl_backend *b = ctx;
    struct cl_times *t = &b->times;
    uint32_t at = 0;
    if (!t->on)
        return;
    cl_wait(b); /* it was read back: this returns at once, unless the step has failed */
    for (uint32_t i = 0; i < t->n_marks; i++) {
        uint64_t sum = 0;
        while (at < t->marks[i].n_events)
            sum += time_of(b, t->events[at++]);
        if (sum)
            take(arg, t->marks[i].number, sum);
    }
    while (at < t->n_events)
        b->api.clReleaseEvent(t->events[at++]);
    b->queue = t->other;
    t->on = false;
}

void cl_times_fini(struct cl_backend *b)
{
    if (b->times.queue)
        b->api.clReleaseCommandQueue(b->times.queue);
    mem_free(b->times.events);
    mem_free(b->times.marks);
}
