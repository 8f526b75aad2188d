/* vec_neon.h: what the NEON kernels share: the largest magnitude, exp, rounding to bytes. AArch64 only. */
#ifndef FERRUM_VEC_NEON_H
#define FERRUM_VEC_NEON_H

#include <arm_neon.h>
#include <string.h>

#include "engine/half.h"
#include "kernels_cpu/vec_common.h"

/* The largest magnitude of n numbers; NaN if one of them is: as integers, magnitudes order as the numbers do,
 * with infinity and NaN on top. */
VEC_INLINE float vec_largest(const float *x, size_t n)
{
    const uint32x4_t magnitude = vdupq_n_u32(0x7FFFFFFF);
    uint32x4_t max = vdupq_n_u32(0);
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        max = vmaxq_u32(max, vandq_u32(magnitude, vreinterpretq_u32_f32(vld1q_f32(x + i))));
    uint32_t largest = vmaxvq_u32(max);
    for (; i < n; i++) {
        uint32_t bits = f32_bits(x[i]) & 0x7FFFFFFF;
        largest = bits > largest ? bits : largest;
    }
    return f32_from_bits(largest);
}

/* exp(x), relative error below 2e-7: x = n*ln2 + r with |r| <= ln2/2, the series of exp(r) to r^7 / 7!, times
 * 2^n. Below -87.33 (results under the smallest normal) it is 0, so exp(-inf) = 0; above 88.37 it stays at
 * exp(88.37): the result is always finite. NaN stays NaN: it wins in min and max. */
VEC_INLINE float32x4_t vec_exp(float32x4_t x)
{
    const float32x4_t low = vdupq_n_f32(-87.33f), high = vdupq_n_f32(88.37f);
    float32x4_t c = vminq_f32(high, vmaxq_f32(low, x));
    float32x4_t n = vrndnq_f32(vmulq_n_f32(c, 1.44269504f));
    /* ln2 in two parts: the upper has so few bits that n times it is exact */
    float32x4_t r = vfmsq_f32(c, n, vdupq_n_f32(0.693359375f));
    r = vfmsq_f32(r, n, vdupq_n_f32(-2.12194440e-4f));
    float32x4_t y = vdupq_n_f32(1.0f / 5040.0f);
    y = vfmaq_f32(vdupq_n_f32(1.0f / 720.0f), y, r);
    y = vfmaq_f32(vdupq_n_f32(1.0f / 120.0f), y, r);
    y = vfmaq_f32(vdupq_n_f32(1.0f / 24.0f), y, r);
    y = vfmaq_f32(vdupq_n_f32(1.0f / 6.0f), y, r);
    y = vfmaq_f32(vdupq_n_f32(0.5f), y, r);
    y = vfmaq_f32(vdupq_n_f32(1.0f), y, r);
    y = vfmaq_f32(vdupq_n_f32(1.0f), y, r);
    int32x4_t power = vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127)), 23);
    y = vmulq_f32(y, vreinterpretq_f32_s32(power));
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(y), vcltq_f32(x, low)));
}

/* Eight values times a factor to as many bytes, ties to the even number. */
VEC_INLINE void vec_round_8(int8_t *out, const float *x, float factor)
{
    int32x4_t a = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), factor));
    int32x4_t b = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4), factor));
    vst1_s8(out, vqmovn_s16(vcombine_s16(vqmovn_s32(a), vqmovn_s32(b))));
}

#endif
