#include "kernels_cpu/row_walk.h"

#define MAX_STREAMS POOL_MAX_AHEAD
/* A shorter stream ends before it is in full flow. */
#define MIN_STREAM_BYTES ((size_t)16 << 10)
/* Of a stream that is dealt at once: little enough for threads to finish together. */
#define STEP_BYTES ((size_t)2048)

/* A product that is read faster than the threads are told of it. */
#define ALONE_BYTES ((size_t)16 << 10)

struct share {
    size_t begin, n, n_streams, n_steps;
    size_t bounds[MAX_STREAMS + 1]; /* stream i is bounds[i] .. bounds[i + 1] */
};

static size_t step_rows(const struct row_walk *w)
{
    size_t rows = STEP_BYTES / (w->row_bytes + 1);
    return rows ? rows : 1;
}

static size_t divide(size_t n, size_t part, size_t n_parts)
{
    return n / n_parts * part + n % n_parts * part / n_parts;
}

/* Of n rows in all, `rows` of which are dealt at once. */
static struct share share_of(size_t n, size_t row_bytes, size_t rows, size_t thread, size_t n_threads)
{
    struct share s = {.begin = divide(n, thread, n_threads), .n_streams = 1};
    s.n = divide(n, thread + 1, n_threads) - s.begin;
    while (s.n_streams < MAX_STREAMS && s.n / (s.n_streams + 1) * row_bytes >= MIN_STREAM_BYTES)
        s.n_streams++;
    size_t longest = (s.n + s.n_streams - 1) / s.n_streams;
    s.n_steps = (longest + rows - 1) / rows;
    for (size_t i = 0; i <= s.n_streams; i++)
        s.bounds[i] = s.begin + divide(s.n, i, s.n_streams);
    return s;
}

static void walk_step(const struct row_walk *w, const struct share *s, size_t rows, size_t step)
{
    size_t at[MAX_STREAMS];
    for (size_t r = step * rows; r < (step + 1) * rows; r++) {
        size_t n = 0;
        for (size_t i = 0; i < s->n_streams; i++)
            if (s->bounds[i] + r < s->bounds[i + 1])
                at[n++] = s->bounds[i] + r;
        if (n)
            w->rows(w->arg, at, n);
    }
}

static void name_next(const struct row_walk *w, size_t thread, size_t n_threads)
{
    const void *starts[MAX_STREAMS];
    struct share s = share_of(w->next.n, w->next.row_bytes, 1, thread, n_threads);
    for (size_t i = 0; i < s.n_streams && s.n; i++)
        starts[i] = w->next.at(w->next.arg, s.bounds[i]);
    pool_ahead(w->pool, (int)thread, starts, s.n ? s.n_streams : 0);
}

static void walk(void *arg, int thread, int n_threads)
{
    const struct row_walk *w = arg;
    size_t n = (size_t)n_threads, self = (size_t)thread, rows = step_rows(w), step;
    for (size_t i = 0; i < n; i++) {
        size_t owner = (self + i) % n;
        struct share s = share_of(w->n, w->row_bytes, rows, owner, n);
        atomic_size_t *next = &w->shares[owner].next_step;
        while (atomic_load_explicit(next, memory_order_relaxed) < s.n_steps &&
               (step = atomic_fetch_add_explicit(next, 1, memory_order_relaxed)) < s.n_steps)
            walk_step(w, &s, rows, step);
    }
    name_next(w, self, n);
}

void row_walk_run(struct row_walk *w)
{
    if (w->n * w->row_bytes <= ALONE_BYTES) {
        for (size_t row = 0; row < w->n; row++)
            w->rows(w->arg, &row, 1);
        return;
    }
    for (int i = 0; i < pool_n_threads(w->pool); i++)
        atomic_store_explicit(&w->shares[i].next_step, 0, memory_order_relaxed);
    pool_run(w->pool, walk, w);
}
