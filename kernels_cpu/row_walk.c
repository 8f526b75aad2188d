#include "kernels_cpu/row_walk.h"

#define N_STREAMS 4
/* Of a stream that is dealt at once: little enough for threads to finish together. */
#define STEP_BYTES ((size_t)2048)

/* A product that is read faster than the threads are told of it. */
#define ALONE_BYTES ((size_t)16 << 10)

struct share {
    size_t begin, n, n_steps;
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

static struct share share_of(const struct row_walk *w, size_t thread, size_t n_threads)
{
    struct share s = {.begin = divide(w->n, thread, n_threads)};
    s.n = divide(w->n, thread + 1, n_threads) - s.begin;
    size_t longest = (s.n + N_STREAMS - 1) / N_STREAMS, rows = step_rows(w);
    s.n_steps = (longest + rows - 1) / rows;
    return s;
}

static void walk_step(const struct row_walk *w, struct share s, size_t step)
{
    size_t at[N_STREAMS], end[N_STREAMS], rows = step_rows(w);
    for (size_t i = 0; i < N_STREAMS; i++) {
        at[i] = s.begin + divide(s.n, i, N_STREAMS) + step * rows;
        end[i] = s.begin + divide(s.n, i + 1, N_STREAMS);
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < N_STREAMS; i++)
            if (at[i] + r < end[i])
                w->row(w->arg, at[i] + r);
}

static void name_next(const struct row_walk *w, size_t thread, size_t n_threads)
{
    const void *starts[N_STREAMS];
    size_t begin = divide(w->next.n, thread, n_threads), n = divide(w->next.n, thread + 1, n_threads) - begin;
    for (size_t i = 0; i < N_STREAMS && n; i++)
        starts[i] = w->next.at(w->next.arg, begin + divide(n, i, N_STREAMS));
    pool_ahead(w->pool, (int)thread, starts, n ? N_STREAMS : 0);
}

static void walk(void *arg, int thread, int n_threads)
{
    const struct row_walk *w = arg;
    size_t n = (size_t)n_threads, self = (size_t)thread, step;
    for (size_t i = 0; i < n; i++) {
        size_t owner = (self + i) % n;
        struct share s = share_of(w, owner, n);
        atomic_size_t *next = &w->shares[owner].next_step;
        while (atomic_load_explicit(next, memory_order_relaxed) < s.n_steps &&
               (step = atomic_fetch_add_explicit(next, 1, memory_order_relaxed)) < s.n_steps)
            walk_step(w, s, step);
    }
    name_next(w, self, n);
}

void row_walk_run(struct row_walk *w)
{
    if (w->n * w->row_bytes <= ALONE_BYTES) {
        for (size_t row = 0; row < w->n; row++)
            w->row(w->arg, row);
        return;
    }
    for (int i = 0; i < pool_n_threads(w->pool); i++)
        atomic_store_explicit(&w->shares[i].next_step, 0, memory_order_relaxed);
    pool_run(w->pool, walk, w);
}
