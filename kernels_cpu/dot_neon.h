/* dot_neon.h: the NEON kernels (see dot_kernel.h), and those for machines that have the dot product of bytes,
 * too. AArch64 only. Integers are exact, so both have the same bits. */
#ifndef FERRUM_DOT_NEON_H
#define FERRUM_DOT_NEON_H

#include "kernels_cpu/dot_kernel.h"

dot_fn dot_neon_f32, dot_neon_f16, dot_neon_bf16;
dot_fn dot_neon_q4_0, dot_neon_q4_1, dot_neon_q5_0, dot_neon_q5_1, dot_neon_q8_0, dot_neon_iq4_nl;
dot_fn dot_neon_q2_k, dot_neon_q3_k, dot_neon_q4_k, dot_neon_q5_k, dot_neon_q6_k, dot_neon_iq4_xs;

#define dot_dotprod_f32 dot_neon_f32
#define dot_dotprod_f16 dot_neon_f16
#define dot_dotprod_bf16 dot_neon_bf16
dot_fn dot_dotprod_q4_0, dot_dotprod_q4_1, dot_dotprod_q5_0, dot_dotprod_q5_1, dot_dotprod_q8_0,
    dot_dotprod_iq4_nl;
dot_fn dot_dotprod_q2_k, dot_dotprod_q3_k, dot_dotprod_q4_k, dot_dotprod_q5_k, dot_dotprod_q6_k,
    dot_dotprod_iq4_xs;

#endif
