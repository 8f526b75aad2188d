/* The engine's thread: loads the model, then turns one request after the other into an answer. */
#include <string.h>
#include <time.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/profiling.h"
#include "engine/turn.h"

/* First and last pause before the shelf is asked again. */
#define FIRST_RETRY_MS 5
#define LAST_RETRY_MS 10000

static void sleep_a_little(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

bool engine_send_surely(struct engine *e, const struct engine_event *event)
{
    while (!queue_push(&e->events, event)) {
        if (atomic_load(&e->closing))
            return false;
        sleep_a_little();
    }
    return true;
}

/* --- loading --- */

static bool report_loading(void *arg, uint64_t done, uint64_t total)
{
    struct engine *e = arg;
    queue_push(&e->events, &(struct engine_event){.type = ENGINE_LOADING, .done = done, .total = total});
    return !atomic_load(&e->closing);
}

static bool load(struct engine *e)
{
    struct engine_event failed = {.type = ENGINE_FAILED};
    struct engine_event ready = {.type = ENGINE_READY};
    struct load_progress progress = {report_loading, e};
    const struct model_places places = {e->options.backend, e->options.device, e->options.n_device};
    struct model *m = model_load_on(e->options.model_path, &places, &progress, &failed.error);
    speculation_init(&e->speculation, e->options.speculation);
    if (m && engine_open_timeline(e, m, &failed.error)) {
        e->before = prof_new(&timeline_prof(e->timeline)->shape, &failed.error);
        e->prof = e->before ? prof_new(&e->before->shape, &failed.error) : NULL;
    }
    if (!e->prof) {
        timeline_free(e->timeline);
        e->timeline = NULL;
        model_free(m);
        engine_send_surely(e, &failed);
        return false;
    }
    atomic_store(&e->n_ctx, timeline_n_ctx(e->timeline));
    atomic_store(&e->model, m);
    engine_name_kernels(e, m, &ready);
    return engine_send_surely(e, &ready);
}

/* --- an answer --- */

static bool begin_answer(struct turn *t, struct err *err)
{
    const struct engine_request *r = &t->job->request;
    const struct model *m = turn_model(t);
    bool is_raw = t->style == PROMPT_RAW;
    struct answer_options options = {
        .events = &t->engine->events,
        .request = t->job->number,
        .vocab = model_vocab(m),
        /* A lone BOS in front: the answer is the beginning of the text. */
        .at_start = is_raw && t->prompt.n == 1 && t->prompt.ids[0] == vocab_bos(model_vocab(m)),
        .max_tokens = t->max_new,
        .stops = (const char *const *)r->stops,
        .n_stops = r->n_stops,
        .pair = is_raw || !model_template(m) ? NULL : chat_template_pair(model_template(m)),
        .is_open = t->layout.is_open,
    };
    return answer_init(&t->answer, &options, err);
}

static bool prepare(struct turn *t, struct err *err)
{
    const struct engine_request *r = &t->job->request;
    if (!turn_build_prompt(t, NULL, err) || !turn_check_fit(t, err))
        return false;
    const struct model *m = turn_model(t);
    uint32_t n_ctx = timeline_n_ctx(t->engine->timeline);
    t->sampler = sampler_new(&r->sampler, (int32_t)model_config(m)->n_vocab, n_ctx, err);
    if (!t->sampler)
        return false;
    t->stats.seed = sampler_seed(t->sampler);
    for (size_t i = 0; i < t->prompt.n; i++)
        sampler_accept(t->sampler, t->prompt.ids[i]);
    return begin_answer(t, err) && turn_send_prompt(t, err);
}

void engine_copy_prof(struct engine *e)
{
    if (pthread_mutex_trylock(&e->prof_lock) != 0)
        return;
    prof_copy(e->prof, timeline_prof(e->timeline));
    pthread_mutex_unlock(&e->prof_lock);
}

/* The last numbers of a turn are nobody's to miss; a reader holds the lock for the time of a copy. */
static void copy_last_prof(struct engine *e)
{
    pthread_mutex_lock(&e->prof_lock);
    prof_copy(e->prof, timeline_prof(e->timeline));
    pthread_mutex_unlock(&e->prof_lock);
}

double turn_ms_since(uint64_t start_ns)
{
    return (double)(clock_now_ns() - start_ns) / 1e6;
}

/* --- timing what is outside of the timeline --- */

static void note_op(struct turn *t, enum prof_op op, uint64_t start_ns)
{
    struct profiling *p = timeline_profiling(t->engine->timeline);
    profiling_op(p, PROF_DECODE, p->prof->shape.n_layers, op, start_ns, 0);
}

/* From the end of one forward pass to the beginning of the next, or to the end of the answer. */
static void note_round(struct turn *t)
{
    profiling_wall(timeline_profiling(t->engine->timeline), PROF_DECODE, clock_now_ns() - t->round_ns);
}

/* The numbers of the token that was just computed, for those who watch. */
static void publish(struct turn *t)
{
    uint64_t start_ns = clock_now_ns();
    engine_copy_prof(t->engine);
    note_op(t, PROF_COPY, start_ns);
}

/* --- tokens --- */

/* Whether the row of the token is there already: it was guessed. */
static bool is_guessed(struct turn *t, int32_t id)
{
    int32_t guess = timeline_guess(t->engine->timeline);
    if (guess < 0)
        return false;
    speculation_judge(&t->engine->speculation, guess == id);
    t->stats.right_guesses += guess == id;
    return guess == id;
}

/* The token, and with it what is guessed to follow, as far as the answer may go on. */
static bool compute_token(struct turn *t, int32_t id, size_t n_left, struct err *err)
{
    struct timeline *timeline = t->engine->timeline;
    struct speculation *s = &t->engine->speculation;
    struct eval_control control = {.cancel = t->cancel};
    int32_t ids[1 + SPECULATION_MAX] = {id};
    size_t most = timeline_most_guesses(timeline);
    most = most < n_left - 1 ? most : n_left - 1;
    size_t n_guesses =
        speculation_guess(s, timeline_ids(timeline), timeline_length(timeline), id, most, ids + 1);
    note_round(t);
    uint64_t start_ns = clock_now_ns();
    bool ok = turn_try(t, ids, 1 + n_guesses, &control, err);
    t->round_ns = clock_now_ns();
    if (ok)
        speculation_passed(s, n_guesses, t->round_ns - start_ns);
    t->stats.guessed_tokens += ok ? (uint32_t)n_guesses : 0;
    return ok;
}

/* Logits behind the token; n_left more, at most, are wanted. */
static bool eval_token(struct turn *t, int32_t id, size_t n_left, struct err *err)
{
    if (!is_guessed(t, id))
        return compute_token(t, id, n_left, err);
    note_round(t);
    t->round_ns = clock_now_ns();
    return turn_accept(t, id, err);
}

static int32_t sample(struct turn *t)
{
    size_t n;
    const struct logit *largest = timeline_largest(t->engine->timeline, &n);
    mem_guard_enter();
    int32_t id = largest ? sampler_pick_of(t->sampler, largest, n)
                         : sampler_pick(t->sampler, timeline_logits(t->engine->timeline));
    mem_guard_leave();
    return id;
}

static bool push_token(struct turn *t, int32_t id)
{
    mem_guard_enter();
    sampler_accept(t->sampler, id);
    bool found = answer_push(&t->answer, id);
    mem_guard_leave();
    return found;
}

static enum finish_reason fail_or_cancel(const struct err *err)
{
    return err->code == ERR_CANCELLED ? FINISH_CANCELLED : FINISH_ERROR;
}

/* The end token belongs to the stored turn only where the prompt style writes it there. */
static enum finish_reason end_turn(struct turn *t, int32_t id)
{
    if (!answer_end_text(&t->answer) && (t->style == PROMPT_CHATML || t->style == PROMPT_TEMPLATE))
        answer_push_end(&t->answer, id);
    return FINISH_STOP;
}

/* The next token, number n_done of the answer, and what comes of it. False: the answer ends, *reason says
 * how. */
static bool take_token(struct turn *t, size_t n_done, int32_t *id, enum finish_reason *reason,
                       struct err *err)
{
    *id = sample(t);
    if (n_done == 0)
        t->stats.ttft_ms = turn_ms_since(t->job->submit_ns);
    if (*id < 0) {
        timeline_keep(t->engine->timeline, NULL, 0); /* no turn is to go on from such rows */
        err_set(err, ERR_RUNTIME,
                "the model gave no finite number for the next token; its file may be damaged");
        *reason = FINISH_ERROR;
        return false;
    }
    t->stats.timed_tokens = (uint32_t)n_done;
    if (vocab_is_end(model_vocab(turn_model(t)), *id)) {
        *reason = end_turn(t, *id);
        return false;
    }
    *reason = FINISH_CONTEXT;
    if (n_done == t->max_new)
        return false;
    t->stats.completion_tokens = (uint32_t)n_done + 1;
    *reason = FINISH_STOP;
    return !push_token(t, *id);
}

/* Logits are there at the top of every round. */
static enum finish_reason answer_tokens(struct turn *t, struct err *err)
{
    size_t n_predict = t->job->request.n_predict < 0 ? SIZE_MAX : (size_t)t->job->request.n_predict;
    for (size_t n_done = 0; n_done < n_predict;) {
        int32_t id;
        enum finish_reason reason;
        if (atomic_load_explicit(t->cancel, memory_order_relaxed))
            return FINISH_CANCELLED;
        uint64_t start_ns = clock_now_ns();
        bool goes_on = take_token(t, n_done, &id, &reason, err);
        note_op(t, PROF_SAMPLE, start_ns);
        publish(t);
        if (!goes_on)
            return reason;
        if (++n_done < n_predict && !eval_token(t, id, n_predict - n_done, err))
            return fail_or_cancel(err);
    }
    return FINISH_LENGTH;
}

static enum finish_reason generate(struct turn *t, struct err *err)
{
    t->round_ns = clock_now_ns();
    timeline_want(t->engine->timeline, sampler_n_needed(t->sampler));
    enum finish_reason reason = answer_tokens(t, err);
    timeline_want(t->engine->timeline, 0);
    note_round(t);
    return reason;
}

/* --- whose rows they are --- */

static void set_owner(struct engine *e, const unsigned char *owner)
{
    memcpy(e->owner, owner, KV_OWNER_BYTES);
    timeline_set_owner(e->timeline, owner);
}

/* engine_rename_owner: looked at before rows are offered that nobody waits for. */
static size_t save(struct engine *e)
{
    unsigned char owner[KV_OWNER_BYTES];
    pthread_mutex_lock(&e->owner_lock);
    bool is_renamed = memcmp(e->owner, e->owner_from, sizeof owner) == 0;
    memcpy(owner, e->owner_to, sizeof owner);
    pthread_mutex_unlock(&e->owner_lock);
    if (is_renamed)
        set_owner(e, owner);
    return timeline_save(e->timeline);
}

/* --- a turn --- */

static bool check_whole(const struct engine *e, struct err *err)
{
    return !e->is_ruined ||
           err_set(err, ERR_RUNTIME,
                   "the device that computed has failed, and the CPU could not take its place; "
                   "start again, with --backend cpu");
}

static enum finish_reason work(struct turn *t, struct err *err)
{
    if (!check_whole(t->engine, err) || !prepare(t, err) || !turn_prefill(t, err))
        return fail_or_cancel(err);
    return generate(t, err);
}

/* What was shown and what the next turn is given must agree, also where a stop cut the text. */
static void replace_ids(const struct turn *t, struct engine_event *done)
{
    struct token_list kept = {0};
    if (!answer_kept_ids(&t->answer, &kept, &done->error)) {
        done->reason = FINISH_ERROR;
        token_list_fini(&kept);
        return;
    }
    done->ids = kept.ids ? kept.ids : mem_need(sizeof *done->ids);
    done->n_ids = kept.n;
}

static void finish_answer(struct turn *t, struct engine_event *done)
{
    if (!t->answer.stop.held)
        return; /* refused before it began */
    if (answer_end_text(&t->answer))
        replace_ids(t, done);
    while (!answer_send(&t->answer) && !atomic_load(&t->engine->closing))
        sleep_a_little();
}

static void free_turn(struct turn *t)
{
    answer_fini(&t->answer);
    sampler_free(t->sampler);
    token_list_fini(&t->prompt);
    mem_free(t->starts);
    engine_request_fini(&t->job->request);
}

/* What warming has cost, one that gave way too, is not of the turn. */
static void begin_turn_prof(struct engine *e)
{
    pthread_mutex_lock(&e->prof_lock);
    prof_copy(e->prof, timeline_prof(e->timeline));
    prof_copy(e->before, e->prof);
    pthread_mutex_unlock(&e->prof_lock);
}

static void park(struct backend *backend)
{
    if (backend && backend->ops->park)
        backend->ops->park(backend->ctx);
}

static void run_turn(struct engine *e, struct engine_job *job)
{
    struct turn t = {.engine = e, .job = job, .cancel = engine_cancel_flag(e, job->number)};
    struct engine_event done = {.type = ENGINE_DONE, .request = job->number};
    set_owner(e, job->request.owner);
    timeline_set_ahead(e->timeline, job->request.warm);
    if (!job->request.warm)
        begin_turn_prof(e);
    if (job->request.warm)
        done.reason = check_whole(e, &done.error) ? turn_warm(&t, &done.error) : FINISH_ERROR;
    else
        done.reason = work(&t, &done.error);
    if (done.reason == FINISH_CANCELLED)
        err_clear(&done.error);
    if (t.prefilled_ns && !job->request.warm)
        t.stats.decode_ms = turn_ms_since(t.prefilled_ns);
    finish_answer(&t, &done);
    copy_last_prof(e);
    done.stats = t.stats;
    free_turn(&t);
    park(e->options.backend);
    park(e->options.device);
    e->n_unsaved = save(e);
    e->retry_ms = FIRST_RETRY_MS;
    if (!engine_send_surely(e, &done))
        mem_free(done.ids);
}

/* --- idle time --- */

#define IDLE_STEP_MS 50 /* between steps of what backends do then */

static bool step_idle(struct backend *backend)
{
    return backend && backend->ops->idle && backend->ops->idle(backend->ctx);
}

/* What backends have to find out; false: nothing is left. */
static bool use_idle_time(struct engine *e)
{
    return step_idle(e->options.backend) || step_idle(e->options.device);
}

static int wait_ms(const struct engine *e, bool has_idle_work)
{
    if (has_idle_work)
        return IDLE_STEP_MS;
    return e->n_unsaved ? e->retry_ms : -1;
}

/* What the shelf had no room for. While it takes none it is asked less and less often: it may be off. */
static void save_again(struct engine *e)
{
    size_t n_left = save(e);
    e->retry_ms = n_left < e->n_unsaved ? FIRST_RETRY_MS : 2 * e->retry_ms;
    e->n_unsaved = e->retry_ms <= LAST_RETRY_MS ? n_left : 0;
}

void *engine_thread_main(void *engine)
{
    struct engine *e = engine;
    struct engine_job job;
    bool has_idle_work = false; /* not before the first turn, which must not wait for it */
    if (!load(e))
        return NULL;
    while (!atomic_load(&e->closing)) {
        queue_wait(&e->jobs, wait_ms(e, has_idle_work));
        queue_clear_wake(&e->jobs);
        bool is_idle = true;
        for (; !atomic_load(&e->closing) && queue_pop(&e->jobs, &job); is_idle = false)
            run_turn(e, &job);
        if (is_idle && e->n_unsaved && !has_idle_work)
            save_again(e);
        has_idle_work = is_idle ? has_idle_work && use_idle_time(e) : true;
        if (atomic_load(&e->read_wanted))
            engine_measure(e);
    }
    save(e);
    return NULL;
}
