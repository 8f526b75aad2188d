/* peak.h: how many multiply-adds the threads can do on registers alone: the roof over products that do not
 * wait for memory. For benchmarks; each instruction set counts the way its own kernels take to a product.
 * Thread rule: that of the pool. */
#ifndef FERRUM_PEAK_H
#define FERRUM_PEAK_H

#include <stddef.h>

struct pool;

/* n rounds of multiply-adds in more chains than one takes time; returns how many products were added. The
 * caller takes the time. */
typedef size_t peak_fn(size_t n);

peak_fn peak_scalar_int8, peak_scalar_f32;
peak_fn peak_avx2_int8, peak_avx2_f32;                    /* x86-64 only */
peak_fn peak_avxvnni_int8;                                /* x86-64 only */
peak_fn peak_avx512_int8, peak_avx512_f32;                /* x86-64 only; need what dot_avx512.h needs */
peak_fn peak_avx512bf16_bf16;                             /* x86-64 only */
peak_fn peak_neon_int8, peak_dotprod_int8, peak_neon_f32; /* AArch64 only */

/* Multiply-adds a second of all threads together, over some milliseconds. */
double peak_measure(struct pool *pool, peak_fn *fn);

#endif
