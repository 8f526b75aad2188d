/* The arithmetic peak of NEON's dot product of bytes. */
#include "kernels_cpu/peak.h"

#include <arm_neon.h>

#include "kernels_cpu/dot_common.h"

#define N_CHAINS 12

static _Thread_local volatile int sink;

size_t peak_dotprod_int8(size_t n)
{
    int8x16_t x = vdupq_n_s8(1);
    int32x4_t acc[N_CHAINS];
    UNROLLED
    for (int c = 0; c < N_CHAINS; c++)
        acc[c] = vdupq_n_s32(c);
    for (size_t i = 0; i < n; i++) {
        UNROLLED
        for (int c = 0; c < N_CHAINS; c++)
            acc[c] = vdotq_s32(acc[c], vreinterpretq_s8_s32(acc[c]), x);
    }
    UNROLLED
    for (int c = 1; c < N_CHAINS; c++)
        acc[0] = veorq_s32(acc[0], acc[c]);
    sink = vgetq_lane_s32(acc[0], 0);
    return n * N_CHAINS * 16;
}
