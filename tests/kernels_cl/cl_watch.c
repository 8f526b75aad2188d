/* Which kernels operations have launched: the launch and the known answers of a backend are watched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

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

static cl_int watch_launch(cl_command_queue queue, cl_kernel kernel, cl_uint n, const size_t *offset,
                           const size_t *global, const size_t *local, cl_uint n_events,
                           const cl_event *events, cl_event *event)
{
    for (int w = 0; w < n_watched && !in_check; w++)
        for (int g = 0; g < CL_GROUP_N; g++)
            for (int k = 0; k < CL_KERNELS_MAX; k++)
                if (watched[w].b->programs.list[g].kernels[k] == kernel)
                    watched[w].was_launched[g][k] = true;
    return whole_launch(queue, kernel, n, offset, global, local, n_events, events, event);
}

static enum cl_answer watch_check(void *arg, enum cl_group group, struct err *err)
{
    in_check = true;
    enum cl_answer answer = cl_check(arg, group, err);
    in_check = false;
    return answer;
}

void cl_watch(void *backend)
{
    struct cl_backend *b = backend;
    if (n_watched == 4)
        return;
    if (cl_copies)
        b->device.shares_memory = false;
    whole_launch = b->api.clEnqueueNDRangeKernel;
    b->api.clEnqueueNDRangeKernel = watch_launch;
    b->programs.check = watch_check;
    watched[n_watched++].b = b;
}

void cl_unwatch(void)
{
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
