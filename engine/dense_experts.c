#include "engine/dense_experts.h"

#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/memory_left.h"

static bool check_memory(const struct tensor *t, size_t n_bytes, const char *model, const char *backend,
                         struct err *err)
{
    const double gib = 1024.0 * 1024.0 * 1024.0;
    uint64_t left = memory_left();
    return n_bytes <= left ||
           err_set(err, ERR_MEMORY,
                   "%s: tensor %s is of type %s, for which the %s backend has no kernel; as f32 it needs "
                   "%.1f GiB of memory and %.1f GiB are left; get the model in another quantisation, for "
                   "example Q4_K_M",
                   model, t->name, dtype_info(t->type)->name, backend, (double)n_bytes / gib,
                   (double)left / gib);
}

/* Row by row: the type's rows are whole blocks (the reader of the file has checked it). */
static void fill(float *dst, const struct tensor *t)
{
    size_t row_bytes = 0, n_rows = t->dims[1] * t->dims[2] * t->dims[3];
    dtype_row_bytes(t->type, t->dims[0], &row_bytes);
    for (size_t i = 0; i < n_rows; i++)
        dtype_to_f32(t->type, (const char *)t->data + i * row_bytes, dst + i * t->dims[0], t->dims[0]);
}

const struct tensor *dense_stack_new(struct dense_stack **list, const struct tensor *t, const char *model,
                                     const char *backend, struct err *err)
{
    size_t n_bytes = sizeof(float);
    for (int i = 0; i < TENSOR_MAX_DIMS; i++)
        if (!mem_mul(n_bytes, t->dims[i], &n_bytes)) {
            err_set(err, ERR_MEMORY, "%s: tensor %s is too large to count as f32", model, t->name);
            return NULL;
        }
    struct dense_stack *stack =
        check_memory(t, n_bytes, model, backend, err) ? mem_alloc(sizeof *stack, err) : NULL;
    float *values = stack ? mem_map(n_bytes, err) : NULL;
    if (!values) {
        mem_free(stack);
        return NULL;
    }
    fill(values, t);
    stack->tensor = *t;
    stack->tensor.type = DTYPE_F32;
    stack->tensor.data = values;
    stack->tensor.n_bytes = n_bytes;
    stack->next = *list;
    *list = stack;
    log_line("%s: tensor %s is of type %s, for which the %s backend has no kernel: it is computed as f32, "
             "%.1f MiB",
             model, t->name, dtype_info(t->type)->name, backend, (double)n_bytes / (1 << 20));
    return &stack->tensor;
}

void dense_stacks_free(struct dense_stack *list)
{
    while (list) {
        struct dense_stack *next = list->next;
        mem_unmap((void *)list->tensor.data, list->tensor.n_bytes);
        mem_free(list);
        list = next;
    }
}
