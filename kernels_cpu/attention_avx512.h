/* attention_avx512.h: one page of attention for AVX-512 (kernels.h, attn_page_fn). head_dim % 16 == 0, in
 * int8 head_dim % 32 == 0. */
#ifndef FERRUM_ATTENTION_AVX512_H
#define FERRUM_ATTENTION_AVX512_H

#include "kernels_cpu/kernels.h"

attn_page_fn attn_page_f16_avx512, attn_page_f32_avx512, attn_page_i8_avx512;

#endif
