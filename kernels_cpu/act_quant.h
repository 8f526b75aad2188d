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

/* ACT_Q8_LANES: q in another order per 256 values (act_lanes_fn), the rest as ACT_Q8. */
enum act_format { ACT_F32, ACT_Q8, ACT_Q8_LANES, ACT_FORMAT_N };

/* x [k] to q [k], d and s [k / 32], sums [k / 16]; k a multiple of 32. */
typedef void act_quant_fn(const float *x, size_t k, int8_t *q, float *d, float *s, int16_t *sums);

act_quant_fn act_quant_scalar, act_quant_avx2;

/* q [k] of ACT_Q8 to the order in which a sub-block of 16 is one dword of each of four vectors of 64: dword
 * 4L + g of vector v holds values 64g + 16L + 4v .. + 3. A chain of vpdpbusd then leaves one sum per
 * sub-block. */
typedef void act_lanes_fn(const int8_t *q, size_t k, int8_t *lanes);

act_lanes_fn act_lanes_avx512;

#endif
