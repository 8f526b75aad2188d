/* kv_page.h: where a position of the paged KV cache lies in host memory (layout: struct kv_layer,
 * engine/backend.h). Pure arithmetic; bounds were checked by the caller of the operation. */
#ifndef FERRUM_KV_PAGE_H
#define FERRUM_KV_PAGE_H

#include <stddef.h>
#include <stdint.h>

#include "kernels_cpu/cpu_buf.h"

/* The page at entry `page` of the table, one KV head's rows; slab is k_offset or v_offset. */
static inline char *kv_page_rows(const struct kv_layer *kv, size_t slab, size_t page, size_t kv_head,
                                 size_t head_dim)
{
    char *base = (char *)kv->pool->data + kv->table[page] * kv->page_bytes + slab;
    return base + kv_head * KV_BLOCK_TOKENS * kv_row_bytes(kv->type, head_dim);
}

/* The values of one position. */
static inline char *kv_position(const struct kv_layer *kv, size_t slab, size_t pos, size_t kv_head,
                                size_t head_dim)
{
    return kv_page_rows(kv, slab, pos / KV_BLOCK_TOKENS, kv_head, head_dim) +
           pos % KV_BLOCK_TOKENS * head_dim * dtype_info(kv->type)->block_bytes;
}

/* The scale of one position, int8 only. */
static inline float *kv_scale(const struct kv_layer *kv, size_t slab, size_t pos, size_t kv_head,
                              size_t head_dim)
{
    char *rows = kv_page_rows(kv, slab, pos / KV_BLOCK_TOKENS, kv_head, head_dim);
    return (float *)(void *)(rows + KV_BLOCK_TOKENS * head_dim) + pos % KV_BLOCK_TOKENS;
}

#endif
