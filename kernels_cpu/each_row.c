#include "kernels_cpu/each_row.h"

#include <stdatomic.h>

/* Below this many floats the caller works alone: about 5 us. */
#define SHARE_MIN_FLOATS ((size_t)32 << 10)
/* What is dealt at once. */
#define STEP_FLOATS ((size_t)16 << 10)

struct row_job {
    void (*row)(void *arg, size_t row);
    void *arg;
    size_t n_rows, step;
    atomic_size_t next;
};

static void run_rows(void *arg, int thread, int n_threads)
{
    struct row_job *job = arg;
    size_t step = job->step;
    (void)thread;
    (void)n_threads;
    for (size_t at; (at = atomic_fetch_add_explicit(&job->next, step, memory_order_relaxed)) < job->n_rows;)
        for (size_t row = at; row < at + step && row < job->n_rows; row++)
            job->row(job->arg, row);
}

void each_row_run(struct pool *pool, size_t n_rows, size_t row_floats, void (*row)(void *arg, size_t row),
                  void *arg)
{
    struct row_job job = {.row = row, .arg = arg, .n_rows = n_rows, .step = STEP_FLOATS / (row_floats + 1)};
    job.step += job.step == 0;
    if (n_rows < 2 || n_rows * row_floats < SHARE_MIN_FLOATS)
        run_rows(&job, 0, 1);
    else
        pool_run(pool, run_rows, &job);
}
