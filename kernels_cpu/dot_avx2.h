/* dot_avx2.h: the AVX2 kernels (see dot_kernel.h) and what their files share. x86-64 only; needs AVX2, FMA
 * and F16C. The inline functions are for the files compiled with these flags. */
#ifndef FERRUM_DOT_AVX2_H
#define FERRUM_DOT_AVX2_H

#include "kernels_cpu/dot_kernel.h"

dot_fn dot_avx2_f32, dot_avx2_f16, dot_avx2_bf16;
dot_fn dot_avx2_q4_0, dot_avx2_q4_1, dot_avx2_q5_0, dot_avx2_q5_1, dot_avx2_q8_0, dot_avx2_iq4_nl;
dot_fn dot_avx2_q2_k, dot_avx2_q3_k, dot_avx2_q4_k, dot_avx2_q5_k, dot_avx2_q6_k, dot_avx2_iq4_xs;

#endif
