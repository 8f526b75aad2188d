/* kv_io_thread.c: the kv-io thread: what it does next, and what comes of it. */
#include "store/kv_io_internal.h"

#include <string.h>

#include "engine/base/buf.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "store/timed_wait.h"

#define BATCH_NS 50000000u /* a transaction should take no longer */
#define RETRY_MS 100
#define LOCKED_NS UINT64_C(10000000000) /* how long a file that was held is not asked again */
#define QUIET_MS 2000                   /* then the file is tidied */

/* ---- the thread: each step is called with the mutex held, and gives it up while SQLite works ---- */

static void leave(struct kv_io *io, bool hurry)
{
    atomic_store(&io->hurry, hurry);
    pthread_mutex_unlock(&io->mutex);
}

/* n and what came since; other programs may have taken away what this one counted. */
static uint64_t changed_by(uint64_t n, int64_t change)
{
    return change < 0 && n < (uint64_t)-change ? 0 : n + (uint64_t)change;
}

static void enter(struct kv_io *io)
{
    pthread_mutex_lock(&io->mutex);
    if (!io->db)
        return;
    const struct kv_tally *now = &io->db->tally;
    io->fetch_ns = io->db->fetch_ns_per_byte;
    io->stats.kept_blocks = changed_by(io->stats.kept_blocks, now->n_blocks - io->tally.n_blocks);
    io->stats.kept_bytes = changed_by(io->stats.kept_bytes, now->n_bytes - io->tally.n_bytes);
    io->tally = *now;
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
        io->first = (io->first + 1) % KV_IO_RING_SLOTS;
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
    const struct kv_block *blocks[KV_IO_BATCH_BLOCKS];
    size_t n = io->n_ring < io->batch ? io->n_ring : io->batch;
    for (size_t i = 0; i < n; i++)
        blocks[i] = &io->ring[(io->first + i) % KV_IO_RING_SLOTS];
    leave(io, io->question.kind != QUESTION_NONE || io->deadline_ns);
    struct err err = {0};
    uint64_t written, start = clock_now_ns();
    bool ok = kv_db_put(io->db, blocks, n, &written, &err);
    uint64_t took = clock_now_ns() - start;
    enter(io);
    if (!ok)
        return !try_again(io, &err);
    if (took > BATCH_NS && io->batch > 1)
        io->batch /= 2;
    else if (took < BATCH_NS / 2 && io->batch < KV_IO_BATCH_BLOCKS)
        io->batch *= 2;
    io->stats.written_bytes += written;
    io->stats.n_written = io->db->n_new;
    io->untidy = io->stats_are_old = true;
    pop(io, n);
    return true;
}

static void tell_kernels(struct kv_io *io)
{
    const struct kv_io_options *o = &io->options;
    char kernels[sizeof io->kernels];
    memcpy(kernels, io->kernels, sizeof kernels);
    leave(io, io->deadline_ns);
    struct err err = {0};
    bool ok = kv_db_set_space(io->db, &o->space, o->label, kernels, o->exact, &err);
    enter(io);
    if (ok)
        io->kernels_are_new = strcmp(kernels, io->kernels) != 0;
    else
        try_again(io, &err);
}

/* A find sees what was offered before it; a locked file must not keep it waiting, though. */
static void answer(struct kv_io *io)
{
    struct question *q = &io->question;
    bool locked = q->kind == QUESTION_FIND && clock_now_ns() < io->locked_until_ns;
    while (io->db && q->kind == QUESTION_FIND && !locked && io->n_ring && write_batch(io)) {
    }
    if (io->db && io->kernels_are_new && !io->n_ring && !locked)
        tell_kernels(io);
    if (q->kind == QUESTION_NONE) /* withdrawn meanwhile */
        return;
    bool knows_kernels = !io->kernels_are_new;
    q->state = QUESTION_RUNNING;
    leave(io, io->deadline_ns);
    struct err err = {0};
    size_t result = 0;
    uint64_t start = clock_now_ns();
    if (io->db && q->kind == QUESTION_FIND && !locked && knows_kernels)
        result = kv_db_find(io->db, q->parent, q->ids, q->n, q->owner, q->out, q->max, &err);
    else if (io->db && q->kind == QUESTION_FETCH)
        result = kv_db_fetch(io->db, q->found, q->ids, q->bytes, q->n_bytes, &err);
    enter(io);
    if (io->db && io->db->sql.was_damaged &&
        err.code) /* the file, not a block: it is put aside when closed */
        switch_off(io, &err);
    /* It waited in vain, and was not just told to stop: one turn waits, the next ones do not. */
    bool in_vain = err.code && clock_now_ns() - start >= KV_BUSY_MS * UINT64_C(500000);
    if (io->db && q->kind == QUESTION_FIND && in_vain && sql_is_busy(&io->db->sql))
        io->locked_until_ns = clock_now_ns() + LOCKED_NS;
    q->answer = result;
    q->state = QUESTION_DONE;
    pthread_cond_broadcast(&io->change);
}

static void forget_first(struct kv_io *io)
{
    unsigned char owner[KV_OWNER_BYTES];
    memcpy(owner, io->forget[0], sizeof owner);
    leave(io, false); /* no page is lent for it: their deadline is not its own */
    struct err err = {0};
    uint64_t n_blocks;
    bool ok = kv_db_forget_owner(io->db, owner, &n_blocks, &err);
    enter(io);
    io->untidy = io->stats_are_old = true;
    if (!ok && (err.code == ERR_CANCELLED || try_again(io, &err))) /* a question came, or a lock is held */
        return;
    if (ok) {
        io->forgotten = mem_need_resize(io->forgotten, io->n_forgotten + 1, sizeof *io->forgotten);
        memcpy(io->forgotten[io->n_forgotten++], owner, sizeof owner);
    }
    io->n_forget--;
    memmove(io->forget[0], io->forget[1], io->n_forget * sizeof *io->forget);
    io->n_dropped += !ok;
}

static void write_cost(struct kv_io *io)
{
    double ns = io->prefill_ns;
    io->prefill_is_new = false;
    leave(io, io->deadline_ns);
    struct err err = {0};
    bool ok = kv_db_note_prefill(io->db, ns, &err);
    enter(io);
    if (!ok && try_again(io, &err))
        io->prefill_is_new = true;
}

static void tidy(struct kv_io *io)
{
    leave(io, io->deadline_ns);
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
           io->prefill_is_new || io->kernels_are_new || io->closing;
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

/* With nothing to do: waits for quiet, then counts what is kept (a look at all rows, not for between two
 * tokens) and tidies slice by slice; then just waits. */
static void rest(struct kv_io *io)
{
    bool is_first = io->stats_are_old && io->stats.limit_bytes == 0;
    if (io->stats.off || (!io->untidy && !io->stats_are_old)) {
        wait_for_work(io, -1);
        return;
    }
    if (!is_first)
        wait_for_work(io, QUIET_MS);
    if (io->stats_are_old && !has_work(io))
        count_all(io);
    while (!is_first && io->untidy && !has_work(io))
        tidy(io);
}

/* The next thing to do; false: it is time to go. */
static bool step(struct kv_io *io)
{
    if (kv_io_is_late(io))
        drop_ring(io);
    if (io->question.kind && io->question.state == QUESTION_ASKED)
        answer(io);
    else if (io->abandon || (io->closing && !io->db))
        return false;
    else if (!io->db)
        wait_for_work(io, -1); /* which can only be a question, or the end */
    else if (io->n_ring)
        write_batch(io);
    else if (io->kernels_are_new && !io->stats.off)
        tell_kernels(io);
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
static bool open_db(struct kv_io *io, struct err *note, double *prefill_ns, struct buf *forgotten, bool *busy,
                    struct err *err)
{
    const struct kv_io_options *o = &io->options;
    *busy = false;
    io->db = kv_db_try_open(&o->db, &io->hurry, note, busy, err);
    if (!io->db)
        return false;
    if (kv_db_set_space(io->db, &o->space, o->label, o->numerics, o->exact, err) &&
        kv_db_prefill_ns(io->db, prefill_ns, err) && kv_forgotten(io->db, forgotten, err))
        return true;
    /* Closing puts a damaged file aside: then the next try begins a new one. */
    *busy = sql_is_busy(&io->db->sql) || (io->db->sql.was_damaged && !io->met_damage);
    io->met_damage |= io->db->sql.was_damaged;
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
        leave(io, io->deadline_ns);
        struct buf forgotten = {0};
        ok = open_db(io, &note, &prefill_ns, &forgotten, &busy, &err);
        enter(io);
        for (size_t i = 0; ok && i < forgotten.len; i += KV_OWNER_BYTES)
            kv_io_add_forget(io, (const unsigned char *)forgotten.data + i);
        buf_fini(&forgotten);
        if (ok && note.code)
            io->stats.why = note;
        if (ok && !io->prefill_is_new)
            io->prefill_ns = prefill_ns;
        if (!ok && !busy)
            switch_off(io, &err);
        if (!ok && io->question.kind && io->question.state == QUESTION_ASKED)
            answer(io);
        if (kv_io_is_late(io))
            drop_ring(io);
        if (!ok && busy)
            wait_for_work(io, RETRY_MS);
    }
}

void *kv_io_thread(void *arg)
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
