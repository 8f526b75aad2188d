#include "engine/base/queue.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/base/mem.h"

bool queue_init(struct queue *q, size_t min_items, size_t item_bytes, struct err *err)
{
    size_t capacity = 1;
    while (capacity < min_items)
        capacity *= 2;
    *q = (struct queue){.item_bytes = item_bytes, .mask = capacity - 1, .wake_fd = -1};
    q->items = mem_array(capacity, item_bytes, err);
    if (!q->items)
        return false;
    q->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (q->wake_fd < 0) {
        mem_free(q->items);
        q->items = NULL;
        return err_set(err, ERR_RUNTIME, "no wake-up descriptor for a queue: %s", strerror(errno));
    }
    return true;
}

void queue_fini(struct queue *q)
{
    if (!q->items)
        return;
    close(q->wake_fd);
    mem_free(q->items);
    q->items = NULL;
    q->wake_fd = -1;
}

bool queue_push(struct queue *q, const void *item)
{
    size_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);
    size_t head = atomic_load_explicit(&q->head, memory_order_acquire);
    if (tail - head > q->mask)
        return false;
    memcpy(q->items + (tail & q->mask) * q->item_bytes, item, q->item_bytes);
    atomic_store_explicit(&q->tail, tail + 1, memory_order_release);
    queue_wake(q);
    return true;
}

void queue_wake(struct queue *q)
{
    uint64_t one = 1;
    if (!atomic_exchange(&q->wake_pending, true))
        (void)!write(q->wake_fd, &one, sizeof one);
}

bool queue_is_empty(const struct queue *q)
{
    return atomic_load_explicit(&q->head, memory_order_relaxed) ==
           atomic_load_explicit(&q->tail, memory_order_acquire);
}

bool queue_pop(struct queue *q, void *item)
{
    size_t head = atomic_load_explicit(&q->head, memory_order_relaxed);
    if (head == atomic_load_explicit(&q->tail, memory_order_acquire))
        return false;
    memcpy(item, q->items + (head & q->mask) * q->item_bytes, q->item_bytes);
    atomic_store_explicit(&q->head, head + 1, memory_order_release);
    return true;
}

int queue_wake_fd(const struct queue *q)
{
    return q->wake_fd;
}

void queue_clear_wake(struct queue *q)
{
    uint64_t count;
    (void)!read(q->wake_fd, &count, sizeof count);
    /* An exchange, not a store: it reads the flag of a push that came before it, and so sees that push's
     * item. */
    atomic_exchange(&q->wake_pending, false);
}

void queue_wait(struct queue *q, int timeout_ms)
{
    struct pollfd p = {.fd = q->wake_fd, .events = POLLIN};
    poll(&p, 1, timeout_ms);
}
