/* How close the products come to the machine: bytes per second of a decode step (one column) as a share of
 * what plain reads of the same bytes reach in the same minute, and the speed of many columns against one
 * and as a share of what multiply-adds reach on registers alone in the same minute.
 *
 * usage: bench_gemm [isa [threads [type]]]      not a test: nothing is asserted, a loaded machine only lowers
 * numbers */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "tests/kernels_cpu/gemm_cases.h"
#include "kernels_cpu/kernels.h"

#define WEIGHT_BYTES ((size_t)512 << 20) /* well beyond the caches */
#define ROUNDS 5
#define MANY 512

struct read_job {
    const uint8_t *p;
    size_t n;
    const struct cpu_kernels *kernels;
    uint64_t sums[POOL_MAX_THREADS];
};

struct shape {
    enum dtype type;
    size_t n, k;
};

static void read_part(void *arg, int thread, int n_threads)
{
    struct read_job *job = arg;
    size_t each = job->n / (size_t)n_threads;
    job->sums[thread] = job->kernels->read_bytes(job->p + (size_t)thread * each, each);
}

static double seconds_since(uint64_t start)
{
    return (double)(clock_now_ns() - start) * 1e-9;
}

/* Matrices of the shape, one after the other, filled with one random row repeated. */
static size_t fill(uint8_t *bytes, struct shape s, struct bweight *w)
{
    size_t row_bytes = 0;
    uint32_t state = 77;
    dtype_row_bytes(s.type, s.k, &row_bytes);
    size_t matrix = s.n * row_bytes, count = WEIGHT_BYTES / matrix;
    gemm_random_row(s.type, bytes, s.k, &state);
    for (size_t i = 1; i < count * s.n; i++)
        memcpy(bytes + i * row_bytes, bytes, row_bytes);
    for (size_t i = 0; i < count; i++) {
        w[i] = (struct bweight){.n = s.n, .k = s.k, .n_bytes = matrix, .n_parts = 1};
        w[i].parts[0] = (struct weight_rows){bytes + i * matrix, NULL, s.type, s.n, row_bytes};
    }
    return count;
}

static void measure(struct pool *pool, struct gemm_ctx *g, struct read_job *job, struct shape s,
                    const struct dot_set *set)
{
    static struct bweight w[8192];
    size_t count = fill((uint8_t *)job->p, s, w);
    float *a = mem_need(MANY * s.k * sizeof *a), *out = mem_need(MANY * s.n * sizeof *out);
    uint32_t state = 3;
    for (size_t i = 0; i < MANY * s.k; i++)
        a[i] = gemm_random_normal(&state);
    double best_read = 0, best_one = 0, best_four = 0, best_many = 0, best_peak = 0;
    job->n = count * w[0].n_bytes;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = clock_now_ns();
        pool_run(pool, read_part, job);
        double read = (double)job->n / seconds_since(start);
        start = clock_now_ns();
        for (size_t i = 0; i < count; i++)
            cpu_gemm(g, &w[i], a, 1, out, false, NULL);
        double one = (double)job->n / seconds_since(start);
        start = clock_now_ns();
        for (size_t i = 0; i < count / 2; i++)
            cpu_gemm(g, &w[i], a, 4, out, false, NULL);
        double four = (double)(count / 2 * 4 * s.n * s.k) / seconds_since(start);
        size_t n_many = count / 128 + 1;
        start = clock_now_ns();
        for (size_t i = 0; i < n_many; i++)
            cpu_gemm(g, &w[i], a, MANY, out, false, NULL);
        double many = (double)(n_many * MANY * s.n * s.k) / seconds_since(start);
        best_read = read > best_read ? read : best_read;
        best_one = one > best_one ? one : best_one;
        best_four = four > best_four ? four : best_four;
        best_many = many > best_many ? many : best_many;
        double most = peak_measure(pool, set->peak[dot_act_format(set, s.type)]);
        best_peak = most > best_peak ? most : best_peak;
    }
    double one_macs = best_one / (double)w[0].n_bytes * (double)(s.n * s.k);
    printf("%-7s %5zu x %-5zu read %5.1f GB/s  decode %5.1f GB/s = %3.0f %%  %6.1f GMAC/s; 4 columns %6.1f; "
           "%d columns %6.1f = %4.1fx",
           dtype_info(s.type)->name, s.n, s.k, best_read * 1e-9, best_one * 1e-9, 100 * best_one / best_read,
           one_macs * 1e-9, best_four * 1e-9, MANY, best_many * 1e-9, best_many / one_macs);
    printf(", %2.0f %% of %5.1f\n", 100 * best_many / best_peak, best_peak * 1e-9);
    mem_free(a);
    mem_free(out);
}

int main(int argc, char **argv)
{
    static const struct shape shapes[] = {
        {DTYPE_Q4_K, 3072, 1024}, {DTYPE_Q4_K, 1024, 3072},   {DTYPE_Q6_K, 3072, 1024},
        {DTYPE_Q6_K, 1024, 3072}, {DTYPE_Q8_0, 2048, 2048},   {DTYPE_Q8_0, 2048, 8192},
        {DTYPE_Q4_0, 2048, 2048}, {DTYPE_Q4_1, 2048, 2048},   {DTYPE_Q5_0, 2048, 2048},
        {DTYPE_Q5_1, 2048, 2048}, {DTYPE_IQ4_NL, 2048, 2048}, {DTYPE_Q2_K, 2048, 2048},
        {DTYPE_Q3_K, 2048, 2048}, {DTYPE_Q5_K, 2048, 2048},   {DTYPE_IQ4_XS, 2048, 2048},
        {DTYPE_F16, 2048, 2048},  {DTYPE_BF16, 2048, 2048},   {DTYPE_F32, 2048, 2048}};
    const char *isa_name = argc > 1 ? argv[1] : "avx2";
    enum cpu_isa isa = CPU_SCALAR;
    for (int i = 0; i < CPU_ISA_N; i++)
        if (strcmp(cpu_isa_name((enum cpu_isa)i), isa_name) == 0)
            isa = (enum cpu_isa)i;
    if (!gemm_isa_here(isa)) {
        fprintf(stderr, "bench_gemm: this machine has no %s\n", isa_name);
        return 1;
    }
    struct err err;
    struct pool *pool = pool_new(argc > 2 ? atoi(argv[2]) : cpu_cores_allowed(), &err);
    struct gemm_ctx *g = pool ? gemm_ctx_new(pool, dot_set_get(isa), &err) : NULL;
    static struct read_job job;
    job.kernels = cpu_kernels_get(isa);
    job.p = mem_map(WEIGHT_BYTES, &err);
    if (!g || !job.p) {
        fprintf(stderr, "bench_gemm: %s\n", err.text);
        return 1;
    }
    printf("%s, %d threads\n", cpu_isa_name(isa), pool_n_threads(pool));
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (argc < 4 || strcmp(argv[3], dtype_info(shapes[i].type)->name) == 0)
            measure(pool, g, &job, shapes[i], dot_set_get(isa));
    mem_unmap((void *)job.p, WEIGHT_BYTES);
    gemm_ctx_free(g);
    pool_free(pool);
    return 0;
}
