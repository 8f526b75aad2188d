/* soft_bf16.h: the kernels of dot_avx512bf16.h with the two instructions of AVX512_BF16 as the Intel SDM
 * describes them (vol. 2, VDPBF16PS and VCVTNE2PS2BF16), made of AVX-512's: so machines that lack them test
 * everything else. x86-64 only; needs what dot_avx512.h needs. */
#ifndef FERRUM_SOFT_BF16_H
#define FERRUM_SOFT_BF16_H

#include "kernels_cpu/dot_kernel.h"

/* The AVX-512 set with them. */
const struct dot_set *soft_bf16_set(void);

/* acc[i] += a[2i + 1] * b[2i + 1], then += a[2i] * b[2i], for i below 16. The instruction: only where the
 * machine has it. */
void soft_bf16_dot(const uint16_t a[32], const uint16_t b[32], float acc[16]);
void real_bf16_dot(const uint16_t a[32], const uint16_t b[32], float acc[16]);
/* to[i] = x[i] */
void soft_bf16_round(const float x[32], uint16_t to[32]);
void real_bf16_round(const float x[32], uint16_t to[32]);

#endif
