/* bench_attention.c: times what lies between the products, at the shapes of Qwen3-0.6B: a run of the pool,
 * one norm, attention of one token over a long context in f16 and int8 against plain reads, and of a prompt
 * at several depths against the peak of f32 multiply-adds.
 * Prints; tests nothing. bench_attention [THREADS [scalar|avx2|avx512]] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "kernels_cpu/backend_cpu.h"
#include "kernels_cpu/dot_kernel.h"
#include "kernels_cpu/pool.h"

enum { HEADS = 16, KV_HEADS = 8, DIM = 128, CONTEXT = 16896, PROMPT = 512, N_LAYERS = 8 };
#define POOL_BYTES ((size_t)CONTEXT * N_LAYERS * 2 * KV_HEADS * DIM * 2) /* of f16 */

static void nothing(void *arg, int thread, int n_threads)
{
    (void)arg;
    (void)thread;
    (void)n_threads;
}

static double best_us(void (*run)(void *arg), void *arg, int n_inner, int n_repeats)
{
    double best = 1e30;
    for (int r = 0; r < n_repeats; r++) {
        uint64_t start = clock_now_ns();
        for (int i = 0; i < n_inner; i++)
            run(arg);
        double us = (double)(clock_now_ns() - start) / 1e3 / n_inner;
        best = us < best ? us : best;
    }
    return best;
}

static void run_pool(void *arg)
{
    pool_run(arg, nothing, NULL);
}

struct peak_job {
    peak_fn *fn;
    size_t products[POOL_MAX_THREADS];
};

static void run_peak(void *arg, int thread, int n_threads)
{
    struct peak_job *job = arg;
    (void)n_threads;
    job->products[thread] = job->fn(200000);
}

/* Multiply-adds of f32 a second, in 1e9, of all threads; 0 where there is nothing to measure it with. */
static double peak_gmacs(struct pool *threads, peak_fn *fn)
{
    struct peak_job job = {.fn = fn};
    double best = 0, products = 0;
    for (int i = 0; fn && i < 5; i++) {
        uint64_t start = clock_now_ns();
        pool_run(threads, run_peak, &job);
        double ns = (double)(clock_now_ns() - start);
        products = 0;
        for (int t = 0; t < pool_n_threads(threads); t++)
            products += (double)job.products[t];
        best = products / ns > best ? products / ns : best;
    }
    return best;
}

struct world {
    struct backend b;
    struct pool *threads; /* as many as the backend's, for what has no op */
    peak_fn *peak;
    struct op_rms_norm norm;
    struct op_attention attention;
    uint32_t len; /* the attention's */
    size_t layer;
};

static void run_norm(void *arg)
{
    struct world *w = arg;
    backend_rms_norm(&w->b, &w->norm, NULL);
}

/* Every call reads another layer, as a token does. */
static void run_attention(void *arg)
{
    struct world *w = arg;
    w->layer = (w->layer + 1) % N_LAYERS;
    size_t slab = w->attention.kv.page_bytes / (2 * N_LAYERS);
    w->attention.kv.k_offset = w->layer * 2 * slab;
    w->attention.kv.v_offset = w->layer * 2 * slab + slab;
    backend_attention(&w->b, &w->attention, NULL);
}

static void set_type(struct world *w, enum dtype type)
{
    w->attention.kv.type = type;
    w->attention.kv.page_bytes = (size_t)N_LAYERS * 2 * KV_HEADS * KV_BLOCK_TOKENS * kv_row_bytes(type, DIM);
}

/* us per layer in f16 and in int8. The two take turns, so that both see the machine in the same mood. */
static void time_types(struct world *w, int n_inner, double us[2])
{
    static const enum dtype types[2] = {DTYPE_F16, DTYPE_I8};
    us[0] = us[1] = 1e30;
    for (int i = 0; i < 10; i++) {
        set_type(w, types[i % 2]);
        double found = best_us(run_attention, w, n_inner, 1);
        us[i % 2] = found < us[i % 2] ? found : us[i % 2];
    }
}

static void bench_attention(struct world *w, const void *plain)
{
    double us[2];
    for (size_t pos = 255; pos < CONTEXT; pos = 2 * pos + 1) {
        w->len = (uint32_t)pos + 1;
        w->attention.n_tokens = 1;
        time_types(w, N_LAYERS, us);
        double rows = (double)(pos + 1) * KV_HEADS * 2 / 1e3;
        printf("decode at %5zu: f16 %8.1f us per layer, %5.1f GB/s; int8 %8.1f us, %5.1f GB/s, %.2f times\n",
               pos + 1, us[0], rows * (double)kv_row_bytes(DTYPE_F16, DIM) / us[0], us[1],
               rows * (double)kv_row_bytes(DTYPE_I8, DIM) / us[1], us[0] / us[1]);
    }
    double read = 0;
    for (int i = 0; i < 5; i++) {
        double gb_s = w->b.ops->read_bandwidth(w->b.ctx, plain, POOL_BYTES);
        read = gb_s > read ? gb_s : read;
    }
    printf("plain reads: %.1f GB/s\n", read);
    for (size_t i = 0; i < 3; i++) {
        size_t pos = i * i * 4096;
        w->len = (uint32_t)pos + PROMPT;
        w->attention.n_tokens = PROMPT;
        time_types(w, 1, us);
        double macs = 2.0 * HEADS * DIM * PROMPT * ((double)pos + PROMPT / 2) / 1e3;
        double peak = peak_gmacs(w->threads, w->peak);
        printf("prompt of %d at %5zu: f16 %6.0f us per layer, %5.1f GMAC/s", PROMPT, pos, us[0],
               macs / us[0]);
        if (peak > 0)
            printf(" = %.0f %% of %.1f", 100 * macs / us[0] / peak, peak);
        printf("; int8 %6.0f us, %5.1f GMAC/s\n", us[1], macs / us[1]);
    }
}

static peak_fn *peak_of(const char *isa_name)
{
    struct cpu_features features = cpu_features_get();
    enum cpu_isa found = CPU_SCALAR;
    for (int i = 0; i < CPU_ISA_N; i++)
        if (isa_name ? strcmp(cpu_isa_name((enum cpu_isa)i), isa_name) == 0
                     : cpu_isa_available((enum cpu_isa)i, &features))
            found = (enum cpu_isa)i;
    return dot_set_get(found)->peak[ACT_F32];
}

int main(int argc, char **argv)
{
    struct world w = {0};
    struct err err = {0};
    if (!backend_cpu_open(&w.b, argc > 1 ? atoi(argv[1]) : 0, argc > 2 ? argv[2] : NULL, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    printf("%s\n", w.b.ops->describe(w.b.ctx));
    w.peak = peak_of(argc > 2 ? argv[2] : NULL);
    w.threads = pool_new(w.b.ops->n_threads(w.b.ctx), &err);
    size_t n_pages = CONTEXT / KV_BLOCK_TOKENS;
    struct bbuf *pool = backend_buf_new(&w.b, POOL_BYTES, &err);
    struct bbuf *q = backend_buf_new(&w.b, (size_t)PROMPT * HEADS * DIM * 4, &err);
    struct bbuf *out = backend_buf_new(&w.b, (size_t)PROMPT * HEADS * DIM * 4, &err);
    char *plain = mem_map(POOL_BYTES, &err);
    uint32_t *table = mem_need(n_pages * sizeof *table);
    if (!w.threads || !pool || !q || !out || !plain) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    for (size_t i = 0; i < POOL_BYTES; i++)
        plain[i] = (char)(i * 7 % 48);
    backend_buf_write(&w.b, pool, 0, plain, POOL_BYTES, &err);
    for (size_t i = 0; i < n_pages; i++)
        table[i] = (uint32_t)i;
    w.norm = (struct op_rms_norm){.x = q, .w = q, .out = out, .n_tokens = 1, .n = 1024, .eps = 1e-6f};
    printf("pool run: %.2f us\n", best_us(run_pool, w.threads, 10000, 5));
    printf("rms_norm of 1024: %.3f us\n", best_us(run_norm, &w, 1000, 5));
    w.attention = (struct op_attention){.q = q,
                                        .out = out,
                                        .scale = 0.088f,
                                        .n_seqs = 1,
                                        .n_head = HEADS,
                                        .n_kv_head = KV_HEADS,
                                        .head_dim = DIM,
                                        .lens = &w.len,
                                        .kv = {.pool = pool, .table = table, .n_pages = n_pages}};
    bench_attention(&w, plain);
    mem_free(table);
    mem_unmap(plain, POOL_BYTES);
    pool_free(w.threads);
    backend_buf_free(&w.b, pool);
    backend_buf_free(&w.b, q);
    backend_buf_free(&w.b, out);
    backend_close(&w.b);
    return 0;
}
