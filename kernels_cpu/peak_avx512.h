/* peak_avx512.h: what the multiply-adds of this machine can do, for benchmarks: as many of them as fit, on
 * registers alone. The caller takes the time. Needs what dot_avx512.h needs. Pure functions, any thread. */
#ifndef FERRUM_PEAK_AVX512_H
#define FERRUM_PEAK_AVX512_H

#include <stddef.h>

/* n rounds of vpdpbusd, and of fused multiply-adds of f32; returns the products that were added. */
size_t peak_avx512_int8(size_t n);
size_t peak_avx512_f32(size_t n);

#endif
