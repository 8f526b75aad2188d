/* attention_float_dots_body.h: pages of f16 and f32 whose K is multiplied as it lies, for AVX2 and NEON,
 * written once for every vector width.
 *
 * Included by one file per instruction set, which defines before it FEW_ROWS (below it a page is waited for,
 * and so the next one fetched ahead), what attention_float_body.h and attention_dots_body.h list, and
 * put_sums(out, x), which writes the sums of four vectors. */
#ifndef FERRUM_ATTENTION_FLOAT_DOTS_BODY_H
#define FERRUM_ATTENTION_FLOAT_DOTS_BODY_H

#include "kernels_cpu/attention_float_body.h"

typedef float query;

VEC_INLINE const query *queries(const struct attn_tile *t)
{
    return t->q;
}

VEC_INLINE vec load_keys(const struct page *page, size_t i)
{
    return load_lanes(page->k, i, page->f16);
}

VEC_INLINE void put_scores(struct attn_tile *t, const struct page *page, size_t r, size_t j,
                           const vec sums[K_STEP])
{
    (void)page;
    put_sums(&t->scores[r][j], sums);
}

VEC_INLINE void fetch_keys(const struct page *page, size_t dim, size_t j, size_t end)
{
    fetch_next(page->next_k, page, j * dim, end * dim);
}

VEC_INLINE void weigh_row(struct attn_tile *t, size_t r, const struct page *page)
{
    (void)page;
    softmax_row(t, r);
}

#include "kernels_cpu/attention_dots_body.h"

/* A page of f16 that many rows read is widened once: that is cheaper than once per ROW_STEP rows. Whole score
 * blocks, which may read rows of K that nobody sees. */
VEC_INLINE void add_many(struct attn_tile *t, size_t first, size_t n, const struct page *in)
{
    struct page wide = {.k = in->k, .v = in->v};
    if (in->f16) {
        size_t dim = t->head_dim, end = t->end[first + n - 1];
        size_t k_end = (end + K_STEP - 1) / K_STEP * K_STEP;
        widen(t->k_wide, in->k, t->begin[first] / K_STEP * K_STEP * dim, k_end * dim);
        widen(t->v_wide, in->v, t->begin[first] * dim, end * dim);
        wide.k = t->k_wide;
        wide.v = t->v_wide;
    }
    page_rows(t, first, n, &wide);
}

VEC_INLINE void add_page(struct attn_tile *t, const void *k, const void *v, bool f16)
{
    size_t first, n = rows_that_see(t, &first);
    if (n >= FEW_ROWS)
        add_many(t, first, n, &(struct page){.k = k, .v = v, .f16 = f16});
    else if (n > 0)
        page_rows(t, first, n,
                  &(struct page){.k = k, .v = v, .f16 = f16, .next_k = t->next_k, .next_v = t->next_v});
}

#endif
