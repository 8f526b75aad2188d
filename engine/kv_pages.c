#include "engine/kv_pages.h"

#include <assert.h>
#include <string.h>
#include <time.h>

#include "engine/base/mem.h"

static size_t pages_for(size_t n_tokens)
{
    return n_tokens / KV_BLOCK_TOKENS + (n_tokens % KV_BLOCK_TOKENS != 0);
}

/* K or V of one position in one layer. */
static bool row_bytes(const struct kv_shape *shape, size_t *out)
{
    size_t head = kv_row_bytes(shape->type, shape->head_dim);
    return head && mem_mul(head, shape->n_kv_head, out);
}

size_t kv_token_bytes(const struct kv_shape *shape)
{
    size_t row, all;
    return row_bytes(shape, &row) && mem_mul(row, 2 * shape->n_layer, &all) ? all : 0;
}

static bool make_lists(struct kv_pages *p, struct err *err)
{
    return (p->table = mem_array(p->n_table_max, sizeof *p->table, err)) &&
           (p->free_list = mem_array(p->n_pages, sizeof *p->free_list, err)) &&
           (p->pins = mem_array(p->n_pages, sizeof *p->pins, err)) &&
           (p->lent = mem_array(p->n_lent_max, sizeof *p->lent, err)) &&
           (p->parked = mem_array(p->n_lent_max, sizeof *p->parked, err));
}

bool kv_pages_init(struct kv_pages *p, struct backend *backend, const struct kv_shape *shape, size_t n_tokens,
                   size_t n_lent_max, struct err *err)
{
    *p = (struct kv_pages){
        .backend = backend, .shape = *shape, .n_table_max = pages_for(n_tokens), .n_lent_max = n_lent_max};
    p->n_pages = p->n_table_max + (n_lent_max ? n_lent_max + 1 : 0);
    size_t row = 0, token = kv_token_bytes(shape), pool_bytes;
    if (!token || !row_bytes(shape, &row) || !mem_mul(token, KV_BLOCK_TOKENS, &p->page_bytes) ||
        !mem_mul(p->page_bytes, p->n_pages, &pool_bytes))
        return err_set(err, ERR_MEMORY,
                       "the KV cache of %zu tokens is too large to count; use a smaller --ctx", n_tokens);
    p->slab_bytes = row * KV_BLOCK_TOKENS;
    if (!make_lists(p, err) || !(p->pool = backend_buf_new(backend, pool_bytes, err))) {
        kv_pages_fini(p);
        return err_prefix(err, "the KV cache of %zu tokens", n_tokens);
    }
    for (size_t i = 0; i < p->n_pages; i++)
        p->free_list[i] = (uint32_t)(p->n_pages - 1 - i);
    p->n_free = p->n_pages;
    return true;
}

/* --- lending --- */

/* Acquire: what the reader did lies before whatever is written to the page from now on. */
static bool is_pinned(const struct kv_pages *p, uint32_t page)
{
    return atomic_load_explicit(&p->pins[page], memory_order_acquire) != 0;
}

static void forget_returned(struct kv_pages *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n_lent; i++)
        if (is_pinned(p, p->lent[i]))
            p->lent[n++] = p->lent[i];
    p->n_lent = n;
    n = 0;
    for (size_t i = 0; i < p->n_parked; i++)
        if (is_pinned(p, p->parked[i]))
            p->parked[n++] = p->parked[i];
        else
            p->free_list[p->n_free++] = p->parked[i];
    p->n_parked = n;
}

void kv_pages_fini(struct kv_pages *p)
{
    if (!p->backend)
        return;
    for (forget_returned(p); p->n_lent; forget_returned(p))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    backend_buf_free(p->backend, p->pool);
    mem_free(p->table);
    mem_free(p->free_list);
    mem_free(p->pins);
    mem_free(p->lent);
    mem_free(p->parked);
    *p = (struct kv_pages){0};
}

void *kv_pages_host(struct kv_pages *p, uint32_t page)
{
    const struct backend_ops *ops = p->backend->ops;
    return ops->buf_host ? (char *)ops->buf_host(p->pool) + page * p->page_bytes : NULL;
}

static bool is_lent(const struct kv_pages *p, uint32_t page)
{
    size_t i = 0;
    while (i < p->n_lent && p->lent[i] != page)
        i++;
    return i < p->n_lent;
}

atomic_uint *kv_pages_lend(struct kv_pages *p, size_t i, const void **bytes)
{
    uint32_t page = p->table[i];
    forget_returned(p);
    *bytes = kv_pages_host(p, page);
    if (!*bytes)
        return NULL;
    if (!is_lent(p, page)) {
        if (p->n_lent == p->n_lent_max)
            return NULL;
        p->lent[p->n_lent++] = page;
    }
    return &p->pins[page];
}

/* --- the table --- */

static uint32_t take(struct kv_pages *p)
{
    if (p->n_parked)
        forget_returned(p);
    assert(p->n_free); /* see Lending in kv_pages.h */
    return p->free_list[--p->n_free];
}

static void give_back(struct kv_pages *p, uint32_t page)
{
    if (is_pinned(p, page))
        p->parked[p->n_parked++] = page;
    else
        p->free_list[p->n_free++] = page;
}

bool kv_pages_reserve(struct kv_pages *p, size_t n_tokens)
{
    size_t need = pages_for(n_tokens);
    if (need > p->n_table_max)
        return false;
    while (p->n_table < need) {
        uint32_t page = take(p);
        p->table[p->n_table++] = page;
    }
    return true;
}

/* What was lent is whole and stays so: the rows that remain go on in a copy. */
static void unshare(struct kv_pages *p, size_t i)
{
    uint32_t old = p->table[i];
    if (!is_pinned(p, old))
        return;
    p->table[i] = take(p);
    memcpy(kv_pages_host(p, p->table[i]), kv_pages_host(p, old), p->page_bytes);
    give_back(p, old);
}

void kv_pages_cut(struct kv_pages *p, size_t n_tokens)
{
    size_t keep = pages_for(n_tokens);
    while (p->n_table > keep)
        give_back(p, p->table[--p->n_table]);
    if (n_tokens % KV_BLOCK_TOKENS != 0 && p->n_table == keep)
        unshare(p, keep - 1);
}

uint32_t kv_pages_next(struct kv_pages *p)
{
    uint32_t page = take(p);
    p->free_list[p->n_free++] = page;
    return page;
}

void kv_pages_link(struct kv_pages *p, size_t i)
{
    assert(i <= p->n_table && i < p->n_table_max);
    uint32_t page = p->free_list[--p->n_free];
    if (i < p->n_table)
        give_back(p, p->table[i]);
    else
        p->n_table++;
    p->table[i] = page;
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

/* --- rows and blocks --- */

/* The rows of one head in one slab: values, then (int8) scales. Either part is an array of rows. */
struct head_rows {
    size_t n_heads;       /* of all slabs of a page, in the order of its bytes */
    size_t part_bytes[2]; /* of one row */
};

static struct head_rows head_rows_of(const struct kv_shape *shape)
{
    struct head_rows h = {.n_heads = 2 * shape->n_layer * shape->n_kv_head};
    bool ok = dtype_row_bytes(shape->type, shape->head_dim, &h.part_bytes[0]);
    assert(ok); /* kv_pages_init has counted */
    (void)ok;
    h.part_bytes[1] = kv_row_bytes(shape->type, shape->head_dim) - h.part_bytes[0];
    return h;
}

bool kv_pages_pack(const struct kv_pages *p, size_t i, size_t n, void *bytes, struct err *err)
{
    struct head_rows h = head_rows_of(&p->shape);
    size_t from = p->table[i] * p->page_bytes;
    char *to = bytes;
    if (n == KV_BLOCK_TOKENS) /* as it lies there: one wait for a device, not one per head */
        return backend_buf_read(p->backend, p->pool, from, to, p->page_bytes, err);
    for (size_t head = 0; head < h.n_heads; head++)
        for (int part = 0; part < 2; part++) {
            size_t row = h.part_bytes[part];
            if (!backend_buf_read(p->backend, p->pool, from, to, n * row, err))
                return false;
            from += KV_BLOCK_TOKENS * row;
            to += n * row;
        }
    return true;
}

bool kv_pages_unpack(struct kv_pages *p, size_t i, const void *bytes, size_t n, size_t first, size_t end,
                     struct err *err)
{
    struct head_rows h = head_rows_of(&p->shape);
    size_t to = p->table[i] * p->page_bytes;
    const char *from = bytes;
    if (first == 0 && end == KV_BLOCK_TOKENS && n == KV_BLOCK_TOKENS)
        return backend_buf_write(p->backend, p->pool, to, from, p->page_bytes, err);
    for (size_t head = 0; head < h.n_heads; head++)
        for (int part = 0; part < 2; part++) {
            size_t row = h.part_bytes[part];
            if (!backend_buf_write(p->backend, p->pool, to + first * row, from + first * row,
                                   (end - first) * row, err))
                return false;
            from += n * row;
            to += KV_BLOCK_TOKENS * row;
        }
    return true;
}
