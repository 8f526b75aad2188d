#include "engine/kv_shelving.h"

#include <string.h>
#include <time.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"

bool kv_shelving_init(struct kv_shelving *s, const struct kv_shelf *shelf, struct kv_pages *pages,
                      struct err *err)
{
    *s = (struct kv_shelving){.shelf = shelf, .pages = pages, .n_own = SIZE_MAX, .n_asked = SIZE_MAX};
    if (!shelf)
        return true;
    if ((s->hashes = mem_array(pages->n_table_max, sizeof *s->hashes, err)) &&
        (s->found = mem_array(pages->n_table_max, sizeof *s->found, err)) &&
        (s->sending = mem_map(pages->page_bytes, err)) && (s->receiving = mem_map(pages->page_bytes, err)))
        return true;
    kv_shelving_fini(s);
    return false;
}

static bool is_sending(const struct kv_shelving *s)
{
    return atomic_load_explicit(&s->sending_pin, memory_order_acquire) != 0;
}

void kv_shelving_fini(struct kv_shelving *s)
{
    while (is_sending(s))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    mem_free(s->hashes);
    mem_free(s->found);
    if (s->sending)
        mem_unmap(s->sending, s->pages->page_bytes);
    if (s->receiving)
        mem_unmap(s->receiving, s->pages->page_bytes);
    *s = (struct kv_shelving){0};
}

void kv_shelving_set_owner(struct kv_shelving *s, const unsigned char owner[KV_OWNER_BYTES])
{
    if (memcmp(s->owner, owner, KV_OWNER_BYTES) == 0)
        return;
    memcpy(s->owner, owner, KV_OWNER_BYTES);
    s->n_offered = 0;
    s->tail_end = 0;
}

void kv_shelving_set_ahead(struct kv_shelving *s, size_t n)
{
    s->n_asked = n;
}

/* What was kept may have been lost with the file it was in. */
static void look_for_loss(struct kv_shelving *s)
{
    unsigned n_lost = s->shelf->n_lost ? atomic_load(s->shelf->n_lost) : 0;
    if (n_lost == s->n_lost)
        return;
    s->n_lost = n_lost;
    s->n_offered = 0;
    s->tail_end = 0;
}

void kv_shelving_cut(struct kv_shelving *s, size_t n)
{
    size_t n_whole = n / KV_BLOCK_TOKENS;
    s->n_named = s->n_named < n_whole ? s->n_named : n_whole;
    s->n_offered = s->n_offered < n_whole ? s->n_offered : n_whole;
    if (s->tail_end > n)
        s->tail_end = 0;
    if (s->n_own >= n)
        s->n_own = SIZE_MAX;
    if (s->n_asked != SIZE_MAX && s->n_asked > n)
        s->n_asked = n;
}

/* --- saving --- */

static const struct kv_hash *parent_of(const struct kv_shelving *s, size_t page)
{
    return page ? &s->hashes[page - 1] : &s->shelf->root;
}

static void name_pages(struct kv_shelving *s, const int32_t *ids, size_t n)
{
    for (; s->n_named < n / KV_BLOCK_TOKENS; s->n_named++)
        s->hashes[s->n_named] =
            kv_hash_next(parent_of(s, s->n_named), ids + s->n_named * KV_BLOCK_TOKENS, KV_BLOCK_TOKENS);
}

/* All but where the bytes are. */
static struct kv_block block_of(const struct kv_shelving *s, const int32_t *ids, size_t page, size_t n)
{
    struct kv_block b = {.parent = *parent_of(s, page),
                         .depth = (uint32_t)page,
                         .n_tokens = (uint32_t)n,
                         .is_ahead = page * KV_BLOCK_TOKENS + n > s->n_asked,
                         .is_mixed = page * KV_BLOCK_TOKENS + n > s->n_own,
                         .n_bytes = s->pages->page_bytes / KV_BLOCK_TOKENS * n};
    memcpy(b.tokens, ids + page * KV_BLOCK_TOKENS, n * sizeof *ids);
    memcpy(b.owner, s->owner, sizeof b.owner);
    b.hash = n == KV_BLOCK_TOKENS ? s->hashes[page] : kv_hash_next(&b.parent, b.tokens, n);
    return b;
}

static bool offer_copy(struct kv_shelving *s, struct kv_block *b, size_t page)
{
    if (is_sending(s) || !kv_pages_pack(s->pages, page, b->n_tokens, s->sending, NULL))
        return false;
    b->bytes = s->sending;
    return s->shelf->offer(s->shelf->ctx, b, &s->sending_pin);
}

static bool offer_page(struct kv_shelving *s, const int32_t *ids, size_t page)
{
    struct kv_block b = block_of(s, ids, page, KV_BLOCK_TOKENS);
    if (!kv_pages_host(s->pages, s->pages->table[page]))
        return offer_copy(s, &b, page);
    atomic_uint *pin = kv_pages_lend(s->pages, page, &b.bytes);
    return pin && s->shelf->offer(s->shelf->ctx, &b, pin);
}

size_t kv_shelving_offer(struct kv_shelving *s, const int32_t *ids, size_t n)
{
    if (!s->shelf)
        return 0;
    look_for_loss(s);
    name_pages(s, ids, n);
    while (s->n_offered < s->n_named && offer_page(s, ids, s->n_offered))
        s->n_offered++;
    return s->n_named - s->n_offered;
}

size_t kv_shelving_offer_all(struct kv_shelving *s, const int32_t *ids, size_t n)
{
    size_t n_left = kv_shelving_offer(s, ids, n), n_tail = n % KV_BLOCK_TOKENS, page = n / KV_BLOCK_TOKENS;
    if (!s->shelf || n_tail == 0 || s->tail_end == n)
        return n_left;
    if (n_left)
        return n_left + 1; /* a block comes after the one it continues */
    struct kv_block b = block_of(s, ids, page, n_tail);
    if (!offer_copy(s, &b, page))
        return 1;
    s->tail_end = n;
    return 0;
}

/* --- loading --- */

struct loading {
    struct kv_shelving *s;
    const int32_t *ids;
    size_t n;      /* rows wanted */
    size_t n_have; /* rows that are there */
    size_t at;     /* where the next block begins: the end of whole pages */
    const struct eval_control *control;
    const atomic_bool *cancel;
};

static bool is_cancelled(const struct loading *l)
{
    return atomic_load_explicit(l->cancel, memory_order_relaxed);
}

/* What the shelf says is data from a file. */
static bool is_sane(const struct loading *l, const struct kv_found *f)
{
    return f->n_tokens <= KV_BLOCK_TOKENS && f->n_match >= 1 && f->n_match <= f->n_tokens &&
           f->n_match <= l->n - l->at;
}

/* Reading the block pays: it costs less than computing the rows it would bring. The first one is read all the
 * same where it brings many: else a disk that was slow once would never be measured again. The few rows that
 * another text of other kernels begins with are not worth that all behind them would be mixed. */
static bool is_worth(const struct loading *l, const struct kv_found *f, bool is_first)
{
    const struct kv_shelf *shelf = l->s->shelf;
    if (l->at + f->n_match <= l->n_have)
        return false;
    size_t n_new = l->at + f->n_match - l->n_have;
    if (f->is_foreign && l->s->n_own == SIZE_MAX && f->n_match < f->n_tokens && n_new < KV_BLOCK_TOKENS / 2)
        return false;
    double fetch_ns = shelf->fetch_ns_per_byte(shelf->ctx);
    double prefill_ns = shelf->prefill_ns_per_token(shelf->ctx);
    if (fetch_ns <= 0 || prefill_ns <= 0 || (is_first && n_new >= KV_BLOCK_TOKENS / 2))
        return true;
    double n_bytes = (double)(l->s->pages->page_bytes / KV_BLOCK_TOKENS) * f->n_tokens;
    return n_bytes * fetch_ns < (double)n_new * prefill_ns;
}

static bool fetch(const struct loading *l, const struct kv_found *f, void *bytes)
{
    const struct kv_shelf *shelf = l->s->shelf;
    size_t n_bytes = l->s->pages->page_bytes / KV_BLOCK_TOKENS * f->n_tokens;
    return shelf->fetch(shelf->ctx, f, l->ids + l->at, bytes, n_bytes, l->cancel);
}

/* Straight into a page, where the backend shows one. */
static bool fetch_whole(const struct loading *l, const struct kv_found *f)
{
    struct kv_pages *pages = l->s->pages;
    if (!fetch(l, f, kv_pages_host(pages, kv_pages_next(pages))))
        return false;
    kv_pages_link(pages, l->at / KV_BLOCK_TOKENS);
    return true;
}

/* Through the buffer; rows that are there stay. */
static bool fetch_rows(const struct loading *l, const struct kv_found *f)
{
    struct kv_pages *pages = l->s->pages;
    size_t first = l->n_have > l->at ? l->n_have - l->at : 0;
    return fetch(l, f, l->s->receiving) && kv_pages_reserve(pages, l->at + f->n_match) &&
           kv_pages_unpack(pages, l->at / KV_BLOCK_TOKENS, l->s->receiving, f->n_tokens, first, f->n_match,
                           NULL);
}

static bool load_block(struct loading *l, const struct kv_found *f, struct load_stats *stats)
{
    struct kv_shelving *s = l->s;
    bool whole = f->n_match == KV_BLOCK_TOKENS && kv_pages_host(s->pages, 0);
    if (!(whole ? fetch_whole(l, f) : fetch_rows(l, f)))
        return false;
    size_t end = l->at + f->n_match, page = l->at / KV_BLOCK_TOKENS;
    size_t first = whole ? l->at : l->n_have;
    if (f->is_foreign && first < s->n_own)
        s->n_own = first;
    stats->n_tokens += (uint32_t)(end - l->n_have);
    if (f->is_foreign && !stats->foreign_tokens)
        memcpy(stats->kernels, f->kernels, sizeof stats->kernels);
    stats->foreign_tokens += f->is_foreign ? (uint32_t)(end - l->n_have) : 0;
    l->n_have = end;
    if (f->n_match == KV_BLOCK_TOKENS) {
        name_pages(s, l->ids, end);
        s->n_offered += s->n_offered == page;
    } else {
        s->tail_end = f->n_match == f->n_tokens ? end : 0;
    }
    l->at = end;
    return true;
}

/* One block after the other, until one fails, costs too much, or is not whole. */
static void load_blocks(struct loading *l, size_t n_found, struct load_stats *stats)
{
    size_t total = l->n - l->n_have;
    for (size_t i = 0; i < n_found && l->at % KV_BLOCK_TOKENS == 0; i++) {
        const struct kv_found *f = &l->s->found[i];
        if (is_cancelled(l) || !is_sane(l, f) || !is_worth(l, f, i == 0))
            return;
        if (!load_block(l, f, stats)) {
            stats->damaged_blocks += !is_cancelled(l);
            return;
        }
        if (l->control && l->control->progress)
            l->control->progress(l->control->arg, stats->n_tokens, total);
    }
}

size_t kv_shelving_load(struct kv_shelving *s, const int32_t *ids, size_t n_have, size_t n,
                        const struct eval_control *control, struct load_stats *stats)
{
    static const atomic_bool never;
    *stats = (struct load_stats){0};
    if (!s->shelf || n <= n_have)
        return n_have;
    uint64_t start_ns = clock_now_ns();
    struct loading l = {.s = s, .ids = ids, .n = n, .n_have = n_have, .control = control};
    l.at = n_have - n_have % KV_BLOCK_TOKENS;
    l.cancel = control && control->cancel ? control->cancel : &never;
    size_t page = l.at / KV_BLOCK_TOKENS;
    name_pages(s, ids, n_have);
    size_t n_found = s->shelf->find(s->shelf->ctx, parent_of(s, page), ids + l.at, n - l.at, s->owner,
                                    s->found, s->pages->n_table_max - page, l.cancel);
    load_blocks(&l, n_found, stats);
    stats->ns = clock_now_ns() - start_ns;
    return l.n_have;
}
