/* Owns what keys mean: an open overlay gets them first, then the editor (where the user's inputrc rules), and
 * what the editor has no use for scrolls or is an action. Slash commands are read here. */
#include <string.h>

#include "engine/base/mem.h"
#include "ui/sanitize.h"
#include "ui/terminal.h"
#include "ui/view.h"

#define WHEEL_ROWS 3

static void run_action(struct ui *ui, enum ui_action action, const char *argument, size_t n)
{
    long page = ui->transcript_rows > 2 ? ui->transcript_rows - 2 : 1;
    switch (action) {
    case ACTION_HELP:
        ui_show_help(ui);
        break;
    case ACTION_PAGE_UP:
        transcript_scroll(ui->transcript, -page);
        break;
    case ACTION_PAGE_DOWN:
        transcript_scroll(ui->transcript, page);
        break;
    case ACTION_SCROLL_END:
        transcript_follow(ui->transcript);
        break;
    case ACTION_REDRAW:
        terminal_redraw_all();
        break;
    case ACTION_REASONING:
        transcript_unfold(ui->transcript, !transcript_is_unfolded(ui->transcript));
        break;
    case ACTION_SELECT_UP:
        transcript_select_next(ui->transcript, -1);
        break;
    case ACTION_SELECT_DOWN:
        transcript_select_next(ui->transcript, 1);
        break;
    case ACTION_EDIT:
        tree_edit_last(ui, argument, n);
        break;
    case ACTION_BRANCH:
        tree_show_branch(ui, argument, n);
        break;
    case ACTION_FORK:
        tree_fork(ui);
        break;
    default:
        if (!ui_panel_action(ui, action, argument, n))
            ui_push_event(ui, UI_ACTION, action, 0, argument, n);
    }
    ui_mark_dirty(ui);
}

/* "/name argument": the action, or a notice and the text back in the editor: nothing mistyped reaches the
 * model. */
static void run_command(struct ui *ui, const char *text, size_t n)
{
    size_t n_name = strcspn(text, " \t\n"), start = n_name;
    enum ui_action action = ui_action_of_command(text, n_name);
    if (action == ACTION_NONE) {
        struct buf notice = {0};
        bool is_prefix = n_name > 1 && ui_action_candidate(text, n_name, 0);
        int n_shown = n_name > 24 ? 24 : (int)n_name;
        if (is_prefix)
            buf_printf(&notice, "%.*s can be several commands · Tab lists them", n_shown, text);
        else
            buf_printf(&notice, "%.*s is no command · F1 lists them · //%.*s sends it as text", n_shown, text,
                       n_shown - 1, text + 1);
        editor_set_text(ui->editor, text, n, n);
        ui_notice(ui, true, buf_text(&notice));
        buf_fini(&notice);
        return;
    }
    while (start < n && strchr(" \t\n", text[start]))
        start++;
    while (n > start && strchr(" \t\n", text[n - 1]))
        n--;
    run_action(ui, action, text + start, n - start);
    if (action == ACTION_REGEN || action == ACTION_KV)
        transcript_follow(ui->transcript); /* what they bring comes at the end */
}

/* A message, or the edit of one, after which the draft that waited is back. */
static void send_message(struct ui *ui, const char *text, size_t n)
{
    int msg = ui->edit.msg;
    if (msg >= 0 && ui_is_busy(ui)) {
        editor_set_text(ui->editor, text, n, n);
        ui_notice(ui, true, "an answer is being written: wait for it, or stop it (Ctrl-C)");
        return;
    }
    bool slash = n > 1 && text[0] == '/' && text[1] == '/';
    ui_push_event(ui, UI_SEND, ACTION_NONE, 0, text + slash, n - slash);
    ui->events[ui->n_events - 1].event.msg = msg;
    edit_end(ui);
    transcript_follow(ui->transcript);
}

static void send(struct ui *ui, const char *text, size_t n)
{
    char *copy = mem_strndup(text, n); /* the editor's text lives until its next call */
    if (n > 0 && copy[0] == '/' && copy[1] != '/')
        run_command(ui, copy, n);
    else
        send_message(ui, copy, n);
    mem_free(copy);
}

/* Ctrl-C: stops what runs, else clears a line that holds text, else arms, and the second press quits. */
static void interrupt(struct ui *ui, bool was_armed)
{
    if (ui_is_busy(ui)) {
        ui_push_event(ui, UI_ACTION, ACTION_STOP, 0, NULL, 0);
    } else if (!editor_is_empty(ui->editor)) {
        editor_clear(ui->editor);
    } else if (edit_is_open(ui)) {
        edit_give_up(ui);
    } else if (was_armed) {
        ui_push_event(ui, UI_ACTION, ACTION_QUIT, 0, NULL, 0);
    } else {
        ui->quit_armed = true;
        ui_notice(ui, false, "press Ctrl-C again to quit");
    }
}

static bool is_alt(const struct input_token *token, char letter)
{
    return token->key == INPUT_KEY_CHARACTER && (token->modifiers & INPUT_ALT) && token->n_bytes > 0 &&
           token->bytes[token->n_bytes - 1] == letter;
}

/* What F1, F2, ... do, with the argument of the action. */
static const struct {
    enum ui_action action;
    const char *argument;
} function_keys[] = {
    {ACTION_HELP, ""},
    {ACTION_PROFILE, ""},
    {ACTION_PROFILE_VIEW, ""},
    {ACTION_PROFILE_PHASE, ""},
    {ACTION_PROFILE_PIN, ""},
    {ACTION_PROFILE_SIZE, "smaller"},
    {ACTION_PROFILE_SIZE, "larger"},
};
enum { N_FUNCTION_KEYS = (int)(sizeof function_keys / sizeof *function_keys) };

/* False: it is none of them. */
static bool feed_function_key(struct ui *ui, const struct input_token *token)
{
    int i = (int)token->key - (int)INPUT_KEY_F1;
    if (i < 0 || i >= N_FUNCTION_KEYS || token->modifiers)
        return false;
    const char *argument = function_keys[i].argument;
    run_action(ui, function_keys[i].action, argument, strlen(argument));
    return true;
}

static void feed_unbound(struct ui *ui, const struct input_token *token)
{
    if (token->type == INPUT_WHEEL)
        transcript_scroll(ui->transcript, (long)token->lines * WHEEL_ROWS);
    if (token->type != INPUT_KEY)
        return;
    bool steps = (token->modifiers & INPUT_CTRL) && ui->panel.open;
    if (feed_function_key(ui, token))
        return;
    if (steps && token->key == INPUT_KEY_UP)
        run_action(ui, ACTION_PROFILE_LAYER, "up", 2);
    else if (steps && token->key == INPUT_KEY_DOWN)
        run_action(ui, ACTION_PROFILE_LAYER, "down", 4);
    else if (token->key == INPUT_KEY_PAGE_UP)
        run_action(ui, ACTION_PAGE_UP, NULL, 0);
    else if (token->key == INPUT_KEY_PAGE_DOWN)
        run_action(ui, ACTION_PAGE_DOWN, NULL, 0);
    else if (token->key == INPUT_KEY_END && (token->modifiers & INPUT_CTRL))
        run_action(ui, ACTION_SCROLL_END, NULL, 0);
    else if (is_alt(token, 'o'))
        run_action(ui, ACTION_SESSIONS, NULL, 0);
    else if (is_alt(token, 'h'))
        run_action(ui, ACTION_REASONING, NULL, 0);
    else if (token->key == INPUT_KEY_UP && (token->modifiers & INPUT_ALT))
        run_action(ui, ACTION_SELECT_UP, NULL, 0);
    else if (token->key == INPUT_KEY_DOWN && (token->modifiers & INPUT_ALT))
        run_action(ui, ACTION_SELECT_DOWN, NULL, 0);
}

static void take_editor_event(struct ui *ui, const struct editor_event *event, bool was_armed)
{
    switch (event->type) {
    case EDITOR_SEND:
        send(ui, event->text, event->n_text);
        break;
    case EDITOR_INTERRUPT:
        interrupt(ui, was_armed);
        break;
    case EDITOR_EOF:
        ui_push_event(ui, UI_ACTION, ACTION_QUIT, 0, NULL, 0);
        break;
    case EDITOR_ESC:
        if (edit_is_open(ui))
            edit_give_up(ui);
        else if (ui_is_busy(ui) || ui->status.preparing)
            ui_push_event(ui, UI_ACTION, ACTION_STOP, 0, NULL, 0);
        break;
    case EDITOR_REDRAW:
        run_action(ui, ACTION_REDRAW, NULL, 0);
        break;
    case EDITOR_SUSPEND:
        ui_take_terminal_changes(ui, terminal_suspend());
        break;
    case EDITOR_UNBOUND:
        feed_unbound(ui, &event->token);
        break;
    case EDITOR_FLASH:
        break; /* a key that means nothing is best answered by nothing */
    case EDITOR_NOTICE:
        ui_notice(ui, false, event->text);
        break;
    }
}

static bool is_typed(const struct input_token *token)
{
    bool reply = token->type == INPUT_KEY && token->key == INPUT_KEY_OTHER;
    return token->type == INPUT_PASTE || (token->type == INPUT_KEY && !reply);
}

static void feed_editor(struct ui *ui, const struct input_token *token)
{
    bool was_armed = ui->quit_armed;
    if (is_typed(token))
        ui->quit_armed = false;
    editor_feed(ui->editor, token);
    struct editor_event event;
    while (editor_next_event(ui->editor, &event))
        take_editor_event(ui, &event, was_armed);
}

static void feed_list(struct ui *ui, const struct input_token *token)
{
    int index = 0;
    switch (list_feed(&ui->list, token, &index)) {
    case LIST_STAYS:
        break;
    case LIST_PICKED:
        ui_push_event(ui, UI_PICKED, ACTION_NONE, index, NULL, 0);
        ui->overlay = OVERLAY_NONE;
        break;
    case LIST_DELETED:
        ui_push_event(ui, UI_DELETE, ACTION_NONE, index, NULL, 0);
        break;
    case LIST_CLOSED:
        ui->overlay = OVERLAY_NONE;
        break;
    }
}

/* What writes a message closes the page and is not lost; the other keys that are none of its own only close
 * it. */
static bool is_text(const struct input_token *token)
{
    bool character = token->type == INPUT_KEY && token->key == INPUT_KEY_CHARACTER;
    return token->type == INPUT_PASTE || (character && !(token->modifiers & (INPUT_ALT | INPUT_CTRL)));
}

static void feed_help(struct ui *ui, const struct input_token *token)
{
    int page = ui->help_page > 1 ? ui->help_page - 1 : 1;
    if (token->type == INPUT_WHEEL)
        ui->help_top += token->lines * WHEEL_ROWS;
    if (is_text(token)) {
        ui->overlay = OVERLAY_NONE;
        feed_editor(ui, token);
        return;
    }
    if (token->type != INPUT_KEY)
        return;
    if (token->key == INPUT_KEY_DOWN)
        ui->help_top++;
    else if (token->key == INPUT_KEY_UP)
        ui->help_top--;
    else if (token->key == INPUT_KEY_PAGE_DOWN)
        ui->help_top += page;
    else if (token->key == INPUT_KEY_PAGE_UP)
        ui->help_top -= page;
    else if (token->key != INPUT_KEY_OTHER)
        ui->overlay = OVERLAY_NONE;
}

static bool is_control(const struct input_token *token, char byte)
{
    return token->type == INPUT_KEY && token->key == INPUT_KEY_CONTROL && token->bytes[0] == byte;
}

/* PgUp and PgDn read a notice that is longer than its rows; any other key takes it away. */
static bool feed_notice(struct ui *ui, const struct input_token *token)
{
    int direction = token->key == INPUT_KEY_PAGE_DOWN ? 1 : token->key == INPUT_KEY_PAGE_UP ? -1 : 0;
    if (token->type == INPUT_KEY && direction != 0 && notice_page(ui, direction))
        return true;
    if (is_typed(token))
        ui_clear_notice(ui);
    return false;
}

void ui_feed_token(struct ui *ui, const struct input_token *token)
{
    ui_mark_dirty(ui);
    ui->urgent = ui->urgent || token->type == INPUT_KEY;
    if (feed_notice(ui, token))
        return;
    if (is_control(token, CTRL_Z) && ui->overlay != OVERLAY_NONE)
        ui_take_terminal_changes(ui, terminal_suspend());
    else if (is_control(token, CTRL_L) && ui->overlay != OVERLAY_NONE)
        run_action(ui, ACTION_REDRAW, NULL, 0);
    else if (ui->overlay == OVERLAY_LIST)
        feed_list(ui, token);
    else if (ui->overlay == OVERLAY_HELP)
        feed_help(ui, token);
    else if (!tree_feed(ui, token))
        feed_editor(ui, token);
}
