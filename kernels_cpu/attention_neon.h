/* attention_neon.h: one page of attention for NEON (kernels.h, attn_page_fn). head_dim % 4 == 0, in int8
 * head_dim % 8 == 0. */
#ifndef FERRUM_ATTENTION_NEON_H
#define FERRUM_ATTENTION_NEON_H

#include "kernels_cpu/kernels.h"

attn_page_fn attn_page_f16_neon, attn_page_f32_neon, attn_page_i8_neon;

#endif
