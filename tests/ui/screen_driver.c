#include "tests/ui/screen_driver.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "tests/ui/prof_by_hand.h"

struct driver {
    struct ui *ui;
    struct chat *chat;
    int report_fd;
    struct buf pending; /* control bytes up to the next line end */
    char *last_words, *model, *mode;
    struct prof *prof; /* shown by the panel */
    bool quit;
};

static void report(const struct driver *d, const struct buf *line)
{
    if (write(d->report_fd, line->data, line->len) < 0)
        _exit(3);
}

static void report_event(const struct driver *d, const struct ui_event *event)
{
    struct buf line = {0};
    int n = (int)event->n_text;
    switch (event->type) {
    case UI_SEND:
        if (event->msg >= 0)
            buf_printf(&line, "edit %d ", event->msg);
        buf_printf(&line, "send %.*s\n", n, event->text);
        break;
    case UI_ACTION:
        if (event->msg >= 0)
            buf_printf(&line, "message %d ", event->msg);
        buf_printf(&line, "action %s %.*s\n", ui_action_info(event->action)->help, n, event->text);
        break;
    case UI_BRANCH:
        buf_printf(&line, "branch %d\n", event->msg);
        break;
    case UI_PICKED:
        buf_printf(&line, "picked %d\n", event->index);
        break;
    case UI_DELETE:
        buf_printf(&line, "delete %d\n", event->index);
        break;
    case UI_DRAFT:
        buf_printf(&line, "draft %zu %.*s\n", event->cursor, n, event->text);
        break;
    case UI_PROFILE_OF:
        buf_printf(&line, "profile of %d\n", event->msg);
        break;
    case UI_HANGUP:
        buf_puts(&line, "hangup\n");
        break;
    }
    report(d, &line);
    buf_fini(&line);
}

static void unescape(char *text)
{
    char *out = text;
    for (; *text; text++)
        if (text[0] == '\\' && text[1] == 'n') {
            *out++ = '\n';
            text++;
        } else {
            *out++ = *text;
        }
    *out = '\0';
}

static void set_status(struct driver *d, const char *text)
{
    struct ui_status status = {.model = "qwen3-0.6b q4_k_m", .backend = "cpu x2 avx2"};
    unsigned phase, queued;
    unsigned long done, total;
    if (sscanf(text, "%u %lu %lu %u %u %lf %u", &phase, &done, &total, &status.ctx_used, &status.ctx_max,
               &status.tokens_per_s, &queued) != 7)
        _exit(4);
    if (d->model)
        snprintf(status.model, sizeof status.model, "%s", d->model);
    if (d->mode)
        snprintf(status.think, sizeof status.think, "%s", d->mode);
    status.phase = (enum ui_phase)phase;
    status.done = done;
    status.total = total;
    status.queued = queued == 1;
    status.preparing = queued == 2;
    ui_set_status(d->ui, &status);
}

static void stream(struct driver *d, bool is_reasoning, const char *text)
{
    struct chat *chat = d->chat;
    bool open = chat->head >= 0 && chat->msgs[chat->head].status == CHAT_STREAMING;
    int msg = open ? chat->head : chat_add(chat, chat->head, CHAT_ASSISTANT, "", 0);
    chat->msgs[msg].status = CHAT_STREAMING;
    buf_puts(is_reasoning ? &chat->msgs[msg].think : &chat->msgs[msg].text, text);
    ui_chat_changed(d->ui, open ? msg : -1);
}

static void keep(char **place, const char *text)
{
    mem_free(*place);
    *place = mem_strdup(text);
}

static void show_list(struct driver *d, int n)
{
    static const struct ui_list_row rows[] = {
        {"How MoE routing works", "2 turns · qwen3-30b-a3b · now"},
        {"Packing list", "3 turns · qwen3-0.6b · 1 d ago"},
        {"Trip plan, Lofoten", "1 turn · qwen3-0.6b · 7 d ago"},
        {"漢字の練習 😀", "9 turns · 9 d ago"},
        {"First chat\033[31m", "1 turn · 13 d ago"},
    };
    ui_show_list(d->ui, "Chats", rows, n > 5 ? 5 : n);
}

static void add_message(struct driver *d, enum chat_role role, const char *text)
{
    chat_add(d->chat, d->chat->head, role, text, strlen(text));
    ui_chat_changed(d->ui, -1);
}

static void go_to(struct driver *d, int head)
{
    d->chat->head = head;
    ui_chat_changed(d->ui, -1);
}

static void renew_chat(struct driver *d)
{
    struct chat *old = d->chat;
    d->chat = chat_new();
    ui_set_chat(d->ui, d->chat);
    chat_free(old);
}

static void tell_timeout(struct driver *d)
{
    struct buf answer = {0};
    buf_printf(&answer, "timeout %d\n", ui_timeout_ms(d->ui));
    report(d, &answer);
    buf_fini(&answer);
}

static void tell_editor(struct driver *d, const char *word)
{
    size_t cursor;
    struct buf answer = {0};
    const char *text = ui_editor_text(d->ui, &cursor);
    buf_printf(&answer, "%s %zu %s\n", word, cursor, text);
    report(d, &answer);
    buf_fini(&answer);
}

/* What concerns the chat; false: it is none of these. */
static bool obey_chat(struct driver *d, const char *word, const char *text)
{
    if (strcmp(word, "title") == 0) {
        keep(&d->chat->title, text);
        ui_chat_changed(d->ui, -1);
    } else if (strcmp(word, "user") == 0) {
        add_message(d, CHAT_USER, text);
    } else if (strcmp(word, "answer") == 0) {
        add_message(d, CHAT_ASSISTANT, text);
    } else if (strcmp(word, "stream") == 0 || strcmp(word, "think") == 0) {
        stream(d, word[0] == 't', text);
    } else if (strcmp(word, "end") == 0) {
        d->chat->msgs[d->chat->head].status = (enum chat_status)atoi(text);
        ui_chat_changed(d->ui, d->chat->head);
    } else if (strcmp(word, "head") == 0) {
        go_to(d, atoi(text));
    } else if (strcmp(word, "renew") == 0) {
        renew_chat(d);
    } else {
        return false;
    }
    return true;
}

/* "LAYERS EXPERTS USED PREFILLED DECODED SCALE READ_GB_S TITLE"; no layers: none is there. */
static void set_profile(struct driver *d, const char *text)
{
    struct prof_shape shape;
    unsigned prefilled, decoded, scale;
    struct ui_profile profile = {0};
    int n = 0;
    if (sscanf(text, "%u %u %u %u %u %u %lf %n", &shape.n_layers, &shape.n_experts, &shape.n_used, &prefilled,
               &decoded, &scale, &profile.read_gb_s, &n) != 7)
        _exit(6);
    struct prof *old = d->prof;
    d->prof = shape.n_layers ? prof_made_by_hand(&shape, prefilled, decoded, scale) : NULL;
    profile.prof = d->prof;
    profile.title = text + n;
    ui_set_profile(d->ui, &profile);
    prof_free(old);
}

static void obey(struct driver *d, char *line)
{
    char *text = strchr(line, ' ');
    if (text)
        *text++ = '\0';
    else
        text = line + strlen(line);
    unescape(text);
    if (obey_chat(d, line, text)) {
        return;
    } else if (strcmp(line, "status") == 0) {
        set_status(d, text);
    } else if (strcmp(line, "model") == 0) {
        keep(&d->model, text);
    } else if (strcmp(line, "mode") == 0) {
        keep(&d->mode, text);
    } else if (strcmp(line, "note") == 0) {
        ui_note(d->ui, text);
    } else if (strcmp(line, "notice") == 0 || strcmp(line, "error") == 0) {
        ui_notice(d->ui, line[0] == 'e', text);
    } else if (strcmp(line, "list") == 0) {
        show_list(d, atoi(text));
    } else if (strcmp(line, "help") == 0) {
        ui_show_help(d->ui);
    } else if (strcmp(line, "reset") == 0) {
        ui_reset_editor(d->ui, text, strlen(text), strlen(text));
    } else if (strcmp(line, "refuse") == 0) {
        const char *refused = strchr(text, ' ') + 1;
        ui_edit_message(d->ui, atoi(text), refused, strlen(refused));
    } else if (strcmp(line, "profile") == 0) {
        set_profile(d, text);
    } else if (strcmp(line, "timeout") == 0) {
        tell_timeout(d);
    } else if (strcmp(line, "editor") == 0) {
        tell_editor(d, "editor");
    } else if (strcmp(line, "quit") == 0) {
        d->quit = true;
        d->last_words = mem_strdup(text);
    } else {
        _exit(5);
    }
}

static void read_control(struct driver *d, int fd)
{
    char bytes[4096], *lf;
    ssize_t n = read(fd, bytes, sizeof bytes);
    if (n <= 0) {
        d->quit = true;
        return;
    }
    buf_append(&d->pending, bytes, (size_t)n);
    while ((lf = memchr(d->pending.data, '\n', d->pending.len))) {
        size_t used = (size_t)(lf - d->pending.data) + 1;
        *lf = '\0';
        obey(d, d->pending.data);
        memmove(d->pending.data, d->pending.data + used, d->pending.len - used);
        buf_truncate(&d->pending, d->pending.len - used);
    }
}

static void run(struct driver *d, int control_fd)
{
    while (!d->quit) {
        struct pollfd fds[5];
        struct ui_event event;
        int n = ui_poll_fds(d->ui, fds);
        fds[n] = (struct pollfd){.fd = control_fd, .events = POLLIN};
        poll(fds, (nfds_t)n + 1, ui_timeout_ms(d->ui));
        ui_read_input(d->ui);
        while (ui_next_event(d->ui, &event)) {
            report_event(d, &event);
            if (event.type == UI_BRANCH)
                go_to(d, chat_newest_leaf(d->chat, event.msg));
            d->quit = d->quit || event.type == UI_HANGUP;
        }
        if (fds[n].revents)
            read_control(d, control_fd);
        ui_draw(d->ui);
    }
}

int screen_driver_run(const struct ui_options *options, int control_fd, int report_fd)
{
    struct driver d = {.report_fd = report_fd, .chat = chat_new()};
    struct err err = {0};
    signal(SIGHUP, SIG_IGN); /* app takes it through a descriptor */
    d.ui = ui_open(options, &err);
    if (!d.ui) {
        fprintf(stderr, "%s\n", err.text);
        return 2;
    }
    ui_set_chat(d.ui, d.chat);
    run(&d, control_fd);
    tell_editor(&d, "left");
    ui_close(d.ui, d.last_words);
    chat_free(d.chat);
    mem_free(d.last_words);
    mem_free(d.model);
    mem_free(d.mode);
    prof_free(d.prof);
    buf_fini(&d.pending);
    return 0;
}
