/* The source itself, under another name. */
#include "tests/kernels_cpu/soft_bf16_512.h"

#include "kernels_cpu/tile_avx512bf16.c"
