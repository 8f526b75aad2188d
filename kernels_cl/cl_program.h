/* cl_program.h: the kernels of a device: eight kinds of programs, each built when it is first needed.
 *
 * Invariants
 *  1. A program that cl_programs_get gives was built and has passed its check (struct cl_programs: check).
 *  2. Variants are tried in a fixed order: the style of the device with and without a fused multiply-add,
 * then the other style (unless one style was asked for). A variant that does not build or computes something
 *     wrong is logged and never used; the cache directory remembers those that compute something wrong.
 *  3. Binaries are kept in the cache directory (cl_cache.h), if there is one and the driver does not keep
 * them itself; they are written when the programs are freed, because drivers add to them what is compiled at
 * the first use. Thread rule: one thread. Ownership: owns programs and kernels; context and device belong to
 * the caller. Errors: the first line of the compiler's log and where all of it is. */
#ifndef FERRUM_CL_PROGRAM_H
#define FERRUM_CL_PROGRAM_H

#include "engine/tensor.h"
#include "kernels_cl/cl_device.h"

/* One program each. */
enum cl_group {
    CL_GROUP_ELEMENTS,
    CL_GROUP_ROUTE,
    CL_GROUP_MATRIX,
    CL_GROUP_KV_F16, /* rows of the KV cache, and attention */
    CL_GROUP_KV_F32,
    CL_GROUP_KV_I8,
    CL_GROUP_WEIGHT, /* + enum dtype */
    CL_GROUP_N = CL_GROUP_WEIGHT + DTYPE_I8,
};

/* The kernels of a group, by their place in it. */
#define CL_KERNELS_MAX 5
enum { CL_RMS_NORM, CL_SILU_MUL, CL_WEIGHTED_SUM, CL_ADD_GATED, CL_LARGEST };
enum { CL_ROUTE, CL_MAKE_TILES };
enum { CL_MATRIX };
enum { CL_ROPE_CACHE, CL_ATTENTION, CL_ATTENTION_PART, CL_ATTENTION_MERGE };
enum { CL_PRODUCT, CL_EXPERT_PRODUCT, CL_EXPAND, CL_LOOKUP };

/* What comes of asking a program for a known answer. */
enum cl_answer { CL_ANSWER_RIGHT, CL_ANSWER_WRONG, CL_ANSWER_NONE /* it could not be run */ };

struct cl_program {
    cl_program program; /* NULL: not built */
    cl_kernel kernels[CL_KERNELS_MAX];
    enum cl_style style;
    bool is_bad;     /* every variant failed: `why` */
    bool from_cache; /* its binary is on disk already */
    uint64_t key;
    struct err why;
};

struct cl_programs {
    const struct cl_api *api;
    const struct cl_device *device;
    cl_context context;
    const char *cache_dir; /* NULL: none; borrowed */
    bool style_is_forced;
    /* A known answer, asked for once per program when it is built. */
    enum cl_answer (*check)(void *arg, enum cl_group group, struct err *err);
    void *check_arg;
    struct cl_program list[CL_GROUP_N];
};

/* Builds it at the first call; NULL when no variant works. */
struct cl_program *cl_programs_get(struct cl_programs *ps, enum cl_group group, struct err *err);
/* Writes binaries that are not in the cache, and releases all. */
void cl_programs_fini(struct cl_programs *ps);

/* "weights of q4_k" */
void cl_group_name(enum cl_group group, char out[32]);
/* Changes with what a group is built from. */
uint64_t cl_programs_source_key(enum cl_group group);
/* Of kernel number i of a group; NULL: it has no more. */
const char *cl_kernel_name(enum cl_group group, int i);
enum cl_group cl_group_of_kv(enum dtype type);

#endif
