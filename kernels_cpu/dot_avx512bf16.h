/* dot_avx512bf16.h: what AVX512_BF16 adds to the kernels of dot_avx512.h: bf16 weights times columns that
 * were rounded to bf16, two products per lane and instruction. x86-64 only.
 *
 * vdpbf16ps adds two products of neighbours to a float, the second weight's first, each with a fused
 * multiply-add that rounds to nearest even, takes subnormal numbers for zeros and gives zeros for them,
 * whatever MXCSR says (Intel SDM vol. 2, VDPBF16PS). No machine at hand has it: the tests run these files
 * with that description in its place (tests/kernels_cpu/soft_bf16.h). */
#ifndef FERRUM_DOT_AVX512BF16_H
#define FERRUM_DOT_AVX512BF16_H

#include "kernels_cpu/dot_avx512.h"
#include "kernels_cpu/tile.h"

/* As FLOAT_SEGMENT, which it is in pairs. */
#define PAIR_SEGMENT (2 * FLOAT_SEGMENT)

dot_fn dot_avx512bf16_bf16;
act_round_fn act_round_avx512bf16;
act_round_chains_fn act_round_chains_avx512bf16;
extern const struct tile_kernel tile_avx512bf16_bf16;

#endif
