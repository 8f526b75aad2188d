/* The engine's thread: loads the model, then turns one request after the other into an answer. */
#include <string.h>
#include <time.h>

#include "engine/answer.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/engine_internal.h"

/* One request in work. */
struct turn {
    struct engine *engine;
    struct engine_job *job;
    struct token_list prompt; /* every token before the answer */
    size_t *starts;           /* [n_msgs] of prompt_build */
    enum prompt_style style;
    struct template_result layout;
    struct err template_error; /* the template failed in this turn */
    struct sampler *sampler;
    struct answer answer;
    struct turn_stats stats;
    size_t max_new; /* tokens the answer may have */
    uint64_t prefilled_ns;
};

static const struct model *model_of(const struct turn *t)
{
    return atomic_load(&t->engine->model);
}

static bool is_cancelled(const struct engine *e)
{
    return atomic_load_explicit(&e->cancel, memory_order_relaxed);
}

static void sleep_a_little(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* For events that must not be lost. The reader may be slow, but only closing makes it vanish: false then. */
static bool send_surely(struct engine *e, const struct engine_event *event)
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
    struct load_progress progress = {report_loading, e};
    struct model *m = model_load(e->options.model_path, e->options.backend, &progress, &failed.error);
    if (m) {
        struct timeline_options options = {.n_ctx = e->options.n_ctx, .kv_type = e->options.kv_type};
        e->timeline = timeline_new(m, &options, &failed.error);
    }
    if (!e->timeline) {
        model_free(m);
        send_surely(e, &failed);
        return false;
    }
    atomic_store(&e->n_ctx, timeline_n_ctx(e->timeline));
    atomic_store(&e->model, m);
    return send_surely(e, &(struct engine_event){.type = ENGINE_READY});
}

/* --- the prompt --- */

/* Stored ids may come from another model or a damaged database: the message is written anew then. */
static void drop_foreign_ids(struct engine_request *r, int32_t n_vocab)
{
    for (size_t i = 0; i < r->n_msgs; i++) {
        struct engine_msg *msg = &r->msgs[i];
        size_t n = 0;
        while (n < msg->n_tokens && msg->tokens[n] >= 0 && msg->tokens[n] < n_vocab)
            n++;
        if (n == msg->n_tokens)
            continue;
        log_line("message %zu of %zu: stored token %zu has the id %d, but the model has %d: its text is "
                 "tokenised again",
                 i + 1, r->n_msgs, n, msg->tokens[n], n_vocab);
        mem_free(msg->tokens);
        msg->tokens = NULL;
        msg->n_tokens = 0;
    }
}

/* A template that fails once is not asked again: a chat keeps to one layout. */
static bool lay_out(struct turn *t, const struct prompt_msg *msgs, size_t n, struct err *err)
{
    struct engine *e = t->engine;
    const struct model *m = model_of(t);
    const struct vocab *vocab = model_vocab(m);
    struct err why = {0};
    t->style = t->job->request.raw ? PROMPT_RAW : prompt_style_of(vocab);
    if (t->style != PROMPT_RAW && model_template(m) && !e->template_failed) {
        if (chat_template_build(model_template(m), msgs, n, t->job->request.think, &t->prompt, t->starts,
                                &t->layout, &why)) {
            t->style = PROMPT_TEMPLATE;
            return true;
        }
        if (why.code == ERR_MEMORY) {
            *err = why;
            return false;
        }
        e->template_failed = true;
        err_set(&t->template_error, ERR_RUNTIME,
                "the model's chat template failed (%s); %s is used from now on", why.text,
                prompt_style_name(t->style));
        log_line("%s", t->template_error.text);
    }
    return prompt_build(vocab, t->style, msgs, n, &t->prompt, t->starts, err);
}

static bool build_prompt(struct turn *t, struct err *err)
{
    struct engine_request *r = &t->job->request;
    drop_foreign_ids(r, vocab_size(model_vocab(model_of(t))));
    t->starts = mem_array(r->n_msgs, sizeof *t->starts, err);
    struct prompt_msg *msgs = t->starts ? mem_array(r->n_msgs, sizeof *msgs, err) : NULL;
    if (!msgs)
        return false;
    for (size_t i = 0; i < r->n_msgs; i++)
        msgs[i] = (struct prompt_msg){.role = r->msgs[i].role,
                                      .text = r->msgs[i].text,
                                      .n_bytes = r->msgs[i].n_bytes,
                                      .think = r->msgs[i].think,
                                      .n_think = r->msgs[i].n_think,
                                      .tokens = r->msgs[i].tokens,
                                      .n_tokens = r->msgs[i].n_tokens};
    bool ok = lay_out(t, msgs, r->n_msgs, err);
    mem_free(msgs);
    return ok;
}

/* Invariant 5: refuses before anything is changed. An answer needs a place for one token at least. */
static bool check_fit(struct turn *t, struct err *err)
{
    const struct engine_request *r = &t->job->request;
    size_t n = t->prompt.n, n_ctx = timeline_n_ctx(t->engine->timeline);
    if (n == 0)
        return err_set(err, ERR_USAGE, "the prompt is empty; write something");
    if (n + (r->n_predict != 0) > n_ctx)
        return err_set(
            err, ERR_PROMPT,
            "the prompt of %zu tokens does not fit: the context has %zu, and the answer needs one; shorten "
            "it, start a new chat or use a larger --ctx",
            n, n_ctx);
    t->max_new = n_ctx - n;
    if (r->n_predict >= 0 && (size_t)r->n_predict < t->max_new)
        t->max_new = (size_t)r->n_predict;
    return true;
}

/* Tells the app which ids the messages without any have got. */
static bool send_prompt(struct turn *t, struct err *err)
{
    const struct engine_request *r = &t->job->request;
    struct engine_event event = {.type = ENGINE_PROMPT,
                                 .request = t->job->number,
                                 .total = t->prompt.n,
                                 .n_msgs = r->n_msgs,
                                 .error = t->template_error};
    event.ids = mem_array(t->prompt.n, sizeof *event.ids, err);
    event.n_ids_of = event.ids ? mem_array(r->n_msgs, sizeof *event.n_ids_of, err) : NULL;
    if (!event.n_ids_of) {
        mem_free(event.ids);
        return false;
    }
    size_t n = 0;
    for (size_t i = 0; i < r->n_msgs; i++) {
        size_t end = i + 1 < r->n_msgs ? t->starts[i + 1] : t->prompt.n;
        if (r->msgs[i].tokens || t->layout.is_rewritten)
            continue;
        event.n_ids_of[i] = end - t->starts[i];
        memcpy(event.ids + n, t->prompt.ids + t->starts[i], event.n_ids_of[i] * sizeof *event.ids);
        n += event.n_ids_of[i];
    }
    if (send_surely(t->engine, &event))
        return true;
    mem_free(event.ids);
    mem_free(event.n_ids_of);
    return err_set(err, ERR_CANCELLED, "closing");
}

static bool begin_answer(struct turn *t, struct err *err)
{
    const struct engine_request *r = &t->job->request;
    const struct model *m = model_of(t);
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
    if (!build_prompt(t, err) || !check_fit(t, err))
        return false;
    const struct model *m = model_of(t);
    uint32_t n_ctx = timeline_n_ctx(t->engine->timeline);
    t->sampler = sampler_new(&r->sampler, (int32_t)model_config(m)->n_vocab, n_ctx, err);
    if (!t->sampler)
        return false;
    t->stats.seed = sampler_seed(t->sampler);
    for (size_t i = 0; i < t->prompt.n; i++)
        sampler_accept(t->sampler, t->prompt.ids[i]);
    return begin_answer(t, err) && send_prompt(t, err);
}

/* --- evaluation --- */

/* A reader in the way costs this snapshot, never the token: the next one brings the same numbers and more. */
static void copy_prof(struct engine *e)
{
    if (pthread_mutex_trylock(&e->prof_lock) != 0)
        return;
    e->prof = *timeline_prof(e->timeline);
    e->prof.entry[PROF_DECODE][PROF_SAMPLE] = e->sampling;
    pthread_mutex_unlock(&e->prof_lock);
}

static void report_prefill(void *arg, size_t done, size_t total)
{
    struct turn *t = arg;
    copy_prof(t->engine);
    queue_push(&t->engine->events,
               &(struct engine_event){
                   .type = ENGINE_PREFILL, .request = t->job->number, .done = done, .total = total});
}

static double ms_since(uint64_t start_ns)
{
    return (double)(clock_now_ns() - start_ns) / 1e6;
}

static bool prefill(struct turn *t, struct err *err)
{
    struct timeline *timeline = t->engine->timeline;
    uint64_t start_ns = clock_now_ns();
    size_t kept = timeline_keep(timeline, t->prompt.ids, t->prompt.n);
    t->stats.reused_tokens = t->stats.prompt_tokens = (uint32_t)kept;
    report_prefill(t, 0, t->prompt.n - kept);
    struct eval_control control = {.cancel = &t->engine->cancel, .progress = report_prefill, .arg = t};
    bool ok = timeline_eval(timeline, t->prompt.ids + kept, t->prompt.n - kept, &control, NULL, err);
    t->stats.prefilled_tokens = (uint32_t)(timeline_length(timeline) - kept);
    t->stats.prompt_tokens += t->stats.prefilled_tokens;
    t->stats.prefill_ms = ms_since(start_ns);
    t->prefilled_ns = ok ? clock_now_ns() : 0;
    return ok;
}

static bool eval_token(struct turn *t, int32_t id, struct err *err)
{
    struct eval_control control = {.cancel = &t->engine->cancel};
    return timeline_eval(t->engine->timeline, &id, 1, &control, NULL, err);
}

static int32_t sample(struct turn *t)
{
    struct prof_entry *timer = &t->engine->sampling;
    uint64_t start_ns = clock_now_ns();
    mem_guard_enter();
    int32_t id = sampler_pick(t->sampler, timeline_logits(t->engine->timeline));
    mem_guard_leave();
    timer->ns += clock_now_ns() - start_ns;
    timer->calls++;
    copy_prof(t->engine);
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

/* Logits are there at the top of every round. */
static enum finish_reason generate(struct turn *t, struct err *err)
{
    const struct vocab *vocab = model_vocab(model_of(t));
    size_t n_predict = t->job->request.n_predict < 0 ? SIZE_MAX : (size_t)t->job->request.n_predict;
    size_t n_done = 0;
    while (n_done < n_predict) {
        if (is_cancelled(t->engine))
            return FINISH_CANCELLED;
        int32_t id = sample(t);
        if (n_done == 0)
            t->stats.ttft_ms = ms_since(t->job->submit_ns);
        if (id < 0) {
            err_set(err, ERR_RUNTIME,
                    "the model gave no finite number for the next token; its file may be damaged");
            return FINISH_ERROR;
        }
        if (vocab_is_end(vocab, id))
            return end_turn(t, id);
        if (n_done == t->max_new)
            return FINISH_CONTEXT;
        t->stats.completion_tokens = (uint32_t)++n_done;
        if (push_token(t, id))
            return FINISH_STOP;
        if (n_done < n_predict && !eval_token(t, id, err))
            return fail_or_cancel(err);
    }
    return FINISH_LENGTH;
}

/* --- a turn --- */

static enum finish_reason work(struct turn *t, struct err *err)
{
    if (!prepare(t, err) || !prefill(t, err))
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

static void run_turn(struct engine *e, struct engine_job *job)
{
    struct turn t = {.engine = e, .job = job};
    struct engine_event done = {.type = ENGINE_DONE, .request = job->number};
    done.reason = work(&t, &done.error);
    if (done.reason == FINISH_CANCELLED)
        err_clear(&done.error);
    if (t.prefilled_ns)
        t.stats.decode_ms = ms_since(t.prefilled_ns);
    finish_answer(&t, &done);
    done.stats = t.stats;
    answer_fini(&t.answer);
    sampler_free(t.sampler);
    token_list_fini(&t.prompt);
    mem_free(t.starts);
    engine_request_fini(&job->request);
    struct backend *backend = e->options.backend;
    if (backend->ops->park)
        backend->ops->park(backend->ctx);
    if (!send_surely(e, &done))
        mem_free(done.ids);
}

void *engine_thread_main(void *engine)
{
    struct engine *e = engine;
    struct engine_job job;
    if (!load(e))
        return NULL;
    while (!atomic_load(&e->closing)) {
        queue_wait(&e->jobs, -1);
        queue_clear_wake(&e->jobs);
        while (!atomic_load(&e->closing) && queue_pop(&e->jobs, &job))
            run_turn(e, &job);
    }
    return NULL;
}
