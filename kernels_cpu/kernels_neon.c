/* kernels_neon.c: norm, silu, rotation, conversion and plain reads for NEON, and the table. */
#include <float.h>
#include <math.h>

#include "kernels_cpu/attention_neon.h"
#include "kernels_cpu/kernels.h"
#include "kernels_cpu/vec_neon.h"

#define N_SUMS 8

static double sum_of_squares(const float *x, size_t n)
{
    float32x4_t acc[N_SUMS];
    for (size_t j = 0; j < N_SUMS; j++)
        acc[j] = vdupq_n_f32(0);
    size_t i = 0;
    for (; i + 4 * N_SUMS <= n; i += 4 * N_SUMS) {
        for (size_t j = 0; j < N_SUMS; j++) {
            float32x4_t v = vld1q_f32(x + i + 4 * j);
            acc[j] = vfmaq_f32(acc[j], v, v);
        }
    }
    for (; i + 4 <= n; i += 4) {
        float32x4_t v = vld1q_f32(x + i);
        acc[0] = vfmaq_f32(acc[0], v, v);
    }
    for (size_t step = N_SUMS / 2; step > 0; step /= 2)
        for (size_t j = 0; j < step; j++)
            acc[j] = vaddq_f32(acc[j], acc[j + step]);
    double sum = (double)vaddvq_f32(acc[0]);
    for (; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

static void rms_norm(float *out, const float *x, const float *w, size_t n, float eps)
{
    float scale = (float)(1.0 / sqrt(sum_of_squares(x, n) / (double)n + (double)eps));
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(out + i, vmulq_f32(vmulq_n_f32(vld1q_f32(x + i), scale), vld1q_f32(w + i)));
    for (; i < n; i++)
        out[i] = x[i] * scale * w[i];
}

/* A NaN passes min and max. */
VEC_INLINE float32x4_t silu_mul_4(float32x4_t gate, float32x4_t up)
{
    float32x4_t e = vec_exp(vnegq_f32(gate));
    float32x4_t y = vmulq_f32(vdivq_f32(gate, vaddq_f32(vdupq_n_f32(1.0f), e)), up);
    return vmaxq_f32(vdupq_n_f32(-FLT_MAX), vminq_f32(vdupq_n_f32(FLT_MAX), y));
}

static void silu_mul(float *out, const float *gate, const float *up, size_t n)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(out + i, silu_mul_4(vld1q_f32(gate + i), vld1q_f32(up + i)));
    if (i < n) {
        float g[4] = {0}, u[4] = {0}, y[4];
        memcpy(g, gate + i, (n - i) * sizeof *g);
        memcpy(u, up + i, (n - i) * sizeof *u);
        vst1q_f32(y, silu_mul_4(vld1q_f32(g), vld1q_f32(u)));
        memcpy(out + i, y, (n - i) * sizeof *y);
    }
}

/* Products and sums are rounded one by one, as in the scalar kernel: the bits are the same. */
static void rope_halves(float *x, const float *cos, const float *sin, size_t half)
{
    size_t i = 0;
    for (; i + 4 <= half; i += 4) {
        float32x4_t a = vld1q_f32(x + i), b = vld1q_f32(x + half + i);
        float32x4_t c = vld1q_f32(cos + i), s = vld1q_f32(sin + i);
        vst1q_f32(x + i, vsubq_f32(vmulq_f32(a, c), vmulq_f32(b, s)));
        vst1q_f32(x + half + i, vaddq_f32(vmulq_f32(b, c), vmulq_f32(a, s)));
    }
    for (; i < half; i++) {
        float a = x[i], b = x[half + i];
        x[i] = a * cos[i] - b * sin[i];
        x[half + i] = b * cos[i] + a * sin[i];
    }
}

static void rope_pairs(float *x, const float *cos, const float *sin, size_t half)
{
    size_t i = 0;
    for (; i + 4 <= half; i += 4) {
        float32x4x2_t v = vld2q_f32(x + 2 * i);
        float32x4_t a = v.val[0], b = v.val[1], c = vld1q_f32(cos + i), s = vld1q_f32(sin + i);
        v.val[0] = vsubq_f32(vmulq_f32(a, c), vmulq_f32(b, s));
        v.val[1] = vaddq_f32(vmulq_f32(b, c), vmulq_f32(a, s));
        vst2q_f32(x + 2 * i, v);
    }
    for (; i < half; i++) {
        float a = x[2 * i], b = x[2 * i + 1];
        x[2 * i] = a * cos[i] - b * sin[i];
        x[2 * i + 1] = b * cos[i] + a * sin[i];
    }
}

static void rope(float *x, const float *cos, const float *sin, size_t n_rot, enum rope_mode mode)
{
    if (mode == ROPE_NEOX)
        rope_halves(x, cos, sin, n_rot / 2);
    else
        rope_pairs(x, cos, sin, n_rot / 2);
}

static void f32_to_f16(uint16_t *out, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1_u16(out + i, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(x + i))));
    for (; i < n; i++)
        out[i] = f16_from_f32(x[i]);
}

/* The bits of the scalar kernel: one product, one rounding. */
static float f32_to_i8(int8_t *out, const float *x, size_t n)
{
    float largest = vec_largest(x, n);
    bool is_finite = largest <= FLT_MAX;
    if (!is_finite || largest < FLT_MIN * 127) {
        memset(out, 0, n);
        return is_finite ? 0 : NAN;
    }
    float inverse = 127 / largest;
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        vec_round_8(out + i, x + i, inverse);
    for (; i < n; i++)
        out[i] = (int8_t)lrintf(x[i] * inverse);
    return largest / 127;
}

/* Both factors come from one vector of exponentials. */
static void attn_merge(float *state, const float *part, float max, float sum, size_t dim)
{
    float both = state[dim] > max ? state[dim] : max;
    float32x4_t factors = vec_exp(vcombine_f32((float32x2_t){state[dim] - both, max - both}, vdup_n_f32(0)));
    float a = vgetq_lane_f32(factors, 0), b = vgetq_lane_f32(factors, 1);
    for (size_t d = 0; d < dim; d += 4)
        vst1q_f32(state + d, vfmaq_n_f32(vmulq_n_f32(vld1q_f32(part + d), b), vld1q_f32(state + d), a));
    state[dim] = both;
    state[dim + 1] = state[dim + 1] * a + sum * b;
}

static uint64_t read_bytes(const void *p, size_t n_bytes)
{
    const uint8_t *bytes = p;
    uint8x16_t sum[4] = {vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0)};
    size_t i = 0;
    for (; i + 64 <= n_bytes; i += 64)
        for (size_t j = 0; j < 4; j++)
            sum[j] = veorq_u8(sum[j], vld1q_u8(bytes + i + 16 * j));
    uint64x2_t all = vreinterpretq_u64_u8(veorq_u8(veorq_u8(sum[0], sum[1]), veorq_u8(sum[2], sum[3])));
    return vgetq_lane_u64(all, 0) ^ vgetq_lane_u64(all, 1) ^
           cpu_kernels_scalar.read_bytes(bytes + i, n_bytes - i);
}

const struct cpu_kernels cpu_kernels_neon = {
    .head_step = 4,
    .head_step_i8 = 8,
    .next = &cpu_kernels_scalar,
    .rms_norm = rms_norm,
    .silu_mul = silu_mul,
    .rope = rope,
    .f32_to_f16 = f32_to_f16,
    .f32_to_i8 = f32_to_i8,
    .attn_page_f16 = attn_page_f16_neon,
    .attn_page_f32 = attn_page_f32_neon,
    .attn_page_i8 = attn_page_i8_neon,
    .attn_merge = attn_merge,
    .read_bytes = read_bytes,
};
