/* tile_sums_body.h: private to the files of tiles: the columns in work, their running sums, and the tree that
 * adds those up, for every vector width. The file that includes it has included its tile_256.h or tile_512.h
 * and defines LEVELS: the tree has 2^LEVELS leaves; MAX_COLS: columns of a group; MIN_COLS: smaller groups
 * are columns alone. */
#ifndef FERRUM_TILE_SUMS_BODY_H
#define FERRUM_TILE_SUMS_BODY_H

#include "kernels_cpu/tile_records.h"

#define VECS (TILE_ROWS / LANES)
#define MAX_GROUPS (TILE_MAX_COLS / MIN_COLS) /* but for a few columns alone */

struct sums {
    vec of[VECS][MAX_COLS];
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
                acc->of[v][c] = vec_add(waiting[level].of[v][c], acc->of[v][c]);
        }
    }
    UNROLLED
    for (size_t v = 0; v < VECS; v++) {
        UNROLLED
        for (size_t c = 0; c < n; c++)
            vec_storeu(level == LEVELS ? out + c * TILE_ROWS + LANES * v : (float *)&waiting[level].of[v][c],
                       acc->of[v][c]);
    }
}

/* Some columns in work together: the running sum at hand, and those that wait. */
struct group {
    size_t n;
    const uint32_t *index;
    struct sums acc, waiting[LEVELS];
    float *out;
};

/* Groups of MAX_COLS columns or of about as many each. */
static size_t make_groups(const uint32_t *index, size_t n, float *out, struct group *groups)
{
    size_t n_groups = 0;
    for (size_t left = (n + MAX_COLS - 1) / MAX_COLS; left; left--) {
        size_t some = (n + left - 1) / left, each = some < MIN_COLS ? 1 : some;
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
