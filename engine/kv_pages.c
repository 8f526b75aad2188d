#include "engine/kv_pages.h"

#include "engine/base/mem.h"

static size_t pages_for(size_t n_tokens)
{
    return n_tokens / KV_BLOCK_TOKENS + (n_tokens % KV_BLOCK_TOKENS != 0);
}

/* K or V of one position in one layer. */
static bool row_bytes(const struct kv_shape *shape, size_t *out)
{
    size_t head;
    return dtype_row_bytes(shape->type, shape->head_dim, &head) && mem_mul(head, shape->n_kv_head, out);
}

size_t kv_token_bytes(const struct kv_shape *shape)
{
    size_t row, all;
    return row_bytes(shape, &row) && mem_mul(row, 2 * shape->n_layer, &all) ? all : 0;
}

bool kv_pages_init(struct kv_pages *p, struct backend *backend, const struct kv_shape *shape, size_t n_tokens,
                   struct err *err)
{
    *p = (struct kv_pages){.backend = backend, .shape = *shape, .n_pages = pages_for(n_tokens)};
    size_t row = 0, token = kv_token_bytes(shape), pool_bytes;
    if (!token || !row_bytes(shape, &row) || !mem_mul(token, KV_BLOCK_TOKENS, &p->page_bytes) ||
        !mem_mul(p->page_bytes, p->n_pages, &pool_bytes))
        return err_set(err, ERR_MEMORY,
                       "the KV cache of %zu tokens is too large to count; use a smaller --ctx", n_tokens);
    p->slab_bytes = row * KV_BLOCK_TOKENS;
    p->table = mem_array(p->n_pages, sizeof *p->table, err);
    p->free_list = p->table ? mem_array(p->n_pages, sizeof *p->free_list, err) : NULL;
    p->pool = p->free_list ? backend_buf_new(backend, pool_bytes, err) : NULL;
    if (!p->pool) {
        kv_pages_fini(p);
        return err_prefix(err, "the KV cache of %zu tokens", n_tokens);
    }
    for (size_t i = 0; i < p->n_pages; i++)
        p->free_list[i] = (uint32_t)(p->n_pages - 1 - i);
    p->n_free = p->n_pages;
    return true;
}

void kv_pages_fini(struct kv_pages *p)
{
    if (!p->backend)
        return;
    backend_buf_free(p->backend, p->pool);
    mem_free(p->table);
    mem_free(p->free_list);
    *p = (struct kv_pages){0};
}

bool kv_pages_reserve(struct kv_pages *p, size_t n_tokens)
{
    size_t need = pages_for(n_tokens);
    if (need > p->n_table + p->n_free)
        return false;
    while (p->n_table < need)
        p->table[p->n_table++] = p->free_list[--p->n_free];
    return true;
}

void kv_pages_cut(struct kv_pages *p, size_t n_tokens)
{
    size_t keep = pages_for(n_tokens);
    while (p->n_table > keep)
        p->free_list[p->n_free++] = p->table[--p->n_table];
}

struct kv_layer kv_pages_layer(const struct kv_pages *p, size_t layer)
{
    return (struct kv_layer){
        .pool = p->pool,
        .type = p->shape.type,
        .page_bytes = p->page_bytes,
        .k_offset = 2 * layer * p->slab_bytes,
        .v_offset = (2 * layer + 1) * p->slab_bytes,
        .table = p->table,
        .n_pages = p->n_table,
    };
}
