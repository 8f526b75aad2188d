/* dot_neon_body.h: quantised weights with NEON, written once for machines with and without the dot product of
 * bytes.
 *
 * Included by one file per way to multiply, which defines before it DOT_NAME(type), the name of a kernel, and
 * products_16 and products_32: the products of so many bytes, added up to four sums in any manner.
 *
 * Weights become signed bytes. The sums of four blocks of 32 are then brought to the lanes of a vector, so a
 * float sum has eight running parts, one for each place of a block in 256 weights, as with AVX-512; what
 * follows the last 256 has four more. */
#ifndef FERRUM_DOT_NEON_BODY_H
#define FERRUM_DOT_NEON_BODY_H

#include <arm_neon.h>

#include "engine/quant_blocks.h"
#include "kernels_cpu/dot_common.h"
#include "kernels_cpu/dot_kernel.h"

/* Lane j: the sum of x[j]. */
ALWAYS_INLINE int32x4_t sum_each(const int32x4_t x[4])
{
    return vpaddq_s32(vpaddq_s32(x[0], x[1]), vpaddq_s32(x[2], x[3]));
}

ALWAYS_INLINE void load_32(const int8_t *y, int8x16_t out[2])
{
    out[0] = vld1q_s8(y);
    out[1] = vld1q_s8(y + 16);
}

/* Bits `shift` .. of every byte, as many as the mask has. */
ALWAYS_INLINE uint8x16_t bits(uint8x16_t x, int shift, int mask)
{
    return (x >> vdupq_n_u8((uint8_t)shift)) & vdupq_n_u8((uint8_t)mask);
}

ALWAYS_INLINE uint8x16_t shift_left(uint8x16_t x, int shift)
{
    return x << vdupq_n_u8((uint8_t)shift);
}

ALWAYS_INLINE int8x16_t minus(uint8x16_t x, int offset)
{
    return vsubq_s8(vreinterpretq_s8_u8(x), vdupq_n_s8((int8_t)offset));
}

ALWAYS_INLINE int8x16_t iq4_weights(uint8x16_t index)
{
    return vqtbl1q_s8(vld1q_s8(quant_iq4_values), index);
}

#include "kernels_cpu/dot_neon_kquants_body.h"
#include "kernels_cpu/dot_neon_legacy_body.h"

#endif
