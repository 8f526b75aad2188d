/* Which kernels operations have launched: the launch and the known answers of a backend are watched. And what
 * Oclgrind 21.10 has to be told otherwise to know which bytes were written (cl_copies): it keeps its notes by
 * the number of a buffer, does not forget them when one is released, and a later buffer gets the number. So
 * none is released before the end. A write of a part replaces the notes of the whole: there must be none. And
 * zeros that fill a new buffer are kept from it, so that what an operation has not written stays unwritten.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "kernels_cl/cl_backend.h"
#include "tests/kernels_cl/cl_fixture.h"

static struct {
    struct cl_backend *b;
    bool was_launched[CL_GROUP_N][CL_KERNELS_MAX];
} watched[4];
bool cl_copies;
static int n_watched;
static bool in_check;
static __typeof__(&clEnqueueNDRangeKernel) whole_launch;
static __typeof__(&clEnqueueWriteBuffer) whole_write;
static __typeof__(&clReleaseMemObject) whole_release;
static cl_mem *kept;
static size_t n_kept;

static cl_int watch_launch(cl_command_queue queue, cl_kernel kernel, cl_uint n, const size_t *offset,
                           const size_t *global, const size_t *local, cl_uint n_events,
                           const cl_event *events, cl_event *event)
{
    for (int w = 0; w < n_watched && !in_check; w++) {
        const struct cl_launches *l = &watched[w].b->launches;
        const struct cl_launch *last = l->at ? &l->list[l->at - 1] : NULL;
        if (last && last->kernel == kernel)
            watched[w].was_launched[last->group][last->number] = true;
        for (int g = 0; g < CL_GROUP_N; g++)
            for (int k = 0; k < CL_KERNELS_MAX; k++)
                if (watched[w].b->programs.list[g].kernels[k] == kernel)
                    watched[w].was_launched[g][k] = true;
    }
    return whole_launch(queue, kernel, n, offset, global, local, n_events, events, event);
}

static enum cl_answer watch_check(void *arg, enum cl_group group, struct err *err)
{
    in_check = true;
    enum cl_answer answer = cl_check(arg, group, err);
    in_check = false;
    return answer;
}

static cl_int keep_buffer(cl_mem mem)
{
    cl_mem *more = mem_need((n_kept + 1) * sizeof *more);
    if (n_kept)
        memcpy(more, kept, n_kept * sizeof *more);
    mem_free(kept);
    kept = more;
    kept[n_kept++] = mem;
    return CL_SUCCESS;
}

static cl_int write_whole(cl_command_queue queue, cl_mem mem, cl_bool waits, size_t at, size_t n_bytes,
                          const void *from, cl_uint n_events, const cl_event *events, cl_event *event)
{
    bool is_filling = !waits && !event; /* only that is never waited for */
    if (is_filling)
        return CL_SUCCESS;
    if (at)
        fail_msg("a part of a buffer is written from byte %zu on: Oclgrind would forget the rest", at);
    return whole_write(queue, mem, waits, at, n_bytes, from, n_events, events, event);
}

static void show_all_to_oclgrind(struct cl_backend *b)
{
    whole_write = b->api.clEnqueueWriteBuffer;
    whole_release = b->api.clReleaseMemObject;
    b->api.clEnqueueWriteBuffer = write_whole;
    b->api.clReleaseMemObject = keep_buffer;
    b->device.shares_memory = false;
}

void cl_watch(void *backend)
{
    struct cl_backend *b = backend;
    if (n_watched == 4)
        return;
    if (cl_copies)
        show_all_to_oclgrind(b);
    whole_launch = b->api.clEnqueueNDRangeKernel;
    b->api.clEnqueueNDRangeKernel = watch_launch;
    b->programs.check = watch_check;
    watched[n_watched++].b = b;
}

void cl_unwatch(void)
{
    for (int w = 0; w < n_watched && cl_copies; w++)
        watched[w].b->api.clReleaseMemObject = whole_release;
    for (size_t i = 0; i < n_kept; i++)
        whole_release(kept[i]);
    mem_free(kept);
    kept = NULL;
    n_kept = 0;
    n_watched = 0;
}

static void expect_launched(int world, int group, const char *name, size_t n_name)
{
    const char *known;
    for (int k = 0; (known = cl_kernel_name((enum cl_group)group, k)); k++)
        if (strlen(known) == n_name && memcmp(known, name, n_name) == 0 &&
            watched[world].was_launched[group][k])
            return;
    fail_msg("%s style: no operation has launched %.*s of program %d", world ? "gpu" : "cpu", (int)n_name,
             name, group);
}

void cl_expect_launched(const char *text, int first_group, int n_groups, const char *other)
{
    static const char mark[] = "\nKERNEL ";
    for (const char *at = text; n_cl_worlds && (at = strstr(at, mark));) {
        at += strlen(mark);
        size_t n = strcspn(at, "(");
        bool is_other = other && strlen(other) == n && memcmp(other, at, n) == 0;
        for (int w = 0; w < n_cl_worlds && !is_other; w++)
            for (int g = first_group; g < first_group + n_groups; g++)
                expect_launched(w, g, at, n);
    }
}
