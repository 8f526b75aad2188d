/* Owns what can be done with the tree of messages: selecting one of the path, its other branches, forks.
 *
 * While a message is selected, Up and Down (with Alt or not) go on to the next one, Left and Right show its
 * other branches, Enter and e edit a message of the user, r answers again, f forks, Esc leaves. Any other
 * text leaves the selection and goes to the editor, and so does every other editing key; scrolling, Alt keys,
 * F1, Ctrl-L and Ctrl-Z do what they always do. Only the first Alt-Up or Alt-Down asks the user's inputrc. */
#include <string.h>

#include "engine/base/mem.h"
#include "ui/sanitize.h"
#include "ui/view.h"

static void push(struct ui *ui, enum ui_event_type type, enum ui_action action, int msg)
{
    ui_push_event(ui, type, action, 0, NULL, 0);
    ui->events[ui->n_events - 1].event.msg = msg;
}

/* ---- branches ---- */

/* The sibling before (-1) or behind (1) msg, around the ends; msg itself when it has none. */
static int sibling_of(const struct chat *chat, int msg, int direction)
{
    const struct chat_msg *m = &chat->msgs[msg];
    for (int i = msg + direction;; i += direction) {
        i = i < 0 ? chat->n_msgs - 1 : i >= chat->n_msgs ? 0 : i;
        if (i == msg || (chat->msgs[i].parent == m->parent && chat->msgs[i].role == m->role))
            return i;
    }
}

static void show_sibling(struct ui *ui, int msg, int direction)
{
    int sibling = sibling_of(ui->chat, msg, direction);
    if (sibling != msg)
        push(ui, UI_BRANCH, ACTION_NONE, sibling);
    else
        ui_notice(ui, false, "this message has no other branch");
}

/* The deepest message of the path that has siblings, -1: none has. */
static int deepest_with_siblings(const struct chat *chat)
{
    int found = -1, *child = mem_need(((size_t)chat->n_msgs + 1) * sizeof *child); /* of a parent: plus 1 */
    for (int i = chat->head; i >= 0; i = chat->msgs[i].parent)
        child[chat->msgs[i].parent + 1] = i + 1;
    for (int i = 0; i < chat->n_msgs; i++) {
        int on_path = child[chat->msgs[i].parent + 1] - 1;
        if (on_path > found && on_path != i && chat->msgs[on_path].role == chat->msgs[i].role)
            found = on_path;
    }
    mem_free(child);
    return found;
}

void tree_show_branch(struct ui *ui, const char *argument, size_t n)
{
    bool previous = n == 4 && memcmp(argument, "prev", n) == 0;
    if (n > 0 && !previous && (n != 4 || memcmp(argument, "next", n) != 0)) {
        ui_notice(ui, true, "say /branch next or /branch prev");
        return;
    }
    int msg = ui->chat ? deepest_with_siblings(ui->chat) : -1;
    if (msg < 0)
        ui_notice(ui, false, "this chat has no branches yet · /edit and /regen make them");
    else
        show_sibling(ui, msg, previous ? -1 : 1);
}

void tree_fork(struct ui *ui)
{
    if (ui->chat && ui->chat->head >= 0)
        push(ui, UI_ACTION, ACTION_FORK, ui->chat->head);
    else
        ui_notice(ui, false, "there is nothing to fork yet");
}

static void edit(struct ui *ui, int msg)
{
    const struct buf *text = &ui->chat->msgs[msg].text;
    if (ui->edit.msg == msg && !editor_is_empty(ui->editor))
        transcript_select(ui->transcript, -1); /* it is being edited already */
    else
        edit_begin(ui, msg, buf_text(text), text->len);
}

void tree_edit_last(struct ui *ui, const char *words, size_t n)
{
    int msg = ui->chat ? ui->chat->head : -1;
    while (msg >= 0 && ui->chat->msgs[msg].role != CHAT_USER)
        msg = ui->chat->msgs[msg].parent;
    if (msg < 0) {
        ui_notice(ui, false, "there is no message of yours yet");
        if (n > 0)
            editor_set_text(ui->editor, words, n, n);
        return;
    }
    if (n > 0)
        ui_edit_message(ui, msg, words, n);
    else
        edit(ui, msg);
}

/* ---- keys ---- */

static void edit_selected(struct ui *ui, int msg)
{
    if (ui->chat->msgs[msg].role == CHAT_USER)
        edit(ui, msg);
    else
        ui_notice(ui, false, "an answer is not edited · r answers again");
}

static void answer_again(struct ui *ui, int msg)
{
    if (ui->chat->msgs[msg].role != CHAT_ASSISTANT) {
        ui_notice(ui, false, "r answers again: select an answer");
        return;
    }
    push(ui, UI_ACTION, ACTION_REGEN, msg);
    if (ui_is_busy(ui))
        return; /* refused: the selection stays */
    transcript_select(ui->transcript, -1);
    transcript_follow(ui->transcript);
}

static bool feed_letter(struct ui *ui, char letter, int msg)
{
    switch (letter) {
    case 'e':
        edit_selected(ui, msg);
        return true;
    case 'r':
        answer_again(ui, msg);
        return true;
    case 'f':
        push(ui, UI_ACTION, ACTION_FORK, msg);
        transcript_select(ui->transcript, -1);
        return true;
    default:
        transcript_select(ui->transcript, -1);
        return false;
    }
}

/* Control characters are editing, but for these. */
static bool feed_control(struct ui *ui, char c)
{
    if (c == CTRL_C && !ui_is_busy(ui)) {
        transcript_select(ui->transcript, -1);
        return true;
    }
    if (c != CTRL_C && c != CTRL_L && c != CTRL_Z)
        transcript_select(ui->transcript, -1);
    return false;
}

static bool feed_key(struct ui *ui, const struct input_token *token, int msg)
{
    bool plain = !(token->modifiers & ~INPUT_ALT), none = !token->modifiers;
    switch (token->key) {
    case INPUT_KEY_UP:
    case INPUT_KEY_DOWN:
        if (plain)
            transcript_select_next(ui->transcript, token->key == INPUT_KEY_UP ? -1 : 1);
        return plain;
    case INPUT_KEY_LEFT:
    case INPUT_KEY_RIGHT:
        if (plain)
            show_sibling(ui, msg, token->key == INPUT_KEY_LEFT ? -1 : 1);
        return plain;
    case INPUT_KEY_ESC:
        transcript_select(ui->transcript, -1);
        return true;
    case INPUT_KEY_CHARACTER:
        if (token->modifiers & (INPUT_ALT | INPUT_CTRL))
            return false;
        return feed_letter(ui, token->n_bytes == 1 ? token->bytes[0] : '\0', msg);
    case INPUT_KEY_CONTROL:
        return feed_control(ui, token->bytes[0]);
    case INPUT_KEY_ENTER:
        if (none) {
            edit_selected(ui, msg);
            return true;
        }
        break;
    case INPUT_KEY_HOME:
    case INPUT_KEY_END:
    case INPUT_KEY_INSERT:
    case INPUT_KEY_DELETE:
        if (none)
            break;
        return false;
    default:
        return false;
    }
    transcript_select(ui->transcript, -1);
    return false;
}

bool tree_feed(struct ui *ui, const struct input_token *token)
{
    int msg = transcript_selected(ui->transcript);
    if (msg < 0)
        return false;
    if (token->type == INPUT_KEY)
        return feed_key(ui, token, msg);
    if (token->type == INPUT_PASTE)
        transcript_select(ui->transcript, -1);
    return false;
}

/* ---- what the hairline says meanwhile ---- */

void tree_hint(const struct ui *ui, int room, struct buf *out)
{
    int number, n, position, count, msg = transcript_selected(ui->transcript);
    transcript_number(ui->transcript, msg, &number, &n);
    chat_siblings(ui->chat, msg, &position, &count);
    const char *const pieces[] = {
        ui->chat->msgs[msg].role == CHAT_USER ? " · Enter edits" : " · r answers again",
        count > 1 ? " · ←→ branches" : "",
        " · f forks",
        " · Esc",
    };
    for (int n_pieces = 4; n_pieces >= -1; n_pieces--) { /* -1: not even the word */
        buf_truncate(out, 0);
        buf_printf(out, "%s%d of %d", n_pieces >= 0 ? "message " : "", number, n);
        for (int i = 0; i < n_pieces; i++)
            buf_puts(out, pieces[i]);
        if (text_width(out->data, out->len) <= (size_t)(room > 0 ? room : 0))
            return;
    }
}
