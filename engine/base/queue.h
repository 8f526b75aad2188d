/* queue.h: a bounded queue of fixed-size items with a wake-up descriptor, between exactly two threads.
 *
 * Invariants
 *  1. One thread pushes, one thread pops; neither ever waits for the other.
 *  2. Memory is taken once, in queue_init; push and pop copy items and allocate nothing.
 *  3. A full queue refuses the item (push returns false); nothing is overwritten.
 *  4. The descriptor (an eventfd) is readable when something may be waiting. Several pushes before the
 *     consumer looks cost one write. The consumer calls queue_clear_wake() first and then pops until empty,
 *     so no item can be missed. */
#ifndef FERRUM_QUEUE_H
#define FERRUM_QUEUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

struct queue {
    char *items;
    size_t item_bytes;
    size_t mask; /* capacity - 1, capacity a power of two */
    int wake_fd;
    atomic_bool wake_pending;
    _Alignas(64) atomic_size_t head; /* next to pop; written by the consumer */
    _Alignas(64) atomic_size_t tail; /* next to fill; written by the producer */
};

/* min_items is rounded up to a power of two. */
bool queue_init(struct queue *q, size_t min_items, size_t item_bytes, struct err *err);
void queue_fini(struct queue *q);

bool queue_push(struct queue *q, const void *item);
bool queue_pop(struct queue *q, void *item);

/* Producer side: makes the descriptor readable without an item. */
void queue_wake(struct queue *q);
/* Consumer side. */
bool queue_is_empty(const struct queue *q);

/* For poll(2): POLLIN. Owned by the queue. */
int queue_wake_fd(const struct queue *q);
void queue_clear_wake(struct queue *q);
/* Consumer side: blocks until the descriptor is readable or timeout_ms passed (-1: no limit). */
void queue_wait(struct queue *q, int timeout_ms);

#endif
