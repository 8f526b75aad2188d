/* The arithmetic peak with NEON. */
#include "kernels_cpu/peak.h"

#include <arm_neon.h>

#include "kernels_cpu/dot_common.h"

/* More chains than the latency of one multiply-add needs, and no more than there are registers for. */
#define N_CHAINS 12

static _Thread_local volatile int sink;

/* The kernels' way: two long multiplications, and pairs added to 32 bits, for 16 products. The sum is an
 * operand of the first, so that the compiler cannot take it out of the loop. */
size_t peak_neon_int8(size_t n)
{
    int8x16_t x = vdupq_n_s8(1);
    int32x4_t acc[N_CHAINS];
    UNROLLED
    for (int c = 0; c < N_CHAINS; c++)
        acc[c] = vdupq_n_s32(c);
    for (size_t i = 0; i < n; i++) {
        UNROLLED
        for (int c = 0; c < N_CHAINS; c++) {
            int8x16_t y = vreinterpretq_s8_s32(acc[c]);
            int16x8_t pairs = vmlal_high_s8(vmull_s8(vget_low_s8(x), vget_low_s8(y)), x, y);
            acc[c] = vpadalq_s16(acc[c], pairs);
        }
    }
    UNROLLED
    for (int c = 1; c < N_CHAINS; c++)
        acc[0] = veorq_s32(acc[0], acc[c]);
    sink = vgetq_lane_s32(acc[0], 0);
    return n * N_CHAINS * 16;
}

size_t peak_neon_f32(size_t n)
{
    float32x4_t x = vdupq_n_f32(0.5f), acc[N_CHAINS];
    UNROLLED
    for (int c = 0; c < N_CHAINS; c++)
        acc[c] = vdupq_n_f32((float)c);
    for (size_t i = 0; i < n; i++) {
        UNROLLED
        for (int c = 0; c < N_CHAINS; c++)
            acc[c] = vfmaq_f32(x, acc[c], x);
    }
    UNROLLED
    for (int c = 1; c < N_CHAINS; c++)
        acc[0] = vaddq_f32(acc[0], acc[c]);
    sink = (int)vgetq_lane_f32(acc[0], 0);
    return n * N_CHAINS * 4;
}
