/* Where the time of a product of many columns goes, piece by piece, every piece as a share of what the
 * multiply-adds of the machine reach on registers alone in the same moment: the multiplication of a tile that
 * lies in the cache, the expansion of its rows (as so many columns' worth of multiplying), the quantising of
 * the columns (the same, for the rows that are named), and the whole product. All threads work, each on a
 * tile of its own.
 *
 * usage: bench_tile [isa [threads [type [columns]]]]      not a test: nothing is asserted, a loaded machine
 * only lowers numbers */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "tests/kernels_cpu/gemm_cases.h"
#include "kernels_cpu/act_cols.h"
#include "kernels_cpu/tile.h"

#define ROUNDS 7
#define PEAK_ROUNDS ((size_t)1 << 18)
/* Multiply-adds of one timing: some ten milliseconds. */
#define WORK ((size_t)1 << 31)

struct shape {
    enum dtype type;
    size_t n, k;
};

struct job {
    const struct dot_set *set;
    const struct tile_kernel *kernel;
    const uint8_t *rows;
    size_t row_bytes, k, m, n_times;
    struct act_cols cols;
    uint8_t *tiles[POOL_MAX_THREADS];
    size_t products[POOL_MAX_THREADS];
};

typedef void piece_fn(void *job, int thread, int n_threads);

static void expand(void *arg, int thread, int n_threads)
{
    struct job *j = arg;
    (void)n_threads;
    for (size_t i = 0; i < j->n_times; i++)
        j->kernel->expand(j->rows, j->row_bytes, j->k, j->tiles[thread]);
}

static void multiply(void *arg, int thread, int n_threads)
{
    struct job *j = arg;
    float out[TILE_MAX_COLS * TILE_MAX_ROWS];
    uint32_t index[TILE_MAX_COLS];
    (void)n_threads;
    for (size_t i = 0; i < j->n_times; i++) {
        for (size_t c = 0, n; c < j->m; c += n) {
            n = tile_cols(j->m - c);
            for (size_t l = 0; l < n; l++)
                index[l] = (uint32_t)(c + l);
            j->kernel->multiply(j->tiles[thread], &j->cols.cols, index, n, out);
        }
    }
}

static void peak(void *arg, int thread, int n_threads)
{
    struct job *j = arg;
    (void)n_threads;
    j->products[thread] = (j->cols.wants[ACT_F32] ? j->set->peak_f32 : j->set->peak_int8)(PEAK_ROUNDS);
}

static double seconds(struct pool *pool, piece_fn *fn, struct job *j)
{
    uint64_t start = clock_now_ns();
    pool_run(pool, fn, j);
    return (double)(clock_now_ns() - start) * 1e-9;
}

/* Products a second of a piece, of all threads. */
static double piece_speed(struct pool *pool, piece_fn *fn, struct job *j, size_t products)
{
    j->n_times = WORK / products + 1;
    double s = seconds(pool, fn, j);
    return (double)(j->n_times * products) * pool_n_threads(pool) / s;
}

static double peak_speed(struct pool *pool, struct job *j)
{
    double s = seconds(pool, peak, j), products = 0;
    for (int i = 0; i < pool_n_threads(pool); i++)
        products += (double)j->products[i];
    return products / s;
}

static double quantise_seconds(struct pool *pool, struct job *j)
{
    enum { TIMES = 8 };
    uint64_t start = clock_now_ns();
    for (int i = 0; i < TIMES; i++) {
        atomic_store(&j->cols.next, 0);
        act_cols_quantise(&j->cols, pool);
    }
    return (double)(clock_now_ns() - start) * 1e-9 / TIMES;
}

static double product_speed(struct gemm_ctx *g, const struct bweight *w, const float *a, size_t m, float *out)
{
    size_t products = w->n * w->k * m, n = WORK / products + 1;
    uint64_t start = clock_now_ns();
    for (size_t i = 0; i < n; i++)
        cpu_gemm(g, w, a, m, out, false, NULL);
    return (double)(n * products) / ((double)(clock_now_ns() - start) * 1e-9);
}

/* Rounds of all pieces, one after the other. */
static void measure(struct pool *pool, struct gemm_ctx *g, struct job *j, struct shape s)
{
    size_t n_threads = (size_t)pool_n_threads(pool), row_bytes = 0;
    uint32_t state = 7;
    dtype_row_bytes(s.type, s.k, &row_bytes);
    uint8_t *rows = mem_need(s.n * row_bytes);
    for (size_t i = 0; i < s.n; i++)
        gemm_random_row(s.type, rows + i * row_bytes, s.k, &state);
    float *a = mem_need(j->m * s.k * sizeof *a), *out = mem_need(j->m * s.n * sizeof *out);
    for (size_t i = 0; i < j->m * s.k; i++)
        a[i] = gemm_random_normal(&state);
    struct bweight w = {.n = s.n, .k = s.k, .n_bytes = s.n * row_bytes, .n_parts = 1};
    w.parts[0] = (struct weight_rows){rows, NULL, s.type, s.n, row_bytes};
    size_t scratch_bytes = act_cols_bytes(j->m, s.k);
    uint8_t *scratch = mem_need(scratch_bytes);
    j->kernel = j->set->tile[s.type];
    j->rows = rows;
    j->row_bytes = row_bytes;
    j->k = s.k;
    memset(&j->cols, 0, sizeof j->cols);
    j->cols.wants[dot_act_format(s.type)] = true;
    j->cols.tiled = true;
    act_cols_lay_out(&j->cols, j->set, a, j->m, s.k, scratch);
    double best_peak = 0, best_multiply = 0, best_expand = 0, best_product = 0, best_quantise = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        double x = quantise_seconds(pool, j);
        best_quantise = x < best_quantise ? x : best_quantise;
        x = peak_speed(pool, j);
        best_peak = x > best_peak ? x : best_peak;
        x = piece_speed(pool, expand, j, j->kernel->rows * s.k * 32); /* about as many as that */
        best_expand = x / 32 > best_expand ? x / 32 : best_expand;
        x = piece_speed(pool, multiply, j, j->kernel->rows * s.k * j->m);
        best_multiply = x > best_multiply ? x : best_multiply;
        x = product_speed(g, &w, a, j->m, out);
        best_product = x > best_product ? x : best_product;
    }
    double quantise_rows = best_quantise * best_multiply / (double)(j->m * s.k);
    printf("%-7s %5zu x %-5zu peak %6.1f GMAC/s (%zu threads); multiply %5.1f %%; expand = %4.1f columns; "
           "quantise = %5.1f "
           "rows; product %5.1f %%\n",
           dtype_info(s.type)->name, s.n, s.k, best_peak * 1e-9, n_threads, 100 * best_multiply / best_peak,
           best_multiply / best_expand, quantise_rows, 100 * best_product / best_peak);
    fflush(stdout);
    mem_free(rows);
    mem_free(a);
    mem_free(out);
    mem_free(scratch);
}

int main(int argc, char **argv)
{
    static const struct shape shapes[] = {
        {DTYPE_Q4_K, 3072, 256},  {DTYPE_Q4_K, 3072, 1024}, {DTYPE_Q4_K, 1024, 3072},
        {DTYPE_Q4_K, 2048, 8192}, {DTYPE_Q6_K, 1024, 3072}, {DTYPE_Q8_0, 3072, 256},
        {DTYPE_Q8_0, 2048, 2048}, {DTYPE_Q8_0, 2048, 8192}, {DTYPE_Q5_K, 2048, 2048},
        {DTYPE_F16, 2048, 2048},  {DTYPE_F16, 2048, 8192},  {DTYPE_BF16, 2048, 2048},
        {DTYPE_F32, 2048, 512}};
    const char *isa_name = argc > 1 ? argv[1] : "avx512";
    enum cpu_isa isa = CPU_SCALAR;
    for (int i = 0; i <= CPU_AVX512; i++)
        if (strcmp(cpu_isa_name((enum cpu_isa)i), isa_name) == 0)
            isa = (enum cpu_isa)i;
    if (!gemm_isa_here(isa)) {
        fprintf(stderr, "bench_tile: this machine has no %s\n", isa_name);
        return 1;
    }
    static struct job job;
    struct err err;
    struct pool *pool = pool_new(argc > 2 ? atoi(argv[2]) : cpu_cores_allowed(), &err);
    struct gemm_ctx *g = pool ? gemm_ctx_new(pool, isa, &err) : NULL;
    if (!g) {
        fprintf(stderr, "bench_tile: %s\n", err.text);
        return 1;
    }
    job.set = dot_set_get(isa);
    job.m = argc > 4 ? (size_t)atoi(argv[4]) : 512;
    for (int i = 0; i < pool_n_threads(pool); i++) {
        job.tiles[i] = mem_map(TILE_MAX_BYTES, &err);
        if (!job.tiles[i]) {
            fprintf(stderr, "bench_tile: %s\n", err.text);
            return 1;
        }
    }
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (job.set->tile[shapes[i].type] && (argc < 4 || strcmp(argv[3], "all") == 0 ||
                                              strcmp(argv[3], dtype_info(shapes[i].type)->name) == 0))
            measure(pool, g, &job, shapes[i]);
    for (int i = 0; i < pool_n_threads(pool); i++)
        mem_unmap(job.tiles[i], TILE_MAX_BYTES);
    gemm_ctx_free(g);
    pool_free(pool);
    return 0;
}
