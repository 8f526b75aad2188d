#include "tests/engine/ref_backend.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/half.h"

#define REF_MAX_POSITIONS 8192

struct bbuf {
    char *data;
    size_t n_bytes;
};

struct bweight {
    float *w;    /* [n, k] */
    float *bias; /* [n] */
    size_t n, k, n_bytes;
};

static void ref_close(void *ctx)
{
    (void)ctx;
}

static const char *ref_describe(void *ctx)
{
    (void)ctx;
    return "reference";
}

static int ref_n_threads(void *ctx)
{
    (void)ctx;
    return 1;
}

static bool ref_supports_weight(void *ctx, enum dtype type)
{
    (void)ctx;
    return type < DTYPE_I8;
}

static bool ref_supports_kv(void *ctx, enum dtype type)
{
    (void)ctx;
    return type == DTYPE_F16 || type == DTYPE_F32 || type == DTYPE_I8;
}

static struct bbuf *ref_buf_new(void *ctx, size_t n_bytes, struct err *err)
{
    (void)ctx;
    struct bbuf *b = mem_alloc(sizeof *b, err);
    if (!b)
        return NULL;
    b->n_bytes = n_bytes;
    b->data = mem_alloc(n_bytes, err);
    if (b->data)
        return b;
    mem_free(b);
    return NULL;
}

static void ref_buf_free(void *ctx, struct bbuf *b)
{
    (void)ctx;
    if (b)
        mem_free(b->data);
    mem_free(b);
}

static bool ref_buf_write(void *ctx, struct bbuf *b, size_t offset, const void *src, size_t n)
{
    (void)ctx;
    memcpy(b->data + offset, src, n);
    return true;
}

static bool ref_buf_read(void *ctx, const struct bbuf *b, size_t offset, void *dst, size_t n)
{
    (void)ctx;
    memcpy(dst, b->data + offset, n);
    return true;
}

static size_t ref_buf_bytes(const struct bbuf *b)
{
    return b->n_bytes;
}

static void *ref_buf_host(const struct bbuf *b)
{
    return b->data;
}

static float *floats(const struct bbuf *b)
{
    return (float *)(void *)b->data;
}

static struct bweight *ref_weight_bind(void *ctx, const struct weight_part *parts, size_t n_parts,
                                       struct err *err)
{
    (void)ctx;
    (void)err;
    struct bweight *w = mem_need(sizeof *w);
    w->k = parts[0].weight->dims[0];
    for (size_t i = 0; i < n_parts; i++)
        w->n += parts[i].weight->dims[1];
    w->w = mem_need(w->n * w->k * sizeof(float));
    w->bias = mem_need(w->n * sizeof(float));
    for (size_t i = 0, row = 0; i < n_parts; row += parts[i++].weight->dims[1]) {
        const struct tensor *t = parts[i].weight;
        dtype_to_f32(t->type, t->data, w->w + row * w->k, t->dims[1] * w->k);
        if (parts[i].bias)
            memcpy(w->bias + row, parts[i].bias->data, t->dims[1] * sizeof(float));
        w->n_bytes += t->n_bytes;
    }
    return w;
}

static void ref_weight_free(void *ctx, struct bweight *w)
{
    (void)ctx;
    if (!w)
        return;
    mem_free(w->w);
    mem_free(w->bias);
    mem_free(w);
}

static void ref_weight_shape(const struct bweight *w, size_t *n, size_t *k, size_t *n_bytes)
{
    *n = w->n;
    *k = w->k;
    *n_bytes = w->n_bytes;
}

static bool ref_gemm(void *ctx, const struct op_gemm *op)
{
    (void)ctx;
    const struct bweight *w = op->w;
    for (size_t t = 0; t < op->n_tokens; t++)
        for (size_t i = 0; i < w->n; i++) {
            const float *a = floats(op->a) + (op->a_row + t) * w->k;
            float *out = floats(op->out) + t * w->n + i;
            double sum = (double)w->bias[i];
            for (size_t j = 0; j < w->k; j++)
                sum += (double)a[j] * (double)w->w[i * w->k + j];
            *out = (float)(op->add ? (double)*out + sum : sum);
        }
    return true;
}

static bool ref_embed(void *ctx, const struct op_embed *op)
{
    (void)ctx;
    size_t k = op->table->k;
    for (size_t t = 0; t < op->n_tokens; t++)
        memcpy(floats(op->out) + t * k, op->table->w + (size_t)op->ids[t] * k, k * sizeof(float));
    return true;
}

static void norm_row(const float *x, const float *w, float *out, size_t n, float eps)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    double scale = 1.0 / sqrt(sum / (double)n + (double)eps);
    for (size_t i = 0; i < n; i++)
        out[i] = (float)((double)x[i] * scale * (double)w[i]);
}

static bool ref_rms_norm(void *ctx, const struct op_rms_norm *op)
{
    (void)ctx;
    size_t stride = op->stride ? op->stride : op->n;
    for (size_t t = 0; t < op->n_tokens; t++)
        norm_row(floats(op->x) + (op->x_row + t) * stride + op->offset, floats(op->w),
                 floats(op->out) + t * stride + op->offset, op->n, op->eps);
    return true;
}

static bool ref_silu_mul(void *ctx, const struct op_silu_mul *op)
{
    (void)ctx;
    for (size_t t = 0; t < op->n_tokens; t++)
        for (size_t i = 0; i < op->n_ff; i++) {
            double g = (double)floats(op->gate_up)[t * 2 * op->n_ff + i];
            double u = (double)floats(op->gate_up)[t * 2 * op->n_ff + op->n_ff + i];
            floats(op->out)[t * op->n_ff + i] = (float)(g / (1.0 + exp(-g)) * u);
        }
    return true;
}

/* One row of K or V: position p of a sequence, key/value head h. */
struct kv_row {
    enum dtype type;
    char *values, *scale;
};

static struct kv_row kv_row_at(const struct kv_layer *kv, size_t seq, size_t slab, size_t p, size_t h,
                               size_t head_dim)
{
    size_t item = dtype_info(kv->type)->block_bytes, in_page = p % KV_BLOCK_TOKENS;
    uint32_t page = kv->table[seq * kv->n_pages + p / KV_BLOCK_TOKENS];
    char *rows = kv->pool->data + page * kv->page_bytes + slab +
                 h * KV_BLOCK_TOKENS * kv_row_bytes(kv->type, head_dim);
    return (struct kv_row){kv->type, rows + in_page * head_dim * item,
                           rows + KV_BLOCK_TOKENS * head_dim * item + in_page * sizeof(float)};
}

static void kv_store_i8(struct kv_row row, const float *x, size_t n)
{
    float largest = 0;
    for (size_t d = 0; d < n; d++)
        largest = fmaxf(largest, fabsf(x[d]));
    float scale = largest / 127;
    memcpy(row.scale, &scale, sizeof scale);
    for (size_t d = 0; d < n; d++)
        row.values[d] = scale > 0 ? (char)(int8_t)lrint((double)x[d] / (double)scale) : 0;
}

static void kv_store(struct kv_row row, const float *x, size_t n)
{
    if (row.type == DTYPE_I8)
        kv_store_i8(row, x, n);
    for (size_t d = 0; d < n && row.type == DTYPE_F16; d++) {
        uint16_t half = f16_from_f32(x[d]);
        memcpy(row.values + d * sizeof half, &half, sizeof half);
    }
    if (row.type == DTYPE_F32)
        memcpy(row.values, x, n * sizeof *x);
}

static void kv_load(struct kv_row row, double *out, size_t n)
{
    float x[512], scale = 1;
    dtype_to_f32(row.type, row.values, x, n);
    if (row.type == DTYPE_I8)
        memcpy(&scale, row.scale, sizeof scale);
    for (size_t d = 0; d < n; d++)
        out[d] = (double)x[d] * (double)scale;
}

/* Norm (w may be NULL) and rotation of one head in place. */
static void norm_and_rotate(const struct op_qkv_rope_cache *op, float *x, const struct bbuf *w, size_t pos)
{
    size_t half = op->n_rot / 2;
    if (w)
        norm_row(x, floats(w), x, op->head_dim, op->eps);
    for (size_t i = 0; i < half; i++) {
        float *x0 = op->mode == ROPE_NEOX ? x + i : x + 2 * i;
        float *x1 = op->mode == ROPE_NEOX ? x + i + half : x + 2 * i + 1;
        double c = (double)floats(op->cos)[pos * half + i], s = (double)floats(op->sin)[pos * half + i];
        double a = (double)*x0, b = (double)*x1;
        *x0 = (float)(a * c - b * s);
        *x1 = (float)(b * c + a * s);
    }
}

static bool ref_qkv_rope_cache(void *ctx, const struct op_qkv_rope_cache *op)
{
    (void)ctx;
    size_t D = op->head_dim, H = op->n_head, KV = op->n_kv_head;
    for (size_t t = 0; t < op->n_tokens; t++) {
        float *row = floats(op->qkv) + t * (H + 2 * KV) * D;
        for (size_t h = 0; h < H; h++) {
            float *q = floats(op->q) + (h * op->n_tokens + t) * D;
            memcpy(q, row + h * D, D * sizeof *q);
            norm_and_rotate(op, q, op->q_norm, op->pos + t);
        }
        for (size_t h = 0; h < KV; h++) {
            float k[512];
            memcpy(k, row + (H + h) * D, D * sizeof *k);
            norm_and_rotate(op, k, op->k_norm, op->pos + t);
            kv_store(kv_row_at(&op->kv, 0, op->kv.k_offset, op->pos + t, h, D), k, D);
            kv_store(kv_row_at(&op->kv, 0, op->kv.v_offset, op->pos + t, h, D), row + (H + KV + h) * D, D);
        }
    }
    return true;
}

/* One query of one head: a full softmax over the visible positions. */
static void attend(const struct op_attention *op, size_t s, size_t t, size_t h)
{
    size_t D = op->head_dim, end = op->lens[s] - op->n_tokens + t + 1, g = h / (op->n_head / op->n_kv_head);
    size_t begin = op->window && op->window < end ? end - op->window : 0;
    const float *q = floats(op->q) + ((s * op->n_head + h) * op->n_tokens + t) * D;
    static double p[REF_MAX_POSITIONS]; /* decoding must not allocate */
    double largest = -INFINITY, sum = 0, out[512] = {0}, x[512];
    assert(end <= REF_MAX_POSITIONS && D <= 512);
    for (size_t j = begin; j < end; j++) {
        kv_load(kv_row_at(&op->kv, s, op->kv.k_offset, j, g, D), x, D);
        p[j] = 0;
        for (size_t d = 0; d < D; d++)
            p[j] += (double)q[d] * x[d];
        p[j] *= (double)op->scale;
        largest = fmax(largest, p[j]);
    }
    for (size_t j = begin; j < end; j++) {
        p[j] = exp(p[j] - largest);
        sum += p[j];
        kv_load(kv_row_at(&op->kv, s, op->kv.v_offset, j, g, D), x, D);
        for (size_t d = 0; d < D; d++)
            out[d] += p[j] * x[d];
    }
    for (size_t d = 0; d < D; d++)
        floats(op->out)[((s * op->n_tokens + t) * op->n_head + h) * D + d] = (float)(out[d] / sum);
}

static bool ref_attention(void *ctx, const struct op_attention *op)
{
    (void)ctx;
    for (size_t s = 0; s < op->n_seqs; s++)
        for (size_t t = 0; t < op->n_tokens; t++)
            for (size_t h = 0; h < op->n_head; h++)
                attend(op, s, t, h);
    return true;
}

/* ---- mixture of experts: one token, one slot, one expert at a time ---- */

struct bexperts {
    float *w; /* [E, n, k] */
    struct experts_shape shape;
};

static struct bexperts *ref_experts_bind(void *ctx, const struct tensor *const *parts, size_t n_parts,
                                         struct err *err)
{
    (void)ctx;
    (void)err;
    struct bexperts *w = mem_need(sizeof *w);
    struct experts_shape s = {.n_experts = parts[0]->dims[2], .k = parts[0]->dims[0]};
    for (size_t i = 0; i < n_parts; i++) {
        s.n += parts[i]->dims[1];
        s.expert_bytes += parts[i]->n_bytes / s.n_experts;
    }
    w->w = mem_need(s.n_experts * s.n * s.k * sizeof(float));
    for (size_t e = 0, row = 0; e < s.n_experts; e++)
        for (size_t i = 0; i < n_parts; row += parts[i++]->dims[1]) {
            const struct tensor *t = parts[i];
            const char *slab = (const char *)t->data + e * (t->n_bytes / s.n_experts);
            dtype_to_f32(t->type, slab, w->w + row * s.k, t->dims[1] * s.k);
        }
    w->shape = s;
    return w;
}

static void ref_experts_free(void *ctx, struct bexperts *w)
{
    (void)ctx;
    if (w)
        mem_free(w->w);
    mem_free(w);
}

static void ref_experts_shape(const struct bexperts *w, struct experts_shape *out)
{
    *out = w->shape;
}

static int32_t *ids_of(const struct bbuf *b)
{
    return (int32_t *)(void *)b->data;
}

/* A softmax over all in f64, then the K largest of it by plain selection. */
static bool ref_route(void *ctx, const struct op_route *op)
{
    (void)ctx;
    for (size_t t = 0; t < op->n_tokens; t++) {
        const float *logits = floats(op->logits) + t * op->n_experts;
        int32_t *ids = ids_of(op->ids) + (op->ids_row + t) * op->n_used;
        float *weights = floats(op->weights) + t * op->n_used;
        double sum = 0, used = 0, largest = -INFINITY;
        for (size_t e = 0; e < op->n_experts; e++)
            largest = fmax(largest, (double)logits[e]);
        for (size_t e = 0; e < op->n_experts; e++)
            sum += exp((double)logits[e] - largest);
        for (size_t s = 0; s < op->n_used; s++) {
            ids[s] = -1;
            for (int32_t e = 0; (size_t)e < op->n_experts; e++) {
                bool taken = false;
                for (size_t i = 0; i < s; i++)
                    taken = taken || ids[i] == e;
                if (!taken && (ids[s] < 0 || logits[e] > logits[ids[s]]))
                    ids[s] = e;
            }
            used += exp((double)logits[ids[s]] - largest) / sum;
        }
        for (size_t s = 0; s < op->n_used; s++) {
            double share = exp((double)logits[ids[s]] - largest) / sum;
            weights[s] = (float)((op->renormalise ? share / used : share) * (double)op->scale);
        }
    }
    return true;
}

static double expert_dot(const struct bexperts *w, size_t expert, size_t row, const float *x)
{
    const float *weights = w->w + (expert * w->shape.n + row) * w->shape.k;
    double sum = 0;
    for (size_t j = 0; j < w->shape.k; j++)
        sum += (double)weights[j] * (double)x[j];
    return sum;
}

static bool ref_moe_gate_up(void *ctx, const struct op_moe_gate_up *op)
{
    (void)ctx;
    size_t n_ff = op->w->shape.n / 2;
    for (size_t p = 0; p < op->n_tokens * op->n_used; p++) {
        const float *x = floats(op->x) + p / op->n_used * op->w->shape.k;
        size_t expert = (size_t)ids_of(op->ids)[op->ids_row * op->n_used + p];
        for (size_t i = 0; i < n_ff; i++) {
            double g = expert_dot(op->w, expert, i, x), u = expert_dot(op->w, expert, n_ff + i, x);
            floats(op->out)[p * n_ff + i] = (float)(g / (1.0 + exp(-g)) * u);
        }
    }
    return true;
}

static bool ref_moe_down(void *ctx, const struct op_moe_down *op)
{
    (void)ctx;
    size_t n = op->w->shape.n, k = op->w->shape.k;
    for (size_t p = 0; p < op->n_tokens * op->n_used; p++)
        for (size_t i = 0; i < n; i++)
            floats(op->out)[p * n + i] = (float)expert_dot(
                op->w, (size_t)ids_of(op->ids)[op->ids_row * op->n_used + p], i, floats(op->x) + p * k);
    return true;
}

static bool ref_weighted_sum(void *ctx, const struct op_weighted_sum *op)
{
    (void)ctx;
    for (size_t t = 0; t < op->n_tokens; t++)
        for (size_t i = 0; i < op->n; i++) {
            double sum = (double)floats(op->out)[t * op->n + i];
            for (size_t s = 0; s < op->n_used; s++)
                sum += (double)floats(op->weights)[t * op->n_used + s] *
                       (double)floats(op->slots)[(t * op->n_used + s) * op->n + i];
            floats(op->out)[t * op->n + i] = (float)sum;
        }
    return true;
}

static bool ref_add_gated(void *ctx, const struct op_add_gated *op)
{
    (void)ctx;
    for (size_t t = 0; t < op->n_tokens; t++)
        for (size_t i = 0; i < op->n; i++)
            floats(op->out)[t * op->n + i] +=
                (float)((double)floats(op->x)[t * op->n + i] / (1.0 + exp(-(double)floats(op->gate)[t])));
    return true;
}

static bool ref_sync(void *ctx)
{
    (void)ctx;
    return true;
}

static const struct backend_ops ref_ops = {
    .name = "reference",
    .close = ref_close,
    .describe = ref_describe,
    .n_threads = ref_n_threads,
    .supports_weight = ref_supports_weight,
    .supports_kv = ref_supports_kv,
    .buf_new = ref_buf_new,
    .buf_free = ref_buf_free,
    .buf_write = ref_buf_write,
    .buf_read = ref_buf_read,
    .buf_bytes = ref_buf_bytes,
    .buf_host = ref_buf_host,
    .weight_bind = ref_weight_bind,
    .weight_free = ref_weight_free,
    .weight_shape = ref_weight_shape,
    .gemm = ref_gemm,
    .embed = ref_embed,
    .rms_norm = ref_rms_norm,
    .silu_mul = ref_silu_mul,
    .qkv_rope_cache = ref_qkv_rope_cache,
    .attention = ref_attention,
    .experts_bind = ref_experts_bind,
    .experts_free = ref_experts_free,
    .experts_shape = ref_experts_shape,
    .route = ref_route,
    .moe_gate_up = ref_moe_gate_up,
    .moe_down = ref_moe_down,
    .weighted_sum = ref_weighted_sum,
    .add_gated = ref_add_gated,
    .sync = ref_sync,
};

void ref_backend_open(struct backend *out)
{
    *out = (struct backend){.ops = &ref_ops};
}
