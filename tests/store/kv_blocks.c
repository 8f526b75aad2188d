#include "tests/store/kv_blocks.h"

#include <string.h>

#include "engine/base/mem.h"

struct kv_space test_space(int number)
{
    return (struct kv_space){
        .fingerprint = {(unsigned char)number}, .kv_type = "f16", .token_bytes = TEST_TOKEN_BYTES};
}

static uint64_t next(uint64_t *state) /* splitmix64, Vigna, public domain */
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

void test_ids(int32_t *ids, size_t n, uint32_t seed)
{
    uint64_t state = seed;
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)(next(&state) % 100000);
}

void test_bytes(const struct kv_hash *name, unsigned char *bytes, size_t n_bytes)
{
    uint64_t state;
    memcpy(&state, name->bytes, sizeof state);
    for (size_t i = 0; i < n_bytes; i++)
        bytes[i] = (unsigned char)next(&state);
}

void test_owner(int owner, unsigned char uid[KV_OWNER_BYTES])
{
    memset(uid, 0, KV_OWNER_BYTES);
    uid[0] = (unsigned char)owner;
}

void chain_make(struct chain *chain, const struct kv_space *space, const int32_t *ids, size_t n, int owner)
{
    struct kv_hash at = kv_space_hash(space);
    memset(chain, 0, sizeof *chain);
    chain->bytes = mem_need(n * space->token_bytes);
    for (size_t i = 0; i < n; i += KV_BLOCK_TOKENS) {
        struct kv_block *b = &chain->blocks[chain->n];
        size_t n_tokens = n - i < KV_BLOCK_TOKENS ? n - i : KV_BLOCK_TOKENS;
        *b = (struct kv_block){.hash = kv_hash_next(&at, ids + i, n_tokens),
                               .parent = at,
                               .depth = (uint32_t)chain->n,
                               .n_tokens = (uint32_t)n_tokens,
                               .bytes = chain->bytes + i * space->token_bytes,
                               .n_bytes = n_tokens * space->token_bytes};
        memcpy(b->tokens, ids + i, n_tokens * sizeof *ids);
        test_owner(owner, b->owner);
        test_bytes(&b->hash, chain->bytes + i * space->token_bytes, b->n_bytes);
        at = b->hash;
        chain->list[chain->n++] = b;
    }
}

void chain_free(struct chain *chain)
{
    mem_free(chain->bytes);
}
