/* act_cols.h: the input of a product as the dot kernels read it: many columns, each in the formats that its
 * weights want (act_quant.h), in scratch memory of the caller.
 *
 * Thread rule: laid out by one thread; quantised by all of the pool; read by any afterwards. */
#ifndef FERRUM_ACT_COLS_H
#define FERRUM_ACT_COLS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "kernels_cpu/dot_kernel.h"
#include "kernels_cpu/pool.h"

struct act_cols {
    const struct dot_set *set;
    const float *a; /* [m, k] */
    size_t m, k;
    /* The caller's, set before the layout. */
    bool wants[ACT_FORMAT_N];
    bool tiled;           /* tiles will read them (tile.h) ... */
    bool no_dots;         /* ... and nothing else */
    struct dot_cols cols; /* all m columns */
    atomic_size_t next;
};

/* Scratch for m columns of k values in every format. */
size_t act_cols_bytes(size_t m, size_t k);
/* Columns of that width that n_bytes of scratch hold; at least 1 for k <= WEIGHT_MAX_K and 16 MiB. */
size_t act_cols_fitting(size_t n_bytes, size_t k);

void act_cols_lay_out(struct act_cols *c, const struct dot_set *set, const float *a, size_t m, size_t k,
                      uint8_t *scratch);
/* On the threads of the pool, where that pays. */
void act_cols_quantise(struct act_cols *c, struct pool *pool);

/* Columns first .. first + n. */
struct dot_cols act_cols_view(const struct act_cols *c, size_t first, size_t n);
/* All columns, for tiles that hold weights [at, at + n) of a row: a segment (tile.h), or all. */
struct dot_cols act_cols_segment(const struct act_cols *c, size_t at, size_t n);
/* Columns index[0..n) copied side by side to out, which was laid out for them (same wants and k). */
void act_cols_gather(const struct act_cols *c, const uint32_t *index, size_t n, struct act_cols *out);

#endif
