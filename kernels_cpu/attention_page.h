/* attention_page.h: what the pages of all KV types and instruction sets share: which rows see a page,
 * fetching ahead. */
#ifndef FERRUM_ATTENTION_PAGE_H
#define FERRUM_ATTENTION_PAGE_H

#include "kernels_cpu/kernels.h"
#include "kernels_cpu/vec_common.h"

#define K_STEP 4 /* positions per score block */

/* Which rows of a tile a call works on: one or two neighbours. */
struct rows {
    struct attn_tile *t;
    size_t first;
};

/* Asks for bytes ahead of their use. The hardware's own prefetch starts anew in every page of every head, too
 * late for few rows, which wait for memory and nothing else. */
VEC_INLINE void prefetch(const void *p, size_t begin, size_t end)
{
    for (size_t i = begin; p && i < end; i += 64)
        __builtin_prefetch((const char *)p + i, 0, 3);
}

/* What is left to fetch of the next page while many rows are multiplied by this one: `step` bytes of K and of
 * V now and then, into the second level. More at once than the processor can have under way would be waited
 * for.
 */
struct ahead {
    const char *k, *v;
    size_t n_left, step;
};

/* slab: bytes of K, and of V, a multiple of 64; to be had in n_steps. */
VEC_INLINE struct ahead ahead_of(const struct attn_tile *t, size_t slab, size_t n_steps)
{
    return (struct ahead){t->next_k, t->next_v, t->next_k ? slab : 0, (slab / n_steps + 63) / 64 * 64};
}

VEC_INLINE void fetch_step(struct ahead *a)
{
    for (size_t end = a->n_left > a->step ? a->n_left - a->step : 0; a->n_left > end; a->n_left -= 64) {
        __builtin_prefetch(a->k + a->n_left - 64, 0, 2);
        __builtin_prefetch(a->v + a->n_left - 64, 0, 2);
    }
}

/* The rows that see something of this page: [*first, *first + n). */
VEC_INLINE size_t rows_that_see(const struct attn_tile *t, size_t *first)
{
    size_t low = 0, high = t->n_rows;
    while (low < high && t->begin[low] >= t->end[low])
        low++;
    while (high > low && t->begin[high - 1] >= t->end[high - 1])
        high--;
    *first = low;
    return high - low;
}

#endif
