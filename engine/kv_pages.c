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

static bool make_parts(struct kv_pages *p, const struct kv_place *places, size_t n_places, struct err *err)
{
    size_t first = 0;
    for (size_t i = 0; i < n_places; first += places[i++].n_layer) {
        struct kv_part *part = &p->parts[p->n_parts++];
        *part = (struct kv_part){.backend = places[i].backend,
                                 .first_layer = first,
                                 .n_layer = places[i].n_layer,
                                 .page_bytes = 2 * places[i].n_layer * p->slab_bytes};
        if (!(part->pool = backend_buf_new(part->backend, part->page_bytes * p->n_pages, err)))
            return false;
    }
    assert(first == p->shape.n_layer);
    return true;
}

bool kv_pages_init(struct kv_pages *p, const struct kv_place *places, size_t n_places,
                   const struct kv_shape *shape, size_t n_tokens, size_t n_lent_max, struct err *err)
{
    assert(n_places <= KV_MAX_PARTS);
    *p = (struct kv_pages){.shape = *shape, .n_table_max = pages_for(n_tokens), .n_lent_max = n_lent_max};
    p->n_pages = p->n_table_max + (n_lent_max ? n_lent_max + 1 : 0);
    size_t row = 0, token = kv_token_bytes(shape), pool_bytes;
    if (!token || !row_bytes(shape, &row) || !mem_mul(token, KV_BLOCK_TOKENS, &p->page_bytes) ||
        !mem_mul(p->page_bytes, p->n_pages, &pool_bytes))
        return err_set(err, ERR_MEMORY,
                       "the KV cache of %zu tokens is too large to count; use a smaller --ctx", n_tokens);
    p->slab_bytes = row * KV_BLOCK_TOKENS;
    if (!make_lists(p, err) || !make_parts(p, places, n_places, err)) {
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
    if (!p->n_table_max)
        return;
    for (forget_returned(p); p->n_lent; forget_returned(p))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    for (size_t i = 0; i < p->n_parts; i++)
        backend_buf_free(p->parts[i].backend, p->parts[i].pool);
    mem_free(p->table);
    mem_free(p->free_list);
    mem_free(p->pins);
    mem_free(p->lent);
    mem_free(p->parked);
    *p = (struct kv_pages){0};
}

void *kv_pages_host(struct kv_pages *p, uint32_t page)
{
    const struct kv_part *part = &p->parts[0];
    bool is_shown = p->n_parts == 1 && part->backend->ops->buf_host;
    return is_shown ? (char *)part->backend->ops->buf_host(part->pool) + page * p->page_bytes : NULL;
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
    const struct kv_part *part = &p->parts[0];
    while (layer >= part->first_layer + part->n_layer)
        part++;
    layer -= part->first_layer;
    return (struct kv_layer){
        .pool = part->pool,
        .type = p->shape.type,
        .page_bytes = part->page_bytes,
        .k_offset = 2 * layer * p->slab_bytes,
        .v_offset = (2 * layer + 1) * p->slab_bytes,
        .table = p->table,
        .n_pages = p->n_table,
    };
}

/* --- rows and blocks --- */

/* The rows of one head in one slab: values, then (int8) scales. Either is an array of rows. */
struct head_rows {
    size_t n_heads;    /* of all slabs of a part's page, in the order of its bytes */
    size_t columns[2]; /* bytes of one row */
};

static struct head_rows head_rows_of(const struct kv_pages *p, const struct kv_part *part)
{
    const struct kv_shape *shape = &p->shape;
    struct head_rows h = {.n_heads = 2 * part->n_layer * shape->n_kv_head};
    bool ok = dtype_row_bytes(shape->type, shape->head_dim, &h.columns[0]);
    assert(ok); /* kv_pages_init has counted */
    (void)ok;
    h.columns[1] = kv_row_bytes(shape->type, shape->head_dim) - h.columns[0];
    return h;
}

static bool pack_part(const struct kv_pages *p, const struct kv_part *part, size_t i, size_t n, char *to,
                      struct err *err)
{
    struct head_rows h = head_rows_of(p, part);
    size_t from = p->table[i] * part->page_bytes;
    if (n == KV_BLOCK_TOKENS) /* as it lies there: one wait for a device, not one per head */
        return backend_buf_read(part->backend, part->pool, from, to, part->page_bytes, err);
    for (size_t head = 0; head < h.n_heads; head++)
        for (int column = 0; column < 2; column++) {
            size_t row = h.columns[column];
            if (!backend_buf_read(part->backend, part->pool, from, to, n * row, err))
                return false;
            from += KV_BLOCK_TOKENS * row;
            to += n * row;
        }
    return true;
}

bool kv_pages_pack(const struct kv_pages *p, size_t i, size_t n, void *bytes, struct err *err)
{
    char *to = bytes;
    for (size_t k = 0; k < p->n_parts; k++) {
        if (!pack_part(p, &p->parts[k], i, n, to, err))
            return false;
        to += p->parts[k].page_bytes / KV_BLOCK_TOKENS * n;
    }
    return true;
}

static bool unpack_part(const struct kv_pages *p, const struct kv_part *part, size_t i, const char *from,
                        size_t n, size_t first, size_t end, struct err *err)
{
    struct head_rows h = head_rows_of(p, part);
    size_t to = p->table[i] * part->page_bytes;
    if (first == 0 && end == KV_BLOCK_TOKENS && n == KV_BLOCK_TOKENS)
        return backend_buf_write(part->backend, part->pool, to, from, part->page_bytes, err);
    for (size_t head = 0; head < h.n_heads; head++)
        for (int column = 0; column < 2; column++) {
            size_t row = h.columns[column];
            if (!backend_buf_write(part->backend, part->pool, to + first * row, from + first * row,
                                   (end - first) * row, err))
                return false;
            from += n * row;
            to += KV_BLOCK_TOKENS * row;
        }
    return true;
}

bool kv_pages_unpack(struct kv_pages *p, size_t i, const void *bytes, size_t n, size_t first, size_t end,
                     struct err *err)
{
    const char *from = bytes;
    for (size_t k = 0; k < p->n_parts; k++) {
        if (!unpack_part(p, &p->parts[k], i, from, n, first, end, err))
            return false;
        from += p->parts[k].page_bytes / KV_BLOCK_TOKENS * n;
    }
    return true;
}
