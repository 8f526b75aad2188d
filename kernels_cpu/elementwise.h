/* elementwise.h: norm, silu and the fused qkv step over all rows of a call. One token runs on the caller;
 * waking the threads would cost more than the work. Called by backend_cpu.c with checked arguments, by one
 * thread. */
#ifndef FERRUM_ELEMENTWISE_H
#define FERRUM_ELEMENTWISE_H

#include "engine/backend.h"
#include "kernels_cpu/kernels.h"
#include "kernels_cpu/pool.h"

void cpu_rms_norm(struct pool *pool, const struct cpu_kernels *kernels, const struct op_rms_norm *op);
void cpu_silu_mul(struct pool *pool, const struct cpu_kernels *kernels, const struct op_silu_mul *op);
void cpu_qkv_rope_cache(struct pool *pool, const struct cpu_kernels *kernels,
                        const struct op_qkv_rope_cache *op);

#endif
