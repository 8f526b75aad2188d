/* kernels.h: the private table of the small operations and of attention, one const table per instruction set.
 * The weight products have their own (gemm.h).
 *
 * Kernels are pure functions on host memory: no threads, no allocation, no failure; shapes were checked
 * before. A kernel works on a range of rows or heads, so that the callers (elementwise.c, attention.c) may
 * split the work; what it writes for a row does not depend on the range it was called with. */
#ifndef FERRUM_KERNELS_H
#define FERRUM_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/backend.h"
#include "kernels_cpu/cpu_features.h"

/* Longest head and most query rows one attention tile holds. */
#define ATTN_MAX_HEAD_DIM 512
#define ATTN_TILE_ROWS 16

/* One query row of a tile: its position limits inside the current page and its running softmax. */
struct attn_tile {
    size_t n_rows; /* <= ATTN_TILE_ROWS */
    size_t head_dim;
    const float *q;               /* [n_rows, head_dim], scale included */
    float *acc;                   /* [n_rows, head_dim], weighted sum of V */
    float max[ATTN_TILE_ROWS];    /* running maximum of the scores, -INFINITY before the first */
    float sum[ATTN_TILE_ROWS];    /* running sum of exp(score - max) */
    size_t begin[ATTN_TILE_ROWS]; /* rows of the page this query sees: [begin, end) */
    size_t end[ATTN_TILE_ROWS];
};

struct cpu_kernels {
    const char *name;
    /* One row of n: out = x / sqrt(mean(x^2) + eps) * w; out may be x. */
    void (*rms_norm)(float *out, const float *x, const float *w, size_t n, float eps);
    /* out[n] = silu(gate[n]) * up[n]. */
    void (*silu_mul)(float *out, const float *gate, const float *up, size_t n);
    /* One head of head_dim floats: rotates the first n_rot in place, cos and sin are [n_rot / 2]. */
    void (*rope)(float *x, const float *cos, const float *sin, size_t n_rot, enum rope_mode mode);
    void (*f32_to_f16)(uint16_t *out, const float *x, size_t n);
    /* Adds one page (KV_BLOCK_TOKENS rows of K and of V, [row][head_dim]) to a tile. */
    void (*attn_page_f16)(struct attn_tile *tile, const uint16_t *k, const uint16_t *v);
    void (*attn_page_f32)(struct attn_tile *tile, const float *k, const float *v);
    /* Sum of the bytes read, so that the reads cannot be left out; for read_bandwidth. */
    uint64_t (*read_bytes)(const void *p, size_t n_bytes);
};

extern const struct cpu_kernels cpu_kernels_scalar;
extern const struct cpu_kernels cpu_kernels_avx2; /* x86-64 only */

/* The table for an instruction set; AVX-512 machines use the AVX2 one, these operations wait for memory. */
const struct cpu_kernels *cpu_kernels_get(enum cpu_isa isa);

#endif
