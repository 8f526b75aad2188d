/* elementwise.c hands the row operations to the threads, and owns the fused qkv step (split, norm, rotate,
 * cache). */
#include "kernels_cpu/elementwise.h"

#include <assert.h>
#include <string.h>

#include "kernels_cpu/cpu_buf.h"
#include "kernels_cpu/each_row.h"
#include "kernels_cpu/kv_page.h"

struct row_op {
    const struct cpu_kernels *kernels;
    const void *op;
};

static void rms_norm_row(void *arg, size_t row)
{
    const struct row_op *job = arg;
    const struct op_rms_norm *op = job->op;
    size_t stride = op->stride ? op->stride : op->n;
    job->kernels->rms_norm(cpu_buf_f32(op->out) + row * stride + op->offset,
                           cpu_buf_const_f32(op->x) + (op->x_row + row) * stride + op->offset,
                           cpu_buf_const_f32(op->w), op->n, op->eps);
}

void cpu_rms_norm(struct pool *pool, const struct cpu_kernels *kernels, const struct op_rms_norm *op)
{
    each_row_run(pool, op->n_tokens, op->n, rms_norm_row, &(struct row_op){kernels, op});
}

static void silu_mul_row(void *arg, size_t row)
{
    const struct row_op *job = arg;
    const struct op_silu_mul *op = job->op;
    const float *gate = cpu_buf_const_f32(op->gate_up) + row * 2 * op->n_ff;
    job->kernels->silu_mul(cpu_buf_f32(op->out) + row * op->n_ff, gate, gate + op->n_ff, op->n_ff);
}

void cpu_silu_mul(struct pool *pool, const struct cpu_kernels *kernels, const struct op_silu_mul *op)
{
    each_row_run(pool, op->n_tokens, 2 * op->n_ff, silu_mul_row, &(struct row_op){kernels, op});
}

/* One head of q or k into out: normed if there is a weight, rotated for its position. */
static void norm_and_rotate(const struct cpu_kernels *kernels, const struct op_qkv_rope_cache *op, float *out,
                            const float *x, const struct bbuf *norm, size_t pos)
{
    if (norm)
        kernels->rms_norm(out, x, cpu_buf_const_f32(norm), op->head_dim, op->eps);
    else
        memcpy(out, x, op->head_dim * sizeof *out);
    size_t angle = pos * (op->n_rot / 2);
    kernels->rope(out, cpu_buf_const_f32(op->cos) + angle, cpu_buf_const_f32(op->sin) + angle, op->n_rot,
                  op->mode);
}

static void store_kv(const struct cpu_kernels *kernels, const struct op_qkv_rope_cache *op, size_t slab,
                     size_t pos, size_t kv_head, const float *x)
{
    void *row = kv_position(&op->kv, slab, pos, kv_head, op->head_dim);
    if (op->kv.type == DTYPE_F16)
        kernels->f32_to_f16(row, x, op->head_dim);
    else if (op->kv.type == DTYPE_I8)
        *kv_scale(&op->kv, slab, pos, kv_head, op->head_dim) = kernels->f32_to_i8(row, x, op->head_dim);
    else
        memcpy(row, x, op->head_dim * sizeof *x);
}

static void qkv_row(void *arg, size_t token)
{
    const struct row_op *job = arg;
    const struct op_qkv_rope_cache *op = job->op;
    const struct cpu_kernels *kernels = job->kernels;
    size_t dim = op->head_dim, pos = op->pos + token;
    const float *x = cpu_buf_const_f32(op->qkv) + token * (op->n_head + 2 * op->n_kv_head) * dim;
    float *q = cpu_buf_f32(op->q) + token * dim;
    for (size_t h = 0; h < op->n_head; h++, x += dim)
        norm_and_rotate(kernels, op, q + h * op->n_tokens * dim, x, op->q_norm, pos);
    float rotated[ATTN_MAX_HEAD_DIM];
    for (size_t h = 0; h < op->n_kv_head; h++, x += dim) {
        norm_and_rotate(kernels, op, rotated, x, op->k_norm, pos);
        store_kv(kernels, op, op->kv.k_offset, pos, h, rotated);
    }
    for (size_t h = 0; h < op->n_kv_head; h++, x += dim)
        store_kv(kernels, op, op->kv.v_offset, pos, h, x);
}

void cpu_qkv_rope_cache(struct pool *pool, const struct cpu_kernels *kernels,
                        const struct op_qkv_rope_cache *op)
{
    assert(op->head_dim <= ATTN_MAX_HEAD_DIM);
    each_row_run(pool, op->n_tokens, (op->n_head + 2 * op->n_kv_head) * op->head_dim, qkv_row,
                 &(struct row_op){kernels, op});
}
