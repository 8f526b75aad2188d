/* dot_kernel.h: one weight row times a few columns of activations: the only thing an instruction set
 * implements.
 *
 * A kernel reads a row of a weight in its file layout (alignment 1), unpacks each block once and serves up to
 * DOT_MAX_COLS columns with it. The order of additions depends on the row and the column alone, so a result
 * has the same bits for any number of columns, rows or threads. The tables are constant; kernels are pure
 * functions, any thread. A new instruction set is a new table. */
#ifndef FERRUM_DOT_KERNEL_H
#define FERRUM_DOT_KERNEL_H

#include "engine/tensor.h"
#include "kernels_cpu/act_quant.h"
#include "kernels_cpu/cpu_features.h"

#define DOT_MAX_COLS 16

/* Columns of one product; column c is k values (blocks, sums) further. Only the fields of the format are set.
 */
struct dot_cols {
    size_t n, k;         /* 1 <= n <= DOT_MAX_COLS */
    const float *x;      /* ACT_F32: [n, k] */
    const int8_t *q;     /* ACT_Q8 or ACT_Q8_LANES, with the rest: [n, k] */
    const float *d, *s;  /* [n, k / 32] */
    const int16_t *sums; /* [n, k / 16] */
};

/* out[c] = the row w times column c, for c in 0 .. a->n. */
typedef void dot_fn(const uint8_t *w, const struct dot_cols *a, float *out);

struct dot_set {
    act_quant_fn *quantise;
    act_lanes_fn *lanes; /* what types of 256 weights read; NULL: ACT_Q8 */
    dot_fn *dot[DTYPE_N];
};

/* The kernels of an instruction set, which the machine must have. */
const struct dot_set *dot_set_get(enum cpu_isa isa);

/* What a type's kernel wants to read. */
enum act_format dot_act_format(const struct dot_set *set, enum dtype type);

#endif
