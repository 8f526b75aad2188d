/* How close the experts come to the machine, in the shape of a layer of Qwen3-30B-A3B: bytes per second of a
 * decode step (the experts used) as a share of what plain reads reach in the same minute, and the time of 512
 * tokens at once against one after the other.
 *
 * usage: bench_moe [isa [threads]]      not a test: nothing is asserted, a loaded machine only lowers numbers
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/mem.h"
#include "kernels_cpu/backend_cpu.h"
#include "tests/kernels_cpu/gemm_cases.h"

enum {
    N_EXPERTS = 128,
    N_USED = 8,
    N_EMBD = 2048,
    N_FF = 768,
    N_TOKENS = 512,
    N_GROUP = 4,
    N_GROUPS = 16,
    ROUNDS = 5
};

struct layer {
    struct backend b;
    struct bexperts *gate_up, *down;
    struct tensor stacks[3];
    struct bbuf *x, *logits, *ids, *weights, *ff, *out, *sum;
    size_t token_bytes; /* of the experts a token uses */
};

static void die(const struct err *err)
{
    fprintf(stderr, "bench_moe: %s\n", err->text);
    exit(1);
}

/* One random row, repeated: its values do not matter to the speed. */
static struct tensor make_stack(enum dtype type, size_t k, size_t n)
{
    struct err err = {0};
    uint32_t state = 77;
    size_t row_bytes = 0, n_rows = n * N_EXPERTS;
    dtype_row_bytes(type, k, &row_bytes);
    uint8_t *bytes = mem_map(n_rows * row_bytes, &err);
    if (!bytes)
        die(&err);
    gemm_random_row(type, bytes, k, &state);
    for (size_t i = 1; i < n_rows; i++)
        memcpy(bytes + i * row_bytes, bytes, row_bytes);
    return (struct tensor){.name = "experts",
                           .type = type,
                           .n_dims = 3,
                           .dims = {k, n, N_EXPERTS, 1},
                           .data = bytes,
                           .n_bytes = n_rows * row_bytes};
}

/* Small enough that no gate is shut: what it lets through would not be normal numbers, which are slow. */
static struct bbuf *floats(struct layer *l, size_t n, bool random)
{
    struct err err = {0};
    struct bbuf *buf = backend_buf_new(&l->b, n * sizeof(float), &err);
    float *x = mem_need(n * sizeof *x);
    uint32_t state = 3;
    for (size_t i = 0; random && i < n; i++)
        x[i] = gemm_random_normal(&state) / 256;
    if (!buf || !backend_buf_write(&l->b, buf, 0, x, n * sizeof *x, &err))
        die(&err);
    mem_free(x);
    return buf;
}

static void open_layer(struct layer *l, enum dtype type, enum dtype down_type)
{
    struct err err = {0};
    l->stacks[0] = make_stack(type, N_EMBD, N_FF);
    l->stacks[1] = make_stack(type, N_EMBD, N_FF);
    l->stacks[2] = make_stack(down_type, N_FF, N_EMBD);
    const struct tensor *parts[] = {&l->stacks[0], &l->stacks[1], &l->stacks[2]};
    l->gate_up = backend_experts_bind(&l->b, parts, 2, &err);
    l->down = backend_experts_bind(&l->b, parts + 2, 1, &err);
    if (!l->gate_up || !l->down)
        die(&err);
    for (size_t i = 0; i < 3; i++)
        l->token_bytes += l->stacks[i].n_bytes / N_EXPERTS * N_USED;
    l->x = floats(l, (size_t)N_TOKENS * N_EMBD, true);
    l->logits = floats(l, (size_t)N_TOKENS * N_EXPERTS, true);
    l->ids = floats(l, (size_t)N_TOKENS * N_USED, false);
    l->weights = floats(l, (size_t)N_TOKENS * N_USED, false);
    l->ff = floats(l, (size_t)N_TOKENS * N_USED * N_FF, false);
    l->out = floats(l, (size_t)N_TOKENS * N_USED * N_EMBD, false);
    l->sum = floats(l, (size_t)N_TOKENS * N_EMBD, false);
}

static void close_layer(struct layer *l)
{
    struct bbuf *bufs[] = {l->x, l->logits, l->ids, l->weights, l->ff, l->out, l->sum};
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++)
        backend_buf_free(&l->b, bufs[i]);
    backend_experts_free(&l->b, l->gate_up);
    backend_experts_free(&l->b, l->down);
    for (size_t i = 0; i < 3; i++)
        mem_unmap((void *)l->stacks[i].data, l->stacks[i].n_bytes);
}

/* One thread is measured by the time it had a core: other work on the machine then matters less. */
static double seconds_now(const struct backend *b)
{
    struct timespec t;
    clock_gettime(b->ops->n_threads(b->ctx) == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The first n tokens in one call; seconds. */
static double forward(struct layer *l, size_t n)
{
    struct err err = {0};
    double start = seconds_now(&l->b);
    if (!backend_route(&l->b,
                       &(struct op_route){l->logits, l->ids, l->weights, n, N_EXPERTS, N_USED, true, 1, 0},
                       &err) ||
        !backend_moe_gate_up(
            &l->b, &(struct op_moe_gate_up){l->gate_up, l->x, l->ids, l->ff, n, N_USED, l->down, 0}, &err) ||
        !backend_moe_down(&l->b, &(struct op_moe_down){l->down, l->ff, l->ids, l->out, n, N_USED, NULL, 0},
                          &err) ||
        !backend_weighted_sum(&l->b, &(struct op_weighted_sum){l->out, l->weights, l->sum, n, N_USED, N_EMBD},
                              &err))
        die(&err);
    return seconds_now(&l->b) - start;
}

/* One token after the other, each with its own choice of experts; seconds of one, from the quickest group. */
static double one_by_one(struct layer *l, uint32_t *state)
{
    struct err err = {0};
    float logits[N_EXPERTS];
    double seconds = 0;
    for (size_t t = 0; t < N_GROUP; t++) {
        for (size_t i = 0; i < N_EXPERTS; i++)
            logits[i] = gemm_random_normal(state);
        if (!backend_buf_write(&l->b, l->logits, 0, logits, sizeof logits, &err))
            die(&err);
        seconds += forward(l, 1);
    }
    return seconds / N_GROUP;
}

/* Bytes per second of plain reads of as many bytes as a group of tokens wants. */
static double read_some(struct layer *l, int group)
{
    size_t n = l->token_bytes * N_GROUP, room = l->stacks[0].n_bytes - n;
    double start = seconds_now(&l->b);
    l->b.ops->read_bandwidth(l->b.ctx, (const char *)l->stacks[0].data + room / N_GROUPS * (size_t)group, n);
    return (double)n / (seconds_now(&l->b) - start);
}

static void measure(struct backend b, enum dtype type, enum dtype down_type)
{
    struct layer l = {.b = b};
    open_layer(&l, type, down_type);
    uint32_t state = 9;
    double best_read = 0, best_one = 1e9, best_all = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        for (int group = 0; group < N_GROUPS; group++) {
            double read = read_some(&l, group), one = one_by_one(&l, &state);
            best_read = read > best_read ? read : best_read;
            best_one = one < best_one ? one : best_one;
        }
        double all = forward(&l, N_TOKENS);
        best_all = all < best_all ? all : best_all;
    }
    double decode = (double)l.token_bytes / best_one;
    double macs = (double)N_TOKENS * N_USED * 3 * N_EMBD * N_FF / best_all * 1e-9;
    printf("%-5s %-5s read %5.1f GB/s  decode %5.1f GB/s = %3.0f %%  %d tokens %6.1f GMAC/s, %4.1f times one "
           "by one\n",
           dtype_info(type)->name, dtype_info(down_type)->name, best_read * 1e-9, decode * 1e-9,
           100 * decode / best_read, N_TOKENS, macs, best_one * N_TOKENS / best_all);
    close_layer(&l);
}

int main(int argc, char **argv)
{
    static const enum dtype types[][2] = {{DTYPE_Q4_K, DTYPE_Q4_K},
                                          {DTYPE_Q4_K, DTYPE_Q6_K},
                                          {DTYPE_Q8_0, DTYPE_Q8_0},
                                          {DTYPE_Q4_0, DTYPE_Q4_0}};
    struct err err = {0};
    struct backend b = {0};
    if (!backend_cpu_open(&b, argc > 2 ? atoi(argv[2]) : 0, argc > 1 ? argv[1] : NULL, &err))
        die(&err);
    printf("%s\n", b.ops->describe(b.ctx));
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        measure(b, types[i][0], types[i][1]);
    backend_close(&b);
    return 0;
}
