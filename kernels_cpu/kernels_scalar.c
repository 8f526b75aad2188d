/* kernels_scalar.c: the small operations and attention in portable C. The definition the others are tested
 * against, and what runs where there is nothing faster. */
#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "engine/half.h"
#include "kernels_cpu/kernels.h"

static void rms_norm(float *out, const float *x, const float *w, size_t n, float eps)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    float scale = (float)(1.0 / sqrt(sum / (double)n + (double)eps));
    for (size_t i = 0; i < n; i++)
        out[i] = x[i] * scale * w[i];
}

/* exp(-x) may overflow to infinity, which makes the quotient -0 as it should. Large finite factors may not
 * make an infinity, which would spread over the whole residual stream as NaN. */
static void silu_mul(float *out, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float y = gate[i] / (1.0f + expf(-gate[i])) * up[i];
        out[i] = y > FLT_MAX ? FLT_MAX : y < -FLT_MAX ? -FLT_MAX : y;
    }
}

static void rope(float *x, const float *cos, const float *sin, size_t n_rot, enum rope_mode mode)
{
    size_t half = n_rot / 2;
    for (size_t i = 0; i < half; i++) {
        float *x0 = mode == ROPE_NEOX ? &x[i] : &x[2 * i];
        float *x1 = mode == ROPE_NEOX ? &x[i + half] : &x[2 * i + 1];
        float a = *x0, b = *x1;
        *x0 = a * cos[i] - b * sin[i];
        *x1 = b * cos[i] + a * sin[i];
    }
}

static void f32_to_f16(uint16_t *out, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = f16_from_f32(x[i]);
}

/* NaN stays: no comparison with it is true, but the last. */
static float largest_of(const float *x, size_t n)
{
    float largest = 0;
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(x[i]) <= largest))
            largest = isnan(largest) ? largest : fabsf(x[i]);
    return largest;
}

static float f32_to_i8(int8_t *out, const float *x, size_t n)
{
    float largest = largest_of(x, n);
    bool is_finite = largest <= FLT_MAX;
    if (!is_finite || largest < FLT_MIN * 127) {
        memset(out, 0, n);
        return is_finite ? 0 : NAN;
    }
    float inverse = 127 / largest;
    for (size_t i = 0; i < n; i++)
        out[i] = (int8_t)lrintf(x[i] * inverse);
    return largest / 127;
}

/* One query row against rows [begin, end) of a page in f32. */
static void add_page_to_row(struct attn_tile *t, size_t r, const float *k, const float *v)
{
    size_t dim = t->head_dim;
    float *acc = t->acc + r * dim, *score = t->scores[r];
    const float *q = t->q + r * dim;
    float max = t->max[r];
    for (size_t j = t->begin[r]; j < t->end[r]; j++) {
        score[j] = 0;
        for (size_t d = 0; d < dim; d++)
            score[j] += q[d] * k[j * dim + d];
        max = fmaxf(max, score[j]);
    }
    float rescale = expf(t->max[r] - max);
    t->sum[r] *= rescale;
    for (size_t d = 0; d < dim; d++)
        acc[d] *= rescale;
    for (size_t j = t->begin[r]; j < t->end[r]; j++) {
        float p = expf(score[j] - max);
        t->sum[r] += p;
        for (size_t d = 0; d < dim; d++)
            acc[d] += p * v[j * dim + d];
    }
    t->max[r] = max;
}

static void attn_page_f32(struct attn_tile *t, const void *k, const void *v)
{
    for (size_t r = 0; r < t->n_rows; r++)
        if (t->begin[r] < t->end[r])
            add_page_to_row(t, r, k, v);
}

/* Only what some row sees: the rest of a page may hold anything. */
static void attn_page_f16(struct attn_tile *t, const void *k, const void *v)
{
    const uint16_t *k16 = k, *v16 = v;
    for (size_t i = t->begin[0] * t->head_dim; i < t->end[t->n_rows - 1] * t->head_dim; i++) {
        t->k_wide[i] = f16_to_f32(k16[i]);
        t->v_wide[i] = f16_to_f32(v16[i]);
    }
    attn_page_f32(t, t->k_wide, t->v_wide);
}

static void widen_i8(float *out, const void *rows, size_t dim, size_t begin, size_t end)
{
    const int8_t *value = rows;
    const float *scale = (const float *)(const void *)(value + KV_BLOCK_TOKENS * dim);
    for (size_t i = begin * dim; i < end * dim; i++)
        out[i] = (float)value[i] * scale[i / dim];
}

static void attn_page_i8(struct attn_tile *t, const void *k, const void *v)
{
    widen_i8(t->k_wide, k, t->head_dim, t->begin[0], t->end[t->n_rows - 1]);
    widen_i8(t->v_wide, v, t->head_dim, t->begin[0], t->end[t->n_rows - 1]);
    attn_page_f32(t, t->k_wide, t->v_wide);
}

static void attn_merge(float *state, const float *part, float max, float sum, size_t dim)
{
    float both = fmaxf(state[dim], max), a = expf(state[dim] - both), b = expf(max - both);
    for (size_t d = 0; d < dim; d++)
        state[d] = state[d] * a + part[d] * b;
    state[dim] = both;
    state[dim + 1] = state[dim + 1] * a + sum * b;
}

static uint64_t read_bytes(const void *p, size_t n_bytes)
{
    const char *bytes = p;
    uint64_t sum = 0, word;
    size_t i = 0;
    for (; i + sizeof word <= n_bytes; i += sizeof word) {
        memcpy(&word, bytes + i, sizeof word);
        sum ^= word;
    }
    for (; i < n_bytes; i++)
        sum ^= (unsigned char)bytes[i];
    return sum;
}

const struct cpu_kernels cpu_kernels_scalar = {
    .head_step = 1,
    .head_step_i8 = 1,
    .rms_norm = rms_norm,
    .silu_mul = silu_mul,
    .rope = rope,
    .f32_to_f16 = f32_to_f16,
    .f32_to_i8 = f32_to_i8,
    .attn_page_f16 = attn_page_f16,
    .attn_page_f32 = attn_page_f32,
    .attn_page_i8 = attn_page_i8,
    .attn_merge = attn_merge,
    .read_bytes = read_bytes,
};

static const struct cpu_kernels *const sets[CPU_ISA_N] = {
    [CPU_SCALAR] = &cpu_kernels_scalar,
#if defined(__x86_64__)
    [CPU_AVX2] = &cpu_kernels_avx2,
    [CPU_AVX512] = &cpu_kernels_avx512,
    [CPU_AVX512BF16] = &cpu_kernels_avx512,
#elif defined(__aarch64__)
    [CPU_NEON] = &cpu_kernels_neon,
    [CPU_DOTPROD] = &cpu_kernels_neon,
#endif
};

const struct cpu_kernels *cpu_kernels_get(enum cpu_isa isa)
{
    assert(sets[isa]);
    return sets[isa];
}
