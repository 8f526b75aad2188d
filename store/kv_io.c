/* kv_io.c: what the engine's and app's threads leave for the kv-io thread.
 *
 * One mutex guards all that is shared; it is held for copies and pointer moves, never while SQLite works. A
 * block being written stays in the ring until it is written, so that offers only append. One question is
 * asked at a time, by the engine's thread, which waits for the answer: its memory is written to until then.
 */
#include "store/kv_io.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/thread.h"
#include "store/kv_io_internal.h"
#include "store/timed_wait.h"

#define CANCEL_POLL_MS 10

bool kv_io_is_late(const struct kv_io *io)
{
    return io->deadline_ns && clock_now_ns() >= io->deadline_ns;
}

void kv_io_add_forget(struct kv_io *io, const unsigned char *owner)
{
    io->forget = mem_need_resize(io->forget, io->n_forget + 1, sizeof *io->forget);
    memcpy(io->forget[io->n_forget++], owner, KV_OWNER_BYTES);
}

/* ---- the engine's side ---- */

static bool offer(void *ctx, const struct kv_block *block, atomic_uint *pins)
{
    struct kv_io *io = ctx;
    pthread_mutex_lock(&io->mutex);
    bool ok = io->n_ring < KV_IO_RING_SLOTS && !io->kernels_are_new && !io->stats.off && !io->closing &&
              !kv_io_is_late(io);
    if (ok) {
        size_t slot = (io->first + io->n_ring++) % KV_IO_RING_SLOTS;
        io->ring[slot] = *block;
        io->pins[slot] = pins;
        io->n_offered++;
        atomic_fetch_add(pins, 1);
        pthread_cond_signal(&io->work);
    } else if (io->n_ring == KV_IO_RING_SLOTS)
        io->stats.n_refused++;
    pthread_mutex_unlock(&io->mutex);
    return ok;
}

/* Asks, and waits for the answer. Cancelled: a question not begun is withdrawn, one that is being answered is
 * hurried, and its end waited for. */
static size_t ask(struct kv_io *io, const struct question *question, const atomic_bool *cancel)
{
    pthread_mutex_lock(&io->mutex);
    struct question *q = &io->question;
    *q = *question;
    q->state = QUESTION_ASKED;
    atomic_store(&io->hurry, true); /* a write that waits for a lock stands back */
    pthread_cond_signal(&io->work);
    while (q->state != QUESTION_DONE && !io->ended) {
        if (cancel && atomic_load(cancel)) {
            if (q->state == QUESTION_ASKED)
                break;
            atomic_store(&io->hurry, true);
        }
        struct timespec until = timed_wait_until(CANCEL_POLL_MS);
        pthread_cond_timedwait(&io->change, &io->mutex, &until);
    }
    size_t result = q->state == QUESTION_DONE ? q->answer : 0;
    *q = (struct question){0};
    pthread_mutex_unlock(&io->mutex);
    return result;
}

static size_t find(void *ctx, const struct kv_hash *parent, const int32_t *ids, size_t n,
                   const unsigned char owner[KV_OWNER_BYTES], struct kv_found *out, size_t max,
                   const atomic_bool *cancel)
{
    const struct question question = {
        .kind = QUESTION_FIND, .parent = parent, .ids = ids, .n = n, .owner = owner, .out = out, .max = max};
    return ask(ctx, &question, cancel);
}

static bool fetch(void *ctx, const struct kv_found *found, const int32_t *tokens, void *bytes, size_t n_bytes,
                  const atomic_bool *cancel)
{
    const struct question question = {
        .kind = QUESTION_FETCH, .found = found, .ids = tokens, .bytes = bytes, .n_bytes = n_bytes};
    return ask(ctx, &question, cancel) == 1;
}

static double read_locked(struct kv_io *io, const double *value)
{
    pthread_mutex_lock(&io->mutex);
    double copy = *value;
    pthread_mutex_unlock(&io->mutex);
    return copy;
}

static double prefill_ns_per_token(void *ctx)
{
    struct kv_io *io = ctx;
    return read_locked(io, &io->prefill_ns);
}

static double fetch_ns_per_byte(void *ctx)
{
    struct kv_io *io = ctx;
    return read_locked(io, &io->fetch_ns);
}

static void note_prefill(void *ctx, double ns_per_token)
{
    struct kv_io *io = ctx;
    pthread_mutex_lock(&io->mutex);
    io->prefill_ns = ns_per_token;
    io->prefill_is_new = true;
    pthread_cond_signal(&io->work);
    pthread_mutex_unlock(&io->mutex);
}

/* What waits in the ring was computed by those before. */
static void note_kernels(void *ctx, const char *kernels)
{
    struct kv_io *io = ctx;
    pthread_mutex_lock(&io->mutex);
    io->kernels_are_new |= strncmp(io->kernels, kernels, sizeof io->kernels) != 0;
    snprintf(io->kernels, sizeof io->kernels, "%s", kernels);
    pthread_cond_signal(&io->work);
    pthread_mutex_unlock(&io->mutex);
}

/* ---- app's side ---- */

static void copy_options(struct kv_io_options *to, const struct kv_io_options *from)
{
    *to = *from;
    to->db.path = mem_strdup(from->db.path);
    to->label = mem_strdup(from->label);
    to->numerics = mem_strdup(from->numerics);
}

static void free_all(struct kv_io *io)
{
    pthread_cond_destroy(&io->work);
    pthread_cond_destroy(&io->change);
    pthread_mutex_destroy(&io->mutex);
    mem_free(io->forget);
    mem_free(io->forgotten);
    mem_free((char *)io->options.db.path);
    mem_free((char *)io->options.label);
    mem_free((char *)io->options.numerics);
    mem_free(io);
}

struct kv_io *kv_io_open(const struct kv_io_options *options, struct err *err)
{
    struct kv_io *io = mem_need(sizeof *io);
    copy_options(&io->options, options);
    timed_wait_init(&io->work);
    timed_wait_init(&io->change);
    pthread_mutex_init(&io->mutex, NULL);
    io->batch = KV_IO_BATCH_BLOCKS;
    snprintf(io->kernels, sizeof io->kernels, "%s", options->numerics);
    io->untidy = io->stats_are_old = true;
    io->shelf = (struct kv_shelf){.ctx = io,
                                  .root = kv_space_hash(&options->space),
                                  .offer = offer,
                                  .find = find,
                                  .fetch = fetch,
                                  .prefill_ns_per_token = prefill_ns_per_token,
                                  .fetch_ns_per_byte = fetch_ns_per_byte,
                                  .note_prefill = note_prefill,
                                  .note_kernels = note_kernels};
    int rc = thread_start(&io->thread, kv_io_thread, io);
    if (rc == 0)
        return io;
    err_set(err, rc == EAGAIN || rc == ENOMEM ? ERR_MEMORY : ERR_RUNTIME, "no thread for the KV cache: %s",
            strerror(rc));
    free_all(io);
    return NULL;
}

/* Under the mutex: waits for change until then; false: the time is over. */
static bool wait_for_change(struct kv_io *io, const struct timespec *until)
{
    return pthread_cond_timedwait(&io->change, &io->mutex, until) != ETIMEDOUT;
}

bool kv_io_close(struct kv_io *io, int limit_ms)
{
    if (!io)
        return true;
    struct timespec until = timed_wait_until(limit_ms);
    pthread_mutex_lock(&io->mutex);
    io->closing = true;
    pthread_cond_signal(&io->work);
    while (!io->ended && wait_for_change(io, &until)) {
    }
    io->abandon = true;
    atomic_store(&io->hurry, true);
    pthread_cond_signal(&io->work);
    pthread_mutex_unlock(&io->mutex);
    pthread_join(io->thread, NULL);
    bool ok = io->n_dropped == 0 && io->n_forget == 0;
    free_all(io);
    return ok;
}

const struct kv_shelf *kv_io_shelf(struct kv_io *io)
{
    return &io->shelf;
}

void kv_io_forget(struct kv_io *io, const unsigned char owner[KV_OWNER_BYTES])
{
    pthread_mutex_lock(&io->mutex);
    kv_io_add_forget(io, owner);
    pthread_cond_signal(&io->work);
    pthread_mutex_unlock(&io->mutex);
}

bool kv_io_next_forgotten(struct kv_io *io, unsigned char owner[KV_OWNER_BYTES])
{
    pthread_mutex_lock(&io->mutex);
    bool ok = io->n_forgotten > 0;
    if (ok)
        memcpy(owner, io->forgotten[--io->n_forgotten], KV_OWNER_BYTES);
    pthread_mutex_unlock(&io->mutex);
    return ok;
}

void kv_io_hurry(struct kv_io *io, int limit_ms)
{
    pthread_mutex_lock(&io->mutex);
    io->deadline_ns = clock_now_ns() + (uint64_t)limit_ms * 1000000u;
    atomic_store(&io->hurry, true);
    pthread_mutex_unlock(&io->mutex);
}

bool kv_io_flush(struct kv_io *io, int limit_ms)
{
    struct timespec until = timed_wait_until(limit_ms);
    pthread_mutex_lock(&io->mutex);
    uint64_t target = io->n_offered, n_dropped = io->n_dropped;
    while (io->n_done < target && wait_for_change(io, &until)) {
    }
    bool ok = io->n_done >= target && io->n_dropped == n_dropped;
    pthread_mutex_unlock(&io->mutex);
    return ok;
}

void kv_io_stats(struct kv_io *io, struct kv_io_stats *out)
{
    pthread_mutex_lock(&io->mutex);
    *out = io->stats;
    pthread_mutex_unlock(&io->mutex);
}
