/* kernels.h: the private table of the small operations and of attention, one const table per instruction set.
 * The weight products have their own (gemm.h).
 *
 * Kernels are pure functions on host memory: no threads, no allocation, no failure; shapes were checked
 * before. What a kernel writes for a row depends on that row alone, never on the rows it was called with:
 * this is what makes results equal for any number of threads and of tokens. */
#ifndef FERRUM_KERNELS_H
#define FERRUM_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/backend.h"
#include "kernels_cpu/cpu_features.h"

#define ATTN_MAX_HEAD_DIM 512
#define ATTN_TILE_ROWS 192 /* at most: query rows that share the loads of one K and V page */

/* Query rows of one KV head and their running softmax. Rows are in the order of their positions, so those
 * that see something of a page are neighbours. Row r sees rows [begin[r], end[r]) of the page at hand, none
 * when begin >= end; begin and end never decrease from row to row. */
struct attn_tile {
    size_t n_rows;
    size_t head_dim;
    float *q;               /* [n_rows, head_dim], scale included */
    float *acc;             /* [n_rows, head_dim], sum of exp(score - max) * V */
    float *k_wide, *v_wide; /* scratch, [KV_BLOCK_TOKENS, head_dim] each */
    /* The rows of q rounded to 16 bits, and what an integer is worth: made by the first page of int8. */
    int16_t *q_rounded; /* [n_rows, head_dim] */
    float q_scale[ATTN_TILE_ROWS];
    bool is_rounded;
    float weight_scale[ATTN_TILE_ROWS]; /* in int8: what a row's rounded scores are worth */
    const void *next_k, *next_v;        /* the page that comes next, to be fetched ahead; NULL for none */
    size_t begin[ATTN_TILE_ROWS], end[ATTN_TILE_ROWS];
    float max[ATTN_TILE_ROWS];        /* of the scores, -INFINITY before the first */
    float sum[ATTN_TILE_ROWS];        /* of exp(score - max) */
    float (*scores)[KV_BLOCK_TOKENS]; /* [n_rows] */
};

/* Adds the rows of one page to a tile; k and v are the rows of one head (struct kv_layer, engine/backend.h).
 */
typedef void attn_page_fn(struct attn_tile *tile, const void *k, const void *v);

/* A softmax in the making, as floats in memory: [head_dim] weighted V, then its max, then its sum; sum 0:
 * nothing yet. */
#define ATTN_STATE_EXTRA 2

/* Adds a tile's row to a state: part[head_dim] with its max and its sum, which is not 0. */
typedef void attn_merge_fn(float *state, const float *part, float max, float sum, size_t head_dim);

struct cpu_kernels {
    /* attn_page and attn_merge work for head_dim % head_step == 0, in int8 for head_dim % head_step_i8 == 0;
     * for others there is the next table. */
    size_t head_step, head_step_i8;
    const struct cpu_kernels *next;
    /* One row: out = x / sqrt(mean(x^2) + eps) * w; out may be x. */
    void (*rms_norm)(float *out, const float *x, const float *w, size_t n, float eps);
    /* out[n] = silu(gate[n]) * up[n], held inside the finite numbers. */
    void (*silu_mul)(float *out, const float *gate, const float *up, size_t n);
    /* Rotates x[n_rot] in place; cos and sin are [n_rot / 2]. */
    void (*rope)(float *x, const float *cos, const float *sin, size_t n_rot, enum rope_mode mode);
    void (*f32_to_f16)(uint16_t *out, const float *x, size_t n);
    /* Rounds a row to integers, -127 .. 127, and returns the scale: largest magnitude / 127. A row that is
     * all but 0 (FLT_MIN * 127) becomes 0 with the scale 0; one that is not finite has the scale NaN. */
    float (*f32_to_i8)(int8_t *out, const float *x, size_t n);
    attn_page_fn *attn_page_f16, *attn_page_f32, *attn_page_i8;
    attn_merge_fn *attn_merge;
    /* Reads every byte; the value only keeps the reads from being left out. */
    uint64_t (*read_bytes)(const void *p, size_t n_bytes);
};

extern const struct cpu_kernels cpu_kernels_scalar;
extern const struct cpu_kernels cpu_kernels_avx2, cpu_kernels_avx512; /* defined on x86-64 only */
extern const struct cpu_kernels cpu_kernels_neon;                     /* AArch64 */

/* The kernels of an instruction set, which the machine must have. */
const struct cpu_kernels *cpu_kernels_get(enum cpu_isa isa);

#endif
