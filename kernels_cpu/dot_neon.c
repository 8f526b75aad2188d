/* Quantised weights with NEON as every AArch64 machine has it: bytes are multiplied to 16 bits. Two products
 * fit: at most 128 * 127 * 2 = 32512 (activations are -127 .. 127). */
#include "kernels_cpu/dot_neon.h"

#include <arm_neon.h>

#include "kernels_cpu/dot_common.h"

#define DOT_NAME(type) dot_neon_##type

ALWAYS_INLINE int16x8_t pairs(int8x16_t w, int8x16_t y)
{
    return vmlal_high_s8(vmull_s8(vget_low_s8(w), vget_low_s8(y)), w, y);
}

ALWAYS_INLINE int32x4_t products_16(int8x16_t w, int8x16_t y)
{
    return vpaddlq_s16(pairs(w, y));
}

ALWAYS_INLINE int32x4_t products_32(const int8x16_t w[2], const int8x16_t y[2])
{
    return vpadalq_s16(products_16(w[0], y[0]), pairs(w[1], y[1]));
}

#include "kernels_cpu/dot_neon_body.h"
