/* cl_backend.h: what the files of this room share: the open device, its buffers, and how a kernel is called.
 *
 * Invariants
 *  1. One in-order queue: what is enqueued later sees what was enqueued before. Operations only enqueue; a
 *     read back, and a write of the caller's memory, wait.
 *  2. Of many tokens at most a layer is enqueued: a turn can be cancelled between layers (engine/timeline.h).
 *  3. After a call of OpenCL has failed, `is_lost` is set, and every operation refuses: what the device holds
 *     is not known any more.
 *  4. What differs from token to token lies in memory of the device, where kernels read it (`ids`,
 *     `table`, `lens`): the arguments of a step's launches do not change (cl_launches.c).
 * Thread rule: that of engine/backend.h. Private to kernels_cl. */
#ifndef FERRUM_CL_BACKEND_H
#define FERRUM_CL_BACKEND_H

#include "engine/backend.h"
#include "kernels_cl/cl_program.h"
#include "kernels_cl/cl_tuning.h"
#include "kernels_cl/kernel_sizes.h"

/* Numbers that are shown to the device at a time, at most: as pages they are 4 million positions. */
#define CL_SHOWN_MAX ((size_t)1 << 16)

struct bbuf {
    cl_mem mem;
    size_t n_bytes;
    void *host; /* of mem_map, where the device works in host memory; else NULL */
};

/* Rows of one type that lie in one piece, in device memory or in the file map: a tensor, or as many of its
 * rows (or experts) as the device gives in one piece. */
struct cl_rows {
    cl_mem mem;
    cl_ulong base; /* bytes before the first row */
    cl_mem bias;   /* f32 [n], or NULL */
    enum dtype type;
    size_t n, row_bytes;
    size_t first;                   /* of the weight's rows */
    size_t first_expert, n_experts; /* of a stack */
    size_t taken_bytes;             /* of cl_take */
};

struct bweight {
    size_t n, k, n_bytes, n_parts;
    struct cl_rows *parts;
};

struct bexperts {
    struct experts_shape shape;
    size_t n_parts;
    struct cl_rows *parts; /* n rows per expert, slabs of n * row_bytes */
};

/* Room that grows when an operation needs more. */
struct cl_room {
    cl_mem mem;
    size_t n_bytes;
};

/* Numbers of the caller's, as the device has them or gets them with what is enqueued. */
struct cl_shown {
    struct cl_room room; /* [CL_SHOWN_MAX] */
    uint32_t *host;      /* [CL_SHOWN_MAX], the first n of them are right */
    size_t n;
    cl_event written; /* of the last write, which reads `host`; NULL: none */
};

/* Launches of the tokens whose times are taken (cl_times.c). */
#define CL_TIMES_MAX 4096
struct cl_times {
    bool on;
    cl_command_queue queue, other; /* with events; the one without while this one is in use */
    cl_event *events;              /* [CL_TIMES_MAX] */
    struct {
        uint32_t number, n_events; /* the events before it */
    } * marks;                     /* [CL_TIMES_MAX] */
    uint32_t n_events, n_marks;
};

/* A launch of a step of one token. */
#define CL_ARGS_MAX 20
struct cl_launch {
    cl_kernel kernel; /* an object of its own; NULL: not recorded */
    enum cl_group group;
    int number;      /* of the kernel in its group */
    cl_uint n_bound; /* arguments that the object holds */
    cl_ulong args[CL_ARGS_MAX];
    uint64_t n_forgotten; /* when they were bound */
};

/* Those of a step, in their order (cl_launches.c). */
struct cl_launches {
    struct cl_launch *list; /* [n] */
    size_t n, at;           /* the next one */
    bool is_on;             /* a step of one token is being enqueued */
    uint64_t n_forgotten;   /* counts what is released: arguments that were bound before may name it */
};

/* The pairs that lie sorted in `tiles`: of which ids. All zero: none. */
struct cl_tiled {
    const struct bbuf *ids;
    size_t first, n_pairs, n_experts;
};

struct cl_backend {
    struct cl_api api;
    struct cl_device device;
    cl_context context;
    cl_command_queue queue;
    struct cl_programs programs;
    bool is_lost;
    char description[64];
    size_t used_bytes; /* of the device's own memory, by weights and buffers */
    unsigned n_unflushed;
    struct cl_shown table, lens; /* of the sequences of a call: pages [S, n_pages], positions [S] */
    struct cl_shown ids;         /* of the tokens, [T] */
    struct cl_room expanded;     /* f32: rows of a weight */
    struct cl_room starts, pairs, tiles, gate_up;
    struct cl_tiled tiled;
    struct cl_room parts;  /* f32: of attention split over the keys */
    struct cl_room firsts; /* struct logit: the largest of each chunk of a row */
    struct cl_tuning tuning;
    struct cl_times times;
    struct cl_launches launches;
    cl_mem nothing; /* stands for arguments that are not there */
};

/* Logs what failed and marks the device lost; returns false. */
bool cl_fail(struct cl_backend *b, const char *what, cl_int code);
/* Waits until all that was enqueued has ended. */
bool cl_wait(struct cl_backend *b);
/* Whether room holds n_bytes now. What was in it is gone when it grew. */
bool cl_room_need(struct cl_backend *b, struct cl_room *room, size_t n_bytes);
bool cl_shown_init(struct cl_backend *b, struct cl_shown *s, struct err *err);
/* Brings the device's copy up to date where it differs: once per page, or token, not per layer. Waits for
 * nothing but its own last write. */
bool cl_shown_set(struct cl_backend *b, struct cl_shown *s, const uint32_t *from, size_t n);
void cl_shown_fini(struct cl_backend *b, struct cl_shown *s);

/* One kernel being called: arguments in their order, then cl_call_run. */
struct cl_call {
    struct cl_backend *b;
    struct cl_launch *launch; /* whose kernel it is; NULL: the program's own */
    cl_kernel kernel;
    enum cl_style style;
    cl_uint n_args;
    cl_int code;
};
struct cl_call cl_call_begin(struct cl_backend *b, enum cl_group group, int kernel);
void cl_arg_mem(struct cl_call *c, cl_mem mem); /* NULL: stands for nothing */
void cl_arg_buf(struct cl_call *c, const struct bbuf *buf);
void cl_arg_u32(struct cl_call *c, size_t value);
void cl_arg_u64(struct cl_call *c, size_t value);
void cl_arg_f32(struct cl_call *c, float value);
/* Enqueues groups_x * groups_y work-groups of the style's lanes. */
bool cl_call_run(struct cl_call *c, size_t groups_x, size_t groups_y);

static inline size_t cl_groups(size_t n, size_t each)
{
    return (n + each - 1) / each;
}

/* cl_launches.c */
bool cl_launches_init(struct cl_backend *b, struct err *err);
void cl_launches_fini(struct cl_backend *b);
/* The step is over, or another one begins: wherever the host waits, and in front of a first operation. */
void cl_launches_end(struct cl_backend *b);
/* What is launched from now on is of a step of so many tokens: the list is for those of one. */
void cl_launches_are_of(struct cl_backend *b, size_t n_tokens);
/* The launch that has its place here is not needed in this step. */
void cl_launches_skip(struct cl_backend *b);
/* A memory object is released. */
void cl_launches_forget(struct cl_backend *b);
/* The next launch, for a kernel of a program that is there; NULL: it is to be launched without the list. */
struct cl_launch *cl_launches_next(struct cl_backend *b, enum cl_group group, int kernel);
/* Whether argument i has to be set: it is noted that it is. */
bool cl_launch_binds(struct cl_launch *launch, cl_uint i, const void *value, size_t n_bytes);

/* cl_times.c */
/* A device that gives no second queue has no times, which is no error. */
bool cl_times_init(struct cl_backend *b, struct err *err);
bool cl_time_begin(void *ctx);
void cl_time_mark(void *ctx, uint32_t number);
void cl_time_end(void *ctx, void (*take)(void *arg, uint32_t number, uint64_t ns), void *arg);
void cl_times_fini(struct cl_backend *b);

/* cl_buffer.c */
struct bbuf *cl_buf_new(void *ctx, size_t n_bytes, struct err *err);
void cl_buf_free(void *ctx, struct bbuf *buf);
void cl_buf_room(void *ctx, struct buf_room *out);
/* Counts memory of the device as taken; false: with it less would be left than others need there. */
bool cl_take(struct cl_backend *b, size_t n_bytes);
bool cl_buf_write(void *ctx, struct bbuf *buf, size_t offset, const void *from, size_t n_bytes);
bool cl_buf_read(void *ctx, const struct bbuf *buf, size_t offset, void *to, size_t n_bytes);

/* cl_weight.c */
struct bweight *cl_weight_bind(void *ctx, const struct weight_part *parts, size_t n_parts, struct err *err);
void cl_weight_free(void *ctx, struct bweight *w);
struct bexperts *cl_experts_bind(void *ctx, const struct tensor *const *parts, size_t n_parts,
                                 struct err *err);
void cl_experts_free(void *ctx, struct bexperts *w);

/* cl_ops.c, cl_moe.c */
bool cl_gemm(void *ctx, const struct op_gemm *op);
bool cl_embed(void *ctx, const struct op_embed *op);
bool cl_rms_norm(void *ctx, const struct op_rms_norm *op);
bool cl_silu_mul(void *ctx, const struct op_silu_mul *op);
bool cl_qkv_rope_cache(void *ctx, const struct op_qkv_rope_cache *op);
bool cl_attention(void *ctx, const struct op_attention *op);
bool cl_largest(void *ctx, const struct op_largest *op);
/* The same: of every `chunk` numbers the largest, then of these; in one launch where the row is not longer.
 */
bool cl_largest_in_chunks(struct cl_backend *b, const struct op_largest *op, size_t chunk);
/* Its two ways: heads that share a KV head together, over parts of the keys (least_splits or more, some
 * perhaps empty); each head over all keys. */
bool cl_attend_few(struct cl_backend *b, const struct op_attention *op, size_t least_splits);
bool cl_attend_many(struct cl_backend *b, const struct op_attention *op);
bool cl_route(void *ctx, const struct op_route *op);
bool cl_moe_gate_up(void *ctx, const struct op_moe_gate_up *op);
bool cl_moe_down(void *ctx, const struct op_moe_down *op);
bool cl_weighted_sum(void *ctx, const struct op_weighted_sum *op);
bool cl_add_gated(void *ctx, const struct op_add_gated *op);

/* cl_check.c: a known answer of every program. */
enum cl_answer cl_check(void *backend, enum cl_group group, struct err *err);

#endif
