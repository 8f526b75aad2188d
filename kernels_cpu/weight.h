/* weight.h: a bound weight of the CPU backend: one to four row blocks with one k that act as one matrix.
 *
 * Nothing is copied or unpacked: rows are used where they lie (the file map, alignment 1), in GGUF's own
 * layout. Ownership: the bweight belongs to the caller; the bytes it points at must outlive it. Read-only
 * once bound, any thread. */
#ifndef FERRUM_WEIGHT_H
#define FERRUM_WEIGHT_H

#include "engine/backend.h"

/* Longest row a product takes: one quantised row of activations must fit the scratch (gemm.h). */
#define WEIGHT_MAX_K ((size_t)1 << 20)

struct weight_rows {
    const uint8_t *data; /* [n] rows of row_bytes */
    const uint8_t *bias; /* f32 [n], alignment 1, or NULL */
    enum dtype type;
    size_t n, row_bytes;
};

struct bweight {
    size_t n, k, n_bytes; /* rows of all parts, width, bytes of all parts (biases not counted) */
    size_t n_parts;
    struct weight_rows parts[WEIGHT_MAX_PARTS];
};

/* The part that holds a row of the whole; *row becomes the row of that part. */
static inline const struct weight_rows *weight_part_of(const struct bweight *w, size_t *row)
{
    const struct weight_rows *part = w->parts;
    for (; *row >= part->n; part++)
        *row -= part->n;
    return part;
}

/* Checks shapes, types and byte counts; NULL and a sentence naming the tensor when one does not fit. */
struct bweight *cpu_weight_bind(const struct weight_part *parts, size_t n_parts, struct err *err);
void cpu_weight_free(struct bweight *w);
bool cpu_weight_supported(enum dtype type);

#endif
