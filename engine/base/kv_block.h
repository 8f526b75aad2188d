/* kv_block.h: a block of the KV cache as plain data, and the shelf blocks are kept on.
 *
 * Purpose: engine makes and links blocks, store keeps them, app joins the two; this is all they share.
 * A block holds the KV rows of up to KV_BLOCK_TOKENS positions. Its name is a hash over the space and all
 * token ids from the first position to its last, so a name stands for a whole prefix, and blocks are shared
 * by every branch and chat that begins with the same ids. A name alone is never trusted: whoever follows a
 * chain compares the tokens of every block on it. Hash: XXH3-128, canonical bytes. It tells prefixes apart,
 * it does not defend against an attacker; the comparison of tokens does. */
#ifndef FERRUM_KV_BLOCK_H
#define FERRUM_KV_BLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KV_BLOCK_TOKENS 64 /* positions per page of the KV cache, a power of two */
#define KV_LAYOUT 1        /* version of the bytes of a block: see kv_pages.h */
#define KV_HASH_BYTES 16
#define KV_KERNELS_BYTES 64 /* "opencl NVIDIA H200 gpu", NUL included */
#define KV_OWNER_BYTES 16

struct kv_hash {
    unsigned char bytes[KV_HASH_BYTES];
};

/* What gives the bytes of a block their meaning: blocks of different spaces never meet. */
struct kv_space {
    unsigned char fingerprint[32]; /* weights and whatever else changes the numbers */
    char kv_type[16];              /* "f16" */
    uint32_t token_bytes;          /* K and V of one position in all layers */
};

/* The parent of a prefix's first block. */
struct kv_hash kv_space_hash(const struct kv_space *space);
/* The name of a block with tokens[0..n) behind parent. */
struct kv_hash kv_hash_next(const struct kv_hash *parent, const int32_t *tokens, size_t n);
bool kv_hash_equal(const struct kv_hash *a, const struct kv_hash *b);

/* A block to be kept: full (KV_BLOCK_TOKENS rows), or the tail of a prefix (fewer). */
struct kv_block {
    struct kv_hash hash, parent;
    uint32_t depth;    /* blocks in front of it */
    uint32_t n_tokens; /* 1 .. KV_BLOCK_TOKENS */
    int32_t tokens[KV_BLOCK_TOKENS];
    unsigned char owner[KV_OWNER_BYTES]; /* the chat that uses it */
    bool is_ahead;                       /* computed for a turn to come: receipts tell it apart */
    bool is_mixed;                       /* rows of it, or in front of it, came from other kernels */
    const void *bytes;                   /* [n_tokens * token_bytes] */
    size_t n_bytes;
};

/* A block that is kept and begins with tokens that were asked for. */
struct kv_found {
    int64_t id;                     /* the shelf's own */
    uint32_t n_tokens;              /* rows it holds */
    uint32_t n_match;               /* the first rows that belong to the tokens asked for */
    bool is_foreign;                /* computed by another backend or other kernels than this program's now */
    char kernels[KV_KERNELS_BYTES]; /* which, if foreign: printable ASCII, "" when nobody knows */
};

/* Where blocks are kept. All functions are called by the engine's thread. */
struct kv_shelf {
    void *ctx;
    struct kv_hash root; /* kv_space_hash */
    /* Rises when all that was kept is gone: then it is to be offered anew. May be NULL; any thread. */
    const atomic_uint *n_lost;

    /* Takes a block to be written some time: never waits, allocates nothing. *pins is increased at once and
     * decreased when the bytes are no longer needed (by another thread): until then they must not change.
     * False: no room now, offer it again later. What is kept already costs nothing. */
    bool (*offer)(void *ctx, const struct kv_block *block, atomic_uint *pins);

    /* Follows ids[0..n) from parent (the hash of the whole blocks in front, depth of them): as many whole
     * blocks as are kept, then the one that shares most of the rest. Writes up to max, returns how many.
     * Waits for the disk; *cancel ends that. owner uses what is found. */
    size_t (*find)(void *ctx, const struct kv_hash *parent, const int32_t *ids, size_t n,
                   const unsigned char owner[KV_OWNER_BYTES], struct kv_found *out, size_t max,
                   const atomic_bool *cancel);

    /* Reads found->n_tokens rows to bytes, verified: length, checksum, and that the first n_match tokens are
     * tokens[0..n_match). False: it is damaged, or gone; a damaged one and all behind it are dropped. */
    bool (*fetch)(void *ctx, const struct kv_found *found, const int32_t *tokens, void *bytes, size_t n_bytes,
                  const atomic_bool *cancel);

    /* Measured costs, kept across runs; 0: not known yet. */
    double (*prefill_ns_per_token)(void *ctx);
    double (*fetch_ns_per_byte)(void *ctx);
    void (*note_prefill)(void *ctx, double ns_per_token);

    /* What computes the blocks that are offered from now on, and what others are compared with: before the
     * first offer, and when that changes. (optional: the shelf knows by itself) */
    void (*note_kernels)(void *ctx, const char *kernels);
};

#endif
