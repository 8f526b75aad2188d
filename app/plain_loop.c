/* plain_loop.c: a chat by lines for terminals that know no escapes (TERM=dumb, --plain). The terminal itself
 * edits the line; what is typed during an answer waits there. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "app/chat_rows.h"
#include "app/faces.h"
#include "app/loader.h"
#include "app/output.h"
#include "app/session.h"
#include "app/signals.h"
#include "app/thought.h"
#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "ui/action.h"

struct plain_loop {
    struct session session;
    struct output out;
    struct buf input; /* bytes typed, not yet a whole line */
    char *draft;      /* the unsent text that was there at the start: kept for the full screen */
    bool gave_back;   /* a refused message is stored before that */
    int signal_fd;
    bool in_thought; /* the tokens that came last were reasoning */
    bool prompt_due; /* a turn has ended: the prompt comes behind its receipt */
    bool quit, input_ended;
    int code;
};

static void say(struct plain_loop *p, const char *text)
{
    output_text(&p->out, text, strlen(text));
}

static void prompt(struct plain_loop *p)
{
    if (!p->quit)
        say(p, "> ");
    if (p->out.is_terminal)
        sanitizer_flush(&p->out.sanitizer, &p->out.bytes);
}

static void say_line(struct plain_loop *p, const char *text)
{
    say(p, text);
    output_end_line(&p->out);
}

/* Reasoning is one line; what it was is in `sessions show --json`. */
static void say_thought(struct plain_loop *p, const struct chat_msg *msg)
{
    char line[80];
    thought_line(&msg->think, line, sizeof line);
    say_line(p, line);
}

static void show_path(struct plain_loop *p)
{
    const struct chat *chat = p->session.chat;
    int path[512];
    int n = chat_path(chat, chat->head, NULL, 0);
    if (n > (int)(sizeof path / sizeof *path))
        return; /* too long to repeat on such a terminal */
    chat_path(chat, chat->head, path, n);
    for (int i = 0; i < n; i++) {
        const struct chat_msg *msg = &chat->msgs[path[i]];
        if (msg->think.len)
            say_thought(p, msg);
        say(p, msg->role == CHAT_USER ? "> " : "");
        output_text(&p->out, buf_text(&msg->text), msg->text.len);
        output_end_line(&p->out);
    }
}

/* What needs the full screen. */
static bool is_for_screens(int action)
{
    return action == ACTION_REASONING || action == ACTION_PROFILE || action == ACTION_EXPERTS;
}

static void show_help(struct plain_loop *p)
{
    char line[160];
    for (int i = 0; i < ACTION_N; i++) {
        const struct ui_action_info *info = ui_action_info(i);
        if (!*info->command || is_for_screens(i))
            continue;
        snprintf(line, sizeof line, "/%-10s %s", info->command, info->help);
        say_line(p, line);
    }
    say_line(p, "Ctrl-C stops an answer, Ctrl-D on an empty line leaves.");
}

/* There is no editor here to give a message back to: the chat keeps it as its draft until another is
 * answered. */
static void keep_unsent(struct plain_loop *p, const char *text)
{
    mem_free(session_take_back(&p->session, text, p->draft));
    p->gave_back = true;
}

static void forget_unsent(struct plain_loop *p)
{
    if (p->gave_back && p->session.draft_loose)
        session_adopt_draft(&p->session, p->draft, strlen(p->draft));
    else if (p->gave_back)
        session_put_draft(&p->session, p->draft, strlen(p->draft));
    p->gave_back = false;
}

static void switch_think(struct plain_loop *p, const char *word, enum think_mode own)
{
    char *sentence;
    session_set_think(&p->session, word, own, &sentence);
    say_line(p, sentence);
    mem_free(sentence);
}

/* ---- the tree ---- */

/* "/edit TEXT": the last message again, in other words. */
static bool edit(struct plain_loop *p, const char *text, struct err *err)
{
    const struct chat *chat = p->session.chat;
    int msg = chat->head;
    while (msg >= 0 && chat->msgs[msg].role != CHAT_USER)
        msg = chat->msgs[msg].parent;
    if (msg < 0)
        return err_set(err, ERR_RUNTIME, "There is no message to change yet.");
    if (!*text)
        return err_set(err, ERR_USAGE, "/edit TEXT says TEXT instead of your last message.");
    if (session_edit(&p->session, msg, text, strlen(text), err))
        return true;
    if (p->session.refused >= 0)
        keep_unsent(p, NULL);
    return false;
}

static bool show_branch(struct plain_loop *p, const char *which, struct err *err)
{
    int msg = session_other_branch(&p->session, *which == 'p' ? -1 : 1);
    if (msg < 0)
        return err_set(err, ERR_RUNTIME, "This chat has no other branch; /regen and /edit make one.");
    if (!session_show_branch(&p->session, msg, err))
        return false;
    show_path(p);
    return true;
}

static bool fork_chat(struct plain_loop *p, struct err *err)
{
    if (!session_fork(&p->session, -1, err))
        return false;
    p->draft[0] = '\0';
    say_line(p, "A new chat that begins with the other one, which stays as it was.");
    return true;
}

static void show_kv(struct plain_loop *p)
{
    struct buf text = {0};
    session_kv_report(&p->session, &text);
    say_line(p, buf_text(&text));
    buf_fini(&text);
}

static void run_command(struct plain_loop *p, const char *line)
{
    struct err err = {0};
    bool ok = true;
    size_t n_word = strcspn(line, " ");
    const char *argument = line + n_word + strspn(line + n_word, " ");
    switch (ui_action_of_command(line, n_word)) {
    case ACTION_QUIT:
        p->quit = true;
        break;
    case ACTION_NEW:
        session_switch(&p->session, NULL);
        p->draft[0] = '\0';
        say_line(p, "A new chat.");
        break;
    case ACTION_SESSIONS:
        if (p->session.db) {
            chat_db_list(p->session.db); /* the prompt comes behind the list */
            return;
        }
        say_line(p, "This chat is private: there are no saved chats here.");
        break;
    case ACTION_REGEN:
        ok = session_regenerate(&p->session, -1, &err);
        break;
    case ACTION_EDIT:
        ok = edit(p, argument, &err);
        break;
    case ACTION_BRANCH:
        ok = show_branch(p, argument, &err);
        break;
    case ACTION_FORK:
        ok = fork_chat(p, &err);
        break;
    case ACTION_KV:
        show_kv(p);
        break;
    case ACTION_THINK:
        switch_think(p, argument, THINK_ON);
        break;
    case ACTION_NOTHINK:
        switch_think(p, argument, THINK_OFF);
        break;
    case ACTION_HELP:
        show_help(p);
        break;
    default:
        ok = err_set(&err, ERR_USAGE, "unknown command %.40s; /help lists them", line);
    }
    if (!ok)
        say_line(p, err.text);
    if (!session_is_busy(&p->session))
        prompt(p);
}

/* What a turn or a resume cost. During an answer it waits: lines would tear that apart. */
static bool say_receipts(struct plain_loop *p)
{
    struct buf line = {0};
    bool has_said = false;
    while (!session_is_busy(&p->session) && session_next_receipt(&p->session, &line)) {
        if (!has_said && !p->prompt_due)
            output_end_line(&p->out); /* of the prompt that waits */
        say_line(p, buf_text(&line));
        buf_truncate(&line, 0);
        has_said = true;
    }
    buf_fini(&line);
    return has_said;
}

static void take_line(struct plain_loop *p, const char *bytes, size_t n)
{
    struct err err = {0};
    struct buf line = {0};
    session_hurry_receipts(&p->session);
    say_receipts(p);
    p->prompt_due = false; /* the line is there already */
    utf8_append_clean(&line, bytes, n);
    size_t escaped = line.len > 1 && line.data[0] == '/' && line.data[1] == '/'; /* "//x" says "/x" */
    if (line.len && line.data[0] == '/' && !escaped) {
        run_command(p, line.data);
    } else if (!line.len) {
        prompt(p);
    } else if (!session_say(&p->session, line.data + escaped, line.len - escaped, &err)) {
        keep_unsent(p, p->session.refused >= 0 ? NULL : line.data + escaped);
        say_line(p, err.text);
        prompt(p);
    }
    buf_fini(&line);
}

/* Whole lines, as long as nothing is being answered. */
static void take_lines(struct plain_loop *p)
{
    char *newline;
    while (!p->quit && !session_is_busy(&p->session) && p->input.len &&
           (newline = memchr(p->input.data, '\n', p->input.len))) {
        size_t n = (size_t)(newline - p->input.data);
        struct buf rest = {0};
        buf_append(&rest, newline + 1, p->input.len - n - 1);
        take_line(p, p->input.data, n);
        buf_fini(&p->input);
        p->input = rest;
    }
    if (p->input_ended && !session_is_busy(&p->session))
        p->quit = true;
}

static void read_input(struct plain_loop *p)
{
    char block[4096];
    ssize_t n = read(STDIN_FILENO, block, sizeof block);
    if (n > 0)
        buf_append(&p->input, block, (size_t)n);
    else if (n == 0 || (errno != EINTR && errno != EAGAIN))
        p->input_ended = true;
}

static void on_token(struct plain_loop *p, const struct engine_event *event)
{
    if (!event->n_text) /* a marker, or the beginning of one */
        return;
    if (p->in_thought && !event->is_reasoning)
        say_thought(p, &p->session.chat->msgs[p->session.answer]);
    p->in_thought = event->is_reasoning;
    if (!event->is_reasoning)
        output_text(&p->out, event->text, event->n_text);
}

static void on_done(struct plain_loop *p)
{
    const struct session *s = &p->session;
    if (p->in_thought)
        say_thought(p, &s->chat->msgs[s->answer]);
    else
        output_end_line(&p->out);
    p->in_thought = false;
    char no_answer[256];
    if (s->answer >= 0 && session_ended_in_thought(s, no_answer, sizeof no_answer) && *no_answer)
        say_line(p, no_answer);
    if (s->refused >= 0)
        keep_unsent(p, NULL);
    else
        forget_unsent(p);
    if (s->failure.code)
        say_line(p, s->failure.text);
    p->prompt_due = true;
}

static void say_kv_news(struct plain_loop *p)
{
    struct err why;
    bool has_said = say_receipts(p), is_idle = !session_is_busy(&p->session);
    bool in_trouble = is_idle && session_next_kv_trouble(&p->session, &why); /* never inside an answer */
    if (in_trouble && !has_said && !p->prompt_due)
        output_end_line(&p->out); /* of the prompt that waits */
    if (in_trouble)
        say_line(p, why.text);
    if (!is_idle || (p->prompt_due && p->session.n_receipts))
        return;
    if (has_said || in_trouble || p->prompt_due)
        prompt(p);
    p->prompt_due = false;
}

static void say_note(void *arg, const char *sentence)
{
    say_line(arg, sentence);
}

static void on_event(struct plain_loop *p, const struct engine_event *event)
{
    switch (event->type) {
    case ENGINE_READY:
        session_each_note(&p->session, say_note, p);
        loader_say_experts(engine_model(p->session.engine), say_note, p);
        break;
    case ENGINE_FAILED:
        say_line(p, event->error.text);
        p->code = (int)event->error.code;
        p->quit = true;
        break;
    case ENGINE_TOKEN:
        on_token(p, event);
        break;
    case ENGINE_DONE:
        on_done(p);
        break;
    case ENGINE_PROMPT:
        if (event->error.code)
            say_line(p, event->error.text);
        break;
    case ENGINE_MOVED:
        output_end_line(&p->out);
        say_line(p, event->error.text);
        break;
    case ENGINE_LOADING:
    case ENGINE_PREFILL:
    case ENGINE_MEASURED:
        break;
    }
}

static void on_signal(struct plain_loop *p)
{
    int number = signals_next(p->signal_fd);
    if (!number)
        return;
    if (number == SIGINT && session_is_busy(&p->session)) {
        session_cancel(&p->session);
        return;
    }
    p->code = signals_exit_code(number);
    p->session.in_a_hurry = number != SIGINT;
    p->quit = true;
}

static void show_list(struct plain_loop *p, const struct chat_list *list)
{
    struct buf line = {0};
    for (size_t i = 0; i < list->n; i++) {
        char *detail = chat_row_detail(&list->items[i], (int64_t)time(NULL) * 1000);
        buf_printf(&line, "%6" PRId64 "  %s  (%s)", list->items[i].id, list->items[i].title, detail);
        say_line(p, line.data);
        buf_truncate(&line, 0);
        mem_free(detail);
    }
    say_line(p, list->n ? "`ferrum-chat --resume ID` opens one." : "There are no saved chats yet.");
    buf_fini(&line);
    prompt(p);
}

static void drain_db(struct plain_loop *p)
{
    struct chat_db_event event;
    while (session_next_db_event(&p->session, &event)) {
        if (event.type == CHAT_DB_LIST)
            show_list(p, &event.list);
        if (event.type != CHAT_DB_RECOVERED && event.error.code)
            say_line(p, event.error.text);
        if (event.type == CHAT_DB_RECOVERED)
            say_line(p, "The database takes writes again; everything is saved.");
        chat_db_event_fini(&event);
    }
}

static void pump(struct plain_loop *p)
{
    struct session *s = &p->session;
    struct engine_event event;
    struct pollfd fds[] = {
        {.fd = p->signal_fd, .events = POLLIN},
        {.fd = session_engine_fd(s), .events = POLLIN},
        {.fd = session_db_fd(s), .events = POLLIN},
        {.fd = output_pending(&p->out) ? p->out.fd : -1, .events = POLLOUT},
        {.fd = session_is_busy(s) || p->input_ended ? -1 : STDIN_FILENO, .events = POLLIN},
    };
    poll(fds, sizeof fds / sizeof *fds, session_tick(s));
    on_signal(p);
    while (session_next_event(s, &event))
        on_event(p, &event);
    drain_db(p);
    say_kv_news(p);
    if (fds[3].revents)
        output_flush_some(&p->out);
    if (fds[4].revents)
        read_input(p);
    take_lines(p);
    if (p->out.error) {
        p->code = p->out.error == EPIPE || p->out.error == EIO ? 141 : ERR_RUNTIME;
        p->quit = true;
    }
}

/* At the end: a message that waited for the model, and what was typed and not yet looked at. */
static void keep_rest(struct plain_loop *p)
{
    struct buf rest = {0};
    session_stop(&p->session);
    if (p->session.refused >= 0)
        keep_unsent(p, NULL);
    utf8_append_clean(&rest, buf_text(&p->input), p->input.len);
    if (rest.len) {
        bool has_other = p->session.stored && !p->gave_back; /* than what is on disk for this chat */
        const char *before = !has_other ? p->session.draft : p->session.draft_loose ? "" : p->draft;
        char *text = session_join(before ? before : "", rest.data);
        session_put_draft(&p->session, text, strlen(text));
        mem_free(text);
    }
    buf_fini(&rest);
}

int plain_loop_run(const struct options *o, const struct paths *paths, int signal_fd)
{
    struct plain_loop p = {.signal_fd = signal_fd};
    struct err err = {0};
    output_init(&p.out, STDOUT_FILENO);
    bool ok = session_open(&p.session, o, paths, signal_fd, &err) && session_start(&p.session, &err);
    if (ok) {
        p.session.stays = true;
        p.draft = mem_strdup(p.session.draft ? p.session.draft : "");
        show_path(&p);
        prompt(&p);
    }
    while (ok && !p.quit)
        pump(&p);
    while (ok && output_pending(&p.out))
        output_flush_some(&p.out);
    if (ok)
        keep_rest(&p);
    else if (p.session.signal)
        p.code = signals_exit_code(p.session.signal);
    bool saved = session_close(&p.session, ok ? &err : NULL);
    if (!saved || (!ok && !p.code)) {
        report_line("%s", err.text);
        p.code = p.code ? p.code : (int)err.code;
    }
    mem_free(p.draft);
    output_fini(&p.out);
    buf_fini(&p.input);
    return p.code;
}
