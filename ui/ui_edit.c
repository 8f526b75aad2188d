/* Owns the edit of an earlier message: its text stands in the editor, and the draft that stood there waits.
 * No text of the user is lost: what was made of the message is part of the draft that app is told, until it
 * is sent; given up, it goes into the history; and a draft that waits always comes back. */
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "ui/sanitize.h"
#include "ui/view.h"

bool edit_is_open(const struct ui *ui)
{
    return ui->edit.msg >= 0;
}

static bool is_blank(const char *text)
{
    return text[strspn(text, " \t\n")] == '\0';
}

/* Whether the editor holds what the chat does not. */
static bool is_changed(struct ui *ui)
{
    const char *text = editor_text(ui->editor, NULL, NULL);
    return !is_blank(text) && strcmp(text, ui->edit.original) != 0;
}

const char *edit_draft(struct ui *ui, size_t *n, size_t *cursor)
{
    struct edit *e = &ui->edit;
    size_t n_text, at;
    bool is_open = edit_is_open(ui), changed = is_open && is_changed(ui);
    const char *text = editor_text(ui->editor, &n_text, &at);
    buf_truncate(&e->draft, 0);
    if (is_open)
        buf_puts(&e->draft, e->stash);
    if (changed && is_blank(e->stash))
        buf_truncate(&e->draft, 0);
    else if (changed)
        buf_puts(&e->draft, "\n\n");
    if (changed || !is_open) {
        at += e->draft.len;
        buf_append(&e->draft, text, n_text);
    } else {
        at = e->stash_cursor;
    }
    if (n)
        *n = e->draft.len;
    if (cursor)
        *cursor = at;
    return buf_text(&e->draft);
}

void edit_forget(struct ui *ui)
{
    mem_free(ui->edit.original);
    mem_free(ui->edit.stash);
    buf_fini(&ui->edit.draft);
    ui->edit = (struct edit){.msg = -1};
}

void edit_begin(struct ui *ui, int msg, const char *text, size_t n)
{
    size_t cursor;
    char *stash = mem_strdup(edit_draft(ui, NULL, &cursor)); /* with what another edit has made */
    struct buf escaped = {0};
    if (n > 0 && text[0] == '/')
        buf_putc(&escaped, '/'); /* it was sent as a message, and is one again */
    buf_append(&escaped, text, n);
    edit_forget(ui);
    editor_set_text(ui->editor, buf_text(&escaped), escaped.len, escaped.len);
    ui->edit = (struct edit){.msg = msg, .stash = stash, .stash_cursor = cursor};
    ui->edit.original = mem_strdup(editor_text(ui->editor, NULL, NULL));
    transcript_select(ui->transcript, -1);
    buf_fini(&escaped);
    ui_mark_dirty(ui);
}

void ui_edit_message(struct ui *ui, int msg, const char *text, size_t n)
{
    edit_begin(ui, msg, text, n);
    ui->edit.original[0] = '\0'; /* the chat does not hold it */
}

void edit_end(struct ui *ui)
{
    if (!edit_is_open(ui))
        return;
    editor_set_text(ui->editor, ui->edit.stash, strlen(ui->edit.stash), ui->edit.stash_cursor);
    edit_forget(ui);
    ui_mark_dirty(ui);
}

void edit_give_up(struct ui *ui)
{
    size_t n;
    bool changed = is_changed(ui);
    const char *text = editor_text(ui->editor, &n, NULL);
    char *copy = mem_strndup(text, n);
    if (changed) {
        editor_add_history(ui->editor, copy, n);
        ui_notice(ui, false, "the edit is given up · its text is in the history (Up)");
    }
    mem_free(copy);
    edit_end(ui);
}

void edit_keep_as_draft(struct ui *ui)
{
    if (!edit_is_open(ui))
        return;
    size_t n, cursor;
    char *text = mem_strdup(edit_draft(ui, &n, &cursor));
    editor_set_text(ui->editor, text, n, cursor);
    edit_forget(ui);
    mem_free(text);
}

void edit_hint(const struct ui *ui, int room, struct buf *out)
{
    int number, n;
    transcript_number(ui->transcript, ui->edit.msg, &number, &n);
    char what[32] = "editing another branch";
    if (number > 0)
        snprintf(what, sizeof what, "editing message %d", number);
    static const char *const how[] = {" · Enter sends it as a new branch · Esc gives up",
                                      " · Enter sends · Esc gives up", " · Esc"};
    for (size_t i = 0; i < sizeof how / sizeof *how; i++) {
        buf_truncate(out, 0);
        buf_printf(out, "%s%s", what, how[i]);
        if (text_width(out->data, out->len) <= (size_t)(room > 0 ? room : 0))
            break;
    }
}
