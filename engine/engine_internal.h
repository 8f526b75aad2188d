/* engine_internal.h: the two sides of the engine: engine.c (app's thread) and engine_thread.c (the engine's).
 */
#ifndef FERRUM_ENGINE_INTERNAL_H
#define FERRUM_ENGINE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/base/queue.h"
#include "engine/engine.h"
#include "engine/timeline.h"

/* Requests accepted and not yet told to be done: one, and warm ones that are giving way. */
#define ENGINE_MAX_OPEN 8

/* An accepted request. Number 0 only wakes the thread. */
struct engine_job {
    uint64_t number;
    uint64_t submit_ns;
    struct engine_request request;
};

struct engine {
    struct engine_options options; /* model_path is a copy */
    char *model_path;
    pthread_t thread;
    struct queue jobs;                   /* struct engine_job, to the engine */
    struct queue events;                 /* struct engine_event, to the app */
    atomic_bool cancel[ENGINE_MAX_OPEN]; /* of request number n: entry n % ENGINE_MAX_OPEN */
    atomic_bool closing;
    _Atomic(struct model *) model; /* set once by the engine's thread, before ENGINE_READY */
    atomic_uint n_ctx;
    atomic_bool read_wanted;        /* engine_measure_read */
    atomic_uint_fast64_t read_mb_s; /* engine_read_gb_s, in MB/s */
    pthread_mutex_t prof_lock;
    struct prof *prof;   /* the copy others read; set before ENGINE_READY */
    struct prof *before; /* the same when the turn in work, or else the last one, began */
    pthread_mutex_t owner_lock;
    unsigned char owner_from[KV_OWNER_BYTES], owner_to[KV_OWNER_BYTES]; /* engine_rename_owner */
    /* app's thread alone */
    bool ready;
    uint64_t turn; /* the number of the request in work that is not warm, 0: none */
    size_t n_open; /* accepted, and not yet told to be done */
    uint64_t n_requests;
    /* engine's thread alone */
    struct timeline *timeline;
    struct speculation speculation;
    unsigned char owner[KV_OWNER_BYTES]; /* of the timeline */
    bool template_failed;                /* the model's template could not render a chat: not asked again */
    bool distrusts_shelf;                /* rows from it have failed: not asked again */
    bool has_unproven;                   /* rows from the shelf are in memory that no logits followed yet */
    bool is_ruined;                      /* a device was lost, and the CPU could not take its place */
    size_t n_unsaved;                    /* blocks the shelf had no room for, and is to be offered again */
    int retry_ms;                        /* the pause before that */
};

static inline atomic_bool *engine_cancel_flag(struct engine *e, uint64_t number)
{
    return &e->cancel[number % ENGINE_MAX_OPEN];
}

/* turn_rescue.c: opens e->timeline; where the device has no room for it, with fewer layers there. */
bool engine_open_timeline(struct engine *e, struct model *m, struct err *err);
/* What computes now, for the shelf and as the event's text. */
void engine_name_kernels(struct engine *e, const struct model *m, struct engine_event *event);

/* engine_measure.c, on the thread: does what engine_measure_read wants, if no request comes in between. */
void engine_measure(struct engine *e);

/* The thread: loads, then works on jobs until closing. */
void *engine_thread_main(void *engine);

#endif
