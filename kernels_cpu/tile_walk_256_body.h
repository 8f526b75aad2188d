/* tile_walk_256_body.h: private to the files that multiply tiles of quantised weights 256 bits wide: the walk
 * over a tile. The file that includes it has defined, after tile_floats_256_body.h: add_rows; and struct
 * extra_columns, what fill_extra makes of the columns for it once per record. */
#ifndef FERRUM_TILE_WALK_256_BODY_H
#define FERRUM_TILE_WALK_256_BODY_H

#include "kernels_cpu/tile_floats_256_body.h"

/* What differs between the kernels. */
struct tile_form {
    struct super_form form;
    size_t n_dwords, n_floats;
};

/* Blocks [begin, end) of running sum j times n columns, which is a constant where this is called. */
ALWAYS_INLINE void add_blocks(const uint8_t *records, struct tile_form tile, const struct dot_cols *a,
                              size_t n, size_t j, size_t begin, size_t end, struct tile_ahead *ahead,
                              struct group *g)
{
    size_t n_blocks = a->k / QUANT_BLOCK;
    struct places p = {.a = a};
    struct extra_columns extra;
    UNROLLED
    for (size_t c = 0; c < n; c++)
        p.at[c] = (g->index[c] * n_blocks + 8 * begin + j) * sizeof(float);
    for (size_t i = begin; i < end; i++, records += RECORD_BYTES(tile.n_dwords, tile.n_floats)) {
        fetch_ahead(ahead, LINES_AHEAD);
        fill_extra(&p, tile.form, n, &extra);
        for (size_t v = 0; v < VECS; v += PAIR) {
            const uint8_t *q = records + 4 * LANES * v;
            UNROLLED
            for (size_t c = 0; c < n; c++) /* registers do not suffice for all addresses */
                __asm__("" : "+r"(p.at[c]));
            struct record_rows w = {q, q + tile.n_dwords * ROW_DWORDS_BYTES};
            add_rows(&w, tile.form, &p, &extra, n, j, g->acc.of + v);
        }
        UNROLLED
        for (size_t c = 0; c < n; c++)
            p.at[c] += 8 * sizeof(float);
    }
}

/* Blocks [begin, end) of running sum number `step`, of which there are n. */
ALWAYS_INLINE void add_slice(const uint8_t *records, struct tile_form tile, const struct dot_cols *a,
                             size_t n, size_t step, size_t begin, size_t end, bool last,
                             struct tile_ahead *ahead, struct group *g)
{
    add_blocks(records, tile, a, n, tile_order[step], begin, end, ahead, g);
    if (last)
        add_up(g->waiting, step, n, &g->acc, g->out);
}

/* A slice of the tile stays in the first-level cache while all columns are multiplied with it. */
ALWAYS_INLINE void multiply(const uint8_t *records, struct tile_form tile, const struct dot_cols *a,
                            const uint32_t *index, size_t n, struct tile_ahead *ahead, float *out)
{
    struct group groups[MAX_GROUPS];
    size_t n_groups = make_groups(index, n, out, groups), n_blocks = a->k / QUANT_BLOCK;
    for (size_t step = 0; step < 8; step++) {
        size_t count = (n_blocks + 7 - tile_order[step]) / 8, begin = 0;
        for (size_t i = 0; i < n_groups; i++)
            memset(&groups[i].acc, 0, sizeof groups[i].acc);
        do {
            size_t end = count - begin < SLICE ? count : begin + SLICE;
            for (struct group *g = groups; g < groups + n_groups; g++) {
                switch (g->n) {
                case 4:
                    add_slice(records, tile, a, 4, step, begin, end, end == count, ahead, g);
                    break;
                case 3:
                    add_slice(records, tile, a, 3, step, begin, end, end == count, ahead, g);
                    break;
                default:
                    add_slice(records, tile, a, 1, step, begin, end, end == count, ahead, g);
                }
            }
            records += (end - begin) * RECORD_BYTES(tile.n_dwords, tile.n_floats);
            begin = end;
        } while (begin < count);
    }
}

#endif
