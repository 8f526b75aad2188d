/* tile.h: many columns at once: some rows of a weight are expanded to what the multiply-adds read, and
 * then multiplied with all columns of a product.
 *
 * Expanding costs about as much as multiplying a few columns; with fewer of them the dot kernels
 * (dot_kernel.h) are quicker. A row of the result has the bits that its dot kernel gives. `tile` is memory of
 * the caller, 64-byte aligned, tile_bytes of it. Pure functions, any thread. */
#ifndef FERRUM_TILE_H
#define FERRUM_TILE_H

#include "kernels_cpu/dot_kernel.h"

#define TILE_MAX_ROWS 64
#define TILE_MAX_COLS 24 /* at once */

/* All rows of a tile, of k weights each, row_bytes apart. */
typedef void tile_expand_fn(const uint8_t *rows, size_t row_bytes, size_t k, uint8_t *tile);

/* What will be read next, at end - at >= 0 bytes, and then n_more pieces of row_bytes, each `stride` after
 * the other: multiplying brings it nearer on the way, some lines at a time, since expanding alone waits for
 * memory. A hint: it may be anything. */
struct tile_ahead {
    const uint8_t *at, *end;
    size_t n_more, row_bytes, stride;
};

/* out[c * rows + r] = row r times column index[c], for c < n <= TILE_MAX_COLS. */
typedef void tile_multiply_fn(const uint8_t *tile, const struct dot_cols *a, const uint32_t *index, size_t n,
                              struct tile_ahead *ahead, float *out);

struct tile_kernel {
    tile_expand_fn *expand;
    tile_multiply_fn *multiply;
    size_t rows;         /* at most TILE_MAX_ROWS, a multiple of 16 */
    size_t bytes_per_32; /* of a tile, per 32 weights of all its rows ... */
    size_t more_bytes;   /* ... and besides */
    /* Weights of a row that a tile holds at most; longer rows are added up from segments of so many, the
     * first to the last. 0: no limit. */
    size_t segment;
};

/* Weights of a row that are expanded together, of k that are left. */
static inline size_t tile_segment(const struct tile_kernel *t, size_t k)
{
    return t->segment && t->segment < k ? t->segment : k;
}

static inline size_t tile_bytes(const struct tile_kernel *t, size_t k)
{
    return (k + 31) / 32 * t->bytes_per_32 + t->more_bytes;
}

/* What is fetched ahead stays near for so many columns: they suffice for the fetching, too. */
#define TILE_AHEAD_COLS 72

/* Columns to multiply now of those that are left: as many as there may be, or equal parts. */
static inline size_t tile_cols(size_t left)
{
    size_t n_parts = (left + TILE_MAX_COLS - 1) / TILE_MAX_COLS;
    return (left + n_parts - 1) / n_parts;
}

/* Room for a tile of rows of every width that is served. */
#define TILE_MAX_BYTES ((size_t)4 << 20)

/* Is there a kernel, are there rows enough for one tile, and room for it? */
static inline bool tile_serves(const struct dot_set *set, enum dtype type, size_t n_rows, size_t k)
{
    const struct tile_kernel *t = set->tile[type];
    return t && n_rows >= t->rows && tile_bytes(t, tile_segment(t, k)) <= TILE_MAX_BYTES;
}

#endif
