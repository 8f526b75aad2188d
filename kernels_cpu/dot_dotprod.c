/* Quantised weights with NEON and its dot product of bytes. */
#include "kernels_cpu/dot_neon.h"

#include <arm_neon.h>

#include "kernels_cpu/dot_common.h"

#define DOT_NAME(type) dot_dotprod_##type

ALWAYS_INLINE int32x4_t products_16(int8x16_t w, int8x16_t y)
{
    return vdotq_s32(vdupq_n_s32(0), w, y);
}

ALWAYS_INLINE int32x4_t products_32(const int8x16_t w[2], const int8x16_t y[2])
{
    return vdotq_s32(products_16(w[0], y[0]), w[1], y[1]);
}

#include "kernels_cpu/dot_neon_body.h"
