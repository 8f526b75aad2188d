/* kv_pages.h: the pool of KV pages and the block table of one sequence.
 *
 * A page holds KV_BLOCK_TOKENS positions of all layers as [layer][K, V][KV head][rows], where the rows of one
 * head are [KV_BLOCK_TOKENS][D] values in the KV type and, in int8, f32 [KV_BLOCK_TOKENS] scales behind them
 * (struct kv_layer). The bytes of a block with n rows, KV_LAYOUT 1, are the same with n in the place of
 * KV_BLOCK_TOKENS: [layer][K, V][KV head]([n][D], in int8 f32 [n]). A full block is a page as it lies there.
 * Where two backends share the layers, each has its part of every page; a block is the parts one after the
 * other, so that its bytes do not say where they were computed.
 *
 * Lending. A full page may be lent: another thread reads it until the page's pin is 0 again. A lent page does
 * not change: one that is cut off waits, parked, until its pin is gone, and one that is cut in its middle is
 * copied first. At most n_lent_max pages are lent at a time, so beyond the n_table_max pages of a full table
 * at most that many are parked, and one more is being filled from outside (kv_pages_next): with a pool of
 * n_table_max + n_lent_max + 1 pages there is always a free one, and kv_pages_reserve fails for the length
 * alone.
 *
 * Invariants
 *  1. table[0 .. n_table) are distinct pages; position p is row p % KV_BLOCK_TOKENS of table[p /
 * KV_BLOCK_TOKENS].
 *  2. Every page is in the table, or free, or parked, never in two of them. Free pages are not pinned.
 *  3. The pool's memory is taken from the system as pages are first written.
 * Ownership: struct kv_pages owns the pools. Belongs to one thread; others only read lent pages and lower
 * pins. Nothing but kv_pages_init allocates. */
#ifndef FERRUM_KV_PAGES_H
#define FERRUM_KV_PAGES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/backend.h"

#define KV_MAX_PARTS 2

struct kv_shape {
    enum dtype type; /* DTYPE_F16, DTYPE_F32 or DTYPE_I8 */
    size_t n_layer, n_kv_head, head_dim;
};

/* Layers that follow each other and are computed by one backend. */
struct kv_place {
    struct backend *backend;
    size_t n_layer;
};

/* Their part of every page, in memory of that backend. */
struct kv_part {
    struct backend *backend;
    struct bbuf *pool; /* [n_pages] of page_bytes */
    size_t first_layer, n_layer;
    size_t page_bytes;
};

struct kv_pages {
    struct kv_part parts[KV_MAX_PARTS];
    size_t n_parts;
    struct kv_shape shape;
    size_t slab_bytes; /* K or V of one layer in one page */
    size_t page_bytes; /* of all parts */
    size_t n_pages;
    size_t n_table_max, n_lent_max;
    uint32_t *table; /* [n_table_max] */
    size_t n_table;
    uint32_t *free_list; /* [n_pages], taken from the end */
    size_t n_free;
    atomic_uint *pins; /* [n_pages] */
    uint32_t *lent;    /* [n_lent_max] pages that were pinned when last looked at */
    size_t n_lent;
    uint32_t *parked; /* [n_lent_max] */
    size_t n_parked;
};

/* Bytes of K and V of one position in all layers; 0 on overflow. */
size_t kv_token_bytes(const struct kv_shape *shape);

/* Pages for n_tokens positions; places: all layers in their order, at most KV_MAX_PARTS of them. n_lent_max
 * 0: none is ever lent, none filled from outside. */
bool kv_pages_init(struct kv_pages *p, const struct kv_place *places, size_t n_places,
                   const struct kv_shape *shape, size_t n_tokens, size_t n_lent_max, struct err *err);
/* Waits until no page is pinned. */
void kv_pages_fini(struct kv_pages *p);

/* Pages for positions 0 .. n_tokens-1; false when the table is too small (nothing changed). */
bool kv_pages_reserve(struct kv_pages *p, size_t n_tokens);
/* Gives back the pages behind position n_tokens-1. */
void kv_pages_cut(struct kv_pages *p, size_t n_tokens);

/* The bytes of table[i] and their pin, for a reader on another thread, who raises it before it returns and
 * lowers it when done. NULL: too many are lent, or the backend does not show its memory. */
atomic_uint *kv_pages_lend(struct kv_pages *p, size_t i, const void **bytes);

/* A page outside the table, the one that kv_pages_link takes next; needs n_lent_max > 0. */
uint32_t kv_pages_next(struct kv_pages *p);
/* Makes it table[i], i <= n_table, in the place of the one that is there. */
void kv_pages_link(struct kv_pages *p, size_t i);
/* Host memory of a page; NULL where the backend does not show it, or where there is more than one. */
void *kv_pages_host(struct kv_pages *p, uint32_t page);

/* The first n rows of table[i] as the bytes of a block. */
bool kv_pages_pack(const struct kv_pages *p, size_t i, size_t n, void *bytes, struct err *err);
/* Rows first .. end of a block of n rows, into table[i]. */
bool kv_pages_unpack(struct kv_pages *p, size_t i, const void *bytes, size_t n, size_t first, size_t end,
                     struct err *err);

/* How an operation finds the K and V of a layer. */
struct kv_layer kv_pages_layer(const struct kv_pages *p, size_t layer);

#endif
