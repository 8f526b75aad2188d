/* f32, f16 and bf16 weights with NEON: the vectors of dot_float_body.h, 4 floats wide. */
#include "kernels_cpu/dot_neon.h"

#include <arm_neon.h>

#include "kernels_cpu/dot_common.h"

#define LANES 4
#define N_CHAINS 4
#define SEGMENT SIZE_MAX

typedef float32x4_t vec;

ALWAYS_INLINE vec vec_zero(void)
{
    return vdupq_n_f32(0);
}

ALWAYS_INLINE vec vec_load(const float *x)
{
    return vld1q_f32(x);
}

ALWAYS_INLINE vec vec_fma(vec a, vec b, vec c)
{
    return vfmaq_f32(c, a, b);
}

ALWAYS_INLINE vec vec_add(vec a, vec b)
{
    return vaddq_f32(a, b);
}

ALWAYS_INLINE float vec_sum(vec a)
{
    return vaddvq_f32(a);
}

/* Weights may lie at any address. */
ALWAYS_INLINE vec vec_weights_f32(const uint8_t *w, size_t i)
{
    return vreinterpretq_f32_u8(vld1q_u8(w + 4 * i));
}

ALWAYS_INLINE uint16x4_t load_halves(const uint8_t *w, size_t i)
{
    return vreinterpret_u16_u8(vld1_u8(w + 2 * i));
}

ALWAYS_INLINE vec vec_weights_f16(const uint8_t *w, size_t i)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(load_halves(w, i)));
}

ALWAYS_INLINE vec vec_weights_bf16(const uint8_t *w, size_t i)
{
    return vreinterpretq_f32_u32(vshll_n_u16(load_halves(w, i), 16));
}

#include "kernels_cpu/dot_float_body.h"

void dot_neon_f32(const uint8_t *w, const struct dot_cols *a, float *out)
{
    dot_columns(w, (struct reader){vec_weights_f32, one_f32, 4}, a, out);
}

void dot_neon_f16(const uint8_t *w, const struct dot_cols *a, float *out)
{
    dot_columns(w, (struct reader){vec_weights_f16, one_f16, 2}, a, out);
}

void dot_neon_bf16(const uint8_t *w, const struct dot_cols *a, float *out)
{
    dot_columns(w, (struct reader){vec_weights_bf16, one_bf16, 2}, a, out);
}
