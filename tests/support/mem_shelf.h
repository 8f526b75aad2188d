/* mem_shelf.h: a shelf of KV blocks in memory, for tests: the promises of struct kv_shelf, and trouble on
 * demand. Fields marked (set) are the test's to set. The shelf's functions and mem_shelf_store are for one
 * thread, unless mem_shelf_start has given it one of its own, which then stores. */
#ifndef FERRUM_TEST_MEM_SHELF_H
#define FERRUM_TEST_MEM_SHELF_H

#include <pthread.h>

#include "engine/base/kv_block.h"

#define MEM_SHELF_BLOCKS 128
#define MEM_SHELF_RING 32

struct mem_shelf_block {
    struct kv_block b; /* bytes: a copy */
    bool is_damaged;   /* (set) fetch refuses it */
};

struct mem_shelf_offer {
    struct kv_block b; /* bytes: the offerer's */
    void *as_offered;  /* a copy */
    atomic_uint *pins;
};

struct mem_shelf {
    struct kv_shelf shelf;
    struct mem_shelf_block blocks[MEM_SHELF_BLOCKS];
    size_t n_blocks;
    struct mem_shelf_offer ring[MEM_SHELF_RING]; /* offered, not stored */
    size_t n_ring;
    size_t room;         /* (set) of the ring; 0: every offer is refused */
    bool holds;          /* (set) offers wait in the ring for mem_shelf_store */
    bool foreign;        /* (set) what is found was computed elsewhere */
    double prefill_ns;   /* (set) costs */
    double fetch_ns;     /* (set) */
    double noted_ns;     /* of note_prefill */
    atomic_bool *cancel; /* (set) set to true by the fetch of block cancel_at (counted from 0) */
    size_t cancel_at;
    size_t n_offers, n_refused, n_again; /* again: a block that was stored or in the ring */
    size_t n_finds, n_fetches;
    unsigned char last_owner[KV_OWNER_BYTES]; /* of what was offered last */
    bool changed;                             /* bytes were changed while they were lent */
    pthread_mutex_t lock;
    pthread_t thread;
    bool has_thread;
    atomic_bool stop;
};

/* Nothing held, room for all. */
void mem_shelf_init(struct mem_shelf *s);
/* Drops what the ring holds; false if bytes were changed while they were lent. */
bool mem_shelf_fini(struct mem_shelf *s);
/* The ring is emptied by a thread from now on. */
void mem_shelf_start(struct mem_shelf *s);
/* Stores what the ring holds. */
void mem_shelf_store(struct mem_shelf *s);
/* room, while others use the shelf. */
void mem_shelf_set_room(struct mem_shelf *s, size_t room);
size_t mem_shelf_n_blocks(struct mem_shelf *s);

#endif
