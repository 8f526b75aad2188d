/* act_quant.h: activations as the integer kernels read them.
 *
 * A product quantises its input rows once, whatever number of weight rows reads them: symmetric int8, a scale
 * per 32 values, d = amax / 127, q = x * (127 / amax) rounded to nearest even, in natural order. s[i] = d[i]
 * * sum of the 32 q is the share of a constant added to 32 weights; sums[i] = sum of 16 q serves the mins and
 * offsets of sub-blocks (k-quants, IQ4_XS). Types of 256 weights read the same: a scale per 256, as others
 * use there, costs half as much again in error. A block whose values include a NaN or an infinity gets d =
 * NaN and q = 0: the product is NaN, not a random number. A block of values below ACT_TINY counts as zero
 * (127 / amax would overflow). All implementations give the same bits. Pure functions, any thread. */
#ifndef FERRUM_ACT_QUANT_H
#define FERRUM_ACT_QUANT_H

#include <stddef.h>
#include <stdint.h>

#define ACT_TINY 1e-36f

/* As they are; rounded to bf16, as bf16 weights want them where there are dot products of that; int8. */
enum act_format { ACT_F32, ACT_BF16, ACT_Q8, ACT_FORMAT_N };

/* x [k] to q [k], d and s [k / 32], sums [k / 16]; k a multiple of 32. */
typedef void act_quant_fn(const float *x, size_t k, int8_t *q, float *d, float *s, int16_t *sums);

act_quant_fn act_quant_scalar, act_quant_avx2, act_quant_avx512, act_quant_neon;

/* For kernels whose lanes are sub-blocks. lanes [k]: q, per 256 values in the order in which dword j of four
 * vectors of 64 holds values of the first half of the j-th 32, dword 8 + j of the second half; what is beyond
 * the last 256 keeps its order; NULL: not wanted. start_32 [k / 32] and start_16 [k / 16]: where a sum of
 * integers begins (as the bits of a float, see DOT_MAGIC) when weights are stored with an offset: - 128 * the
 * sum of the 32 q; - 32 * the sum of the 16 q, per 256 values those of the first halves of all 32, then those
 * of the second ones. */
typedef void act_lanes_fn(const int8_t *q, const int16_t *sums, size_t k, int8_t *lanes, int32_t *start_32,
                          int32_t *start_16);

act_lanes_fn act_lanes_avx2, act_lanes_avx512; /* AVX2: lanes must be NULL */

/* x [k], one column of m, to its places in chains [m, k]: in the order in which a tile of float weights walks
 * it, see tile_floats_512_body.h; what is walked together lies side by side, of all columns. k: of a segment.
 */
typedef void act_chains_fn(const float *x, size_t k, size_t m, size_t column, float *chains);

act_chains_fn act_chains_avx512;

/* x [k] rounded to nearest even, ties to even; subnormal numbers become zeros of their sign. */
typedef void act_round_fn(const float *x, size_t k, uint16_t *rounded);
/* The same to the places of a tile, as act_chains_fn: there pairs of values are what floats are there. */
typedef void act_round_chains_fn(const float *x, size_t k, size_t m, size_t column, uint16_t *chains);

/* 1.5 * 2^23, as a float and as its bits: bits + n are the bits of the float DOT_MAGIC + n for |n| < 2^22. So
 * a sum of integers that starts there is a float, up to a constant that one multiply-add takes away. */
#define DOT_MAGIC 12582912.0f
#define DOT_MAGIC_BITS 0x4B400000

#endif
