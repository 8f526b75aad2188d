/* vocab_table.c owns the two hash tables: spelling to id, and pair of ids to merge. */
#include "engine/vocab_parts.h"

#include <assert.h>
#include <string.h>

#include "engine/base/mem.h"

#define MIX 0x9E3779B97F4A7C15u

static uint64_t hash_bytes(const char *s, size_t n)
{
    uint64_t h = n * MIX, word;
    for (; n >= 8; s += 8, n -= 8) {
        memcpy(&word, s, 8);
        h = (h ^ word) * MIX;
        h ^= h >> 29;
    }
    word = 0;
    memcpy(&word, s, n);
    h = (h ^ word) * MIX;
    return h ^ h >> 32;
}

static uint64_t hash_pair(int32_t left, int32_t right)
{
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * MIX;
    return (h ^ h >> 29) * MIX >> 20;
}

/* A power of two that n items fill at most half. */
static bool table_size(size_t n, size_t *size, struct err *err)
{
    size_t want;
    if (!mem_mul(n, 2, &want) || want > (size_t)1 << 40)
        return err_set(err, ERR_MEMORY, "out of memory: a table of %zu entries was asked for", n);
    *size = 16;
    while (*size < want)
        *size *= 2;
    return true;
}

/* The slot that holds the spelling, or the free one where it belongs. */
static struct spelling_slot *spelling_slot_of(const struct vocab *v, const char *s, size_t n, uint64_t h)
{
    uint32_t tag = (uint32_t)(h >> 32);
    for (size_t i = (size_t)h & v->spelling_mask;; i = (i + 1) & v->spelling_mask) {
        struct spelling_slot *slot = &v->by_spelling[i];
        if (slot->id_plus_1 == 0)
            return slot;
        const struct vocab_token *t = &v->tokens[slot->id_plus_1 - 1];
        if (slot->tag == tag && t->n_spelling == n && memcmp(v->arena + t->spelling, s, n) == 0)
            return slot;
    }
}

static void add_token(struct vocab *v, size_t id, uint64_t h)
{
    const struct vocab_token *t = &v->tokens[id];
    if (t->n_spelling == 0)
        return; /* an empty token can come from no text */
    struct spelling_slot *slot = spelling_slot_of(v, v->arena + t->spelling, t->n_spelling, h);
    bool is_new = slot->id_plus_1 == 0;
    if (is_new ||
        (t->flags & TOKEN_FLAG_SPECIAL && !(v->tokens[slot->id_plus_1 - 1].flags & TOKEN_FLAG_SPECIAL)))
        *slot = (struct spelling_slot){(uint32_t)(h >> 32), (uint32_t)id + 1};
}

/* A large vocabulary is mostly waits for slots that lie anywhere: those of many tokens are asked for at once.
 */
bool vocab_table_build(struct vocab *v, struct err *err)
{
    size_t size;
    uint64_t hashes[VOCAB_FIND_MANY];
    if (!table_size(v->n_tokens, &size, err))
        return false;
    v->by_spelling = mem_array(size, sizeof *v->by_spelling, err);
    if (!v->by_spelling)
        return false;
    v->spelling_mask = size - 1;
    for (size_t at = 0; at < v->n_tokens; at += VOCAB_FIND_MANY) {
        size_t n = v->n_tokens - at < VOCAB_FIND_MANY ? v->n_tokens - at : VOCAB_FIND_MANY;
        for (size_t i = 0; i < n; i++) {
            const struct vocab_token *t = &v->tokens[at + i];
            hashes[i] = hash_bytes(v->arena + t->spelling, t->n_spelling);
            __builtin_prefetch(&v->by_spelling[hashes[i] & v->spelling_mask], 1);
        }
        for (size_t i = 0; i < n; i++)
            add_token(v, at + i, hashes[i]);
    }
    return true;
}

int32_t vocab_table_find(const struct vocab *v, const char *spelling, size_t n)
{
    return (int32_t)spelling_slot_of(v, spelling, n, hash_bytes(spelling, n))->id_plus_1 - 1;
}

int32_t vocab_table_find_text(const struct vocab *v, const char *spelling, size_t n)
{
    if (n > v->max_spelling)
        return -1;
    int32_t id = vocab_table_find(v, spelling, n);
    return id >= 0 && v->tokens[id].flags & TOKEN_FLAG_TEXT ? id : -1;
}

void vocab_table_find_texts(const struct vocab *v, const struct gguf_string *spellings, size_t n,
                            int32_t *ids)
{
    uint64_t hashes[VOCAB_FIND_MANY];
    assert(n <= VOCAB_FIND_MANY);
    for (size_t i = 0; i < n; i++) {
        hashes[i] = hash_bytes(spellings[i].data, spellings[i].n);
        __builtin_prefetch(&v->by_spelling[hashes[i] & v->spelling_mask]);
    }
    /* Where they lead to, by the first slot: mostly that is the right one. */
    for (size_t i = 0; i < n; i++) {
        uint32_t id_plus_1 = v->by_spelling[hashes[i] & v->spelling_mask].id_plus_1;
        __builtin_prefetch(&v->tokens[id_plus_1 ? id_plus_1 - 1 : 0]);
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t id_plus_1 = v->by_spelling[hashes[i] & v->spelling_mask].id_plus_1;
        __builtin_prefetch(v->arena + v->tokens[id_plus_1 ? id_plus_1 - 1 : 0].spelling);
    }
    for (size_t i = 0; i < n; i++) {
        size_t length = spellings[i].n;
        int32_t id = length > v->max_spelling
                         ? -1
                         : (int32_t)spelling_slot_of(v, spellings[i].data, length, hashes[i])->id_plus_1 - 1;
        ids[i] = id >= 0 && v->tokens[id].flags & TOKEN_FLAG_TEXT ? id : -1;
    }
}

bool vocab_table_reserve_merges(struct vocab *v, size_t n_merges, struct err *err)
{
    size_t size;
    if (!table_size(n_merges, &size, err))
        return false;
    v->merges = mem_array(size, sizeof *v->merges, err);
    v->merge_mask = size - 1;
    return v->merges != NULL;
}

static struct merge_slot *merge_slot_of(const struct vocab *v, int32_t left, int32_t right)
{
    for (size_t i = (size_t)hash_pair(left, right) & v->merge_mask;; i = (i + 1) & v->merge_mask) {
        struct merge_slot *slot = &v->merges[i];
        if (slot->left_plus_1 == 0 ||
            (slot->left_plus_1 == (uint32_t)left + 1 && slot->right == (uint32_t)right))
            return slot;
    }
}

void vocab_table_await_merge(const struct vocab *v, int32_t left, int32_t right)
{
    __builtin_prefetch(&v->merges[hash_pair(left, right) & v->merge_mask], 1);
}

void vocab_table_add_merge(struct vocab *v, int32_t left, int32_t right, uint32_t rank, int32_t id)
{
    struct merge_slot *slot = merge_slot_of(v, left, right);
    if (slot->left_plus_1 == 0)
        *slot = (struct merge_slot){(uint32_t)left + 1, (uint32_t)right, rank, id};
}

bool vocab_table_find_merge(const struct vocab *v, int32_t left, int32_t right, uint32_t *rank, int32_t *id)
{
    const struct merge_slot *slot = merge_slot_of(v, left, right);
    *rank = slot->rank;
    *id = slot->id;
    return slot->left_plus_1 != 0;
}
