/* peak_avx512.h: the arithmetic peak (see peak_fn) of vpdpbusd and of multiply-adds of f32. x86-64 only;
 * needs what dot_avx512.h needs. */
#ifndef FERRUM_PEAK_AVX512_H
#define FERRUM_PEAK_AVX512_H

#include "kernels_cpu/dot_kernel.h"

peak_fn peak_avx512_int8, peak_avx512_f32;

#endif
