/* chat_loop.c: the full-screen chat: one poll loop between the terminal, the engine, the database and
 * signals.
 *
 * Invariant: nothing here waits; a key press is drawn before the next poll. The ui borrows the chat of the
 * session, so every change of it is told to the ui in the same round. */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "app/chat_loop_parts.h"
#include "app/faces.h"
#include "app/loader.h"
#include "app/output.h"
#include "app/signals.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"

/* ---- what is shown ---- */

static void rate_count(struct rate *r)
{
    uint64_t now = clock_now_ns();
    if (!r->n)
        r->since_ns = now;
    double seconds = (double)(now - r->since_ns) / 1e9;
    if (r->n++ && (seconds >= 1 || r->shown == 0))
        r->shown = seconds > 0 ? (r->n - 1) / seconds : 0;
    if (seconds >= 1)
        r->n = 0;
}

static enum ui_phase phase_of(const struct session *s)
{
    switch (s->phase) {
    case SESSION_LOADING:
        return UI_LOADING;
    case SESSION_PREFILL:
        return UI_PREFILL;
    case SESSION_GENERATING:
        return UI_GENERATING;
    case SESSION_FAILED:
        return UI_FAILED;
    case SESSION_IDLE:
        break;
    }
    return UI_IDLE;
}

static void show_status(struct chat_loop *c)
{
    struct session *s = &c->session;
    struct ui_status status;
    memset(&status, 0, sizeof status); /* compared as bytes below */
    status.phase = phase_of(s);
    snprintf(status.model, sizeof status.model, "%.60s %s", s->model_name, s->config.quant);
    snprintf(status.backend, sizeof status.backend, "%.47s", s->kernels);
    status.preparing = status.phase == UI_IDLE && s->warming && s->warm_total > 0;
    status.done = status.preparing ? s->warm_done : s->done;
    status.total = status.preparing ? s->warm_total : s->total;
    status.ctx_used = s->ctx_used;
    status.ctx_max = s->phase == SESSION_LOADING || s->phase == SESSION_FAILED ? 0 : engine_n_ctx(s->engine);
    status.tokens_per_s = c->rate.shown;
    status.queued = s->asked >= 0 && !s->submitted;
    if (session_can_switch_think(s))
        snprintf(status.think, sizeof status.think, "%s", session_reasons(s) ? "think" : "no think");
    if (!memcmp(&status, &c->status, sizeof status))
        return;
    c->status = status;
    ui_set_status(c->ui, &status);
}

/* Back to the editor, before what has been typed since; said NULL: the refused message. */
static void take_back(struct chat_loop *c, const char *said)
{
    size_t cursor;
    char *text = session_take_back(&c->session, said, ui_editor_text(c->ui, &cursor));
    ui_reset_editor(c->ui, text, strlen(text), strlen(text));
    ui_chat_changed(c->ui, -1);
    mem_free(text);
}

/* The other form of a message that nobody answered: it is edited again. Its text is in the tree already, so
 * that it needs no draft. */
static void take_back_edit(struct chat_loop *c, int msg, const char *text, size_t n)
{
    char *copy = mem_strndup(text, n);
    session_let_go_refused(&c->session);
    ui_chat_changed(c->ui, -1);
    ui_edit_message(c->ui, msg, copy, n);
    mem_free(copy);
}

/* A turn that came to nothing: its text goes back to the editor. */
static void give_back(struct chat_loop *c)
{
    struct session *s = &c->session;
    if (s->refused < 0)
        return;
    const struct buf *text = &s->chat->msgs[s->refused].text;
    if (c->edited >= 0)
        take_back_edit(c, c->edited, buf_text(text), text->len);
    else
        take_back(c, NULL);
    if (s->failure.code)
        ui_notice(c->ui, s->failure.code != ERR_CANCELLED, s->failure.text);
}

/* ---- the KV cache ---- */

static void show_kv_news(struct chat_loop *c)
{
    struct buf line = {0};
    struct err why;
    while (session_next_receipt(&c->session, &line)) {
        ui_note(c->ui, buf_text(&line));
        buf_truncate(&line, 0);
    }
    if (session_next_kv_trouble(&c->session, &why)) {
        ui_note(c->ui, why.text);
        ui_notice(c->ui, true, why.text);
    }
    buf_fini(&line);
}

/* Receipts of what was come before what is next. */
static void show_last_news(struct chat_loop *c)
{
    session_hurry_receipts(&c->session);
    show_kv_news(c);
}

/* ---- what the user does ---- */

/* What the editor held before the edit is there again, and is the draft. */
static void send_edit(struct chat_loop *c, const struct ui_event *event)
{
    struct err err = {0};
    char *text = mem_strndup(event->text, event->n_text);
    show_last_news(c);
    if (session_edit(&c->session, event->msg, text, event->n_text, &err)) {
        c->edited = event->msg;
        chat_loop_store_draft(c);
        c->rate = (struct rate){0};
        ui_chat_changed(c->ui, -1);
    } else {
        take_back_edit(c, event->msg, text, event->n_text);
        ui_notice(c->ui, true, err.text);
    }
    mem_free(text);
}

static void send_message(struct chat_loop *c, const struct ui_event *event)
{
    if (event->msg >= 0) {
        send_edit(c, event);
        return;
    }
    struct session *s = &c->session;
    struct err err = {0};
    char *text = mem_strndup(event->text, event->n_text); /* ui's text ends with the next call to it */
    show_last_news(c);
    if (session_say(s, text, event->n_text, &err)) {
        c->edited = -1;
        session_clear_draft(s);
        c->rate = (struct rate){0};
        ui_chat_changed(c->ui, -1);
    } else {
        take_back(c, s->refused >= 0 ? NULL : text);
        ui_notice(c->ui, true, err.text);
    }
    mem_free(text);
}

static void switch_think(struct chat_loop *c, const char *word, enum think_mode own)
{
    char *sentence;
    bool ok = session_set_think(&c->session, word, own, &sentence);
    ui_notice(c->ui, !ok, sentence);
    mem_free(sentence);
}

static void show_branch(struct chat_loop *c, int msg)
{
    struct err err = {0};
    if (!session_show_branch(&c->session, msg, &err))
        ui_notice(c->ui, true, err.text);
    ui_chat_changed(c->ui, -1);
}

static void show_kv(struct chat_loop *c)
{
    struct buf text = {0};
    session_kv_report(&c->session, &text);
    ui_note(c->ui, buf_text(&text));
    buf_fini(&text);
}

static void run_action(struct chat_loop *c, const struct ui_event *event)
{
    struct session *s = &c->session;
    struct err err = {0};
    switch (event->action) {
    case ACTION_STOP:
        session_cancel(s);
        break;
    case ACTION_QUIT:
        c->quit = true;
        break;
    case ACTION_NEW:
        if (chat_loop_may_leave(c))
            chat_loop_new(c, false);
        break;
    case ACTION_SESSIONS:
        chat_loop_ask_list(c);
        break;
    case ACTION_REGEN:
        if (!session_regenerate(s, event->msg, &err))
            ui_notice(c->ui, true, err.text);
        ui_chat_changed(c->ui, -1);
        break;
    case ACTION_FORK:
        chat_loop_fork(c, event->msg);
        break;
    case ACTION_KV:
        show_kv(c);
        break;
    case ACTION_THINK:
        switch_think(c, event->text ? event->text : "", THINK_ON);
        break;
    case ACTION_NOTHINK:
        switch_think(c, event->text ? event->text : "", THINK_OFF);
        break;
    default:
        break;
    }
}

static void on_ui_event(struct chat_loop *c, const struct ui_event *event)
{
    if (event->type != UI_DRAFT && event->type != UI_PROFILE_OF)
        chat_loop_forget_list(c);
    switch (event->type) {
    case UI_SEND:
        send_message(c, event);
        break;
    case UI_ACTION:
        show_last_news(c);
        run_action(c, event);
        break;
    case UI_BRANCH:
        show_last_news(c);
        show_branch(c, event->msg);
        break;
    case UI_PICKED:
        show_last_news(c);
        chat_loop_pick(c, event->index);
        break;
    case UI_DELETE:
        chat_loop_delete(c, event->index);
        break;
    case UI_DRAFT: {
        char *text = mem_strndup(event->text, event->n_text);
        session_put_draft(&c->session, text, event->cursor);
        mem_free(text);
        break;
    }
    case UI_PROFILE_OF:
        chat_loop_profile_of(c, event->msg);
        break;
    case UI_HANGUP:
        c->quit = c->session.in_a_hurry = true;
        c->code = 129;
        break;
    }
}

/* ---- what the engine says ---- */

static void note(void *arg, const char *sentence)
{
    struct chat_loop *c = arg;
    ui_note(c->ui, sentence);
}

static void on_done(struct chat_loop *c)
{
    const struct session *s = &c->session;
    char no_answer[256];
    double per_s = turn_tokens_per_s(&s->stats);
    if (per_s > 0)
        c->rate.shown = per_s;
    if (s->answer >= 0 && session_ended_in_thought(s, no_answer, sizeof no_answer) && *no_answer)
        ui_notice(c->ui, true, no_answer);
    else if (s->reason == FINISH_CONTEXT)
        ui_notice(c->ui, true, "The context is full: the answer ends here. /new starts a new chat.");
    else if (s->reason == FINISH_ERROR && s->refused < 0)
        ui_notice(c->ui, true, s->failure.text);
    ui_chat_changed(c->ui, -1);
}

static void on_engine_event(struct chat_loop *c, const struct engine_event *event)
{
    const struct session *s = &c->session;
    switch (event->type) {
    case ENGINE_READY:
        session_each_note(s, note, c);
        loader_say_experts(engine_model(s->engine), NULL, NULL);
        break;
    case ENGINE_FAILED:
        ui_note(c->ui, event->error.text);
        ui_notice(c->ui, true, event->error.text);
        break;
    case ENGINE_TOKEN:
        if (event->token >= 0)
            rate_count(&c->rate);
        ui_chat_changed(c->ui, s->answer);
        break;
    case ENGINE_DONE:
        on_done(c);
        break;
    case ENGINE_PROMPT:
        if (event->error.code)
            ui_notice(c->ui, true, event->error.text);
        ui_chat_changed(c->ui, -1);
        break;
    case ENGINE_MOVED:
        ui_note(c->ui, event->error.text);
        ui_notice(c->ui, true, event->error.text);
        break;
    case ENGINE_LOADING:
    case ENGINE_PREFILL:
        break;
    case ENGINE_MEASURED:
        chat_loop_on_measured(c);
        break;
    }
    give_back(c);
}

/* ---- what the database says ---- */

/* A notice goes with the next key, which may come in the same moment; what it says stays in the transcript.
 */
static void say_both(struct chat_loop *c, const char *sentence)
{
    ui_note(c->ui, sentence);
    ui_notice(c->ui, true, sentence);
}

static void on_db_event(struct chat_loop *c, struct chat_db_event *event)
{
    switch (event->type) {
    case CHAT_DB_LIST:
        chat_loop_on_list(c, event);
        break;
    case CHAT_DB_LOADED:
        chat_loop_on_loaded(c, event);
        break;
    case CHAT_DB_DELETED:
        chat_loop_on_deleted(c, event->id);
        break;
    case CHAT_DB_TROUBLE:
        say_both(c, event->error.text);
        break;
    case CHAT_DB_RECOVERED:
        ui_notice(c->ui, false, "The database takes writes again; everything is saved.");
        break;
    case CHAT_DB_MOVED:
        say_both(c, event->error.text);
        break;
    case CHAT_DB_GONE:
        chat_loop_store_draft(c);
        if (event->error.code)
            say_both(c, event->error.text);
        break;
    case CHAT_DB_FAILED:
        c->awaited = AWAIT_NOTHING;
        say_both(c, event->error.text);
        break;
    case CHAT_DB_PROF:
        chat_loop_on_profile(c, event);
        break;
    case CHAT_DB_FORGET: /* the session's */
        break;
    case CHAT_DB_CREATED:
        if (event->name_taken)
            say_both(c, event->error.text);
        break;
    }
}

/* ---- the loop ---- */

static int earlier(int a_ms, int b_ms)
{
    if (a_ms < 0 || b_ms < 0)
        return a_ms < 0 ? b_ms : a_ms;
    return a_ms < b_ms ? a_ms : b_ms;
}

static void pump(struct chat_loop *c)
{
    struct session *s = &c->session;
    struct pollfd fds[7];
    int n = ui_poll_fds(c->ui, fds);
    fds[n++] = (struct pollfd){.fd = c->signal_fd, .events = POLLIN};
    fds[n++] = (struct pollfd){.fd = session_engine_fd(s), .events = POLLIN};
    fds[n++] = (struct pollfd){.fd = session_db_fd(s), .events = POLLIN};
    poll(fds, (nfds_t)n, earlier(ui_timeout_ms(c->ui), session_tick(s)));

    int number = signals_next(c->signal_fd);
    if (number) {
        c->code = signals_exit_code(number);
        c->session.in_a_hurry = number != SIGINT;
        c->quit = true;
        return;
    }
    struct ui_event ui_event;
    ui_read_input(c->ui);
    while (!c->quit && ui_next_event(c->ui, &ui_event))
        on_ui_event(c, &ui_event);
    give_back(c);
    struct engine_event event;
    while (session_next_event(s, &event))
        on_engine_event(c, &event);
    struct chat_db_event db_event;
    while (session_next_db_event(s, &db_event)) {
        on_db_event(c, &db_event);
        chat_db_event_fini(&db_event);
    }
    show_kv_news(c);
    show_status(c);
    chat_loop_profile_turn(c);
    ui_draw(c->ui);
}

static char *last_answer(const struct session *s)
{
    const struct chat *chat = s->chat;
    if (chat->head < 0 || chat->msgs[chat->head].role != CHAT_ASSISTANT)
        return NULL;
    const struct buf *text = &chat->msgs[chat->head].text;
    return text->len ? mem_strndup(text->data, text->len) : NULL;
}

static void run_screen(struct chat_loop *c)
{
    c->session.stays = true;
    chat_loop_show(c);
    show_status(c);
    ui_draw(c->ui);
    while (!c->quit)
        pump(c);
    session_stop(&c->session);
    if (c->session.refused >= 0) /* a message that waited for the model: it is there again next time */
        take_back(c, NULL);
    chat_loop_store_draft(c);
    char *last = last_answer(&c->session);
    ui_close(c->ui, last);
    mem_free(last);
    if (!c->code && c->session.phase == SESSION_FAILED) {
        report_line("%s", c->session.failure.text);
        c->code = (int)c->session.failure.code;
    }
}

int chat_loop_run(const struct options *o, const struct paths *paths, const struct environment *env,
                  int signal_fd)
{
    struct chat_loop c = {.signal_fd = signal_fd, .edited = -1};
    struct err err = {0};
    const struct ui_options ui_options = {
        .history_path = paths->history,
        .term = env->term,
        .no_color = env->no_color,
        .escape_ms = env->escape_ms,
    };
    bool ok = session_open(&c.session, o, paths, signal_fd, &err) && session_start(&c.session, &err) &&
              (c.ui = ui_open(&ui_options, &err)) != NULL;
    if (ok)
        run_screen(&c);
    else if (c.session.signal)
        c.code = signals_exit_code(c.session.signal);
    bool saved = session_close(&c.session, ok ? &err : NULL);
    if (!saved || (!ok && !c.code))
        report_line("%s", err.text);
    chat_loop_forget_list(&c);
    chat_list_fini(&c.list);
    chat_loop_profile_fini(&c);
    return c.code ? c.code : (int)err.code;
}
