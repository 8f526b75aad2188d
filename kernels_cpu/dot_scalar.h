/* dot_scalar.h: the reference kernels in plain C, for every type; see dot_kernel.h. */
#ifndef FERRUM_DOT_SCALAR_H
#define FERRUM_DOT_SCALAR_H

#include "kernels_cpu/dot_kernel.h"

dot_fn dot_scalar_f32, dot_scalar_f16, dot_scalar_bf16;
dot_fn dot_scalar_q4_0, dot_scalar_q4_1, dot_scalar_q5_0, dot_scalar_q5_1, dot_scalar_q8_0, dot_scalar_iq4_nl;
dot_fn dot_scalar_q2_k, dot_scalar_q3_k, dot_scalar_q4_k, dot_scalar_q5_k, dot_scalar_q6_k, dot_scalar_iq4_xs;

#endif
