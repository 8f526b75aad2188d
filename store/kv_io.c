/* kv_io.c: the kv-io thread and what the engine's and app's threads leave for it.
 *
 * One mutex guards all that is shared; it is held for copies and pointer moves, never while SQLite works. A
 * block being written stays in the ring until it is written, so that offers only append. One question is
 * asked at a time, by the engine's thread, which waits for the answer: its memory is written to until then.
 */
#include "store/kv_io.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/thread.h"
#include "store/kv_internal.h"
#include "store/timed_wait.h"

#define RING_SLOTS 32
#define BATCH_BLOCKS 8
#define BATCH_NS 50000000u /* a transaction should take no longer */
#define RETRY_MS 100
#define QUIET_MS 2000 /* then the file is tidied */
#define CANCEL_POLL_MS 10

enum question_kind { QUESTION_NONE, QUESTION_FIND, QUESTION_FETCH };
enum question_state { QUESTION_ASKED, QUESTION_RUNNING, QUESTION_DONE };

struct question {
    enum question_kind kind;
    enum question_state state;
    const struct kv_hash *parent;
    const int32_t *ids;
    size_t n;
    const unsigned char *owner;
    struct kv_found *out;
    size_t max;
    const struct kv_found *found;
    void *bytes;
    size_t n_bytes;
    size_t answer; /* blocks found, or 1: fetched */
};

struct kv_io {
    pthread_t thread;
    struct kv_io_options options;
    struct kv_shelf shelf;
    struct kv_db *db;  /* the thread's alone */
    size_t batch;      /* the thread's: blocks of the next transaction */
    atomic_bool hurry; /* the call the thread is in: wait for no lock, end early */

    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t work;   /* for the thread: there is something to do */
    pthread_cond_t change; /* for the others: an answer, a write, the end */
    struct kv_block ring[RING_SLOTS];
    atomic_uint *pins[RING_SLOTS];
    size_t first, n_ring;
    uint64_t n_offered, n_done;
    uint64_t n_dropped; /* blocks and owners nothing was done about */
    struct question question;
    unsigned char (*forget)[KV_OWNER_BYTES]; /* owners to be forgotten */
    size_t n_forget;
    double prefill_ns, fetch_ns;
    bool prefill_is_new; /* not in the file yet */
    bool untidy;
    bool stats_are_old;   /* what is said about the whole file */
    uint64_t deadline_ns; /* after it nothing is written; 0: none */
    bool closing, abandon, ended;
    struct kv_io_stats stats;
};

/* ---- the thread: each step is called with the mutex held, and gives it up while SQLite works ---- */

static void leave(struct kv_io *io, bool hurry)
{
    atomic_store(&io->hurry, hurry || io->deadline_ns);
    pthread_mutex_unlock(&io->mutex);
}

static void enter(struct kv_io *io)
{
    pthread_mutex_lock(&io->mutex);
    if (io->db)
        io->fetch_ns = io->db->fetch_ns_per_byte;
}

static void wait_for_work(struct kv_io *io, int ms)
{
    struct timespec until = timed_wait_until(ms);
    if (ms < 0)
        pthread_cond_wait(&io->work, &io->mutex);
    else
        pthread_cond_timedwait(&io->work, &io->mutex, &until);
}

/* The first n of the ring are done with. */
static void pop(struct kv_io *io, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        atomic_fetch_sub(io->pins[io->first], 1);
        io->first = (io->first + 1) % RING_SLOTS;
    }
    io->n_ring -= n;
    io->n_done += n;
    pthread_cond_broadcast(&io->change);
}

static void drop_ring(struct kv_io *io)
{
    io->n_dropped += io->n_ring;
    pop(io, io->n_ring);
}

static bool is_late(const struct kv_io *io)
{
    return io->deadline_ns && clock_now_ns() >= io->deadline_ns;
}

static void switch_off(struct kv_io *io, const struct err *why)
{
    if (!io->stats.off)
        io->stats.why = *why;
    io->stats.off = true;
    drop_ring(io);
}

/* After a failing call: whether it is worth another try, in a while. Else saving is switched off. */
static bool try_again(struct kv_io *io, const struct err *err)
{
    if (!sql_is_busy(&io->db->sql)) {
        switch_off(io, err);
        return false;
    }
    if (io->question.kind == QUESTION_NONE)
        wait_for_work(io, RETRY_MS);
    return true;
}

/* One transaction. False: another program held the file all the time. */
static bool write_batch(struct kv_io *io)
{
    const struct kv_block *blocks[BATCH_BLOCKS];
    size_t n = io->n_ring < io->batch ? io->n_ring : io->batch;
    for (size_t i = 0; i < n; i++)
        blocks[i] = &io->ring[(io->first + i) % RING_SLOTS];
    leave(io, io->question.kind != QUESTION_NONE);
    struct err err = {0};
    uint64_t written, start = clock_now_ns();
    bool ok = kv_db_put(io->db, blocks, n, &written, &err);
    uint64_t took = clock_now_ns() - start;
    enter(io);
    if (!ok)
        return !try_again(io, &err);
    if (took > BATCH_NS && io->batch > 1)
        io->batch /= 2;
    else if (took < BATCH_NS / 2 && io->batch < BATCH_BLOCKS)
        io->batch *= 2;
    io->stats.written_bytes += written;
    io->stats.n_written = io->db->n_new;
    io->untidy = io->stats_are_old = true;
    pop(io, n);
    return true;
}

/* A find sees what was offered before it; a locked file must not keep it waiting, though. */
static void answer(struct kv_io *io)
{
    struct question *q = &io->question;
    while (io->db && q->kind == QUESTION_FIND && io->n_ring && write_batch(io)) {
    }
    if (q->kind == QUESTION_NONE) /* withdrawn meanwhile */
        return;
    q->state = QUESTION_RUNNING;
    leave(io, false);
    struct err err = {0};
    size_t result = 0;
    if (io->db && q->kind == QUESTION_FIND)
        result = kv_db_find(io->db, q->parent, q->ids, q->n, q->owner, q->out, q->max, &err);
    else if (io->db)
        result = kv_db_fetch(io->db, q->found, q->ids, q->bytes, q->n_bytes, &err);
    enter(io);
    q->answer = result;
    q->state = QUESTION_DONE;
    pthread_cond_broadcast(&io->change);
}

static void forget_first(struct kv_io *io)
{
    unsigned char owner[KV_OWNER_BYTES];
    memcpy(owner, io->forget[0], sizeof owner);
    leave(io, false);
    struct err err = {0};
    uint64_t n_blocks;
    bool ok = kv_db_forget_owner(io->db, owner, &n_blocks, &err);
    enter(io);
    io->untidy = io->stats_are_old = true;
    if (!ok && try_again(io, &err))
        return;
    io->n_forget--;
    memmove(io->forget[0], io->forget[1], io->n_forget * sizeof *io->forget);
    io->n_dropped += !ok;
}

static void write_cost(struct kv_io *io)
{
    double ns = io->prefill_ns;
    io->prefill_is_new = false;
    leave(io, false);
    struct err err = {0};
    bool ok = kv_db_note_prefill(io->db, ns, &err);
    enter(io);
    if (!ok && try_again(io, &err))
        io->prefill_is_new = true;
}

static void tidy(struct kv_io *io)
{
    leave(io, false);
    struct err err = {0};
    bool more, ok = kv_db_tidy(io->db, &more, &err);
    enter(io);
    io->untidy = ok && more;
    if (!ok && !sql_is_busy(&io->db->sql))
        switch_off(io, &err);
}

static bool has_work(const struct kv_io *io)
{
    return (io->question.kind && io->question.state == QUESTION_ASKED) || io->n_ring || io->n_forget ||
           io->prefill_is_new || io->closing;
}

static void count_all(struct kv_io *io)
{
    struct kv_db_stat stat = {0};
    struct err err = {0};
    io->stats_are_old = false;
    leave(io, true);
    bool ok = kv_db_stat(io->db, &stat, &err);
    enter(io);
    mem_free(stat.spaces);
    if (!ok)
        return; /* whoever asks sees what was known before */
    io->stats.kept_blocks = stat.n_blocks;
    io->stats.kept_bytes = stat.n_bytes;
    io->stats.limit_bytes = stat.limit_bytes;
}

/* With nothing to do: waits for the quiet that tidying needs, then tidies slice by slice; then just waits. */
static void rest(struct kv_io *io)
{
    if (io->stats_are_old && !io->stats.off) {
        count_all(io);
        return;
    }
    if (!io->untidy || io->stats.off) {
        wait_for_work(io, -1);
        return;
    }
    wait_for_work(io, QUIET_MS);
    while (!has_work(io) && io->untidy)
        tidy(io);
}

/* The next thing to do; false: it is time to go. */
static bool step(struct kv_io *io)
{
    if (is_late(io))
        drop_ring(io);
    if (io->question.kind && io->question.state == QUESTION_ASKED)
        answer(io);
    else if (io->abandon || (io->closing && !io->db))
        return false;
    else if (!io->db)
        wait_for_work(io, -1); /* which can only be a question, or the end */
    else if (io->n_ring)
        write_batch(io);
    else if (io->n_forget)
        forget_first(io);
    else if (io->prefill_is_new)
        write_cost(io);
    else if (io->closing)
        return false;
    else
        rest(io);
    return true;
}

/* Opens the file and chooses the space. False with *busy: worth another try. */
static bool open_db(struct kv_io *io, struct err *note, double *prefill_ns, bool *busy, struct err *err)
{
    const struct kv_io_options *o = &io->options;
    *busy = false;
    io->db = kv_db_try_open(&o->db, &io->hurry, note, busy, err);
    if (!io->db)
        return false;
    if (kv_db_set_space(io->db, &o->space, o->label, o->numerics, o->exact, err) &&
        kv_db_prefill_ns(io->db, prefill_ns, err))
        return true;
    *busy = sql_is_busy(&io->db->sql);
    kv_db_close(io->db);
    io->db = NULL;
    return false;
}

/* Until it is open, or cannot be; questions are answered with nothing meanwhile. */
static void start(struct kv_io *io)
{
    bool ok = false, busy = true;
    while (!ok && busy && !io->abandon) {
        struct err err = {0}, note = {0};
        double prefill_ns = 0;
        leave(io, false);
        ok = open_db(io, &note, &prefill_ns, &busy, &err);
        enter(io);
        if (ok && note.code)
            io->stats.why = note;
        if (ok && !io->prefill_is_new)
            io->prefill_ns = prefill_ns;
        if (!ok && !busy)
            switch_off(io, &err);
        if (!ok && io->question.kind && io->question.state == QUESTION_ASKED)
            answer(io);
        if (is_late(io))
            drop_ring(io);
        if (!ok && busy)
            wait_for_work(io, RETRY_MS);
    }
}

static void *thread_main(void *arg)
{
    struct kv_io *io = arg;
    pthread_mutex_lock(&io->mutex);
    start(io);
    while (step(io)) {
    }
    drop_ring(io);
    pthread_mutex_unlock(&io->mutex);
    kv_db_close(io->db);
    pthread_mutex_lock(&io->mutex);
    io->ended = true;
    pthread_cond_broadcast(&io->change);
    pthread_mutex_unlock(&io->mutex);
    return NULL;
}

/* ---- the engine's side ---- */

static bool offer(void *ctx, const struct kv_block *block, atomic_uint *pins)
{
    struct kv_io *io = ctx;
    pthread_mutex_lock(&io->mutex);
    bool ok = io->n_ring < RING_SLOTS && !io->stats.off && !io->closing && !is_late(io);
    if (ok) {
        size_t slot = (io->first + io->n_ring++) % RING_SLOTS;
        io->ring[slot] = *block;
        io->pins[slot] = pins;
        io->n_offered++;
        atomic_fetch_add(pins, 1);
        pthread_cond_signal(&io->work);
    } else if (io->n_ring == RING_SLOTS)
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
    io->batch = BATCH_BLOCKS;
    io->untidy = io->stats_are_old = true;
    io->shelf = (struct kv_shelf){.ctx = io,
                                  .root = kv_space_hash(&options->space),
                                  .offer = offer,
                                  .find = find,
                                  .fetch = fetch,
                                  .prefill_ns_per_token = prefill_ns_per_token,
                                  .fetch_ns_per_byte = fetch_ns_per_byte,
                                  .note_prefill = note_prefill};
    int rc = thread_start(&io->thread, thread_main, io);
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
    io->forget = mem_need_resize(io->forget, io->n_forget + 1, sizeof *io->forget);
    memcpy(io->forget[io->n_forget++], owner, KV_OWNER_BYTES);
    pthread_cond_signal(&io->work);
    pthread_mutex_unlock(&io->mutex);
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
