/* tile_sums_512.h: private to the AVX-512 files of tiles: the running sums of the columns in work, and the
 * tree that adds them up. The file that includes it defines MAX_COLS, columns at once, and LEVELS: the tree
 * has 2^LEVELS leaves. */
#ifndef FERRUM_TILE_SUMS_512_H
#define FERRUM_TILE_SUMS_512_H

#include "kernels_cpu/tile_512.h"

struct sums {
    __m512 of[VECS][MAX_COLS];
};

/* A finished running sum, number `step` of all, goes up the tree as far as both sides are there: where the
 * bits of step are set, a sum waits. */
ALWAYS_INLINE void add_up(struct sums waiting[LEVELS], size_t step, size_t n, struct sums *acc, float *out)
{
    size_t level = 0;
    for (; step >> level & 1; level++) {
        UNROLLED
        for (size_t v = 0; v < VECS; v++) {
            UNROLLED
            for (size_t c = 0; c < n; c++)
                acc->of[v][c] = _mm512_add_ps(waiting[level].of[v][c], acc->of[v][c]);
        }
    }
    UNROLLED
    for (size_t v = 0; v < VECS; v++) {
        UNROLLED
        for (size_t c = 0; c < n; c++) {
            float *to = level == LEVELS ? out + c * 16 * VECS + 16 * v : (float *)&waiting[level].of[v][c];
            _mm512_storeu_ps(to, acc->of[v][c]);
        }
    }
}

#endif
