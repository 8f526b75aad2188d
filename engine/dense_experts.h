/* dense_experts.h: stacks of experts as f32, for types that the backend has no kernel for.
 *
 * Every other weight is used where it lies in the file. Ownership: the model keeps the copies
 * (dense_stacks_free). Used while loading; one thread. */
#ifndef FERRUM_DENSE_EXPERTS_H
#define FERRUM_DENSE_EXPERTS_H

#include <stdbool.h>

#include "engine/base/err.h"
#include "engine/tensor.h"

struct dense_stack {
    struct dense_stack *next;
    struct tensor tensor; /* f32; the bytes are its own */
};

/* A copy of t as f32, in front of *list. ERR_MEMORY when that is more than is left, with what to do. model:
 * how messages call the file; backend: who lacks the kernel. */
const struct tensor *dense_stack_new(struct dense_stack **list, const struct tensor *t, const char *model,
                                     const char *backend, struct err *err);
void dense_stacks_free(struct dense_stack *list);

#endif
