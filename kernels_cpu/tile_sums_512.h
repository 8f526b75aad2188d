/* tile_sums_512.h: private to the AVX-512 files of tiles: four vectors of 16 rows by up to six columns are in
 * registers: enough chains for the multiply-adds, and every row and column that is loaded serves several. */
#ifndef FERRUM_TILE_SUMS_512_H
#define FERRUM_TILE_SUMS_512_H

#include "kernels_cpu/tile_512.h"

#define MAX_COLS 6
#define MIN_COLS 4

#include "kernels_cpu/tile_sums_body.h"

#endif
