/* attention_values_body.h: the weighted V of a tile's rows, in groups that share what is loaded of it.
 *
 * Included by one file per instruction set and KV type, which defines before it ROW_STEP, 2, 4 or 6: as many
 * rows as fit the registers; and anywhere add_values(rows, n, page)     adds the weighted V to n rows (1, 2,
 * 4 or ROW_STEP), the same bits for any n. */
#ifndef FERRUM_ATTENTION_VALUES_BODY_H
#define FERRUM_ATTENTION_VALUES_BODY_H

#include "kernels_cpu/attention_page.h"

struct page;
VEC_INLINE void add_values(struct rows rows, size_t n, const struct page *page);

VEC_INLINE void value_rows(struct attn_tile *t, size_t first, size_t last, const struct page *page)
{
    size_t r = first;
    for (; r + ROW_STEP <= last; r += ROW_STEP)
        add_values((struct rows){t, r}, ROW_STEP, page);
    if (ROW_STEP > 4 && r + 4 <= last) {
        add_values((struct rows){t, r}, 4, page);
        r += 4;
    }
    if (ROW_STEP > 2 && r + 2 <= last) {
        add_values((struct rows){t, r}, 2, page);
        r += 2;
    }
    if (r < last)
        add_values((struct rows){t, r}, 1, page);
}

#endif
