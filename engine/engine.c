/* The app's side of the engine: opening, closing, requests in, events out. */
#include "engine/engine.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/thread.h"
#include "engine/engine_internal.h"

#define N_EVENTS 256

double turn_tokens_per_s(const struct turn_stats *stats)
{
    return stats->decode_ms > 0 ? stats->timed_tokens / (stats->decode_ms / 1000) : 0;
}

const char *finish_reason_name(enum finish_reason reason)
{
    static const char *const names[] = {[FINISH_STOP] = "stop",
                                        [FINISH_LENGTH] = "length",
                                        [FINISH_CONTEXT] = "context",
                                        [FINISH_CANCELLED] = "cancelled",
                                        [FINISH_ERROR] = "error"};
    return names[reason];
}

void engine_request_fini(struct engine_request *request)
{
    for (size_t i = 0; i < request->n_msgs; i++) {
        mem_free(request->msgs[i].text);
        mem_free(request->msgs[i].think);
        mem_free(request->msgs[i].tokens);
    }
    for (size_t i = 0; i < request->n_stops; i++)
        mem_free(request->stops[i]);
    mem_free(request->msgs);
    mem_free(request->stops);
    *request = (struct engine_request){0};
}

static bool start_thread(struct engine *e, struct err *err)
{
    int rc = thread_start(&e->thread, engine_thread_main, e);
    if (rc == EAGAIN || rc == ENOMEM)
        return err_set(err, ERR_MEMORY,
                       "the engine's thread could not be started for want of memory (%s); close other "
                       "programs, or raise the limits (ulimit -v, ulimit -u)",
                       strerror(rc));
    return rc == 0 || err_set(err, ERR_RUNTIME, "the engine's thread could not be started: %s", strerror(rc));
}

struct engine *engine_open(const struct engine_options *options, struct err *err)
{
    struct engine *e = mem_alloc(sizeof *e, err);
    if (!e)
        return NULL;
    e->options = *options;
    e->model_path = mem_strdup(options->model_path);
    e->options.model_path = e->model_path;
    pthread_mutex_init(&e->prof_lock, NULL);
    pthread_mutex_init(&e->owner_lock, NULL);
    if (queue_init(&e->jobs, ENGINE_MAX_OPEN, sizeof(struct engine_job), err) &&
        queue_init(&e->events, N_EVENTS, sizeof(struct engine_event), err) && start_thread(e, err))
        return e;
    queue_fini(&e->jobs);
    queue_fini(&e->events);
    pthread_mutex_destroy(&e->prof_lock);
    pthread_mutex_destroy(&e->owner_lock);
    mem_free(e->model_path);
    mem_free(e);
    return NULL;
}

/* What was accepted or sent but never read still owns memory. */
static void drain_queues(struct engine *e)
{
    struct engine_job job;
    struct engine_event event;
    while (queue_pop(&e->jobs, &job))
        engine_request_fini(&job.request);
    while (queue_pop(&e->events, &event)) {
        mem_free(event.ids);
        mem_free(event.n_ids_of);
    }
}

void engine_close(struct engine *e)
{
    if (!e)
        return;
    atomic_store(&e->closing, true);
    engine_cancel(e);
    queue_push(&e->jobs, &(struct engine_job){0}); /* a full queue has woken the thread already */
    pthread_join(e->thread, NULL);
    drain_queues(e);
    timeline_free(e->timeline);
    prof_free(e->prof);
    prof_free(e->before);
    model_free(atomic_load(&e->model));
    queue_fini(&e->jobs);
    queue_fini(&e->events);
    pthread_mutex_destroy(&e->prof_lock);
    pthread_mutex_destroy(&e->owner_lock);
    mem_free(e->model_path);
    mem_free(e);
}

static bool check_free(const struct engine *e, struct err *err)
{
    if (!e->ready)
        return err_set(err, ERR_RUNTIME, "the model is not loaded yet; wait until it is");
    if (e->turn)
        return err_set(err, ERR_RUNTIME, "the engine is still at work on request %llu; stop it first",
                       (unsigned long long)e->turn);
    return e->n_open < ENGINE_MAX_OPEN ||
           err_set(err, ERR_RUNTIME, "the engine takes no request now; try again");
}

bool engine_submit(struct engine *e, struct engine_request *request, uint64_t *number, struct err *err)
{
    if (!check_free(e, err))
        return false;
    struct engine_job job = {.number = e->n_requests + 1, .submit_ns = clock_now_ns(), .request = *request};
    engine_cancel(e); /* warm requests give way */
    /* No open request has this flag: a late cancel of an old one dies here. */
    atomic_store(engine_cancel_flag(e, job.number), false);
    queue_push(&e->jobs, &job); /* has room for all that may be open */
    *request = (struct engine_request){0};
    *number = ++e->n_requests;
    e->turn = job.request.warm ? 0 : job.number;
    e->n_open++;
    return true;
}

void engine_cancel(struct engine *e)
{
    for (size_t i = 0; i < ENGINE_MAX_OPEN; i++)
        atomic_store(&e->cancel[i], true);
}

void engine_rename_owner(struct engine *e, const unsigned char from[KV_OWNER_BYTES],
                         const unsigned char to[KV_OWNER_BYTES])
{
    pthread_mutex_lock(&e->owner_lock);
    memcpy(e->owner_from, from, KV_OWNER_BYTES);
    memcpy(e->owner_to, to, KV_OWNER_BYTES);
    pthread_mutex_unlock(&e->owner_lock);
}

int engine_event_fd(const struct engine *e)
{
    return queue_wake_fd(&e->events);
}

bool engine_next_event(struct engine *e, struct engine_event *event)
{
    if (!queue_pop(&e->events, event)) {
        /* Only an empty queue clears the descriptor, and is looked at once more: nothing can be missed. */
        queue_clear_wake(&e->events);
        if (!queue_pop(&e->events, event))
            return false;
    }
    if (event->type == ENGINE_READY)
        e->ready = true;
    if (event->type == ENGINE_DONE) {
        e->n_open--;
        e->turn = event->request == e->turn ? 0 : e->turn;
    }
    return true;
}

const struct model *engine_model(const struct engine *e)
{
    return atomic_load(&e->model);
}

uint32_t engine_n_ctx(const struct engine *e)
{
    return atomic_load(&e->n_ctx);
}

static bool copy_prof(const struct engine *e, bool of_turn, struct prof **out, struct err *err)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)&e->prof_lock;
    assert(atomic_load(&e->model));
    pthread_mutex_lock(lock);
    struct prof_shape shape = e->prof->shape;
    pthread_mutex_unlock(lock);
    if (!*out && !(*out = prof_new(&shape, err)))
        return false;
    pthread_mutex_lock(lock);
    prof_copy(*out, e->prof);
    if (of_turn)
        prof_subtract(*out, e->before);
    pthread_mutex_unlock(lock);
    prof_use_device(*out);
    return true;
}

bool engine_prof(const struct engine *e, struct prof **out, struct err *err)
{
    return copy_prof(e, false, out, err);
}

bool engine_turn_prof(const struct engine *e, struct prof **out, struct err *err)
{
    return copy_prof(e, true, out, err);
}

void engine_measure_read(struct engine *e)
{
    atomic_store(&e->read_wanted, true);
    queue_wake(&e->jobs);
}

double engine_read_gb_s(const struct engine *e)
{
    return (double)atomic_load(&e->read_mb_s) / 1e3;
}
