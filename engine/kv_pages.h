/* kv_pages.h: the pool of KV pages and the block table of one sequence.
 *
 * A page holds KV_BLOCK_TOKENS positions of all layers as [layer][K, V][KV head][KV_BLOCK_TOKENS][D] in the
 * KV type.
 *
 * Invariants
 *  1. table[0 .. n_table) are distinct pages; position p is row p % KV_BLOCK_TOKENS of table[p /
 * KV_BLOCK_TOKENS].
 *  2. Every page is in the table or among the free ones, never in both.
 *  3. The pool's memory is taken from the system as pages are first written.
 * Ownership: struct kv_pages owns the pool. Belongs to one thread. kv_pages_reserve and _cut allocate
 * nothing. */
#ifndef FERRUM_KV_PAGES_H
#define FERRUM_KV_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/backend.h"

struct kv_shape {
    enum dtype type; /* DTYPE_F16 or DTYPE_F32 */
    size_t n_layer, n_kv_head, head_dim;
};

struct kv_pages {
    struct backend *backend;
    struct bbuf *pool; /* [n_pages] of page_bytes */
    struct kv_shape shape;
    size_t slab_bytes; /* K or V of one layer in one page */
    size_t page_bytes;
    size_t n_pages;
    uint32_t *table; /* [n_pages] */
    size_t n_table;
    uint32_t *free_list; /* [n_pages], taken from the end */
    size_t n_free;
};

/* Bytes of K and V of one position in all layers; 0 on overflow. */
size_t kv_token_bytes(const struct kv_shape *shape);

bool kv_pages_init(struct kv_pages *p, struct backend *backend, const struct kv_shape *shape, size_t n_tokens,
                   struct err *err);
void kv_pages_fini(struct kv_pages *p);

/* Pages for positions 0 .. n_tokens-1; false when the pool is too small (nothing changed). */
bool kv_pages_reserve(struct kv_pages *p, size_t n_tokens);
/* Gives back the pages behind position n_tokens-1. */
void kv_pages_cut(struct kv_pages *p, size_t n_tokens);

/* How an operation finds the K and V of a layer. */
struct kv_layer kv_pages_layer(const struct kv_pages *p, size_t layer);

#endif
