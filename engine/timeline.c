#include "engine/timeline.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/kv_pages.h"
#include "engine/kv_shelving.h"
#include "engine/memory_left.h"
#include "engine/model_internal.h"
#include "engine/run_state.h"

#define DEFAULT_BATCH 512
#define BATCH_NS 4e9
#define SHORT_BATCH_NS 1e9
#define LEAST_TIMED 32 /* fewer tokens say little about the cost of one */
#define LEAST_CTX 512

struct timeline {
    struct model *model;
    uint32_t n_ctx;
    size_t n_batch;
    struct kv_pages pages;
    struct kv_shelving shelving;
    size_t n_lent_max;
    struct run_state runs[KV_MAX_PARTS]; /* of the model's places */
    size_t n_runs;
    int32_t *ids; /* [n_ctx] */
    size_t n;
    size_t n_guesses; /* ids[n .. n + n_guesses) have rows */
    size_t row;       /* of the last pass, whose logits are token n-1's when there are guesses */
    float *logits;    /* [n_vocab] */
    bool has_logits;
    size_t n_wanted;                      /* timeline_want */
    struct logit largest[OP_LARGEST_MAX]; /* n_largest > 0: the logits are there as these alone */
    size_t n_largest;
    double ns_per_token;        /* of the last prefill step, 0: not known */
    struct profiling profiling; /* empty when untimed */
};

static struct kv_shape kv_shape_of(const struct model *m, enum dtype kv_type)
{
    const struct model_config *c = model_config(m);
    return (struct kv_shape){
        .type = kv_type, .n_layer = c->n_layer, .n_kv_head = c->n_kv_head, .head_dim = c->head_dim};
}

static struct prof_shape prof_shape_of(const struct model *m)
{
    const struct model_config *c = model_config(m);
    return (struct prof_shape){
        .n_layers = c->n_layer, .n_experts = c->n_expert, .n_used = c->n_expert ? c->n_expert_used : 0};
}

size_t timeline_kv_bytes(const struct model *m, enum dtype kv_type)
{
    struct kv_shape shape = kv_shape_of(m, kv_type);
    return kv_token_bytes(&shape);
}

/* Tokens that fit in half of the memory, and in what a device gives in one piece. */
static uint64_t tokens_that_fit(const struct kv_place *place, uint64_t bytes_per_token)
{
    const struct backend *b = place->backend;
    struct buf_room room = {.largest = UINT64_MAX, .left = UINT64_MAX};
    if (b->ops->buf_room)
        b->ops->buf_room(b->ctx, &room);
    uint64_t half = (room.left == UINT64_MAX ? memory_left() : room.left) / 2;
    uint64_t fits = (half < room.largest ? half : room.largest) / bytes_per_token;
    /* The pool has pages more than the context, for the shelf. */
    if (b->ops->buf_room)
        fits = fits > KV_SHELVING_TOKENS ? fits - KV_SHELVING_TOKENS : 0;
    return fits;
}

uint32_t timeline_default_ctx(const struct model *m, enum dtype kv_type, bool *limited)
{
    struct kv_place places[KV_MAX_PARTS];
    uint32_t trained = model_config(m)->n_ctx_train;
    uint64_t per_layer = timeline_kv_bytes(m, kv_type) / model_config(m)->n_layer, fits = UINT64_MAX;
    for (size_t i = 0, n = model_list_places(m, places); per_layer && i < n; i++) {
        uint64_t here = tokens_that_fit(&places[i], per_layer * places[i].n_layer);
        fits = here < fits ? here : fits;
    }
    fits -= fits % KV_BLOCK_TOKENS;
    if (fits < LEAST_CTX)
        fits = LEAST_CTX;
    *limited = fits < trained;
    return *limited ? (uint32_t)fits : trained;
}

/* KV bytes of a token that lie in the system's memory. */
static double host_bytes_per_token(const struct model *m, enum dtype kv_type)
{
    struct kv_place places[KV_MAX_PARTS];
    double sum = 0, per_layer = (double)timeline_kv_bytes(m, kv_type) / model_config(m)->n_layer;
    for (size_t i = 0, n = model_list_places(m, places); i < n; i++) {
        const struct backend *b = places[i].backend;
        struct buf_room room = {.left = UINT64_MAX};
        if (b->ops->buf_room)
            b->ops->buf_room(b->ctx, &room);
        sum += room.left == UINT64_MAX ? per_layer * (double)places[i].n_layer : 0;
    }
    return sum;
}

/* Pages are taken from the system one by one as a chat grows: a context that cannot be kept is refused here,
 * not by the system's killer in the middle of an answer. */
static bool check_memory(const struct model *m, enum dtype kv_type, bool has_shelf, uint32_t n_ctx,
                         struct err *err)
{
    const double gib = 1024.0 * 1024.0 * 1024.0;
    double kv = host_bytes_per_token(m, kv_type), per_token = kv;
    per_token += (double)(model_config(m)->n_rot * sizeof(float) + sizeof(int32_t));
    double need = per_token * n_ctx, memory = (double)memory_left();
    memory = fmax(0, memory - (has_shelf ? kv * KV_SHELVING_TOKENS : 0));
    if (need <= memory)
        return true;
    return err_set(err, ERR_MEMORY,
                   "a context of %u tokens needs %.1f GiB of memory and %.1f GiB are left for it; use a "
                   "--ctx of %.0f or less",
                   n_ctx, need / gib, memory / gib, memory / per_token);
}

/* Pages and activations, where the model is. */
static bool open_places(struct timeline *t, enum dtype kv_type, struct err *err)
{
    struct kv_place places[KV_MAX_PARTS];
    struct model *m = t->model;
    size_t n_places = model_list_places(m, places);
    struct kv_shape shape = kv_shape_of(m, kv_type);
    for (size_t i = 0; i < n_places; i++) {
        struct backend *b = places[i].backend;
        if (!b->ops->supports_kv(b->ctx, kv_type))
            return err_set(err, ERR_USAGE, "the %s backend keeps no KV cache of type %s; use f16 or f32",
                           b->ops->name, dtype_info(kv_type)->name);
    }
    if (!check_memory(m, kv_type, t->n_lent_max != 0, t->n_ctx, err) ||
        !kv_pages_init(&t->pages, places, n_places, &shape, t->n_ctx, t->n_lent_max, err))
        return false;
    for (; t->n_runs < n_places; t->n_runs++)
        if (!run_state_init(&t->runs[t->n_runs], places[t->n_runs].backend, model_config(m), &m->rope,
                            t->n_batch, t->n_ctx, err))
            return false;
    return true;
}

static void close_places(struct timeline *t)
{
    while (t->n_runs)
        run_state_fini(&t->runs[--t->n_runs]);
    kv_pages_fini(&t->pages);
}

struct timeline *timeline_new(struct model *m, const struct timeline_options *options, struct err *err)
{
    bool limited;
    uint32_t n_ctx = options->n_ctx ? options->n_ctx : timeline_default_ctx(m, options->kv_type, &limited);
    size_t n_batch = options->n_batch ? options->n_batch : DEFAULT_BATCH;
    struct timeline *t = mem_alloc(sizeof *t, err);
    if (!t)
        return NULL;
    t->model = m;
    t->n_ctx = n_ctx;
    t->n_batch = n_batch < n_ctx ? n_batch : n_ctx;
    t->n_lent_max = options->shelf ? KV_LENT_MAX : 0;
    struct prof_shape prof_shape = prof_shape_of(m);
    if (open_places(t, options->kv_type, err) && (t->ids = mem_array(n_ctx, sizeof *t->ids, err)) &&
        (t->logits = mem_array(model_config(m)->n_vocab, sizeof *t->logits, err)) &&
        (options->untimed || profiling_init(&t->profiling, &prof_shape, t->n_batch, options->trace, err)) &&
        kv_shelving_init(&t->shelving, options->shelf, &t->pages, err))
        return t;
    timeline_free(t);
    return NULL;
}

void timeline_free(struct timeline *t)
{
    if (!t)
        return;
    profiling_fini(&t->profiling);
    kv_shelving_fini(&t->shelving);
    close_places(t);
    mem_free(t->ids);
    mem_free(t->logits);
    mem_free(t);
}

uint32_t timeline_n_ctx(const struct timeline *t)
{
    return t->n_ctx;
}

size_t timeline_length(const struct timeline *t)
{
    return t->n;
}

static void cut(struct timeline *t, size_t n)
{
    t->n = n;
    t->n_guesses = 0;
    t->has_logits = false;
    profiling_cut(&t->profiling);
    kv_pages_cut(&t->pages, n);
    kv_shelving_cut(&t->shelving, n);
}

bool timeline_rebuild(struct timeline *t, struct err *err)
{
    enum dtype kv_type = t->pages.shape.type;
    cut(t, 0);
    close_places(t);
    return open_places(t, kv_type, err);
}

size_t timeline_shared(const struct timeline *t, const int32_t *ids, size_t n)
{
    size_t shared = 0;
    while (shared < n && shared < t->n && t->ids[shared] == ids[shared])
        shared++;
    return shared;
}

size_t timeline_keep(struct timeline *t, const int32_t *ids, size_t n)
{
    size_t kept = timeline_shared(t, ids, n ? n - 1 : 0);
    cut(t, kept);
    return kept;
}

static bool check_tokens(const struct timeline *t, const int32_t *ids, size_t n, struct err *err)
{
    uint32_t n_vocab = model_config(t->model)->n_vocab;
    if (n > t->n_ctx - t->n)
        return err_set(
            err, ERR_PROMPT,
            "%zu tokens do not fit: the context has %u and %zu are used; shorten the text or start with a "
            "larger --ctx",
            n, t->n_ctx, t->n);
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (uint32_t)ids[i] >= n_vocab)
            return err_set(err, ERR_USAGE, "token %zu has the id %d, expected 0 to %u", i, ids[i],
                           n_vocab - 1);
    return true;
}

/* Of the head. */
static struct run_state *last_run(struct timeline *t)
{
    return &t->runs[t->n_runs - 1];
}

/* Where a device computes, the rest of the step is waited for before a read: that is no copying. */
static void wait_for_step(const struct run_state *r, const struct step *step)
{
    if (!step->profiling || r->backend->ops->buf_host)
        return;
    struct timer wait = timer_start(step);
    r->backend->ops->sync(r->backend->ctx); /* a fault shows in the read that follows */
    timer_add(&wait, PROF_SYNC, 0);
}

/* Of n rows that the head was given, from row `first` on. */
static bool read_logits(struct timeline *t, const struct step *step, size_t first, size_t n, float *out,
                        struct err *err)
{
    const struct run_state *r = last_run(t);
    size_t row_bytes = model_config(t->model)->n_vocab * sizeof *out, n_bytes = n * row_bytes;
    wait_for_step(r, step);
    struct timer copy = timer_start(step);
    bool ok = backend_buf_read(r->backend, r->logits, first * row_bytes, out, n_bytes, err);
    timer_add(&copy, PROF_COPY, n_bytes);
    return ok;
}

static bool read_largest(struct timeline *t, const struct step *step, size_t row, struct err *err)
{
    const struct run_state *r = last_run(t);
    size_t n_vocab = model_config(t->model)->n_vocab, n = t->n_wanted < n_vocab ? t->n_wanted : n_vocab;
    struct op_largest op = {.x = r->logits, .row = row, .n = n_vocab, .k = n, .out = r->largest};
    struct timer choose = timer_start(step);
    bool ok = backend_largest(r->backend, &op, err);
    timer_add(&choose, PROF_LM_HEAD, 0);
    if (!ok)
        return false;
    wait_for_step(r, step);
    struct timer copy = timer_start(step);
    ok = backend_buf_read(r->backend, r->largest, 0, t->largest, n * sizeof *t->largest, err);
    timer_add(&copy, PROF_COPY, n * sizeof *t->largest);
    t->n_largest = ok ? n : 0;
    return ok;
}

/* What is wanted of a row that the head was given. */
static bool read_row(struct timeline *t, const struct step *step, size_t row, struct err *err)
{
    t->n_largest = 0;
    if (t->n_wanted && last_run(t)->largest)
        return read_largest(t, step, row, err);
    return read_logits(t, step, row, 1, t->logits, err);
}

/* Logits of every row of the batch to out [n, n_vocab]; the last row to t->logits too. */
static bool head_of_all(struct timeline *t, const struct step *step, float *out, struct err *err)
{
    size_t n_vocab = model_config(t->model)->n_vocab;
    for (size_t at = 0; at < step->n_tokens; at += RUN_LOGIT_ROWS) {
        size_t n = step->n_tokens - at < RUN_LOGIT_ROWS ? step->n_tokens - at : RUN_LOGIT_ROWS;
        if (!model_head(t->model, last_run(t), step, at, n, err) ||
            !read_logits(t, step, 0, n, out + at * n_vocab, err))
            return false;
    }
    memcpy(t->logits, out + (step->n_tokens - 1) * n_vocab, n_vocab * sizeof *out);
    t->n_largest = 0;
    return true;
}

static bool head_of_last(struct timeline *t, const struct step *step, struct err *err)
{
    return model_head(t->model, last_run(t), step, step->n_tokens - 1, 1, err) && read_row(t, step, 0, err);
}

static void offer(struct timeline *t, const struct step *step)
{
    if (!t->shelving.shelf)
        return;
    struct timer timer = timer_start(step);
    kv_shelving_offer(&t->shelving, t->ids, t->n);
    timer_add(&timer, PROF_COPY, 0);
}

/* Rows of all tokens of the step: activations and KV. */
static bool forward(struct timeline *t, const struct step *step, struct err *err)
{
    bool reserved = kv_pages_reserve(&t->pages, step->pos + step->n_tokens);
    assert(reserved); /* the pool has pages for n_ctx, and check_tokens has counted */
    (void)reserved;
    t->has_logits = false;
    t->n_guesses = 0;
    if (step->profiling)
        profiling_begin_step(step->profiling, step->phase, last_run(t)->backend);
    for (size_t i = 0; i < t->n_runs; i++)
        if (!run_state_turn(&t->runs[i], step->pos + step->n_tokens, err))
            return false;
    return t->model->family->forward(t->model, t->runs, step, err);
}

static bool eval_batch(struct timeline *t, const struct step *step, bool is_last, float *all_logits,
                       struct err *err)
{
    if (!forward(t, step, err))
        return false;
    if (all_logits ? !head_of_all(t, step, all_logits, err) : is_last && !head_of_last(t, step, err))
        return false;
    if (!moe_count_chosen(t->model, last_run(t), step, err))
        return false;
    memcpy(t->ids + t->n, step->ids, step->n_tokens * sizeof *t->ids);
    t->n += step->n_tokens;
    t->has_logits = is_last;
    offer(t, step);
    return true;
}

size_t timeline_batch_tokens(double ns_per_token, size_t n_batch, bool is_short)
{
    double ns = is_short ? SHORT_BATCH_NS : BATCH_NS;
    double wanted = ns_per_token > 0 ? ns / ns_per_token : KV_BLOCK_TOKENS;
    if (wanted >= (double)n_batch)
        return n_batch;
    size_t n = (size_t)wanted / KV_BLOCK_TOKENS * KV_BLOCK_TOKENS;
    n = n > KV_BLOCK_TOKENS ? n : KV_BLOCK_TOKENS;
    return n < n_batch ? n : n_batch;
}

static void time_batch(struct timeline *t, size_t n_tokens, uint64_t since_ns)
{
    if (n_tokens >= LEAST_TIMED)
        t->ns_per_token = (double)(clock_now_ns() - since_ns) / (double)n_tokens;
}

static void end_failed(struct timeline *t, const struct step *step, uint64_t start_ns)
{
    if (step->profiling)
        profiling_wall(step->profiling, step->phase, clock_now_ns() - start_ns);
    cut(t, t->n);
}

static struct step step_of(struct timeline *t, const int32_t *ids, size_t n, enum prof_phase phase,
                           const struct eval_control *control)
{
    return (struct step){.ids = ids,
                         .n_tokens = n,
                         .pos = t->n,
                         .pages = &t->pages,
                         .cancel = control ? control->cancel : NULL,
                         .phase = phase,
                         .layer = model_config(t->model)->n_layer,
                         .profiling = t->profiling.prof ? &t->profiling : NULL};
}

/* A batch in work: tokens at .. at + n_tokens of those that control is told of. */
struct batch {
    const struct eval_control *control;
    size_t at, n_tokens, total;
    uint32_t n_layer;
};

static void report_layers(void *arg, uint32_t n_layers)
{
    const struct batch *b = arg;
    size_t n_done = b->n_tokens * n_layers / b->n_layer;
    if (n_done > 0)
        b->control->progress(b->control->arg, b->at + n_done, b->total);
}

/* A device is given a whole batch at once: between layers nothing is known, and nothing can be taken back. */
static bool computes_as_called(const struct timeline *t)
{
    for (size_t i = 0; i < t->n_runs; i++)
        if (!t->runs[i].backend->ops->buf_host)
            return false;
    return true;
}

static bool eval_all(struct timeline *t, const int32_t *ids, size_t n, const struct eval_control *control,
                     float *all_logits, struct err *err)
{
    size_t n_vocab = model_config(t->model)->n_vocab;
    bool is_told_by_layer = computes_as_called(t),
         is_short = !is_told_by_layer || (control && control->is_ahead);
    enum prof_phase phase = n == 1 && !(control && control->is_prompt) ? PROF_DECODE : PROF_PREFILL;
    for (size_t at = 0; at < n;) {
        size_t n_tokens = timeline_batch_tokens(t->ns_per_token, t->n_batch, is_short);
        n_tokens = n_tokens < n - at ? n_tokens : n - at;
        uint64_t start_ns = clock_now_ns();
        struct step step = step_of(t, ids + at, n_tokens, phase, control);
        struct batch batch = {control, at, n_tokens, n, step.layer};
        if (control && control->progress && is_told_by_layer) {
            step.layers_done = report_layers;
            step.arg = &batch;
        }
        if (!eval_batch(t, &step, at + n_tokens == n, all_logits ? all_logits + at * n_vocab : NULL, err)) {
            end_failed(t, &step, start_ns);
            return false;
        }
        if (step.profiling)
            profiling_end_step(step.profiling, step.phase, start_ns, n_tokens, step.pos);
        time_batch(t, n_tokens, start_ns);
        at += n_tokens;
        if (control && control->progress)
            control->progress(control->arg, at, n);
    }
    return true;
}

bool timeline_eval(struct timeline *t, const int32_t *ids, size_t n, const struct eval_control *control,
                   float *all_logits, struct err *err)
{
    if (!check_tokens(t, ids, n, err))
        return false;
    if (n != 1)
        return eval_all(t, ids, n, control, all_logits, err);
    mem_guard_enter();
    bool ok = eval_all(t, ids, n, control, all_logits, err);
    mem_guard_leave();
    return ok;
}

const int32_t *timeline_ids(const struct timeline *t)
{
    return t->ids;
}

size_t timeline_most_guesses(const struct timeline *t)
{
    size_t rows = t->n_batch < RUN_LOGIT_ROWS ? t->n_batch : RUN_LOGIT_ROWS, left = t->n_ctx - t->n;
    rows = rows < left ? rows : left;
    return rows ? rows - 1 : 0;
}

/* The sure token is appended; its guesses lie behind it. */
static bool try_step(struct timeline *t, const struct step *step, struct err *err)
{
    if (!forward(t, step, err) || !model_head(t->model, last_run(t), step, 0, step->n_tokens, err) ||
        !read_row(t, step, 0, err) || !moe_count_chosen(t->model, last_run(t), step, err))
        return false;
    memcpy(t->ids + t->n, step->ids, step->n_tokens * sizeof *t->ids);
    t->n++;
    t->n_guesses = step->n_tokens - 1;
    t->row = 0;
    t->has_logits = true;
    offer(t, step);
    return true;
}

bool timeline_try(struct timeline *t, const int32_t *ids, size_t n, const struct eval_control *control,
                  struct err *err)
{
    assert(n >= 1 && n <= RUN_LOGIT_ROWS && n <= t->n_batch);
    if (!check_tokens(t, ids, n, err))
        return false;
    mem_guard_enter();
    uint64_t start_ns = clock_now_ns();
    struct step step = step_of(t, ids, n, PROF_DECODE, control);
    bool ok = try_step(t, &step, err);
    if (!ok)
        end_failed(t, &step, start_ns);
    else if (step.profiling)
        profiling_end_step(step.profiling, PROF_DECODE, start_ns, n, step.pos);
    mem_guard_leave();
    return ok;
}

int32_t timeline_guess(const struct timeline *t)
{
    return t->n_guesses ? t->ids[t->n] : -1;
}

bool timeline_accept(struct timeline *t, struct err *err)
{
    assert(t->n_guesses);
    struct step step = step_of(t, t->ids + t->n, 1, PROF_DECODE, NULL);
    mem_guard_enter();
    bool ok = read_row(t, &step, t->row + 1, err);
    if (ok) {
        t->n++;
        t->n_guesses--;
        t->row++;
        offer(t, &step);
        if (step.profiling)
            profiling_accepted(step.profiling, t->row);
    } else {
        cut(t, t->n);
    }
    mem_guard_leave();
    return ok;
}

void timeline_set_owner(struct timeline *t, const unsigned char owner[KV_OWNER_BYTES])
{
    kv_shelving_set_owner(&t->shelving, owner);
}

void timeline_set_ahead(struct timeline *t, bool is_ahead)
{
    kv_shelving_set_ahead(&t->shelving, is_ahead ? t->n : SIZE_MAX);
}

size_t timeline_load(struct timeline *t, const int32_t *ids, size_t n, const struct eval_control *control,
                     struct load_stats *stats)
{
    size_t most = n ? n - 1 : 0, n_had = t->n;
    assert(most <= t->n_ctx && memcmp(ids, t->ids, (t->n < most ? t->n : most) * sizeof *ids) == 0);
    size_t n_now = kv_shelving_load(&t->shelving, ids, n_had, most, control, stats);
    if (n_now > n_had) {
        memcpy(t->ids + n_had, ids + n_had, (n_now - n_had) * sizeof *ids);
        t->n = n_now;
        t->has_logits = false;
    }
    return t->n;
}

size_t timeline_save(struct timeline *t)
{
    return kv_shelving_offer_all(&t->shelving, t->ids, t->n);
}

float *timeline_logits(struct timeline *t)
{
    return t->has_logits && !t->n_largest ? t->logits : NULL;
}

void timeline_want(struct timeline *t, size_t n)
{
    assert(n <= OP_LARGEST_MAX);
    t->n_wanted = n;
}

const struct logit *timeline_largest(const struct timeline *t, size_t *n)
{
    *n = t->n_largest;
    return t->has_logits && t->n_largest ? t->largest : NULL;
}

const struct prof *timeline_prof(const struct timeline *t)
{
    return t->profiling.prof;
}

struct profiling *timeline_profiling(struct timeline *t)
{
    return &t->profiling;
}
