#include "engine/base/kv_block.h"

#include <string.h>

/* The header alone: the base needs no library for it. */
#define XXH_INLINE_ALL
#include <xxhash.h>

static struct kv_hash canonical(XXH128_hash_t hash)
{
    XXH128_canonical_t bytes;
    struct kv_hash out;
    XXH128_canonicalFromHash(&bytes, hash);
    memcpy(out.bytes, bytes.digest, sizeof out.bytes);
    return out;
}

static unsigned char *put_u32(unsigned char *at, uint32_t x)
{
    for (int i = 0; i < 4; i++)
        at[i] = (unsigned char)(x >> (8 * i));
    return at + 4;
}

struct kv_hash kv_space_hash(const struct kv_space *space)
{
    unsigned char bytes[sizeof space->fingerprint + sizeof space->kv_type + 12] = {0}, *at = bytes;
    memcpy(at, space->fingerprint, sizeof space->fingerprint);
    at += sizeof space->fingerprint;
    memcpy(at, space->kv_type, strnlen(space->kv_type, sizeof space->kv_type));
    at += sizeof space->kv_type;
    at = put_u32(at, space->token_bytes);
    at = put_u32(at, KV_BLOCK_TOKENS);
    put_u32(at, KV_LAYOUT);
    return canonical(XXH3_128bits(bytes, sizeof bytes));
}

struct kv_hash kv_hash_next(const struct kv_hash *parent, const int32_t *tokens, size_t n)
{
    unsigned char bytes[KV_HASH_BYTES + 4 * KV_BLOCK_TOKENS];
    n = n < KV_BLOCK_TOKENS ? n : KV_BLOCK_TOKENS;
    memcpy(bytes, parent->bytes, KV_HASH_BYTES);
    for (size_t i = 0; i < n; i++)
        put_u32(bytes + KV_HASH_BYTES + 4 * i, (uint32_t)tokens[i]);
    return canonical(XXH3_128bits(bytes, KV_HASH_BYTES + 4 * n));
}

bool kv_hash_equal(const struct kv_hash *a, const struct kv_hash *b)
{
    return memcmp(a->bytes, b->bytes, KV_HASH_BYTES) == 0;
}
