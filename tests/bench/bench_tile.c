/* Where the time of a product of many columns goes, piece by piece: the multiplication of a tile that lies in
 * the cache, the expansion of its rows, the quantising of the columns, the whole product. Every piece is
 * timed between two timings of the arithmetic peak (multiply-adds on registers alone) and given as a share of
 * that, or as what the peak would do meanwhile: so many columns of the tile, so many rows of the weight. Time
 * is the processor's own, so that other programs do not count. Medians; all threads work, each on a tile of
 * its own.
 *
 * usage: bench_tile [isa [threads [type [columns]]]]      not a test: nothing is asserted */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/mem.h"
#include "tests/kernels_cpu/gemm_cases.h"
#include "kernels_cpu/act_cols.h"
#include "kernels_cpu/tile.h"

#define ROUNDS 15
#define PEAK_ROUNDS ((size_t)1 << 18)
/* Multiply-adds of one timing of a thread: a millisecond. */
#define WORK ((size_t)1 << 27)

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
    struct gemm_ctx *gemm;
    struct bweight weight;
    float *out;
    uint8_t *tiles[POOL_MAX_THREADS];
    size_t products[POOL_MAX_THREADS];
};

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
    struct tile_ahead nothing = {0};
    (void)n_threads;
    for (size_t i = 0; i < j->n_times; i++) {
        for (size_t c = 0, n; c < j->m; c += n) {
            n = tile_cols(j->m - c);
            for (size_t l = 0; l < n; l++)
                index[l] = (uint32_t)(c + l);
            j->kernel->multiply(j->tiles[thread], &j->cols.cols, index, n, &nothing, out);
        }
    }
}

static void peak(void *arg, int thread, int n_threads)
{
    struct job *j = arg;
    (void)n_threads;
    j->products[thread] = j->set->peak[dot_act_format(j->set, j->weight.parts[0].type)](PEAK_ROUNDS);
}

/* Processor time of one of the threads, which all work: what else runs on the machine does not count. */
static double seconds_now(struct pool *pool)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return ((double)ts.tv_sec + (double)ts.tv_nsec * 1e-9) / pool_n_threads(pool);
}

/* Multiply-adds a second on registers, of all threads. */
static double peak_speed(struct pool *pool, struct job *j)
{
    double products = 0;
    double start = seconds_now(pool);
    pool_run(pool, peak, j);
    double s = seconds_now(pool) - start;
    for (int i = 0; i < pool_n_threads(pool); i++)
        products += (double)j->products[i];
    return products / s;
}

/* What happens n times over; on all threads at once but for the last two, which deal their work themselves.
 */
enum piece { EXPAND, MULTIPLY, QUANTISE, PRODUCT, N_PIECES };

static void run_piece(struct pool *pool, struct job *j, enum piece piece)
{
    if (piece == EXPAND || piece == MULTIPLY) {
        pool_run(pool, piece == EXPAND ? expand : multiply, j);
        return;
    }
    for (size_t i = 0; i < j->n_times; i++) {
        atomic_store(&j->cols.next, 0);
        if (piece == QUANTISE)
            act_cols_quantise(&j->cols, pool);
        else
            cpu_gemm(j->gemm, &j->weight, j->cols.a, j->m, j->out, false, NULL);
    }
}

/* Multiply-adds that the peak would have done in the time of a piece, once, of one thread or of all that
 * share it. */
static double price(struct pool *pool, struct job *j, enum piece piece)
{
    size_t tile = j->kernel->rows * j->k, n_threads = (size_t)pool_n_threads(pool);
    size_t expected[N_PIECES] = {tile * 8, tile * j->m, j->m * j->k * 128 / n_threads,
                                 j->weight.n * j->k * j->m / n_threads};
    j->n_times = WORK / expected[piece] + 1;
    double before = peak_speed(pool, j);
    double start = seconds_now(pool);
    run_piece(pool, j, piece);
    double s = seconds_now(pool) - start, after = peak_speed(pool, j);
    double shared = piece == EXPAND || piece == MULTIPLY ? (double)n_threads : 1;
    return s * (before + after) / 2 / shared / (double)j->n_times;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_price(struct pool *pool, struct job *j, enum piece piece)
{
    double prices[ROUNDS];
    for (int round = 0; round < ROUNDS; round++)
        prices[round] = price(pool, j, piece);
    qsort(prices, ROUNDS, sizeof *prices, by_value);
    return prices[ROUNDS / 2];
}

static void report(struct pool *pool, struct job *j, struct shape s)
{
    double tile = (double)(j->kernel->rows * j->k), cols = (double)(j->m * j->k), rows = (double)s.n;
    printf("%-7s %5zu x %-5zu expand %5.1f columns", dtype_info(s.type)->name, s.n, s.k,
           median_price(pool, j, EXPAND) / tile);
    printf("; multiply %5.1f %%", 100 * tile * (double)j->m / median_price(pool, j, MULTIPLY));
    printf("; quantise %5.1f rows", median_price(pool, j, QUANTISE) / cols);
    printf("; product %5.1f %% of the peak\n", 100 * rows * cols / median_price(pool, j, PRODUCT));
    fflush(stdout);
}

static void measure(struct pool *pool, struct job *j, struct shape s)
{
    size_t row_bytes = 0;
    uint32_t state = 7;
    dtype_row_bytes(s.type, s.k, &row_bytes);
    uint8_t *rows = mem_need(s.n * row_bytes), *scratch = mem_need(act_cols_bytes(j->m, s.k));
    float *a = mem_need(j->m * s.k * sizeof *a);
    for (size_t i = 0; i < s.n; i++)
        gemm_random_row(s.type, rows + i * row_bytes, s.k, &state);
    for (size_t i = 0; i < j->m * s.k; i++)
        a[i] = gemm_random_normal(&state);
    j->out = mem_need(j->m * s.n * sizeof *j->out);
    j->weight = (struct bweight){.n = s.n, .k = s.k, .n_bytes = s.n * row_bytes, .n_parts = 1};
    j->weight.parts[0] = (struct weight_rows){rows, NULL, s.type, s.n, row_bytes};
    j->kernel = j->set->tile[s.type];
    j->rows = rows;
    j->row_bytes = row_bytes;
    j->k = s.k;
    memset(&j->cols, 0, sizeof j->cols);
    j->cols.wants[dot_act_format(j->set, s.type)] = true;
    j->cols.tiled = j->cols.no_dots = true;
    act_cols_lay_out(&j->cols, j->set, a, j->m, s.k, scratch);
    act_cols_quantise(&j->cols, pool);
    report(pool, j, s);
    mem_free(rows);
    mem_free(scratch);
    mem_free(a);
    mem_free(j->out);
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
    for (int i = 0; i < CPU_ISA_N; i++)
        if (strcmp(cpu_isa_name((enum cpu_isa)i), isa_name) == 0)
            isa = (enum cpu_isa)i;
    if (!gemm_isa_here(isa)) {
        fprintf(stderr, "bench_tile: this machine has no %s\n", isa_name);
        return 1;
    }
    static struct job job;
    struct err err;
    struct pool *pool = pool_new(argc > 2 ? atoi(argv[2]) : cpu_cores_allowed(), &err);
    job.gemm = pool ? gemm_ctx_new(pool, dot_set_get(isa), &err) : NULL;
    if (!job.gemm) {
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
            measure(pool, &job, shapes[i]);
    for (int i = 0; i < pool_n_threads(pool); i++)
        mem_unmap(job.tiles[i], TILE_MAX_BYTES);
    gemm_ctx_free(job.gemm);
    pool_free(pool);
    return 0;
}
