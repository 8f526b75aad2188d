/* gemm.h: out[m, n] (= or +=) a[m, k] * w^T (+ bias) for every weight type, and embedding rows.
 *
 * Int8 activations for quantised weights (act_quant.h), f32 arithmetic for f32, f16 and bf16 weights. A row
 * of out has the same bits for every m and every number of threads. Scratch is reserved once, in
 * gemm_ctx_new, and taken from the system only as far as it is touched; a product never allocates. Thread
 * rule: one caller at a time per context (it owns the scratch and runs the pool). The context does not own
 * the pool. Shapes are the caller's duty (backend.h checks them); here they are asserted. */
#ifndef FERRUM_GEMM_H
#define FERRUM_GEMM_H

#include "kernels_cpu/act_cols.h"
#include "kernels_cpu/cpu_features.h"
#include "kernels_cpu/pool.h"
#include "kernels_cpu/row_walk.h"
#include "kernels_cpu/weight.h"

struct gemm_ctx;

/* The machine must have what the set needs. */
struct gemm_ctx *gemm_ctx_new(struct pool *pool, const struct dot_set *set, struct err *err);
void gemm_ctx_free(struct gemm_ctx *g);

/* a [m, k], out [m, n]; out must not overlap a. next: the weight read afterwards, or NULL (op_gemm). */
void cpu_gemm(struct gemm_ctx *g, const struct bweight *w, const float *a, size_t m, float *out, bool add,
              const struct bweight *next);

/* out[i, k] = row ids[i] of the table, biases left out; 0 <= ids[i] < table->n. */
void cpu_embed(struct gemm_ctx *g, const struct bweight *table, const int32_t *ids, size_t n, float *out);

/* The rows of a weight as a place to go next; NULL: none. */
struct row_places gemm_places(const struct bweight *w);

/* Columns to walk together for one visit of a row. */
size_t gemm_tile_cols(const struct act_cols *in);

#endif
