/* tile_sums_512.h: private to the AVX-512 files of tiles: the columns in work, their running sums, and the
 * tree that adds those up. The file that includes it defines LEVELS: the tree has 2^LEVELS leaves.
 *
 * Four vectors of 16 rows by up to six columns are in registers: enough chains for the multiply-adds, and
 * every row and column that is loaded serves several. */
#ifndef FERRUM_TILE_SUMS_512_H
#define FERRUM_TILE_SUMS_512_H

#include "kernels_cpu/tile_512.h"

#define MAX_COLS 6
#define VECS (TILE_ROWS / 16)
#define MAX_GROUPS (TILE_MAX_COLS / 4) /* at least four columns each, or three columns alone */

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

/* Some columns in work together: the running sum at hand, and those that wait. */
struct group {
    size_t n;
    const uint32_t *index;
    struct sums acc, waiting[LEVELS];
    float *out;
};

/* Groups of six columns or of about as many each. */
static size_t make_groups(const uint32_t *index, size_t n, float *out, struct group *groups)
{
    size_t n_groups = 0;
    for (size_t left = (n + MAX_COLS - 1) / MAX_COLS; left; left--) {
        size_t some = (n + left - 1) / left, each = some < 4 ? 1 : some;
        for (size_t c = 0; c < some; c += each, n_groups++) {
            groups[n_groups].n = each;
            groups[n_groups].index = index + c;
            groups[n_groups].out = out + c * TILE_ROWS;
        }
        index += some;
        out += some * TILE_ROWS;
        n -= some;
    }
    return n_groups;
}

#endif
