/* turn_rescue.c owns what happens when the device has too little memory, or fails: fewer layers on it, or
 * none, and the CPU goes on where it stopped. Tokens, sampler and text are the host's, so that nothing of an
 * answer is lost; the rows of the KV cache are computed again. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/turn.h"

/* A context that is shorter is not worth a layer more on the device. */
#define LEAST_DEVICE_CTX 4096

/* --- while loading --- */

static bool has_own_memory(const struct backend *b)
{
    struct buf_room room = {.left = UINT64_MAX};
    if (b->ops->buf_room)
        b->ops->buf_room(b->ctx, &room);
    return room.left != UINT64_MAX;
}

/* The weights leave the device's memory with too little for the context that nobody has chosen. */
static bool is_cramped(const struct engine *e, const struct model *m, struct err *why)
{
    bool limited;
    uint32_t trained = model_config(m)->n_ctx_train;
    if (e->options.n_ctx || !model_n_device(m) || !has_own_memory(e->options.device))
        return false;
    uint32_t n_ctx = timeline_default_ctx(m, e->options.kv_type, &limited);
    if (!limited || n_ctx >= (trained < LEAST_DEVICE_CTX ? trained : LEAST_DEVICE_CTX))
        return false;
    err_set(why, ERR_MEMORY,
            "with more of them it would have memory for a context of %" PRIu32 " tokens only", n_ctx);
    return true;
}

bool engine_open_timeline(struct engine *e, struct model *m, struct err *err)
{
    const struct timeline_options options = {.n_ctx = e->options.n_ctx,
                                             .kv_type = e->options.kv_type,
                                             .shelf = e->options.shelf,
                                             .trace = e->options.trace};
    while (true) {
        struct err why = {0};
        uint32_t n = model_n_device(m);
        if (!is_cramped(e, m, &why) && (e->timeline = timeline_new(m, &options, &why)) != NULL)
            return true;
        if (!n) {
            *err = why;
            return false;
        }
        log_line("%s", why.text);
        if (!model_move(m, why.code == ERR_MEMORY ? n - (n + 7) / 8 : 0, &why, err))
            return false;
    }
}

void engine_name_kernels(struct engine *e, const struct model *m, struct engine_event *event)
{
    const struct kv_shelf *shelf = e->options.shelf;
    char description[KV_KERNELS_BYTES], name[KV_KERNELS_BYTES];
    model_describe_places(m, description);
    backend_kernels_name(description, name, sizeof name);
    if (shelf && shelf->note_kernels)
        shelf->note_kernels(shelf->ctx, name);
    event->n_text = (uint32_t)strlen(description);
    memcpy(event->text, description, event->n_text);
}

/* --- in a turn --- */

static bool has_lost_device(const struct turn *t)
{
    const struct backend *device = t->engine->options.device;
    return device && model_n_device(turn_model(t)) && backend_is_lost(device);
}

static void report_again(void *turn, size_t done, size_t total)
{
    struct turn *t = turn;
    if (timeline_length(t->engine->timeline) == done)
        engine_copy_prof(t->engine);
    queue_push(&t->engine->events,
               &(struct engine_event){
                   .type = ENGINE_PREFILL, .request = t->job->number, .done = done, .total = total});
}

static void say_moved(struct turn *t, size_t n_ids, const struct err *why)
{
    struct engine_event note = {.type = ENGINE_MOVED, .request = t->job->number};
    engine_name_kernels(t->engine, turn_model(t), &note);
    err_set(&note.error, ERR_RUNTIME,
            "%.300s: the device failed, and the CPU goes on; nothing is lost, %zu tokens are computed again",
            why->text, n_ids);
    log_line("%s", note.error.text);
    engine_send_surely(t->engine, &note);
}

/* The prefix, as it was before the device was lost. */
static bool move_to_host(struct turn *t, const struct err *why, const int32_t *ids, size_t n, struct err *err)
{
    struct engine *e = t->engine;
    struct eval_control control = {.cancel = t->cancel,
                                   .progress = report_again,
                                   .arg = t,
                                   .is_prompt = true,
                                   .is_ahead = t->job->request.warm};
    e->is_ruined = !model_move(atomic_load(&e->model), 0, NULL, err) || !timeline_rebuild(e->timeline, err);
    if (e->is_ruined)
        return false;
    say_moved(t, n, why);
    return n == 0 || timeline_eval(e->timeline, ids, n, &control, NULL, err);
}

static bool go_on_with_host(struct turn *t, struct err *err)
{
    struct timeline *timeline = t->engine->timeline;
    size_t n = timeline_length(timeline);
    struct err why = *err;
    int32_t *ids = mem_array(n + 1, sizeof *ids, err);
    if (!ids)
        return false;
    memcpy(ids, timeline_ids(timeline), n * sizeof *ids);
    err_clear(err);
    bool ok = move_to_host(t, &why, ids, n, err);
    mem_free(ids);
    return ok;
}

bool turn_try(struct turn *t, const int32_t *ids, size_t n, const struct eval_control *control,
              struct err *err)
{
    struct timeline *timeline = t->engine->timeline;
    if (timeline_try(timeline, ids, n, control, err))
        return true;
    if (err->code == ERR_CANCELLED || !has_lost_device(t))
        return false;
    return go_on_with_host(t, err) && timeline_try(timeline, ids, n, control, err);
}

bool turn_accept(struct turn *t, int32_t id, struct err *err)
{
    struct timeline *timeline = t->engine->timeline;
    const struct eval_control control = {.cancel = t->cancel};
    if (timeline_accept(timeline, err))
        return true;
    return has_lost_device(t) && go_on_with_host(t, err) &&
           timeline_eval(timeline, &id, 1, &control, NULL, err);
}

bool turn_eval(struct turn *t, const int32_t *ids, size_t n, const struct eval_control *control,
               struct err *err)
{
    struct timeline *timeline = t->engine->timeline;
    size_t n_before = timeline_length(timeline);
    if (timeline_eval(timeline, ids, n, control, NULL, err))
        return true;
    if (err->code == ERR_CANCELLED || !has_lost_device(t))
        return false;
    size_t n_done = timeline_length(timeline) - n_before;
    return go_on_with_host(t, err) && timeline_eval(timeline, ids + n_done, n - n_done, control, NULL, err);
}
