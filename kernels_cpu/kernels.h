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
#define ATTN_TILE_ROWS 32 /* query rows that share the loads of one K and V page */

/* Query rows of one KV head and their running softmax. Rows are in the order of their positions, so those
 * that see something of a page are neighbours. Row r sees rows [begin[r], end[r]) of the page at hand, none
 * when begin >= end; begin and end never decrease from row to row. */
struct attn_tile {
    size_t n_rows;
    size_t head_dim;
    float *q;               /* [n_rows, head_dim], scale included */
    float *acc;             /* [n_rows, head_dim], sum of exp(score - max) * V */
    float *k_wide, *v_wide; /* scratch, [KV_BLOCK_TOKENS, head_dim] each */
    const void *next_k;     /* K of the page that comes next, to be fetched ahead; NULL for none */
    size_t begin[ATTN_TILE_ROWS], end[ATTN_TILE_ROWS];
    float max[ATTN_TILE_ROWS]; /* of the scores, -INFINITY before the first */
    float sum[ATTN_TILE_ROWS]; /* of exp(score - max) */
    float scores[ATTN_TILE_ROWS][KV_BLOCK_TOKENS];
};

/* Adds the rows of one page to a tile; k and v are the rows of one head (struct kv_layer, engine/backend.h).
 */
typedef void attn_page_fn(struct attn_tile *tile, const void *k, const void *v);

struct cpu_kernels {
    /* attn_page works for head_dim % head_step == 0, that of int8 for head_dim % head_step_i8 == 0; for
     * others there is the next table. */
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
    /* Reads every byte; the value only keeps the reads from being left out. */
    uint64_t (*read_bytes)(const void *p, size_t n_bytes);
};

extern const struct cpu_kernels cpu_kernels_scalar;
extern const struct cpu_kernels cpu_kernels_avx2, cpu_kernels_avx512; /* defined on x86-64 only */

const struct cpu_kernels *cpu_kernels_get(enum cpu_isa isa);

#endif
