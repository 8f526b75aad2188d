/* pool.c owns the worker threads and how they and the caller wait for each other.
 *
 * A run is announced by a new `generation`; `n_left` counts the workers still in it. Both are 32-bit words
 * that a waiter can sleep on (futex). A waiter first says that it sleeps and then looks at the word once
 * more, the waker first changes the word and then looks for sleepers, all sequentially consistent: one of the
 * two sees the other. */
#include "kernels_cpu/pool.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/thread.h"

#define SPIN_NS 20000
#define YIELD_NS 200000
#define SPINS_PER_CLOCK 16
#define AHEAD_BYTES ((size_t)64 << 10) /* from each place; all of them fit the second-level cache */
#define LINE_BYTES 64

/* What a waiting thread brings into its cache, a line of each place in turn. */
struct ahead {
    const char *places[POOL_MAX_AHEAD];
    size_t n, done_bytes;
};

/* Belongs to its thread; the caller has the first. */
struct worker {
    struct pool *pool;
    pthread_t thread;
    int index;
    struct ahead ahead;
    char pad[64];
};

/* Words written by different threads keep their own cache lines. */
struct pool {
    int n_threads;
    int n_started;
    struct worker *workers;
    void (*fn)(void *arg, int thread, int n_threads); /* NULL ends the workers */
    void *arg;
    char pad0[64];
    _Atomic uint32_t generation;
    atomic_bool parked;
    char pad1[64];
    _Atomic uint32_t n_left;
    char pad2[64];
    atomic_int n_sleeping;
    atomic_bool caller_sleeps;
};

#if defined(__x86_64__)
static void relax(void)
{
    __builtin_ia32_pause();
}
#elif defined(__aarch64__)
static void relax(void)
{
    __asm__ volatile("yield");
}
#else
static void relax(void) {}
#endif

static void futex_wait(_Atomic uint32_t *word, uint32_t expected)
{
    syscall(SYS_futex, (void *)word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, (void *)word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void fetch_or_relax(struct ahead *a)
{
    if (a->done_bytes >= AHEAD_BYTES || a->n == 0) {
        relax();
        return;
    }
    for (size_t i = 0; i < a->n; i++)
        __builtin_prefetch(a->places[i] + a->done_bytes, 0, 2);
    a->done_bytes += LINE_BYTES;
}

/* Waits awake until *word differs from old (true), or patience or the wish to park says to sleep (false). */
static bool wait_awake(_Atomic uint32_t *word, uint32_t old, atomic_bool *parked, struct ahead *ahead)
{
    uint64_t start = 0;
    bool yielding = false;
    for (;;) {
        for (int i = 0; i < SPINS_PER_CLOCK; i++) {
            if (atomic_load_explicit(word, memory_order_acquire) != old)
                return true;
            fetch_or_relax(ahead);
        }
        if (parked && atomic_load_explicit(parked, memory_order_relaxed))
            return false;
        uint64_t now = clock_now_ns();
        if (!start)
            start = now;
        if (now - start > SPIN_NS + YIELD_NS)
            return false;
        yielding = now - start > SPIN_NS;
        if (yielding)
            sched_yield();
    }
}

static void worker_wait(struct worker *w, uint32_t seen)
{
    struct pool *p = w->pool;
    if (wait_awake(&p->generation, seen, &p->parked, &w->ahead))
        return;
    atomic_fetch_add(&p->n_sleeping, 1);
    while (atomic_load(&p->generation) == seen)
        futex_wait(&p->generation, seen);
    atomic_fetch_sub(&p->n_sleeping, 1);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct pool *p = w->pool;
    for (uint32_t seen = 0;; seen++) {
        worker_wait(w, seen);
        if (!p->fn)
            return NULL;
        p->fn(p->arg, w->index, p->n_threads);
        if (atomic_fetch_sub(&p->n_left, 1) == 1 && atomic_load(&p->caller_sleeps))
            futex_wake(&p->n_left);
    }
}

static void announce(struct pool *p, void (*fn)(void *, int, int), void *arg)
{
    p->fn = fn;
    p->arg = arg;
    atomic_store_explicit(&p->parked, false, memory_order_relaxed);
    atomic_store_explicit(&p->n_left, (uint32_t)p->n_started, memory_order_relaxed);
    atomic_fetch_add(&p->generation, 1);
    if (atomic_load(&p->n_sleeping) > 0)
        futex_wake(&p->generation);
}

static void wait_for_workers(struct pool *p)
{
    for (;;) {
        uint32_t left = atomic_load_explicit(&p->n_left, memory_order_acquire);
        if (left == 0)
            return;
        if (wait_awake(&p->n_left, left, NULL, &p->workers[0].ahead))
            continue;
        atomic_store(&p->caller_sleeps, true);
        left = atomic_load(&p->n_left);
        if (left != 0)
            futex_wait(&p->n_left, left);
        atomic_store(&p->caller_sleeps, false);
    }
}

void pool_run(struct pool *p, void (*fn)(void *arg, int thread, int n_threads), void *arg)
{
    assert(fn);
    if (p->n_threads == 1) {
        fn(arg, 0, 1);
        return;
    }
    announce(p, fn, arg);
    fn(arg, 0, p->n_threads);
    wait_for_workers(p);
}

void pool_ahead(struct pool *p, int thread, const void *const *places, size_t n)
{
    struct ahead *a = &p->workers[thread].ahead;
    assert(n <= POOL_MAX_AHEAD);
    *a = (struct ahead){.n = n};
    for (size_t i = 0; i < n; i++)
        a->places[i] = places[i];
}

void pool_park(struct pool *p)
{
    atomic_store_explicit(&p->parked, true, memory_order_relaxed);
}

int pool_n_threads(const struct pool *p)
{
    return p->n_threads;
}

static bool start_workers(struct pool *p, struct err *err)
{
    int failed = 0;
    for (int i = 1; i < p->n_threads && !failed; i++) {
        struct worker *w = &p->workers[i];
        w->pool = p;
        w->index = i;
        failed = thread_start(&w->thread, worker_main, w);
        if (!failed)
            p->n_started++;
    }
    if (failed)
        return err_set(err, failed == EAGAIN || failed == ENOMEM ? ERR_MEMORY : ERR_RUNTIME,
                       "compute threads: %d of %d could be started (%s); use a smaller --threads",
                       p->n_started + 1, p->n_threads, strerror(failed));
    return true;
}

struct pool *pool_new(int n_threads, struct err *err)
{
    assert(n_threads >= 1 && n_threads <= POOL_MAX_THREADS);
    struct pool *p = mem_alloc(sizeof *p, err);
    if (!p)
        return NULL;
    p->n_threads = n_threads;
    p->workers = mem_array((size_t)n_threads, sizeof *p->workers, err);
    if (!p->workers || !start_workers(p, err)) {
        pool_free(p);
        return NULL;
    }
    return p;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    if (p->n_started > 0) {
        announce(p, NULL, NULL);
        for (int i = 1; i <= p->n_started; i++)
            pthread_join(p->workers[i].thread, NULL);
    }
    mem_free(p->workers);
    mem_free(p);
}
