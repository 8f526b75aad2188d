/* kv_blocks.h: blocks for tests of kv.db: chains of them over given ids, with bytes that follow from the
 * name.
 */
#ifndef FERRUM_TEST_KV_BLOCKS_H
#define FERRUM_TEST_KV_BLOCKS_H

#include "store/kv_db.h"

#define TEST_TOKEN_BYTES 256
#define TEST_MAX_BLOCKS 24

struct chain {
    struct kv_block blocks[TEST_MAX_BLOCKS];
    const struct kv_block *list[TEST_MAX_BLOCKS];
    size_t n;
    unsigned char *bytes;
};

struct kv_space test_space(int number);
/* Ids that differ from those of any other seed at each place, but for a few. */
void test_ids(int32_t *ids, size_t n, uint32_t seed);
/* The bytes a block of that name has in tests. */
void test_bytes(const struct kv_hash *name, unsigned char *bytes, size_t n_bytes);

/* Whole blocks over ids[0..n) and a tail, for the chat whose id begins with owner. */
void chain_make(struct chain *chain, const struct kv_space *space, const int32_t *ids, size_t n, int owner);
void chain_free(struct chain *chain);
void test_owner(int owner, unsigned char uid[KV_OWNER_BYTES]);

#endif
