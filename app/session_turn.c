/* session_turn.c: one turn of a session: from the user's text to the last token of the answer, in the tree
 * and in chat.db (invariants in session.h). */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/sampling.h"
#include "app/session_parts.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"

#define SAVE_EVERY_NS UINT64_C(1000000000)
#define SAVE_SLOWLY_NS                                                                                       \
    (2 * SAVE_EVERY_NS) /* fewer tokens than SAVE_TOKENS are new: a save costs more than they are */
#define SAVE_TOKENS 16

bool session_is_busy(const struct session *s)
{
    return s->asked >= 0;
}

void session_count_ids(struct session *s)
{
    s->ctx_used = 0;
    for (int i = s->chat->head; i >= 0; i = s->chat->msgs[i].parent)
        s->ctx_used += (uint32_t)s->chat->msgs[i].n_tokens;
}

/* ---- asking ---- */

void session_request_from_path(const struct session *s, int msg, struct engine_request *r)
{
    const struct chat *chat = s->chat;
    int n = chat_path(chat, msg, NULL, 0);
    int *path = mem_need((size_t)n * sizeof *path);
    chat_path(chat, msg, path, n);
    r->raw = opt_flag(s->options, OPT_RAW);
    r->think = s->think;
    memcpy(r->owner, chat->uid, sizeof r->owner);
    r->n_msgs = (size_t)n;
    r->msgs = mem_need(r->n_msgs * sizeof *r->msgs);
    for (int i = 0; i < n; i++) {
        const struct chat_msg *from = &chat->msgs[path[i]];
        struct engine_msg *to = &r->msgs[i];
        *to = (struct engine_msg){.role = from->role, .n_bytes = from->text.len, .n_tokens = from->n_tokens};
        to->text = mem_strndup(buf_text(&from->text), from->text.len);
        to->n_think = from->think.len;
        to->think = to->n_think ? mem_strndup(from->think.data, to->n_think) : NULL;
        if (!from->n_tokens)
            continue;
        to->tokens = mem_need(from->n_tokens * sizeof *to->tokens);
        memcpy(to->tokens, from->tokens, from->n_tokens * sizeof *to->tokens);
    }
    mem_free(path);
}

static void set_title(struct session *s, const char *text, size_t n)
{
    mem_free(s->chat->title);
    s->chat->title = session_make_title(text, n);
    if (s->stored)
        session_store_title(s);
}

/* The head is stored by who takes the text back, after the text (session_take_back), or at the end. */
static void turn_refused(struct session *s, const struct err *why)
{
    s->failure = *why;
    s->refused = s->regenerate ? -1 : s->asked;
    s->chat->head = s->head_before;
    s->asked = -1;
    s->submitted = false;
    s->phase = s->phase == SESSION_FAILED || s->phase == SESSION_LOADING ? s->phase : SESSION_IDLE;
    if (s->title_open)
        set_title(s, "", 0);
    s->title_open = false;
    session_count_ids(s);
    log_line("turn refused: %s", why->text);
}

/* The settings of the turn depend on whether the template makes the model reason. Stored ones were in range;
 * should they not be, the former ones stay. */
static void resolve_sampling(struct session *s)
{
    struct sampling now;
    if (sampling_resolve(&now, &s->of_model[session_reasons(s)], s->options, s->chat, NULL))
        s->sampling = now;
}

static void submit(struct session *s)
{
    resolve_sampling(s);
    struct engine_request request = {
        .sampler = s->sampling.params,
        .n_predict = (int32_t)opt_int(s->options, OPT_N_PREDICT, -1),
    };
    const struct opt_value *stops = &s->options->value[OPT_STOP];
    if (!request.sampler.seed)
        request.sampler.seed = s->seed = s->seed ? s->seed : sampling_random_seed();
    s->seed = request.sampler.seed;
    session_request_from_path(s, s->asked, &request);
    request.n_stops = (size_t)stops->n_texts;
    request.stops = mem_need((request.n_stops + 1) * sizeof *request.stops);
    for (size_t i = 0; i < request.n_stops; i++)
        request.stops[i] = mem_strdup(stops->texts[i]);
    struct err why = {0};
    s->warm_due = false;
    s->submitted = engine_submit(s->engine, &request, &s->request, &why);
    if (s->submitted) {
        s->phase = SESSION_PREFILL;
        s->done = s->total = 0;
        return;
    }
    engine_request_fini(&request);
    turn_refused(s, &why);
}

static bool may_ask(const struct session *s, struct err *err)
{
    if (s->phase == SESSION_FAILED)
        return err_set(err, s->failure.code, "%s", s->failure.text);
    if (session_is_busy(s) && !s->submitted)
        return err_set(err, ERR_RUNTIME, "A message waits for the model already; this one stays here.");
    if (session_is_busy(s))
        return err_set(err, ERR_RUNTIME, "The answer is still being written; wait for it, or stop it (Esc).");
    return true;
}

static bool ask(struct session *s, struct err *err)
{
    s->answer = s->refused = -1;
    s->failure = (struct err){0};
    if (s->phase == SESSION_LOADING)
        return true; /* submitted at ENGINE_READY */
    submit(s);
    if (s->asked < 0 && err)
        *err = s->failure;
    return s->asked >= 0;
}

/* The message the new one answers to: the head, or the system message of a chat whose first turn was refused.
 * Beside a question that was never answered, not behind it. */
static int parent_of_new(struct session *s)
{
    struct chat *chat = s->chat;
    int parent = chat->head;
    if (parent >= 0 && chat->msgs[parent].role == CHAT_USER)
        parent = chat->msgs[parent].parent;
    if (parent >= 0)
        return parent;
    for (int i = 0; i < chat->n_msgs; i++)
        if (chat->msgs[i].role == CHAT_SYSTEM && chat->msgs[i].parent < 0)
            return i;
    const char *system = opt_text(s->options, OPT_SYSTEM);
    if (!system || !*system || opt_flag(s->options, OPT_RAW))
        return -1;
    return chat_add(chat, -1, CHAT_SYSTEM, system, strlen(system));
}

/* parent PARENT_OF_NEW: not known yet. */
#define PARENT_OF_NEW (-2)

bool session_say_under(struct session *s, int parent, const char *text, size_t n, struct err *err)
{
    if (!may_ask(s, err))
        return false;
    struct chat *chat = s->chat;
    int first = chat->n_msgs;
    s->head_before = chat->head;
    s->regenerate = false;
    s->seed = 0;
    s->title_open = !chat->title[0];
    if (s->title_open)
        set_title(s, text, n);
    if (parent == PARENT_OF_NEW)
        parent = parent_of_new(s);
    s->asked = chat_add(chat, parent, CHAT_USER, text, n);
    s->newborn = !s->stored;
    session_store_asked(s, first);
    return ask(s, err);
}

bool session_say(struct session *s, const char *text, size_t n, struct err *err)
{
    return session_say_under(s, PARENT_OF_NEW, text, n, err);
}

bool session_regenerate(struct session *s, int msg, struct err *err)
{
    if (!may_ask(s, err))
        return false;
    int user = msg >= 0 && msg < s->chat->n_msgs ? msg : s->chat->head;
    while (user >= 0 && s->chat->msgs[user].role != CHAT_USER)
        user = s->chat->msgs[user].parent;
    if (user < 0)
        return err_set(err, ERR_RUNTIME, "there is no message to answer again yet");
    s->head_before = s->chat->head;
    s->regenerate = true;
    s->seed = 0;
    s->asked = user;
    session_store_asked(s, -1);
    return ask(s, err);
}

void session_cancel(struct session *s)
{
    if (!session_is_busy(s)) {
        session_stop_warming(s);
        return;
    }
    if (s->submitted) {
        engine_cancel(s->engine);
        return;
    }
    struct err why = {0};
    err_set(&why, ERR_CANCELLED, "stopped before the model was loaded");
    turn_refused(s, &why);
}

/* ---- answering ---- */

/* The answer enters the tree when the engine has taken the prompt. */
static void ensure_answer(struct session *s)
{
    if (s->answer >= 0)
        return;
    s->title_open = false;
    s->answer = chat_add(s->chat, s->asked, CHAT_ASSISTANT, NULL, 0);
    s->sampling.params.seed = s->seed;
    s->chat->msgs[s->answer].status = CHAT_STREAMING;
    s->chat->msgs[s->answer].params = sampling_to_json(&s->sampling, s->think_chosen ? &s->think : NULL);
    session_put_msg(s, s->answer);
}

/* The exact ids of the messages that had none. */
static void take_prompt_ids(struct session *s, struct engine_event *event)
{
    int n = chat_path(s->chat, s->asked, NULL, 0);
    int *path = mem_need((size_t)n * sizeof *path);
    chat_path(s->chat, s->asked, path, n);
    const int32_t *ids = event->ids;
    for (size_t i = 0; i < event->n_msgs && i < (size_t)n; i++) {
        if (!event->n_ids_of[i])
            continue;
        struct chat_msg *msg = &s->chat->msgs[path[i]];
        msg->n_tokens = 0;
        chat_msg_add_tokens(msg, ids, event->n_ids_of[i]);
        ids += event->n_ids_of[i];
        session_put_msg(s, path[i]);
    }
    mem_free(path);
    mem_free(event->ids);
    mem_free(event->n_ids_of);
    event->ids = NULL;
    event->n_ids_of = NULL;
    ensure_answer(s);
    s->ctx_used =
        (uint32_t)event->total; /* not the sum of the stored ids where a template rewrites history */
}

static void take_token(struct session *s, const struct engine_event *event)
{
    ensure_answer(s);
    struct chat_msg *msg = &s->chat->msgs[s->answer];
    if (event->token >= 0)
        chat_msg_add_tokens(msg, &event->token, 1);
    buf_append(event->is_reasoning ? &msg->think : &msg->text, event->text, event->n_text);
    s->phase = SESSION_GENERATING;
    s->ctx_used += event->token >= 0;
    s->unsaved = true;
}

static char *stats_to_json(const struct session *s, const struct turn_stats *t)
{
    json_t *root =
        json_pack("{s:s, s:I, s:I, s:I, s:I, s:f, s:f, s:f}", "finish_reason", finish_reason_name(s->reason),
                  "prompt_tokens", (json_int_t)t->prompt_tokens, "reused_tokens",
                  (json_int_t)t->reused_tokens, "prefilled_tokens", (json_int_t)t->prefilled_tokens,
                  "completion_tokens", (json_int_t)t->completion_tokens, "ttft_ms", t->ttft_ms, "prefill_ms",
                  t->prefill_ms, "decode_ms", t->decode_ms);
    char *text = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(6));
    json_decref(root);
    return text;
}

static enum chat_status status_of(enum finish_reason reason)
{
    if (reason == FINISH_CANCELLED)
        return CHAT_INTERRUPTED;
    return reason == FINISH_ERROR ? CHAT_ERROR : CHAT_DONE;
}

/* Of an answer that a stop cut: the ids that agree with its text. */
static void take_answer_ids(struct session *s, struct chat_msg *msg, struct engine_event *event)
{
    if (!event->ids)
        return;
    s->ctx_used += (uint32_t)event->n_ids - (uint32_t)msg->n_tokens;
    msg->n_tokens = 0;
    chat_msg_add_tokens(msg, event->ids, event->n_ids);
    mem_free(event->ids);
    event->ids = NULL;
}

static void take_done(struct session *s, struct engine_event *event)
{
    s->reason = event->reason;
    s->stats = event->stats;
    if (s->answer < 0 && event->reason == FINISH_ERROR) {
        turn_refused(s, &event->error);
        return;
    }
    if (s->answer < 0) {
        ensure_answer(s);
        session_count_ids(s);
    }
    struct chat_msg *msg = &s->chat->msgs[s->answer];
    take_answer_ids(s, msg, event);
    msg->status = status_of(event->reason);
    msg->stats = stats_to_json(s, &event->stats);
    s->prof_of = engine_turn_prof(s->engine, &s->prof, NULL) ? s->answer : -1;
    session_put_answer(s);
    if (event->reason == FINISH_ERROR)
        s->failure = event->error;
    s->asked = -1;
    s->submitted = false;
    s->phase = SESSION_IDLE;
    session_turn_ended(s);
}

static void take_ready(struct session *s)
{
    s->load_ms = (double)(clock_now_ns() - s->opened_ns) / 1e6;
    s->phase = SESSION_IDLE;
    log_line("model %s loaded in %.0f ms", s->model_path, s->load_ms);
    if (s->asked >= 0)
        submit(s);
    else if (s->stored)
        session_warm(s, true);
}

static void take_failed(struct session *s, const struct engine_event *event)
{
    s->phase = SESSION_FAILED;
    if (s->asked >= 0)
        turn_refused(s, &event->error);
    s->failure = event->error;
    log_line("loading failed: %s", event->error.text);
}

static void take_kernels(struct session *s, const struct engine_event *event)
{
    snprintf(s->kernels, sizeof s->kernels, "%.*s", (int)event->n_text, event->text);
}

bool session_next_event(struct session *s, struct engine_event *event)
{
    do {
        if (!s->engine || !engine_next_event(s->engine, event))
            return false;
    } while (session_take_warm_event(s, event));
    switch (event->type) {
    case ENGINE_LOADING:
        s->done = event->done;
        s->total = event->total;
        break;
    case ENGINE_READY:
        take_kernels(s, event);
        take_ready(s);
        break;
    case ENGINE_MOVED:
        take_kernels(s, event);
        break;
    case ENGINE_FAILED:
        take_failed(s, event);
        break;
    case ENGINE_PROMPT:
        take_prompt_ids(s, event);
        break;
    case ENGINE_PREFILL:
        ensure_answer(s);
        s->phase = SESSION_PREFILL;
        s->done = event->done;
        s->total = event->total;
        break;
    case ENGINE_TOKEN:
        take_token(s, event);
        break;
    case ENGINE_DONE:
        take_done(s, event);
        break;
    case ENGINE_MEASURED:
        break;
    }
    return true;
}

static int answer_tick(struct session *s)
{
    if (!s->unsaved || s->answer < 0)
        return -1;
    uint64_t now = clock_now_ns();
    bool is_fast = s->chat->msgs[s->answer].n_tokens >= s->saved_tokens + SAVE_TOKENS;
    uint64_t interval = is_fast ? SAVE_EVERY_NS : SAVE_SLOWLY_NS;
    if (now - s->saved_ns >= interval) {
        session_put_msg(s, s->answer);
        return -1;
    }
    return (int)((interval - (now - s->saved_ns)) / 1000000u) + 1;
}

int session_tick(struct session *s)
{
    int answer_ms = answer_tick(s), receipt_ms = session_receipt_tick(s);
    if (answer_ms < 0 || receipt_ms < 0)
        return answer_ms < 0 ? receipt_ms : answer_ms;
    return answer_ms < receipt_ms ? answer_ms : receipt_ms;
}
