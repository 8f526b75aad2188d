/* moe.h: the products of experts (op_moe_gate_up, op_moe_down, engine/backend.h) on all threads; and a dense
 * layer's gate and up as that of a single expert.
 *
 * Pairs are sorted by expert, so that each expert's rows are read once for all tokens that chose it; experts
 * nobody chose cost nothing. A row of the result has the same bits for any number of tokens and of threads.
 * Scratch is reserved once; a product never allocates. Thread rule: one caller at a time per context. */
#ifndef FERRUM_MOE_H
#define FERRUM_MOE_H

#include "kernels_cpu/dot_kernel.h"
#include "kernels_cpu/experts.h"
#include "kernels_cpu/kernels.h"
#include "kernels_cpu/pool.h"

struct moe_ctx;

struct moe_ctx *moe_ctx_new(struct pool *pool, const struct cpu_kernels *kernels, const struct dot_set *set,
                            struct err *err);
void moe_ctx_free(struct moe_ctx *m);

void cpu_moe_gate_up(struct moe_ctx *m, const struct op_moe_gate_up *op);
/* False, and nothing is done: the product and its silu are as quick apart (few columns, weights of
 * floats or with biases, or no tiles of whole rows). */
bool cpu_gate_up(struct moe_ctx *m, const struct op_gate_up *op);
void cpu_moe_down(struct moe_ctx *m, const struct op_moe_down *op);
void cpu_weighted_sum(struct moe_ctx *m, const struct op_weighted_sum *op);
void cpu_add_gated(struct moe_ctx *m, const struct op_add_gated *op);

#endif
