#include "tests/support/mem_shelf.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/mem.h"

static bool has_block(const struct mem_shelf *s, const struct kv_hash *hash)
{
    for (size_t i = 0; i < s->n_blocks; i++)
        if (kv_hash_equal(&s->blocks[i].b.hash, hash))
            return true;
    for (size_t i = 0; i < s->n_ring; i++)
        if (kv_hash_equal(&s->ring[i].b.hash, hash))
            return true;
    return false;
}

/* The token loop forbids mem_alloc: the test's own copies are made by malloc. */
static void *copy_of(const void *bytes, size_t n)
{
    void *copy = malloc(n);
    return copy ? memcpy(copy, bytes, n) : NULL;
}

static void store_first(struct mem_shelf *s)
{
    struct mem_shelf_offer o = s->ring[0];
    memmove(s->ring, s->ring + 1, --s->n_ring * sizeof *s->ring);
    s->changed = s->changed || memcmp(o.as_offered, o.b.bytes, o.b.n_bytes) != 0;
    o.b.bytes = o.as_offered;
    s->blocks[s->n_blocks++] = (struct mem_shelf_block){.b = o.b};
    atomic_fetch_sub(o.pins, 1);
}

void mem_shelf_store(struct mem_shelf *s)
{
    pthread_mutex_lock(&s->lock);
    while (s->n_ring)
        store_first(s);
    pthread_mutex_unlock(&s->lock);
}

static bool take(struct mem_shelf *s, const struct kv_block *block, atomic_uint *pins)
{
    s->n_offers++;
    memcpy(s->last_owner, block->owner, sizeof s->last_owner);
    if (has_block(s, &block->hash)) {
        s->n_again++;
        return true;
    }
    if (s->n_ring >= s->room || s->n_blocks + s->n_ring == MEM_SHELF_BLOCKS) {
        s->n_refused++;
        return false;
    }
    atomic_fetch_add(pins, 1);
    s->ring[s->n_ring++] = (struct mem_shelf_offer){*block, copy_of(block->bytes, block->n_bytes), pins};
    if (!s->holds && !s->has_thread)
        store_first(s);
    return true;
}

static bool offer(void *ctx, const struct kv_block *block, atomic_uint *pins)
{
    struct mem_shelf *s = ctx;
    pthread_mutex_lock(&s->lock);
    bool taken = take(s, block, pins);
    pthread_mutex_unlock(&s->lock);
    return taken;
}

static size_t n_same(const struct kv_block *b, const int32_t *ids, size_t n)
{
    size_t i = 0;
    while (i < n && i < b->n_tokens && b->tokens[i] == ids[i])
        i++;
    return i;
}

/* The child of parent that shares most of ids. */
static struct kv_found best_child(const struct mem_shelf *s, const struct kv_hash *parent, const int32_t *ids,
                                  size_t n)
{
    struct kv_found best = {.is_foreign = s->foreign};
    for (size_t i = 0; i < s->n_blocks; i++) {
        const struct kv_block *b = &s->blocks[i].b;
        size_t same = kv_hash_equal(&b->parent, parent) ? n_same(b, ids, n) : 0;
        if (same > best.n_match) {
            best.id = (int64_t)i;
            best.n_tokens = b->n_tokens;
            best.n_match = (uint32_t)same;
        }
    }
    return best;
}

static size_t find(void *ctx, const struct kv_hash *parent, const int32_t *ids, size_t n,
                   const unsigned char owner[KV_OWNER_BYTES], struct kv_found *out, size_t max,
                   const atomic_bool *cancel)
{
    struct mem_shelf *s = ctx;
    struct kv_hash at = *parent;
    size_t n_found = 0, n_ids = 0;
    (void)owner;
    mem_shelf_store(s); /* questions see what was offered before them */
    s->n_finds++;
    while (n_found < max && n_ids < n && !atomic_load(cancel)) {
        struct kv_found f = best_child(s, &at, ids + n_ids, n - n_ids);
        if (!f.n_match)
            break;
        out[n_found++] = f;
        n_ids += f.n_match;
        at = s->blocks[f.id].b.hash;
        if (f.n_match < KV_BLOCK_TOKENS)
            break;
    }
    return n_found;
}

static bool fetch(void *ctx, const struct kv_found *found, const int32_t *tokens, void *bytes, size_t n_bytes,
                  const atomic_bool *cancel)
{
    struct mem_shelf *s = ctx;
    struct mem_shelf_block *block = &s->blocks[found->id];
    if (s->cancel && s->n_fetches == s->cancel_at)
        atomic_store(s->cancel, true);
    s->n_fetches++;
    if (atomic_load(cancel))
        return false;
    if (block->is_damaged || n_bytes != block->b.n_bytes ||
        n_same(&block->b, tokens, found->n_match) != found->n_match) {
        memset(bytes, 0xff, n_bytes); /* what was read is not fit for use */
        return false;
    }
    memcpy(bytes, block->b.bytes, n_bytes);
    return true;
}

static double prefill_ns(void *ctx)
{
    return ((struct mem_shelf *)ctx)->prefill_ns;
}

static double fetch_ns(void *ctx)
{
    return ((struct mem_shelf *)ctx)->fetch_ns;
}

static void note_prefill(void *ctx, double ns_per_token)
{
    ((struct mem_shelf *)ctx)->noted_ns = ns_per_token;
}

void mem_shelf_init(struct mem_shelf *s)
{
    *s = (struct mem_shelf){.room = MEM_SHELF_RING};
    s->shelf = (struct kv_shelf){.ctx = s,
                                 .root = {{1, 2, 3}},
                                 .offer = offer,
                                 .find = find,
                                 .fetch = fetch,
                                 .prefill_ns_per_token = prefill_ns,
                                 .fetch_ns_per_byte = fetch_ns,
                                 .note_prefill = note_prefill};
    pthread_mutex_init(&s->lock, NULL);
}

static void *store_main(void *shelf)
{
    struct mem_shelf *s = shelf;
    while (!atomic_load(&s->stop)) {
        mem_shelf_store(s);
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    }
    return NULL;
}

void mem_shelf_start(struct mem_shelf *s)
{
    s->has_thread = pthread_create(&s->thread, NULL, store_main, s) == 0;
}

void mem_shelf_set_room(struct mem_shelf *s, size_t room)
{
    pthread_mutex_lock(&s->lock);
    s->room = room;
    pthread_mutex_unlock(&s->lock);
}

size_t mem_shelf_n_blocks(struct mem_shelf *s)
{
    pthread_mutex_lock(&s->lock);
    size_t n = s->n_blocks;
    pthread_mutex_unlock(&s->lock);
    return n;
}

bool mem_shelf_fini(struct mem_shelf *s)
{
    atomic_store(&s->stop, true);
    if (s->has_thread)
        pthread_join(s->thread, NULL);
    for (size_t i = 0; i < s->n_blocks; i++)
        free((void *)(uintptr_t)s->blocks[i].b.bytes);
    for (size_t i = 0; i < s->n_ring; i++) {
        free(s->ring[i].as_offered);
        atomic_fetch_sub(s->ring[i].pins, 1);
    }
    pthread_mutex_destroy(&s->lock);
    return !s->changed;
}
