/* attention_avx2.h: one page of attention for AVX2 with FMA and F16C (kernels.h, attn_page_fn). head_dim % 8
 * == 0, in int8 head_dim % 16 == 0. */
#ifndef FERRUM_ATTENTION_AVX2_H
#define FERRUM_ATTENTION_AVX2_H

#include "kernels_cpu/kernels.h"

attn_page_fn attn_page_f16_avx2, attn_page_f32_avx2, attn_page_i8_avx2;

#endif
