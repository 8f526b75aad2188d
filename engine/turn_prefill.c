/* turn_prefill.c owns where the KV rows of a prompt come from: memory, the shelf, or the model. */
#include <math.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/turn.h"

/* Fewer tokens say little about the cost of one. */
#define LEAST_NOTED 32

/* done of n_missing. */
static void report(struct turn *t, size_t done)
{
    t->n_done = done > t->n_done ? done : t->n_done;
    struct engine_event event = {
        .type = ENGINE_PREFILL, .request = t->job->number, .done = t->n_done, .total = t->n_missing};
    queue_push(&t->engine->events, &event);
}

static void report_loaded(void *turn, size_t done, size_t total)
{
    struct turn *t = turn;
    (void)total;
    engine_copy_prof(t->engine);
    report(t, done);
}

/* Within a batch its time is not yet in the profile. */
static void report_computed(void *turn, size_t done, size_t total)
{
    struct turn *t = turn;
    if (timeline_length(t->engine->timeline) == t->prompt.n - total + done)
        engine_copy_prof(t->engine);
    report(t, t->stats.reused_disk + done);
}

/* For timeline_keep and timeline_load: logits are wanted behind the prompt of an answer alone. */
static size_t n_and_logits(const struct turn *t)
{
    return t->prompt.n + (t->job->request.warm ? 1 : 0);
}

static void load_rows(struct turn *t)
{
    struct load_stats loaded;
    struct eval_control control = {.cancel = t->cancel, .progress = report_loaded, .arg = t};
    if (t->engine->distrusts_shelf)
        return;
    timeline_load(t->engine->timeline, t->prompt.ids, n_and_logits(t), &control, &loaded);
    t->stats.reused_disk = loaded.n_tokens;
    t->stats.foreign_tokens = loaded.foreign_tokens;
    memcpy(t->stats.foreign_kernels, loaded.kernels, sizeof t->stats.foreign_kernels);
    t->stats.damaged_blocks = loaded.damaged_blocks;
    t->stats.fetch_ms = (double)loaded.ns / 1e6;
}

static bool compute_rows(struct turn *t, struct err *err)
{
    struct timeline *timeline = t->engine->timeline;
    struct eval_control control = {.cancel = t->cancel,
                                   .progress = report_computed,
                                   .arg = t,
                                   .is_prompt = true,
                                   .is_ahead = t->job->request.warm};
    uint64_t start_ns = clock_now_ns();
    size_t n_there = timeline_length(timeline);
    bool ok = turn_eval(t, t->prompt.ids + n_there, t->prompt.n - n_there, &control, err);
    t->stats.prefilled_tokens = (uint32_t)(timeline_length(timeline) - n_there);
    t->stats.prefill_ms = turn_ms_since(start_ns);
    return ok;
}

/* Also when there are none: all rows of a warm request were there. */
static bool has_finite_logits(const struct turn *t)
{
    const float *logits = timeline_logits(t->engine->timeline);
    uint32_t n = logits ? model_config(turn_model(t))->n_vocab : 0, i = 0;
    while (i < n && isfinite(logits[i]))
        i++;
    return i == n;
}

/* What follows loaded rows has failed: they are computed once, and the shelf is asked no more, so that the
 * same rows cannot fail again and again. */
static bool compute_what_was_loaded(struct turn *t, struct err *err)
{
    log_line("computing behind tokens from disk failed: they are computed again, and nothing more is read");
    t->engine->distrusts_shelf = true;
    t->stats.reused_disk = t->stats.foreign_tokens = 0;
    if (t->engine->has_unproven)
        t->stats.reused_memory = 0;
    t->engine->has_unproven = false;
    t->n_missing = t->prompt.n - t->stats.reused_memory;
    timeline_keep(t->engine->timeline, t->prompt.ids, t->stats.reused_memory + 1);
    err_clear(err);
    return compute_rows(t, err);
}

static void count(struct turn *t, bool ok)
{
    struct turn_stats *s = &t->stats;
    const struct kv_shelf *shelf = t->engine->options.shelf;
    s->reused_tokens = s->reused_memory + s->reused_disk;
    s->prompt_tokens = s->reused_tokens + s->prefilled_tokens;
    if (!shelf)
        return;
    if (ok && s->prefilled_tokens >= LEAST_NOTED)
        shelf->note_prefill(shelf->ctx, s->prefill_ms * 1e6 / s->prefilled_tokens);
    double saved_ms = s->reused_disk * shelf->prefill_ns_per_token(shelf->ctx) / 1e6 - s->fetch_ms;
    s->saved_ms = s->reused_disk && saved_ms > 0 ? saved_ms : 0;
}

bool turn_prefill(struct turn *t, struct err *err)
{
    t->stats.reused_memory = (uint32_t)timeline_keep(t->engine->timeline, t->prompt.ids, n_and_logits(t));
    t->n_missing = t->prompt.n - t->stats.reused_memory;
    engine_copy_prof(t->engine);
    report(t, 0);
    load_rows(t);
    bool ok = compute_rows(t, err);
    bool is_loaded = t->stats.reused_disk || t->engine->has_unproven;
    if (is_loaded && !t->engine->is_ruined && (ok ? !has_finite_logits(t) : err->code != ERR_CANCELLED))
        ok = compute_what_was_loaded(t, err);
    t->engine->has_unproven = is_loaded && !timeline_logits(t->engine->timeline);
    count(t, ok);
    t->prefilled_ns = ok ? clock_now_ns() : 0;
    return ok;
}
