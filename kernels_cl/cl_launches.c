/* cl_launches.c owns the list of a step's launches: those of a step of one token, in their order, each with a
 * kernel object of its own, whose arguments stay bound. A step that asks for the same launches again sets
 * none of them. What an operation asks for is always compared with what is bound, so that another model,
 * another cache or a longer context binds anew what differs, and no more. */
#include <string.h>

#include "engine/base/mem.h"
#include "kernels_cl/cl_backend.h"

/* Of a token; what comes behind them is launched by the programs' own kernels. */
#define LAUNCHES_MAX 2048

bool cl_launches_init(struct cl_backend *b, struct err *err)
{
    struct cl_launches *l = &b->launches;
    l->list = mem_array(LAUNCHES_MAX, sizeof *l->list, err);
    l->n = l->list ? LAUNCHES_MAX : 0;
    return l->list != NULL;
}

void cl_launches_fini(struct cl_backend *b)
{
    struct cl_launches *l = &b->launches;
    for (size_t i = 0; l->list && i < LAUNCHES_MAX; i++)
        if (l->list[i].kernel)
            b->api.clReleaseKernel(l->list[i].kernel);
    mem_free(l->list);
    *l = (struct cl_launches){0};
}

void cl_launches_end(struct cl_backend *b)
{
    b->launches.at = 0;
    b->launches.is_on = false;
}

void cl_launches_are_of(struct cl_backend *b, size_t n_tokens)
{
    b->launches.is_on = n_tokens == 1;
}

void cl_launches_skip(struct cl_backend *b)
{
    struct cl_launches *l = &b->launches;
    l->at += l->is_on && l->at < l->n;
}

void cl_launches_forget(struct cl_backend *b)
{
    b->launches.n_forgotten++;
}

static bool record(struct cl_backend *b, struct cl_launch *launch, enum cl_group group, int kernel)
{
    cl_int code;
    if (launch->kernel)
        b->api.clReleaseKernel(launch->kernel);
    *launch = (struct cl_launch){.group = group, .number = kernel};
    launch->kernel =
        b->api.clCreateKernel(b->programs.list[group].program, cl_kernel_name(group, kernel), &code);
    return launch->kernel != NULL;
}

struct cl_launch *cl_launches_next(struct cl_backend *b, enum cl_group group, int kernel)
{
    struct cl_launches *l = &b->launches;
    if (!l->is_on || l->at >= l->n)
        return NULL;
    struct cl_launch *next = &l->list[l->at++];
    bool is_same = next->kernel && next->group == group && next->number == kernel;
    if (!is_same && !record(b, next, group, kernel))
        return NULL;
    if (next->n_forgotten != l->n_forgotten)
        next->n_bound = 0;
    next->n_forgotten = l->n_forgotten;
    return next;
}

bool cl_launch_binds(struct cl_launch *launch, cl_uint i, const void *value, size_t n_bytes)
{
    cl_ulong bits = 0;
    memcpy(&bits, value, n_bytes);
    if (i >= CL_ARGS_MAX)
        return true;
    bool is_bound = i < launch->n_bound && launch->args[i] == bits;
    launch->args[i] = bits;
    launch->n_bound = i < launch->n_bound ? launch->n_bound : i + 1;
    return !is_bound;
}
