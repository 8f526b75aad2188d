#include "kernels_cpu/weight.h"

#include "engine/base/mem.h"

bool cpu_weight_supported(enum dtype type)
{
    return (unsigned)type < DTYPE_I8;
}

static bool bind_bias(struct weight_rows *rows, const struct tensor *bias, struct err *err)
{
    if (!bias)
        return true;
    if (bias->type != DTYPE_F32 || bias->dims[0] != rows->n || bias->n_bytes < rows->n * sizeof(float))
        return err_set(
            err, ERR_MODEL,
            "bias %s: found %s with %zu elements, expected f32 with %zu; the model file is damaged",
            bias->name, dtype_info(bias->type)->name, bias->dims[0], rows->n);
    rows->bias = bias->data;
    return true;
}

static bool bind_rows(struct bweight *w, struct weight_rows *rows, const struct weight_part *part,
                      struct err *err)
{
    const struct tensor *t = part->weight;
    size_t bytes;
    if (!cpu_weight_supported(t->type))
        return err_set(err, ERR_MODEL, "weight %s: its type has no CPU kernel; use another file of the model",
                       t->name);
    if (t->n_dims > 2 || t->dims[0] == 0 || t->dims[0] > WEIGHT_MAX_K || t->dims[0] != w->k)
        return err_set(
            err, ERR_MODEL,
            "weight %s: found %d dimensions with rows of %zu, expected 2 with rows of %zu (at most %zu); "
            "the model file does not fit its architecture",
            t->name, t->n_dims, t->dims[0], w->k, WEIGHT_MAX_K);
    if (!dtype_row_bytes(t->type, t->dims[0], &rows->row_bytes) ||
        !mem_mul(rows->row_bytes, t->dims[1], &bytes) || bytes > t->n_bytes)
        return err_set(err, ERR_MODEL,
                       "weight %s: %zu bytes do not hold %zu rows of %zu in %s; the model file is damaged",
                       t->name, t->n_bytes, t->dims[1], t->dims[0], dtype_info(t->type)->name);
    rows->data = t->data;
    rows->type = t->type;
    rows->n = t->dims[1];
    if (!mem_add(w->n_bytes, bytes, &w->n_bytes) || !mem_add(w->n, rows->n, &w->n))
        return err_set(err, ERR_MODEL, "weight %s: its parts are larger than memory", t->name);
    return bind_bias(rows, part->bias, err);
}

struct bweight *cpu_weight_bind(const struct weight_part *parts, size_t n_parts, struct err *err)
{
    if (n_parts == 0 || n_parts > WEIGHT_MAX_PARTS) {
        err_set(err, ERR_RUNTIME, "a weight of %zu parts: expected 1 to %d", n_parts, WEIGHT_MAX_PARTS);
        return NULL;
    }
    struct bweight *w = mem_alloc(sizeof *w, err);
    if (!w)
        return NULL;
    w->k = parts[0].weight->dims[0];
    w->n_parts = n_parts;
    for (size_t i = 0; i < n_parts; i++) {
        if (!bind_rows(w, &w->parts[i], &parts[i], err)) {
            cpu_weight_free(w);
            return NULL;
        }
    }
    return w;
}

void cpu_weight_free(struct bweight *w)
{
    mem_free(w);
}
