/* tile_evex.h: the tiles of tile_avxvnni.h with the other encoding of their one instruction, that of AVX-512
 * VL with VNNI: machines that have only that one can test them. x86-64 only. */
#ifndef FERRUM_TILE_EVEX_H
#define FERRUM_TILE_EVEX_H

#include "kernels_cpu/dot_kernel.h"

/* NULL: not a quantised type. */
const struct tile_kernel *tile_evex(enum dtype type);

#endif
