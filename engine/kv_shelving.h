/* kv_shelving.h: which pages of the timeline are on the shelf (engine/base/kv_block.h), and how they get
 * there and back.
 *
 * Saving. A page that is full gets its name and is offered without a copy: it is lent (kv_pages.h) until the
 * shelf is done. What the shelf has no room for is offered again later, in order. The rows of the unfinished
 * page are offered from a copy when a turn ends. Offering never waits and allocates nothing.
 * Loading. The shelf is asked for what follows the whole pages in memory. Every block is read into a page
 * outside the table (or a buffer) and linked only when the shelf has verified it, so that a failure leaves
 * the prefix as it was: the first bad block ends the loading. A block is read when that costs less than
 * computing its rows, as measured so far, or when no costs are known; the first one too where it brings many.
 *
 * Invariants
 *  1. hashes[0 .. n_named) are the names of the whole pages 0 .. n_named-1 of the timeline's ids.
 *  2. Pages 0 .. n_offered-1 have been taken by the shelf, or came from it, for this owner.
 * A part of the timeline (timeline.h), in its thread; without a shelf nothing happens. */
#ifndef FERRUM_KV_SHELVING_H
#define FERRUM_KV_SHELVING_H

#include "engine/kv_pages.h"
#include "engine/timeline.h"

/* Pages that wait for the disk at a time, at most: more than the store writes in one transaction. */
#define KV_LENT_MAX 16

struct kv_shelving {
    const struct kv_shelf *shelf; /* NULL: nothing is saved or loaded */
    struct kv_pages *pages;
    unsigned char owner[KV_OWNER_BYTES];
    struct kv_hash *hashes; /* [n_table_max] */
    size_t n_named, n_offered;
    size_t tail_end;        /* the tail that ends here has been taken; 0: none */
    size_t n_own;           /* rows in front of the first that other kernels computed; SIZE_MAX: all */
    size_t n_asked;         /* rows behind these were computed ahead, for a turn to come */
    unsigned n_lost;        /* the shelf's, when it was looked at last */
    struct kv_found *found; /* [n_table_max] */
    void *sending;          /* page_bytes: a tail, or a page the backend does not show, on its way */
    atomic_uint sending_pin;
    void *receiving; /* page_bytes */
};

/* Positions of KV memory beyond the context's own that saving may take. */
#define KV_SHELVING_TOKENS ((KV_LENT_MAX + 3) * KV_BLOCK_TOKENS)

/* pages: made for KV_LENT_MAX, live longer. */
bool kv_shelving_init(struct kv_shelving *s, const struct kv_shelf *shelf, struct kv_pages *pages,
                      struct err *err);
/* Waits until the shelf needs no bytes of it. */
void kv_shelving_fini(struct kv_shelving *s);

/* From now on blocks belong to this chat too: all are offered anew (what is kept costs nothing). */
void kv_shelving_set_owner(struct kv_shelving *s, const unsigned char owner[KV_OWNER_BYTES]);

/* Rows behind the first n (SIZE_MAX: none) are computed for a turn to come from now on. */
void kv_shelving_set_ahead(struct kv_shelving *s, size_t n);

/* The timeline keeps n ids. */
void kv_shelving_cut(struct kv_shelving *s, size_t n);

/* Offers the whole pages of ids[0..n) that the shelf has not got. Returns how many are left. */
size_t kv_shelving_offer(struct kv_shelving *s, const int32_t *ids, size_t n);
/* Those, and then the rows behind them, as one page more. */
size_t kv_shelving_offer_all(struct kv_shelving *s, const int32_t *ids, size_t n);

/* Rows for ids[0..n), of which n_have are in the pages: returns how many are there now. control may be NULL.
 */
size_t kv_shelving_load(struct kv_shelving *s, const int32_t *ids, size_t n_have, size_t n,
                        const struct eval_control *control, struct load_stats *stats);

#endif
