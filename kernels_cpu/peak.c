#include "kernels_cpu/peak.h"

#include "engine/base/clock.h"
#include "kernels_cpu/pool.h"

#define LEAST_NS UINT64_C(3000000)
#define ROUNDS 4096 /* some microseconds: the clock is read rarely, and a round still ends soon */

struct peak_job {
    peak_fn *fn;
    double per_ns[POOL_MAX_THREADS];
};

/* Each thread by its own clock: they do not begin at the same time. */
static void run(void *arg, int thread, int n_threads)
{
    struct peak_job *job = arg;
    (void)n_threads;
    double products = 0;
    uint64_t start_ns = clock_now_ns(), ns;
    do {
        products += (double)job->fn(ROUNDS);
    } while ((ns = clock_now_ns() - start_ns) < LEAST_NS);
    job->per_ns[thread] = products / (double)ns;
}

double peak_measure(struct pool *pool, peak_fn *fn)
{
    struct peak_job job = {.fn = fn};
    double sum = 0;
    pool_run(pool, run, &job);
    for (int i = 0; i < pool_n_threads(pool); i++)
        sum += job.per_ns[i];
    return sum * 1e9;
}
