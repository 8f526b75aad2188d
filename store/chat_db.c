/* chat_db.c: the chat-db thread: takes jobs from a list, runs them on its own store, sends events.
 *
 * The list is guarded by one mutex, held for a few pointer moves and never while SQLite works; the caller's
 * only other wait is opening, flushing and closing, which it asks for. */
#include "store/chat_db.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/queue.h"
#include "engine/base/thread.h"
#include "store/chat_db_job.h"
#include "store/timed_wait.h"

#define EVENT_SLOTS 256
#define RETRY_MS 1000
#define EVENT_RETRY_MS 5
#define MAX_FORGOTTEN 64 /* at a start; more wait for the next */

struct chat_db {
    pthread_t thread;
    char *path;
    struct queue events;

    pthread_mutex_t mutex;  /* guards all below */
    pthread_cond_t changed; /* a job came, one was done, opening is over, closing began */
    struct job *first, *last;
    bool running; /* first is being run: it may not be replaced */
    uint64_t n_added, n_done;
    enum chat_db_state state;
    bool closing;
    uint64_t give_up_ns; /* when closing: leave jobs after this, 0 never */
    bool in_trouble;
    struct err trouble; /* the newest failure of a write, or of opening */

    atomic_bool hurry; /* the store waits for no lock */

    struct err unseen; /* the first failure of which nobody has heard; the thread's until it is joined */
};

void chat_db_event_fini(struct chat_db_event *event)
{
    chat_list_fini(&event->list);
    chat_free(event->chat);
    chat_info_fini(&event->info);
    kept_prof_free(event->kept);
    mem_free(event->draft);
    *event = (struct chat_db_event){0};
}

/* ---- the thread ---- */

/* Ends an event that nobody will look at. What it says is not done, chat_db_close has to tell. */
static void end_unseen(struct chat_db *db, struct chat_db_event *event)
{
    if ((event->type == CHAT_DB_GONE || event->type == CHAT_DB_FAILED) && !db->unseen.code)
        db->unseen = event->error;
    chat_db_event_fini(event);
}

/* The app may be slow to look: wait for room, except when it has gone into chat_db_close and will not look
 * again. */
static void send_event(struct chat_db *db, struct chat_db_event *event)
{
    while (!queue_push(&db->events, event)) {
        pthread_mutex_lock(&db->mutex);
        bool closing = db->closing;
        pthread_mutex_unlock(&db->mutex);
        if (closing) {
            end_unseen(db, event);
            return;
        }
        struct timespec nap = {.tv_nsec = EVENT_RETRY_MS * 1000000L};
        nanosleep(&nap, NULL);
    }
}

/* Whether writing works: the first failure, or (no error) the first write that went well again. */
static void send_trouble(struct chat_db *db, const struct job *job, bool file_is_gone, const struct err *err)
{
    struct chat_db_event event = {.type = err->code ? CHAT_DB_TROUBLE : CHAT_DB_RECOVERED,
                                  .id = job->id,
                                  .file_is_gone = file_is_gone,
                                  .error = *err};
    memcpy(event.uid, job->uid, sizeof event.uid);
    send_event(db, &event);
}

/* A job that is let go; s NULL: there was no file for it. */
static void send_failure(struct chat_db *db, const struct job *job, const struct store *s,
                         const struct err *err)
{
    struct chat_db_event event = {.type = CHAT_DB_FAILED, .id = job->id, .error = *err};
    memcpy(event.uid, job->uid, sizeof event.uid);
    event.id_taken = s && job_is_write(job) && store_id_is_taken(s);
    if (event.id_taken || (s && job_is_write(job) && store_chat_is_gone(s)))
        event.type = CHAT_DB_GONE;
    send_event(db, &event);
}

/* Under the mutex: the next job, or NULL when it is time to leave. Waits. */
static struct job *next_job(struct chat_db *db)
{
    while (!db->first && !db->closing)
        pthread_cond_wait(&db->changed, &db->mutex);
    return db->first;
}

/* Under the mutex: whether a failing write may be tried again; waits a while, or until a new job or closing
 * wakes it. */
static bool wait_to_retry(struct chat_db *db)
{
    uint64_t n_added = db->n_added;
    bool was_closing = db->closing;
    struct timespec until = timed_wait_until(RETRY_MS);
    while (db->n_added == n_added && db->closing == was_closing)
        if (pthread_cond_timedwait(&db->changed, &db->mutex, &until) == ETIMEDOUT)
            break;
    return !db->closing || !db->give_up_ns || clock_now_ns() < db->give_up_ns;
}

static void finish_first(struct chat_db *db)
{
    struct job *job = db->first;
    db->first = job->next;
    if (!db->first)
        db->last = NULL;
    db->n_done++;
    pthread_cond_broadcast(&db->changed);
    job_free(job);
}

/* The store of the file that has the name now, where the one that was open has it no more. False: there is
 * none, and the old store stays, should its file come back. */
static bool follow_file(struct chat_db *db, struct store **s, struct err *err)
{
    if (!store_has_moved(*s))
        return true;
    struct err why = {0};
    struct chat_db_event event = {.type = CHAT_DB_MOVED};
    bool is_replaced = access(db->path, F_OK) == 0;
    struct store *now = store_open_until(db->path, STORE_READ_WRITE, &db->hurry, &why);
    if (!now)
        return err_set(
            err, ERR_DATABASE,
            "%.120s: was deleted or moved away while it was in use, and there is no new one: %.300s",
            db->path, why.text);
    store_close(*s);
    *s = now;
    err_set(&event.error, ERR_DATABASE, "%s: was %s while it was in use; %s", db->path,
            is_replaced ? "replaced" : "deleted or moved away",
            is_replaced ? "what comes goes to the new one" : "a new one is begun");
    send_event(db, &event);
    return true;
}

/* A look is told of trouble as a write is: it stands for what was written. */
static bool may_retry(const struct job *job, const struct store *s, bool file_is_there)
{
    return job->type == JOB_LOOK || (job_is_write(job) && (!file_is_there || store_may_retry(s)));
}

/* Runs the first job outside the mutex. Returns true when it is finished with, done or failed for good. */
static bool run_first(struct chat_db *db, struct store **s)
{
    struct job *job = db->first;
    db->running = true;
    pthread_mutex_unlock(&db->mutex);

    struct chat_db_event event = {0};
    struct err err = {0};
    bool has_event = false;
    bool is_there = follow_file(db, s, &err);
    bool ok = is_there && job_run(job, *s, &event, &has_event, &err);
    bool retry = !ok && may_retry(job, *s, is_there);
    if (ok && has_event)
        send_event(db, &event);
    if (!ok)
        chat_db_event_fini(&event);
    if (!ok && !retry)
        send_failure(db, job, is_there ? *s : NULL, &err);
    /* A file that went in the middle of a write is looked for at the next try. */
    if (retry && !db->in_trouble && (!is_there || !store_has_moved(*s)))
        send_trouble(db, job, !is_there, &err);
    if (ok && job_is_write(job) && db->in_trouble)
        send_trouble(db, job, false, &(struct err){0});

    pthread_mutex_lock(&db->mutex);
    db->running = false;
    if (retry)
        db->trouble = err;
    if (retry || (ok && job_is_write(job)))
        db->in_trouble = retry;
    return !retry;
}

/* What earlier programs left undone; where it cannot be read, the next start tries again. */
static void send_forgotten(struct chat_db *db, struct store *s)
{
    unsigned char uids[MAX_FORGOTTEN][CHAT_UID_BYTES];
    struct err ignored;
    size_t n = 0;
    if (!store_forgotten(s, uids, MAX_FORGOTTEN, &n, &ignored))
        return;
    for (size_t i = 0; i < n; i++) {
        struct chat_db_event event = {.type = CHAT_DB_FORGET};
        memcpy(event.uid, uids[i], sizeof event.uid);
        send_event(db, &event);
    }
}

static void *thread_main(void *arg)
{
    struct chat_db *db = arg;
    struct err err = {0};
    struct store *s = store_open_until(db->path, STORE_READ_WRITE, &db->hurry, &err);

    pthread_mutex_lock(&db->mutex);
    db->state = s ? CHAT_DB_OPEN : CHAT_DB_BAD;
    db->trouble = err;
    pthread_cond_broadcast(&db->changed);
    pthread_mutex_unlock(&db->mutex);
    if (s)
        send_forgotten(db, s);
    pthread_mutex_lock(&db->mutex);
    while (s && next_job(db)) {
        if (run_first(db, &s))
            finish_first(db);
        else if (!wait_to_retry(db))
            break;
    }
    pthread_mutex_unlock(&db->mutex);
    store_close(s);
    return NULL;
}

/* ---- the caller's side ---- */

static bool start_thread(struct chat_db *db, struct err *err)
{
    int rc = thread_start(&db->thread, thread_main, db);
    return rc == 0 || err_set(err, rc == EAGAIN || rc == ENOMEM ? ERR_MEMORY : ERR_RUNTIME,
                              "no thread for the chat database: %s", strerror(rc));
}

static void end_events(struct chat_db *db)
{
    struct chat_db_event event;
    while (queue_pop(&db->events, &event))
        end_unseen(db, &event);
}

static void free_all(struct chat_db *db)
{
    end_events(db);
    while (db->first) {
        struct job *next = db->first->next;
        job_free(db->first);
        db->first = next;
    }
    queue_fini(&db->events);
    pthread_cond_destroy(&db->changed);
    pthread_mutex_destroy(&db->mutex);
    mem_free(db->path);
    mem_free(db);
}

struct chat_db *chat_db_open(const char *path, struct err *err)
{
    struct chat_db *db = mem_need(sizeof *db);
    timed_wait_init(&db->changed);
    pthread_mutex_init(&db->mutex, NULL);
    db->path = mem_strdup(path);
    if (!queue_init(&db->events, EVENT_SLOTS, sizeof(struct chat_db_event), err) || !start_thread(db, err)) {
        free_all(db);
        return NULL;
    }
    return db;
}

enum chat_db_state chat_db_wait_open(struct chat_db *db, int timeout_ms, struct err *err)
{
    struct timespec until = timed_wait_until(timeout_ms < 0 ? 0 : timeout_ms);
    pthread_mutex_lock(&db->mutex);
    while (db->state == CHAT_DB_OPENING)
        if (timeout_ms < 0)
            pthread_cond_wait(&db->changed, &db->mutex);
        else if (pthread_cond_timedwait(&db->changed, &db->mutex, &until) == ETIMEDOUT)
            break;
    enum chat_db_state state = db->state;
    if (state == CHAT_DB_BAD && err)
        *err = db->trouble;
    pthread_mutex_unlock(&db->mutex);
    return state;
}

bool chat_db_close(struct chat_db *db, int limit_ms, struct err *err)
{
    if (!db)
        return true;
    pthread_mutex_lock(&db->mutex);
    db->give_up_ns = limit_ms < 0 ? 0 : clock_now_ns() + (uint64_t)limit_ms * 1000000u;
    db->closing = true;
    atomic_store(&db->hurry, limit_ms == 0);
    pthread_cond_broadcast(&db->changed);
    pthread_mutex_unlock(&db->mutex);
    pthread_join(db->thread, NULL);
    end_events(db);
    bool ok = db->first == NULL && !db->unseen.code;
    if (!ok && err)
        *err = db->first ? db->trouble : db->unseen;
    if (!ok && err && !err->code)
        err_set(err, ERR_DATABASE, "%s: not everything was saved", db->path);
    free_all(db);
    return ok;
}

int chat_db_event_fd(const struct chat_db *db)
{
    return queue_wake_fd(&db->events);
}

bool chat_db_next_event(struct chat_db *db, struct chat_db_event *event)
{
    if (queue_pop(&db->events, event))
        return true;
    queue_clear_wake(&db->events);
    return queue_pop(&db->events, event);
}

/* Puts newer in the place of the last job when that has not begun and says less. */
static bool replace_last(struct chat_db *db, struct job *newer)
{
    struct job *old = db->last;
    if (!old || (old == db->first && db->running) || !job_supersedes(newer, old))
        return false;
    struct job **link = &db->first;
    while (*link != old)
        link = &(*link)->next;
    *link = db->last = newer;
    job_take_prof(newer, old);
    job_free(old);
    return true;
}

static void add(struct chat_db *db, struct job *job)
{
    pthread_mutex_lock(&db->mutex);
    if (!replace_last(db, job)) {
        if (db->last)
            db->last->next = job;
        else
            db->first = job;
        db->last = job;
        db->n_added++;
    }
    pthread_cond_broadcast(&db->changed);
    pthread_mutex_unlock(&db->mutex);
}

void chat_db_create(struct chat_db *db, const struct chat *chat, const struct store_model *model)
{
    struct job *job = job_new(JOB_CREATE, chat->uid);
    job->chat = chat_new();
    memcpy(job->chat->uid, chat->uid, sizeof chat->uid);
    job->chat->name = chat->name ? mem_strdup(chat->name) : NULL;
    mem_free(job->chat->title);
    job->chat->title = mem_strdup(chat->title);
    job_copy_model(job, model);
    job_copy_msgs(job, chat, 0, chat->n_msgs, NULL);
    add(db, job);
}

void chat_db_put(struct chat_db *db, const struct chat *chat, int first, const unsigned char *ids_of)
{
    struct job *job = job_new(JOB_PUT, chat->uid);
    job_copy_msgs(job, chat, first, chat->n_msgs - first, ids_of);
    add(db, job);
}

void chat_db_put_one(struct chat_db *db, const struct chat *chat, int msg, const unsigned char *ids_of)
{
    struct job *job = job_new(JOB_PUT, chat->uid);
    job_copy_msgs(job, chat, msg, 1, ids_of);
    add(db, job);
}

void chat_db_put_answer(struct chat_db *db, const struct chat *chat, int msg, const unsigned char *ids_of,
                        struct kept_prof *kept)
{
    struct job *job = job_new(JOB_PUT, chat->uid);
    job_copy_msgs(job, chat, msg, 1, ids_of);
    job->rows[0].prof = kept;
    add(db, job);
}

void chat_db_set_head(struct chat_db *db, const struct chat *chat)
{
    struct job *job = job_new(JOB_PUT, chat->uid);
    job_copy_msgs(job, chat, 0, 0, NULL);
    add(db, job);
}

void chat_db_set_model(struct chat_db *db, const struct chat *chat, const struct store_model *model)
{
    struct job *job = job_new(JOB_SET_MODEL, chat->uid);
    job_copy_model(job, model);
    add(db, job);
}

void chat_db_rename(struct chat_db *db, int64_t id, const char *title)
{
    struct job *job = job_new(JOB_RENAME, NULL);
    job->id = id;
    job->text = mem_strdup(title);
    add(db, job);
}

void chat_db_delete(struct chat_db *db, int64_t id)
{
    struct job *job = job_new(JOB_DELETE, NULL);
    job->id = id;
    add(db, job);
}

void chat_db_discard(struct chat_db *db, const struct chat *chat)
{
    struct job *job = job_new(JOB_DISCARD, chat->uid);
    job->n_known = chat->n_msgs;
    add(db, job);
}

void chat_db_look(struct chat_db *db)
{
    add(db, job_new(JOB_LOOK, NULL));
}

void chat_db_forgotten_done(struct chat_db *db, const unsigned char uid[CHAT_UID_BYTES])
{
    add(db, job_new(JOB_FORGOTTEN_DONE, uid));
}

void chat_db_put_draft(struct chat_db *db, const struct chat *chat, const char *text, size_t cursor)
{
    struct job *job = job_new(JOB_PUT_DRAFT, chat ? chat->uid : NULL);
    job->text = mem_strdup(text);
    job->cursor = cursor;
    add(db, job);
}

void chat_db_list(struct chat_db *db)
{
    add(db, job_new(JOB_LIST, NULL));
}

void chat_db_load(struct chat_db *db, const struct chat_key *key)
{
    struct job *job = job_new(JOB_LOAD, NULL);
    job_copy_key(job, key);
    add(db, job);
}

void chat_db_get_prof(struct chat_db *db, int64_t msg_id)
{
    struct job *job = job_new(JOB_GET_PROF, NULL);
    job->id = msg_id;
    add(db, job);
}

bool chat_db_flush(struct chat_db *db, int limit_ms, struct err *err)
{
    struct timespec until = timed_wait_until(limit_ms);
    pthread_mutex_lock(&db->mutex);
    uint64_t target = db->n_added;
    while (db->n_done < target)
        if (pthread_cond_timedwait(&db->changed, &db->mutex, &until) == ETIMEDOUT)
            break;
    bool ok = db->n_done >= target;
    if (!ok && db->in_trouble && err)
        *err = db->trouble;
    else if (!ok)
        err_set(err, ERR_DATABASE, "%s: not everything was saved within %d ms", db->path, limit_ms);
    pthread_mutex_unlock(&db->mutex);
    return ok;
}
