#include "kernels_cpu/experts.h"

#include "engine/base/mem.h"
#include "kernels_cpu/weight.h"

static bool bind_part(struct bexperts *w, struct expert_rows *rows, const struct tensor *t, struct err *err)
{
    size_t slab, bytes;
    if (!cpu_weight_supported(t->type))
        return err_set(err, ERR_MODEL,
                       "experts %s: their type has no CPU kernel; use another file of the model", t->name);
    if (t->dims[0] != w->shape.k || t->dims[0] > EXPERTS_MAX_K || t->dims[2] != w->shape.n_experts)
        return err_set(
            err, ERR_MODEL,
            "experts %s: found %zu experts with rows of %zu, expected %zu with rows of %zu (at most "
            "%zu); the model file does not fit its architecture",
            t->name, t->dims[2], t->dims[0], w->shape.n_experts, w->shape.k, EXPERTS_MAX_K);
    if (!dtype_row_bytes(t->type, t->dims[0], &rows->row_bytes) ||
        !mem_mul(rows->row_bytes, t->dims[1], &slab) || !mem_mul(slab, t->dims[2], &bytes) ||
        bytes != t->n_bytes)
        return err_set(
            err, ERR_MODEL,
            "experts %s: %zu bytes are not %zu experts of %zu rows of %zu in %s; the model file is "
            "damaged",
            t->name, t->n_bytes, t->dims[2], t->dims[1], t->dims[0], dtype_info(t->type)->name);
    rows->data = t->data;
    rows->type = t->type;
    rows->n = t->dims[1];
    w->shape.n += rows->n;
    w->shape.expert_bytes += slab;
    return true;
}

struct bexperts *cpu_experts_bind(const struct tensor *const *parts, size_t n_parts, struct err *err)
{
    struct bexperts *w = mem_alloc(sizeof *w, err);
    if (!w)
        return NULL;
    w->shape.k = parts[0]->dims[0];
    w->shape.n_experts = parts[0]->dims[2];
    w->n_parts = n_parts;
    if (w->shape.n_experts > EXPERTS_MAX) {
        err_set(err, ERR_MODEL, "experts %s: found %zu of them, expected at most %d", parts[0]->name,
                w->shape.n_experts, EXPERTS_MAX);
        cpu_experts_free(w);
        return NULL;
    }
    for (size_t i = 0; i < n_parts; i++) {
        if (!bind_part(w, &w->parts[i], parts[i], err)) {
            cpu_experts_free(w);
            return NULL;
        }
    }
    return w;
}

void cpu_experts_free(struct bexperts *w)
{
    mem_free(w);
}
