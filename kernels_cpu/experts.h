/* experts.h: a bound stack of experts of the CPU backend: slabs of equal shape, used where they lie in the
 * file map, in their packed types. Ownership as in weight.h. Read-only once bound, any thread. */
#ifndef FERRUM_EXPERTS_H
#define FERRUM_EXPERTS_H

#include "engine/backend.h"

#define EXPERTS_MAX 4096
/* Longest row of an expert: the threads keep gathered columns of that width (moe.c). */
#define EXPERTS_MAX_K ((size_t)1 << 16)

struct expert_rows {
    const uint8_t *data; /* [E] slabs of n rows of row_bytes */
    enum dtype type;
    size_t n, row_bytes;
};

struct bexperts {
    struct experts_shape shape;
    size_t n_parts;
    struct expert_rows parts[WEIGHT_MAX_PARTS];
};

struct bexperts *cpu_experts_bind(const struct tensor *const *parts, size_t n_parts, struct err *err);
void cpu_experts_free(struct bexperts *w);

/* Row `row` of all parts' rows of an expert. */
static inline const uint8_t *expert_row(const struct bexperts *w, size_t expert, size_t row, enum dtype *type)
{
    const struct expert_rows *part = w->parts;
    for (; row >= part->n; part++)
        row -= part->n;
    *type = part->type;
    return part->data + (expert * part->n + row) * part->row_bytes;
}

#endif
