/* backend_cpu.c: the CPU backend behind engine/backend.h: its buffers, its op table, opening and closing.
 * Operations here are one line each: they hand checked arguments to the file that does the work. */
#include "kernels_cpu/backend_cpu.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "kernels_cpu/attention.h"
#include "kernels_cpu/cpu_buf.h"
#include "kernels_cpu/cpu_features.h"
#include "kernels_cpu/elementwise.h"
#include "kernels_cpu/gemm.h"
#include "kernels_cpu/moe.h"
#include "kernels_cpu/peak.h"
#include "kernels_cpu/pool.h"
#include "kernels_cpu/route.h"
#include "kernels_cpu/weight.h"

#define MAP_FROM_BYTES ((size_t)1 << 20)
#define READ_CHUNK_BYTES ((size_t)1 << 20)

struct cpu_backend {
    struct pool *pool;
    enum cpu_isa isa;
    const struct cpu_kernels *kernels;
    struct attn *attn;
    struct gemm_ctx *gemm;
    struct moe_ctx *moe;
    char description[48];
};

static const char *describe(void *ctx)
{
    struct cpu_backend *cpu = ctx;
    return cpu->description;
}

static int n_threads_of(void *ctx)
{
    struct cpu_backend *cpu = ctx;
    return pool_n_threads(cpu->pool);
}

static bool supports_weight(void *ctx, enum dtype type)
{
    (void)ctx;
    return cpu_weight_supported(type);
}

static bool supports_kv(void *ctx, enum dtype type)
{
    (void)ctx;
    return type == DTYPE_F16 || type == DTYPE_F32 || type == DTYPE_I8;
}

static struct bbuf *buf_new(void *ctx, size_t n_bytes, struct err *err)
{
    (void)ctx;
    struct bbuf *buf = mem_alloc(sizeof *buf, err);
    if (!buf)
        return NULL;
    buf->n_bytes = n_bytes;
    buf->mapped = n_bytes >= MAP_FROM_BYTES;
    buf->data = buf->mapped ? mem_map(n_bytes, err) : mem_alloc(n_bytes, err);
    if (buf->data)
        return buf;
    mem_free(buf);
    return NULL;
}

static void buf_free(void *ctx, struct bbuf *buf)
{
    (void)ctx;
    if (!buf)
        return;
    if (buf->mapped)
        mem_unmap(buf->data, buf->n_bytes);
    else
        mem_free(buf->data);
    mem_free(buf);
}

static bool buf_write(void *ctx, struct bbuf *buf, size_t offset_bytes, const void *src, size_t n_bytes)
{
    (void)ctx;
    assert(offset_bytes <= buf->n_bytes && n_bytes <= buf->n_bytes - offset_bytes);
    if (n_bytes)
        memcpy((char *)buf->data + offset_bytes, src, n_bytes);
    return true;
}

static bool buf_read(void *ctx, const struct bbuf *buf, size_t offset_bytes, void *dst, size_t n_bytes)
{
    (void)ctx;
    assert(offset_bytes <= buf->n_bytes && n_bytes <= buf->n_bytes - offset_bytes);
    if (n_bytes)
        memcpy(dst, (const char *)buf->data + offset_bytes, n_bytes);
    return true;
}

static size_t buf_bytes(const struct bbuf *buf)
{
    return buf->n_bytes;
}

static void *buf_host(const struct bbuf *buf)
{
    return buf->data;
}

static struct bweight *weight_bind(void *ctx, const struct weight_part *parts, size_t n_parts,
                                   struct err *err)
{
    (void)ctx;
    return cpu_weight_bind(parts, n_parts, err);
}

static void weight_free(void *ctx, struct bweight *w)
{
    (void)ctx;
    cpu_weight_free(w);
}

static void weight_shape(const struct bweight *w, size_t *n, size_t *k, size_t *n_bytes)
{
    *n = w->n;
    *k = w->k;
    *n_bytes = w->n_bytes;
}

static bool gemm(void *ctx, const struct op_gemm *op)
{
    struct cpu_backend *cpu = ctx;
    if (op->n_tokens)
        cpu_gemm(cpu->gemm, op->w, cpu_buf_const_f32(op->a) + op->a_row * op->w->k, op->n_tokens,
                 cpu_buf_f32(op->out), op->add, op->next);
    return true;
}

static bool embed(void *ctx, const struct op_embed *op)
{
    struct cpu_backend *cpu = ctx;
    if (op->n_tokens)
        cpu_embed(cpu->gemm, op->table, op->ids, op->n_tokens, cpu_buf_f32(op->out));
    return true;
}

static bool rms_norm(void *ctx, const struct op_rms_norm *op)
{
    struct cpu_backend *cpu = ctx;
    cpu_rms_norm(cpu->pool, cpu->kernels, op);
    return true;
}

static bool silu_mul(void *ctx, const struct op_silu_mul *op)
{
    struct cpu_backend *cpu = ctx;
    cpu_silu_mul(cpu->pool, cpu->kernels, op);
    return true;
}

static bool gate_up(void *ctx, const struct op_gate_up *op)
{
    struct cpu_backend *cpu = ctx;
    if (cpu_gate_up(cpu->moe, op))
        return true;
    cpu_gemm(cpu->gemm, op->w, cpu_buf_const_f32(op->x), op->n_tokens, cpu_buf_f32(op->product), false,
             op->next);
    struct op_silu_mul silu = {op->product, op->out, op->n_tokens, op->w->n / 2};
    cpu_silu_mul(cpu->pool, cpu->kernels, &silu);
    return true;
}

static bool qkv_rope_cache(void *ctx, const struct op_qkv_rope_cache *op)
{
    struct cpu_backend *cpu = ctx;
    cpu_qkv_rope_cache(cpu->pool, cpu->kernels, op);
    return true;
}

static bool attention(void *ctx, const struct op_attention *op)
{
    struct cpu_backend *cpu = ctx;
    attn_run(cpu->attn, cpu->pool, cpu->kernels, op);
    return true;
}

static struct bexperts *experts_bind(void *ctx, const struct tensor *const *parts, size_t n_parts,
                                     struct err *err)
{
    (void)ctx;
    return cpu_experts_bind(parts, n_parts, err);
}

static void experts_free(void *ctx, struct bexperts *w)
{
    (void)ctx;
    cpu_experts_free(w);
}

static void experts_shape(const struct bexperts *w, struct experts_shape *out)
{
    *out = w->shape;
}

static bool route(void *ctx, const struct op_route *op)
{
    struct cpu_backend *cpu = ctx;
    cpu_route(cpu->pool, op);
    return true;
}

static bool moe_gate_up(void *ctx, const struct op_moe_gate_up *op)
{
    struct cpu_backend *cpu = ctx;
    cpu_moe_gate_up(cpu->moe, op);
    return true;
}

static bool moe_down(void *ctx, const struct op_moe_down *op)
{
    struct cpu_backend *cpu = ctx;
    cpu_moe_down(cpu->moe, op);
    return true;
}

static bool weighted_sum(void *ctx, const struct op_weighted_sum *op)
{
    struct cpu_backend *cpu = ctx;
    cpu_weighted_sum(cpu->moe, op);
    return true;
}

static bool add_gated(void *ctx, const struct op_add_gated *op)
{
    struct cpu_backend *cpu = ctx;
    cpu_add_gated(cpu->moe, op);
    return true;
}

/* Operations are done when their call returns. */
static bool sync(void *ctx)
{
    (void)ctx;
    return true;
}

struct reading {
    const struct cpu_kernels *kernels;
    const char *bytes;
    size_t n_bytes;
    atomic_size_t next;
    _Atomic uint64_t sink;
};

static void read_chunks(void *arg, int thread, int n_threads)
{
    struct reading *r = arg;
    (void)thread;
    (void)n_threads;
    uint64_t sum = 0;
    size_t at;
    while ((at = atomic_fetch_add_explicit(&r->next, READ_CHUNK_BYTES, memory_order_relaxed)) < r->n_bytes) {
        size_t left = r->n_bytes - at;
        sum ^= r->kernels->read_bytes(r->bytes + at, left < READ_CHUNK_BYTES ? left : READ_CHUNK_BYTES);
    }
    atomic_fetch_xor_explicit(&r->sink, sum, memory_order_relaxed);
}

static double read_bandwidth(void *ctx, const void *p, size_t n_bytes)
{
    struct cpu_backend *cpu = ctx;
    struct reading r = {.kernels = cpu->kernels, .bytes = p, .n_bytes = n_bytes};
    uint64_t start = clock_now_ns();
    pool_run(cpu->pool, read_chunks, &r);
    uint64_t ns = clock_now_ns() - start;
    return ns ? (double)n_bytes / (double)ns : 0;
}

static enum arith weight_arith(void *ctx, enum dtype type)
{
    static const enum arith of[] = {[ACT_F32] = ARITH_F32, [ACT_BF16] = ARITH_BF16, [ACT_Q8] = ARITH_INT8};
    struct cpu_backend *cpu = ctx;
    return of[dot_act_format(dot_set_get(cpu->isa), type)];
}

static double arith_peak(void *ctx, enum arith arith)
{
    struct cpu_backend *cpu = ctx;
    const struct dot_set *set = dot_set_get(cpu->isa);
    static const enum act_format of[] = {
        [ARITH_F32] = ACT_F32, [ARITH_INT8] = ACT_Q8, [ARITH_BF16] = ACT_BF16};
    peak_fn *peak = set->peak[of[arith]];
    return peak_measure(cpu->pool, peak ? peak : set->peak[ACT_F32]);
}

static void park(void *ctx)
{
    struct cpu_backend *cpu = ctx;
    pool_park(cpu->pool);
}

static void close_cpu(void *ctx)
{
    struct cpu_backend *cpu = ctx;
    if (!cpu)
        return;
    moe_ctx_free(cpu->moe);
    gemm_ctx_free(cpu->gemm);
    attn_free(cpu->attn);
    pool_free(cpu->pool);
    mem_free(cpu);
}

static const struct backend_ops cpu_ops = {
    .name = "cpu",
    .close = close_cpu,
    .describe = describe,
    .n_threads = n_threads_of,
    .supports_weight = supports_weight,
    .supports_kv = supports_kv,
    .buf_new = buf_new,
    .buf_free = buf_free,
    .buf_write = buf_write,
    .buf_read = buf_read,
    .buf_bytes = buf_bytes,
    .buf_host = buf_host,
    .weight_bind = weight_bind,
    .weight_free = weight_free,
    .weight_shape = weight_shape,
    .gemm = gemm,
    .embed = embed,
    .rms_norm = rms_norm,
    .silu_mul = silu_mul,
    .gate_up = gate_up,
    .qkv_rope_cache = qkv_rope_cache,
    .attention = attention,
    .experts_bind = experts_bind,
    .experts_free = experts_free,
    .experts_shape = experts_shape,
    .route = route,
    .moe_gate_up = moe_gate_up,
    .moe_down = moe_down,
    .weighted_sum = weighted_sum,
    .add_gated = add_gated,
    .sync = sync,
    .read_bandwidth = read_bandwidth,
    .weight_arith = weight_arith,
    .arith_peak = arith_peak,
    .park = park,
};

int backend_cpu_cores(void)
{
    return cpu_cores_allowed();
}

/* The set of that name, or the best one. */
static bool choose_isa(const char *name, enum cpu_isa *isa, struct err *err)
{
    struct cpu_features features = cpu_features_get();
    for (int i = CPU_ISA_N - 1; i >= CPU_SCALAR; i--) {
        *isa = (enum cpu_isa)i;
        if (name && strcmp(name, cpu_isa_name(*isa)) != 0)
            continue;
        if (cpu_isa_available(*isa, &features))
            return true;
        if (name)
            return err_set(err, ERR_USAGE,
                           "CPU backend: this machine cannot run the %s kernels; leave the choice "
                           "to the program or take scalar",
                           name);
    }
    return err_set(err, ERR_USAGE,
                   "CPU backend: no kernels called \"%s\"; expected scalar, avx2, avx512, avx512bf16, "
                   "neon or dotprod",
                   name);
}

static bool choose_threads(int *n_threads, struct err *err)
{
    if (*n_threads == 0)
        *n_threads = backend_cpu_cores();
    if (*n_threads < 1 || *n_threads > POOL_MAX_THREADS)
        return err_set(err, ERR_USAGE,
                       "CPU backend: %d threads asked for; give 1 to %d, or 0 for the %d cores here",
                       *n_threads, POOL_MAX_THREADS, backend_cpu_cores());
    return true;
}

bool backend_cpu_open(struct backend *out, int n_threads, const char *isa_name, struct err *err)
{
    enum cpu_isa isa;
    if (!choose_isa(isa_name, &isa, err) || !choose_threads(&n_threads, err))
        return false;
    struct cpu_backend *cpu = mem_alloc(sizeof *cpu, err);
    if (!cpu)
        return false;
    cpu->isa = isa;
    cpu->kernels = cpu_kernels_get(isa);
    cpu->pool = pool_new(n_threads, err);
    cpu->attn = cpu->pool ? attn_new(n_threads, err) : NULL;
    cpu->gemm = cpu->attn ? gemm_ctx_new(cpu->pool, dot_set_get(isa), err) : NULL;
    cpu->moe = cpu->gemm ? moe_ctx_new(cpu->pool, cpu->kernels, dot_set_get(isa), err) : NULL;
    if (!cpu->moe) {
        close_cpu(cpu);
        return false;
    }
    snprintf(cpu->description, sizeof cpu->description, "cpu x%d %s", n_threads, cpu_isa_name(isa));
    *out = (struct backend){&cpu_ops, cpu};
    return true;
}
