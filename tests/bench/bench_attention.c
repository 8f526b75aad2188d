/* bench_attention.c: times what lies between the products, at the shapes of Qwen3-0.6B: a run of the pool,
 * one norm, attention of one token over a long context against plain reads, and a prompt. Prints; tests
 * nothing. bench_attention [THREADS [scalar|avx2]] */
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "kernels_cpu/backend_cpu.h"
#include "kernels_cpu/pool.h"

enum { HEADS = 16, KV_HEADS = 8, DIM = 128, CONTEXT = 8192, PROMPT = 512, N_LAYERS = 8 };
#define SLAB ((size_t)KV_HEADS * KV_BLOCK_TOKENS * DIM * 2)

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

struct world {
    struct backend b;
    struct op_rms_norm norm;
    struct op_attention attention;
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
    w->attention.kv.k_offset = w->layer * 2 * SLAB;
    w->attention.kv.v_offset = w->layer * 2 * SLAB + SLAB;
    backend_attention(&w->b, &w->attention, NULL);
}

static void bench_attention(struct world *w, const void *plain, size_t plain_bytes)
{
    for (size_t pos = 255; pos < CONTEXT; pos = 2 * pos + 1) {
        w->attention.pos = pos;
        w->attention.n_tokens = 1;
        double us = best_us(run_attention, w, N_LAYERS, 5);
        double bytes = (double)(pos + 1) * KV_HEADS * DIM * 2 * 2;
        printf("decode at %5zu: %8.1f us per layer, %5.1f GB/s\n", pos + 1, us, bytes / us / 1e3);
    }
    double read = 0;
    for (int i = 0; i < 5; i++) {
        double gb_s = w->b.ops->read_bandwidth(w->b.ctx, plain, plain_bytes);
        read = gb_s > read ? gb_s : read;
    }
    printf("plain reads: %.1f GB/s\n", read);
    for (size_t pos = 0; pos <= 4096; pos += 2048) {
        w->attention.pos = pos;
        w->attention.n_tokens = PROMPT;
        double us = best_us(run_attention, w, 2, 3);
        double macs = 2.0 * HEADS * DIM * PROMPT * ((double)pos + PROMPT / 2);
        printf("prompt of %d at %zu: %.0f us per layer, %.1f GMAC/s\n", PROMPT, pos, us, macs / us / 1e3);
    }
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
    struct pool *threads = pool_new(w.b.ops->n_threads(w.b.ctx), &err);
    if (threads) {
        printf("pool run: %.2f us\n", best_us(run_pool, threads, 10000, 5));
        pool_free(threads);
    }
    size_t n_pages = CONTEXT / KV_BLOCK_TOKENS, page_bytes = N_LAYERS * 2 * SLAB,
           pool_bytes = n_pages * page_bytes;
    struct bbuf *pool = backend_buf_new(&w.b, pool_bytes, &err);
    struct bbuf *q = backend_buf_new(&w.b, (size_t)PROMPT * HEADS * DIM * 4, &err);
    struct bbuf *out = backend_buf_new(&w.b, (size_t)PROMPT * HEADS * DIM * 4, &err);
    char *plain = mem_map(pool_bytes, &err);
    uint32_t *table = mem_need(n_pages * sizeof *table);
    if (!pool || !q || !out || !plain) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    for (size_t i = 0; i < pool_bytes; i++)
        plain[i] = (char)(i * 7 % 48);
    backend_buf_write(&w.b, pool, 0, plain, pool_bytes, &err);
    for (size_t i = 0; i < n_pages; i++)
        table[i] = (uint32_t)i;
    w.norm = (struct op_rms_norm){.x = q, .w = q, .out = out, .n_tokens = 1, .n = 1024, .eps = 1e-6f};
    printf("rms_norm of 1024: %.3f us\n", best_us(run_norm, &w, 1000, 5));
    w.attention = (struct op_attention){
        q,        out, 0.088f, 1, HEADS,
        KV_HEADS, DIM, 0,      0, {pool, DTYPE_F16, page_bytes, 0, SLAB, table, n_pages}};
    bench_attention(&w, plain, pool_bytes);
    mem_free(table);
    mem_unmap(plain, pool_bytes);
    backend_buf_free(&w.b, pool);
    backend_buf_free(&w.b, q);
    backend_buf_free(&w.b, out);
    backend_close(&w.b);
    return 0;
}
