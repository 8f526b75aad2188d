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
#include "kernels_cpu/peak.h"

struct tile_kernel;

#define DOT_MAX_COLS 16

/* Columns of one product; column c is k values (blocks, sums) further. Only the fields of the format are set.
 */
struct dot_cols {
    size_t n, k;    /* 1 <= n <= DOT_MAX_COLS */
    const float *x; /* ACT_F32: [n, k] */
    const float
        *chains; /* [n, k]: x as act_chains_fn orders it, by segments (tile.h); all columns, no view */
    const uint16_t *bf16;        /* ACT_BF16: [n, k] */
    const uint16_t *bf16_chains; /* as chains, by act_round_chains_fn */
    const int8_t *q;             /* ACT_Q8, with the rest: [n, k] */
    const float *d, *s;          /* [n, k / 32] */
    const int16_t *sums;         /* [n, k / 16] */
    /* What act_lanes_fn makes of them, where the set has it. */
    const int8_t *lanes;                /* [n, k] */
    const int32_t *start_32, *start_16; /* [n, k / 32], [n, k / 16] */
};

/* out[c] = the row w times column c, for c in 0 .. a->n. */
typedef void dot_fn(const uint8_t *w, const struct dot_cols *a, float *out);

struct dot_set {
    act_quant_fn *quantise;
    act_lanes_fn *lanes;   /* NULL: the kernels read natural order and need no start */
    bool natural_order;    /* only tiles want what it makes, and of that no lanes */
    act_chains_fn *chains; /* NULL: tiles of floats read x; their segments are one */
    /* Both or none. NULL: columns of bf16 weights are f32. */
    act_round_fn *round;
    act_round_chains_fn *round_chains;
    dot_fn *dot[DTYPE_N];
    const struct tile_kernel *tile[DTYPE_N]; /* NULL: none, see tile.h */
    peak_fn *peak[ACT_FORMAT_N];             /* NULL: nothing is computed that way */
};

/* The kernels of an instruction set, which the machine must have. */
const struct dot_set *dot_set_get(enum cpu_isa isa);

/* What a set's kernels of a type want to read. */
enum act_format dot_act_format(const struct dot_set *set, enum dtype type);

#endif
