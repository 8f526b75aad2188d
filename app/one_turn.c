/* one_turn.c: one prompt, one answer on standard output; no curses. Owns the prompt and the output queue of
 * the turn. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/faces.h"
#include "app/json_lines.h"
#include "app/loader.h"
#include "app/output.h"
#include "app/profile_table.h"
#include "app/session.h"
#include "app/signals.h"
#include "app/thought.h"
#include "engine/base/clock.h"
#include "engine/base/utf8.h"

#define SAVE_LIMIT_MS 6000
#define THINKING_EVERY_NS UINT64_C(100000000)
#define KEEP_LIMIT_MS 2000
#define SAVE_SLICE_MS 20 /* how long output and signals wait for it */
#define STDIN_MAX_BYTES ((size_t)256 << 20)

struct one_turn {
    const struct options *options;
    int signal_fd;
    bool json;
    bool profiles; /* a table on stderr at the end */
    struct session session;
    struct output out;
    struct buf prompt;
    struct err failure;
    bool db_trouble;   /* writes fail for now */
    uint64_t shown_ns; /* when the line about reasoning was written; 0: it is not there */
    int signal;        /* the first that came */
    bool in_a_hurry;   /* the second: do not wait for a reader of stdout */
};

/* ---- the prompt ---- */

/* Reads stdin to its end; a signal ends it early (false without an error text). */
static bool read_stdin(struct one_turn *t, struct buf *all, struct err *err)
{
    struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = t->signal_fd, .events = POLLIN}};
    char block[65536];
    for (;;) {
        poll(fds, 2, -1);
        if (fds[1].revents && (t->signal = signals_next(t->signal_fd)) != 0)
            return false;
        if (!fds[0].revents)
            continue;
        ssize_t n = read(STDIN_FILENO, block, sizeof block);
        if (n == 0 || (n < 0 && errno == EBADF))
            return true;
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            return err_set(err, ERR_RUNTIME, "standard input cannot be read: %s", strerror(errno));
        if (all->len + (size_t)n > STDIN_MAX_BYTES)
            return err_set(err, ERR_PROMPT,
                           "standard input holds more than %zu MiB, more than any context; give less text",
                           STDIN_MAX_BYTES >> 20);
        buf_append(all, block, (size_t)n);
    }
}

/* prompt = stdin (a newline added if it lacks one, not with --raw), then -p; always valid UTF-8. */
static bool make_prompt(struct one_turn *t, struct err *err)
{
    struct buf all = {0};
    bool ok = isatty(STDIN_FILENO) || read_stdin(t, &all, err);
    if (ok && all.len && all.data[all.len - 1] != '\n' && !opt_flag(t->options, OPT_RAW))
        buf_putc(&all, '\n');
    if (ok && opt_given(t->options, OPT_PROMPT))
        buf_puts(&all, opt_text(t->options, OPT_PROMPT));
    if (ok && !all.len)
        ok = err_set(err, ERR_USAGE, "the prompt is empty; give one with -p TEXT or on standard input");
    size_t n_bad = ok ? utf8_append_clean(&t->prompt, buf_text(&all), all.len) : 0;
    if (n_bad)
        report_line("the prompt is not valid UTF-8: %zu ill-formed places became U+FFFD", n_bad);
    buf_fini(&all);
    return ok;
}

/* ---- output ---- */

static void emit_json(struct one_turn *t, struct buf *line)
{
    output_text(&t->out, line->data, line->len);
    buf_fini(line);
}

static void say_note(void *arg, const char *sentence)
{
    (void)arg;
    report_line("%s", sentence);
}

static void on_ready(struct one_turn *t)
{
    struct session *s = &t->session;
    struct buf line = {0};
    loader_progress("loading", 1, 1);
    session_each_note(s, say_note, NULL);
    loader_say_experts(engine_model(s->engine), say_note, NULL);
    if (!t->json)
        return;
    json_line_ready(&line, s);
    json_line_user(&line, t->prompt.data, t->prompt.len);
    emit_json(t, &line);
}

/* While the model reasons there is nothing for standard output: a line that changes shows life. */
static void show_thinking(struct one_turn *t, bool is_reasoning)
{
    char text[80] = "";
    uint64_t now = clock_now_ns();
    if (is_reasoning && now - t->shown_ns < THINKING_EVERY_NS)
        return;
    if (is_reasoning)
        thought_progress(&t->session.chat->msgs[t->session.answer].think, text, sizeof text);
    if (is_reasoning || t->shown_ns)
        loader_progress_text(text);
    t->shown_ns = is_reasoning ? now : 0;
}

static void on_token(struct one_turn *t, const struct engine_event *event)
{
    loader_progress("reading the prompt", 1, 1);
    struct buf line = {0};
    if (event->n_text)
        show_thinking(t, event->is_reasoning);
    if (event->end)
        return;
    if (t->json)
        json_line_token(&line, event);
    if (t->json)
        emit_json(t, &line);
    else if (!event->is_reasoning)
        output_text(&t->out, event->text, event->n_text);
}

static void on_event(struct one_turn *t, const struct engine_event *event)
{
    switch (event->type) {
    case ENGINE_LOADING:
        loader_progress("loading", event->done, event->total);
        break;
    case ENGINE_READY:
        on_ready(t);
        break;
    case ENGINE_PREFILL:
        loader_progress("reading the prompt", event->done, event->total);
        break;
    case ENGINE_TOKEN:
        on_token(t, event);
        break;
    case ENGINE_PROMPT:
        if (event->error.code)
            report_line("%s", event->error.text);
        break;
    case ENGINE_MOVED:
        if (t->out.is_terminal)
            output_end_line(&t->out);
        report_line("%s", event->error.text);
        break;
    case ENGINE_DONE:
    case ENGINE_FAILED:
    case ENGINE_MEASURED:
        break;
    }
}

/* ---- the loop ---- */

static void on_signal(struct one_turn *t)
{
    int number = signals_next(t->signal_fd);
    if (!number)
        return;
    t->in_a_hurry = t->signal != 0;
    if (!t->signal)
        t->signal = number;
    session_cancel(&t->session);
}

static void drain_db(struct one_turn *t)
{
    struct chat_db_event event;
    while (session_next_db_event(&t->session, &event)) {
        if (event.type == CHAT_DB_TROUBLE)
            report_line("%s; trying again", event.error.text);
        bool is_told = event.type == CHAT_DB_GONE || event.type == CHAT_DB_MOVED;
        if ((event.type == CHAT_DB_CREATED && event.name_taken) || (is_told && event.error.code))
            report_line("%s", event.error.text);
        if (event.type == CHAT_DB_FAILED && !t->failure.code)
            t->failure = event.error;
        t->db_trouble |= event.type == CHAT_DB_TROUBLE;
        chat_db_event_fini(&event);
    }
}

static void pump(struct one_turn *t, int limit_ms)
{
    struct session *s = &t->session;
    struct engine_event event;
    struct pollfd fds[] = {
        {.fd = t->signal_fd, .events = POLLIN},
        {.fd = session_engine_fd(s), .events = POLLIN},
        {.fd = session_db_fd(s), .events = POLLIN},
        {.fd = output_pending(&t->out) ? t->out.fd : -1, .events = POLLOUT},
    };
    poll(fds, sizeof fds / sizeof *fds, limit_ms);
    on_signal(t);
    while (session_next_event(s, &event))
        on_event(t, &event);
    drain_db(t);
    if (fds[3].revents)
        output_flush_some(&t->out);
    if (t->out.error)
        session_cancel(s);
}

/* Who reads that the turn is finished may count on it: what says so is written after the database has it. Not
 * for ever: a database in trouble is reported at the end, and the answer is given all the same. */
static void wait_saved(struct one_turn *t)
{
    uint64_t until = clock_now_ns() + SAVE_LIMIT_MS * UINT64_C(1000000);
    while (t->session.db && !t->db_trouble && !t->in_a_hurry && clock_now_ns() < until &&
           !chat_db_flush(t->session.db, SAVE_SLICE_MS, NULL))
        pump(t, 0);
}

/* The numbers of a turn count the blocks that are still on their way to the disk. */
static void wait_kept(struct one_turn *t)
{
    uint64_t until = clock_now_ns() + KEEP_LIMIT_MS * UINT64_C(1000000);
    while (!t->signal && clock_now_ns() < until && !kv_cache_settle(&t->session.kv, SAVE_SLICE_MS))
        pump(t, 0);
}

static void run_turn(struct one_turn *t)
{
    struct session *s = &t->session;
    if (!session_say(s, t->prompt.data, t->prompt.len, &t->failure))
        return;
    while (session_is_busy(s))
        pump(t, session_tick(s));
    loader_progress("", 1, 1);
    show_thinking(t, false);
    bool has_answer = s->answer >= 0;
    wait_saved(t);
    struct buf line = {0};
    if (t->json)
        wait_kept(t);
    if (t->json && has_answer)
        json_line_assistant(&line, s);
    if (t->json && has_answer)
        emit_json(t, &line);
    char no_answer[256];
    bool in_thought = has_answer && session_ended_in_thought(s, no_answer, sizeof no_answer);
    if (in_thought && *no_answer)
        report_line("%s", no_answer);
    if (!t->json && has_answer && !in_thought)
        output_end_line(&t->out);
    if (s->failure.code && s->failure.code != ERR_CANCELLED)
        t->failure = s->failure;
    while (output_pending(&t->out) && !t->in_a_hurry)
        pump(t, -1);
    wait_kept(t);
}

static void say_statistics(const struct one_turn *t)
{
    const struct turn_stats *n = &t->session.stats;
    if (t->json || t->session.answer < 0)
        return;
    struct buf receipt = {0}, rate = {0};
    if (t->session.kv.io)
        session_receipt(&t->session, &receipt);
    if (turn_tokens_per_s(n) > 0)
        buf_printf(&rate, " at %.1f tokens/s", turn_tokens_per_s(n));
    report_line("%" PRIu32 " token%s%s (%s); prompt %" PRIu32 " tokens, %" PRIu32
                " reused, first token after %.0f ms; seed %" PRIu64 "%s%s",
                n->completion_tokens, n->completion_tokens == 1 ? "" : "s", buf_text(&rate),
                finish_reason_name(t->session.reason), n->prompt_tokens, n->reused_tokens, n->ttft_ms,
                t->session.seed, receipt.len ? "; " : "", buf_text(&receipt));
    buf_fini(&receipt);
    buf_fini(&rate);
}

static void say_profile(const struct one_turn *t)
{
    const struct engine *e = t->session.engine;
    struct prof *prof = NULL;
    struct buf table = {0};
    struct err err = {0};
    if (!t->profiles || !e || !engine_model(e))
        return;
    if (engine_prof(e, &prof, &err))
        profile_table(prof, &table);
    else
        report_line("%s", err.text);
    fputs(buf_text(&table), stderr);
    buf_fini(&table);
    prof_free(prof);
}

/* The reason that decides the exit code, most outward first. */
static int exit_code(const struct one_turn *t)
{
    if (t->signal)
        return signals_exit_code(t->signal);
    if (t->out.error == EPIPE || t->out.error == EBADF)
        return 141;
    return (int)t->failure.code;
}

static int finish(struct one_turn *t)
{
    struct err err = {0};
    struct buf line = {0};
    say_statistics(t);
    say_profile(t);
    t->session.in_a_hurry = t->signal == SIGTERM || t->signal == SIGHUP;
    bool saved = session_close(&t->session, &err);
    if (!saved && !t->failure.code)
        t->failure = err;
    if (t->out.error && t->out.error != EPIPE && t->out.error != EBADF)
        err_set(&t->failure, ERR_RUNTIME, "standard output cannot be written: %s", strerror(t->out.error));
    int code = exit_code(t);
    if (t->failure.code && (!t->signal || !saved))
        report_line("%s", t->failure.text);
    if (t->json) {
        if (t->failure.code)
            json_line_error(&line, &t->failure);
        json_line_exit(&line, code);
        emit_json(t, &line);
        while (output_pending(&t->out) && !t->in_a_hurry) {
            struct pollfd fds[] = {{.fd = t->out.fd, .events = POLLOUT},
                                   {.fd = t->signal_fd, .events = POLLIN}};
            poll(fds, 2, -1);
            t->in_a_hurry = fds[1].revents != 0;
            if (fds[0].revents)
                output_flush_some(&t->out);
        }
    }
    return exit_code(t);
}

int one_turn_run(const struct options *o, const struct paths *paths, const struct environment *env,
                 int signal_fd)
{
    struct one_turn t = {.options = o,
                         .signal_fd = signal_fd,
                         .json = opt_flag(o, OPT_JSON),
                         .profiles = env->moe_profile,
                         .session = {.asked = -1, .answer = -1, .prof_of = -1, .refused = -1}};
    output_init(&t.out, STDOUT_FILENO);
    bool ok = session_check_options(o, &t.failure) && make_prompt(&t, &t.failure) &&
              session_open(&t.session, o, paths, signal_fd, &t.failure) &&
              session_start(&t.session, &t.failure);
    if (t.session.signal)
        t.signal = t.session.signal;
    if (ok)
        run_turn(&t);
    int code = finish(&t);
    output_fini(&t.out);
    buf_fini(&t.prompt);
    return code;
}
