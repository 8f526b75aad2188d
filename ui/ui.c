/* Owns struct ui: opening and closing, the state app hands over, the queue of events, and when to wake up and
 * draw. Keys are ui_keys.c, pictures are ui_draw.c. */
#include "ui/ui.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "ui/sanitize.h"
#include "ui/stall.h"
#include "ui/terminal.h"
#include "ui/theme.h"
#include "ui/view.h"

#define FRAME_NS (1000000000u / 60)
#define DRAFT_NS 1000000000u

/* ---- life cycle ---- */

bool ui_is_possible(const char *term)
{
    return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && term && term[0] && strcmp(term, "dumb") != 0;
}

static const char *complete(void *ctx, const char *word, size_t n, int index)
{
    (void)ctx;
    return ui_action_candidate(word, n, index);
}

static bool open_parts(struct ui *ui, const struct ui_options *options, struct err *err)
{
    struct input_options input_options = {.escape_ms = options->escape_ms};
    struct editor_options editor_options = {.history_path = options->history_path, .complete = complete};
    ui->editor = editor_open(&editor_options, err);
    if (!ui->editor)
        return false;
    struct terminal_options terminal_options = {.term = options->term, .no_color = options->no_color};
    if (!terminal_open(&terminal_options, err))
        return false;
    ui->input = input_new(&input_options);
    ui->transcript = transcript_new();
    theme_init(terminal_colors());
    const char *warning = editor_warning(ui->editor);
    if (warning)
        ui_notice(ui, true, warning);
    ui->revision = ui->told_revision = editor_revision(ui->editor);
    ui_mark_dirty(ui);
    return true;
}

struct ui *ui_open(const struct ui_options *options, struct err *err)
{
    terminal_set_locale();
    struct ui *ui = mem_need(sizeof *ui);
    ui->edit.msg = -1;
    ui->panel = (struct panel){.phase = PROF_DECODE, .layer = PANEL_ALL_LAYERS};
    ui->panel_of = PANEL_OF_NOTHING;
    if (open_parts(ui, options, err))
        return ui;
    if (ui->editor)
        editor_close(ui->editor);
    mem_free(ui);
    return NULL;
}

/* What stays on the normal screen, so that the answer can still be read and copied. */
static void write_last_words(const char *text)
{
    struct buf clean = {0};
    sanitize_append(&clean, text, strlen(text));
    if (clean.len > 0 && clean.data[clean.len - 1] != '\n')
        buf_putc(&clean, '\n');
    for (size_t i = 0; i < clean.len;) {
        ssize_t n = write(STDOUT_FILENO, clean.data + i, clean.len - i);
        if (n <= 0)
            break; /* the terminal is gone: nobody to tell */
        i += (size_t)n;
    }
    buf_fini(&clean);
}

void ui_close(struct ui *ui, const char *last_words)
{
    if (!ui)
        return;
    terminal_close();
    if (last_words && last_words[0] && !ui->hung_up)
        write_last_words(last_words);
    editor_close(ui->editor);
    input_free(ui->input);
    transcript_free(ui->transcript);
    list_fini(&ui->list);
    panel_fini(&ui->panel);
    edit_forget(ui);
    for (int i = ui->first_event; i < ui->n_events; i++)
        mem_free(ui->events[i].text);
    mem_free(ui->events);
    mem_free(ui->event_text);
    mem_free(ui->notice);
    mem_free(ui);
}

void ui_restore_terminal(void)
{
    terminal_restore();
}

/* ---- events ---- */

void ui_push_event(struct ui *ui, enum ui_event_type type, enum ui_action action, int index, const char *text,
                   size_t n)
{
    if (ui->n_events == ui->cap_events) {
        ui->cap_events = ui->cap_events ? ui->cap_events * 2 : 8;
        ui->events = mem_need_resize(ui->events, (size_t)ui->cap_events, sizeof *ui->events);
    }
    struct pending_event *pending = &ui->events[ui->n_events++];
    *pending = (struct pending_event){.text = mem_strndup(text ? text : "", n)};
    pending->event = (struct ui_event){
        .type = type, .action = action, .index = index, .msg = -1, .text = pending->text, .n_text = n};
}

bool ui_next_event(struct ui *ui, struct ui_event *event)
{
    mem_free(ui->event_text);
    ui->event_text = NULL;
    if (ui->first_event == ui->n_events) {
        ui->first_event = ui->n_events = 0;
        return false;
    }
    struct pending_event *pending = &ui->events[ui->first_event++];
    *event = pending->event;
    ui->event_text = pending->text;
    return true;
}

/* The draft: told when the editor has rested for a second behind a change. */
static void watch_editor(struct ui *ui, uint64_t now)
{
    uint64_t revision = editor_revision(ui->editor);
    if (revision != ui->revision) {
        ui->revision = revision;
        ui->changed_ns = now;
    }
    if (ui->revision == ui->told_revision || now - ui->changed_ns < DRAFT_NS)
        return;
    size_t n, cursor;
    const char *text = edit_draft(ui, &n, &cursor);
    ui_push_event(ui, UI_DRAFT, ACTION_NONE, 0, text, n);
    ui->events[ui->n_events - 1].event.cursor = cursor;
    ui->told_revision = ui->revision;
}

static void hang_up(struct ui *ui)
{
    if (!ui->hung_up)
        ui_push_event(ui, UI_HANGUP, ACTION_NONE, 0, NULL, 0);
    ui->hung_up = true;
}

void ui_take_terminal_changes(struct ui *ui, unsigned changes)
{
    if (changes == 0)
        return;
    /* A terminal that shrank and grew again before we looked has the old size and other cells than ncurses
     * thinks. */
    terminal_redraw_all();
    ui_mark_dirty(ui);
}

static void read_terminal(struct ui *ui, uint64_t now)
{
    struct pollfd fd = {.fd = STDIN_FILENO, .events = POLLIN};
    if (ui->hung_up || poll(&fd, 1, 0) <= 0)
        return;
    /* What was typed before a hang-up is still read: input_read says when nothing is left. */
    if (fd.revents & (POLLIN | POLLHUP | POLLERR)) {
        if (!input_read(ui->input, STDIN_FILENO, now))
            hang_up(ui);
    } else if (fd.revents) {
        hang_up(ui);
    }
}

void ui_read_input(struct ui *ui)
{
    uint64_t now = clock_now_ns();
    ui_take_terminal_changes(ui, terminal_take_changes());
    read_terminal(ui, now);
    struct input_token token;
    while (input_next(ui->input, now, &token))
        ui_feed_token(ui, &token);
    if (editor_take_dirty(ui->editor)) {
        ui_mark_dirty(ui);
        ui->urgent = true;
    }
    watch_editor(ui, now);
    ui_panel_watch(ui);
}

int ui_poll_fds(struct ui *ui, struct pollfd fds[4])
{
    int n = 0;
    fds[n++] = (struct pollfd){.fd = terminal_fd(), .events = POLLIN};
    if (!ui->hung_up)
        fds[n++] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    return n;
}

int ui_timeout_ms(struct ui *ui)
{
    uint64_t now = clock_now_ns(), at = UINT64_MAX;
    uint64_t deadline = input_deadline_ns(ui->input);
    if (ui->first_event < ui->n_events)
        return 0;
    if (deadline != 0)
        at = deadline;
    if (ui->dirty && ui->drawn_ns + FRAME_NS < at)
        at = ui->drawn_ns + FRAME_NS;
    if (ui->revision != ui->told_revision && ui->changed_ns + DRAFT_NS < at)
        at = ui->changed_ns + DRAFT_NS;
    if (at == UINT64_MAX)
        return -1;
    return at <= now ? 0 : (int)((at - now + 999999) / 1000000);
}

/* ---- what app hands over ---- */

/* A draft that still waits to be told is of the text that goes now: app would store it with the wrong chat.
 */
static void forget_drafts(struct ui *ui)
{
    int n_kept = ui->first_event;
    for (int i = ui->first_event; i < ui->n_events; i++) {
        if (ui->events[i].event.type == UI_DRAFT)
            mem_free(ui->events[i].text);
        else
            ui->events[n_kept++] = ui->events[i];
    }
    ui->n_events = n_kept;
}

void ui_reset_editor(struct ui *ui, const char *text, size_t n, size_t cursor)
{
    editor_set_text(ui->editor, text, n, cursor);
    edit_forget(ui);
    forget_drafts(ui);
    ui->revision = ui->told_revision = editor_revision(ui->editor);
    ui_mark_dirty(ui);
}

const char *ui_editor_text(struct ui *ui, size_t *cursor)
{
    return edit_draft(ui, NULL, cursor);
}

static void copy_clean(char *out, size_t n_out, const char *text, size_t max)
{
    char *copy = mem_strndup(text, strnlen(text, max)), *clean = sanitize_line(copy);
    text_copy(out, n_out, clean);
    mem_free(clean);
    mem_free(copy);
}

/* "qwen3-0.6b-q4_k_m q4_k_m": a name that holds the type says it once. */
static void drop_repeated_word(char *model)
{
    char *last = strrchr(model, ' ');
    if (!last || last[1] == '\0')
        return;
    *last = '\0';
    if (!strcasestr(model, last + 1))
        *last = ' ';
}

bool ui_is_busy(const struct ui *ui)
{
    return ui->status.phase == UI_PREFILL || ui->status.phase == UI_GENERATING || ui->status.queued;
}

void ui_set_status(struct ui *ui, const struct ui_status *status)
{
    uint64_t now = clock_now_ns();
    struct ui_status clean = *status;
    copy_clean(clean.model, sizeof clean.model, status->model, sizeof status->model);
    drop_repeated_word(clean.model);
    copy_clean(clean.backend, sizeof clean.backend, status->backend, sizeof status->backend);
    copy_clean(clean.think, sizeof clean.think, status->think, sizeof status->think);
    if (clean.phase != ui->status.phase || clean.preparing != ui->status.preparing ||
        ui->progress.start_ns == 0)
        progress_start(&ui->progress, now);
    if (clean.phase == UI_LOADING || clean.phase == UI_PREFILL || clean.preparing)
        progress_update(&ui->progress, clean.done, clean.total, now);
    if (strcmp(clean.model, ui->status.model) != 0)
        transcript_set_model(ui->transcript, clean.model);
    ui->status = clean;
    ui_mark_dirty(ui);
}

void ui_set_chat(struct ui *ui, const struct chat *chat)
{
    edit_keep_as_draft(ui); /* its message is not in this chat */
    ui->chat = chat;
    transcript_set_chat(ui->transcript, chat);
    ui_panel_forget(ui);
    ui_mark_dirty(ui);
}

void ui_chat_changed(struct ui *ui, int msg)
{
    transcript_changed(ui->transcript, msg);
    ui_panel_watch(ui); /* the selection goes along with its branch */
    ui_mark_dirty(ui);
}

void ui_clear_notice(struct ui *ui)
{
    if (!ui->notice)
        return;
    mem_free(ui->notice);
    ui->notice = NULL;
    ui->notice_window = (struct notice_window){0};
    ui_mark_dirty(ui);
}

void ui_notice(struct ui *ui, bool is_error, const char *text)
{
    mem_free(ui->notice);
    ui->notice = sanitize_line(text);
    ui->notice_window = (struct notice_window){0};
    ui->notice_is_error = is_error;
    ui_mark_dirty(ui);
}

void ui_note(struct ui *ui, const char *text)
{
    transcript_add_note(ui->transcript, text);
    ui_mark_dirty(ui);
}

void ui_show_list(struct ui *ui, const char *heading, const struct ui_list_row *rows, int n)
{
    if (ui->overlay != OVERLAY_LIST)
        list_fini(&ui->list);
    list_set(&ui->list, heading, rows, n);
    ui->overlay = OVERLAY_LIST;
    ui_mark_dirty(ui);
}

void ui_show_help(struct ui *ui)
{
    ui->overlay = OVERLAY_HELP;
    ui->help_top = 0;
    ui_mark_dirty(ui);
}

/* ---- drawing ---- */

void ui_mark_dirty(struct ui *ui)
{
    ui->dirty = true;
}

void ui_draw(struct ui *ui)
{
    uint64_t now = clock_now_ns();
    if (!ui->dirty || ui->hung_up || (!ui->urgent && now - ui->drawn_ns < FRAME_NS))
        return;
    if (stall_takes_output(0) && ui_draw_frame(ui))
        ui->dirty = ui->urgent = false;
    ui->drawn_ns = now; /* also where nothing was: a stalled terminal is tried again a frame later */
}
