/* Owns the composition of a frame: geometry, title, transcript, editor, cursor. Everything is drawn anew into
 * ncurses' own copy of the screen; what differs is all that goes over the wire. */
#include <stdio.h>
#include <string.h>
#include <wchar.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "ui/canvas.h"
#include "ui/sanitize.h"
#include "ui/stall.h"
#include "ui/terminal.h"
#include "ui/view.h"

#define PROMPT_COLUMNS 3    /* " › " */
#define OVERLAY_LEAST_END 7 /* a box with a row or two in it, from the third row on */

/* Below 60x10: no title, no margins, no air. */
static struct ui_layout make_layout(int columns, int rows, int text_columns)
{
    bool compact = columns < UI_COMPACT_COLUMNS || rows < UI_COMPACT_ROWS;
    struct ui_layout l = {.columns = columns, .rows = rows, .text_columns = text_columns};
    l.indent = compact ? 0 : 2;
    l.left = compact ? 1 : 2;
    int room = text_columns - l.left - l.indent - (compact ? 1 : 2);
    l.measure = room > UI_MEASURE ? UI_MEASURE : room;
    if (room > UI_MEASURE)
        l.left = (text_columns - UI_MEASURE - l.indent) / 2;
    l.title_y = compact ? -1 : 0;
    l.text_y = compact ? 0 : 2;
    return l;
}

/* The editor gets what it needs up to 40 % of the screen; a free row stands below it where there is room. */
static void place_editor(struct ui_layout *l, int n_rows)
{
    int most = l->rows * 2 / 5, air = l->rows >= 16 && n_rows < most ? 1 : 0;
    l->editor_rows = n_rows < most ? n_rows : most;
    l->status_y = l->rows - 1;
    l->editor_y = l->status_y - air - l->editor_rows;
    l->rule_y = l->editor_y - 1;
    l->text_rows = l->rule_y - l->text_y;
}

static void draw_too_small(const struct ui *ui)
{
    char text[64];
    snprintf(text, sizeof text, "need %dx%d, have %dx%d", UI_MIN_COLUMNS, UI_MIN_ROWS, ui->columns, ui->rows);
    int n = (int)strlen(text), x = n < ui->columns ? (ui->columns - n) / 2 : 0;
    canvas_text(ui->rows / 2, x, ui->columns - x, LOOK_TEXT, text, (size_t)n);
    for (int used = ui->columns, y = ui->rows / 2 + 1; used < n && y < ui->rows; used += ui->columns, y++)
        canvas_text(y, 0, ui->columns, LOOK_TEXT, text + used, (size_t)(n - used));
}

static void draw_title(const struct ui *ui, const struct ui_layout *l)
{
    static const char right[] = "Alt-O chats";
    int x = 1 + canvas_label(l->title_y, 1, l->columns - 2, LOOK_TITLE, "ferrum") + 2;
    int n = (int)sizeof right - 1, end = l->columns - 1 - n;
    canvas_label(l->title_y, end, n, LOOK_DIM, right);
    if (!ui->chat)
        return;
    char *title = sanitize_line(ui->chat->title);
    canvas_label(l->title_y, x, end - x - 2, LOOK_DIM, title);
    mem_free(title);
}

static enum theme_element look_of(const struct transcript_row *row)
{
    switch (row->kind) {
    case ROW_LABEL:
        return row->is_selected ? LOOK_SELECTED : row->role == CHAT_USER ? LOOK_USER : LOOK_MODEL;
    case ROW_THINK:
    case ROW_REASON:
    case ROW_NOTE:
        return LOOK_DIM;
    case ROW_MARK:
        return row->status == CHAT_ERROR ? LOOK_ERROR : LOOK_DIM;
    case ROW_BLANK:
    case ROW_TEXT:
        break;
    }
    return LOOK_TEXT;
}

/* "‹2/3›": a message that has siblings. */
static void draw_siblings(int y, int x, int max, const struct transcript_row *row)
{
    char tag[48];
    bool ascii = wcwidth(L'‹') != 1;
    if (row->kind != ROW_LABEL || row->count < 2)
        return;
    snprintf(tag, sizeof tag, "%s%d/%d%s", ascii ? "<" : "‹", row->position, row->count, ascii ? ">" : "›");
    canvas_label(y, x + 2, max - 2, row->is_selected ? LOOK_ACCENT : LOOK_DIM, tag);
}

static void draw_row(const struct ui_layout *l, int y, const struct transcript_row *row)
{
    bool is_label = row->kind == ROW_LABEL, is_reason = row->kind == ROW_REASON;
    int x = l->left + (is_label ? 0 : l->indent), end = l->left + l->indent + l->measure;
    if (row->is_selected)
        canvas_repeat(y, l->left > 1 ? l->left - 2 : 0, 1, LOOK_ACCENT, "▌");
    if (is_reason)
        canvas_repeat(y, x, 1, LOOK_RULE, "│");
    x += (int)row->indent + (is_reason ? 2 : 0);
    int used = canvas_text(y, x, end - x, look_of(row), row->text, row->n_text);
    draw_siblings(y, x + used, end - x - used, row);
    if (row->status == CHAT_STREAMING && row->is_last_text)
        canvas_repeat(y, x + used, 1, LOOK_ACCENT, "▌");
}

static void draw_transcript(struct ui *ui, const struct ui_layout *l)
{
    struct transcript_pos pos = transcript_top(ui->transcript);
    struct transcript_row row;
    for (int y = 0; y < l->text_rows && transcript_row_at(ui->transcript, pos, &row); y++) {
        draw_row(l, l->text_y + y, &row);
        transcript_next(ui->transcript, &pos);
    }
}

/* Draws the rows of the editor that the cursor is in; returns the cursor's row on the screen. */
static int draw_editor(const struct ui_layout *l, const struct editor_view *view, int x, bool is_blank)
{
    int top = view->cursor_row >= l->editor_rows ? view->cursor_row - l->editor_rows + 1 : 0;
    canvas_label(l->editor_y, x - PROMPT_COLUMNS + 1, 1, LOOK_ACCENT, view->vi_command ? ":" : "›");
    if (is_blank)
        canvas_label(l->editor_y, x, l->columns - x - 1, LOOK_DIM,
                     "Write a message · / commands · Ctrl-J new line");
    for (int i = 0; i < l->editor_rows && top + i < view->n_rows; i++)
        canvas_text(l->editor_y + i, x, l->columns - x, LOOK_TEXT, view->rows[top + i].text,
                    view->rows[top + i].n);
    return l->editor_y + view->cursor_row - top;
}

/* A long notice takes its rows from the transcript; an overlay ends above it, unless it would be too low. */
static void place_notice(struct ui *ui, struct ui_layout *l)
{
    transcript_resize(ui->transcript, (size_t)l->measure, (size_t)l->text_rows);
    int n = notice_place(ui, rule_room(ui, l->columns), l->text_rows);
    bool low = l->rows < UI_LOW_ROWS;
    l->notice_y = l->rule_y - n;
    l->text_rows -= n;
    if (ui->panel_form == PANEL_STRIP)
        l->panel.y -= n;
    ui->overlay_top = low ? 0 : 2;
    ui->overlay_end = low ? l->rows - 1 : l->rows - 4;
    if (ui->notice && ui->overlay_end > l->notice_y)
        ui->overlay_end = l->notice_y < OVERLAY_LEAST_END ? OVERLAY_LEAST_END : l->notice_y;
}

/* The columns and rows that the panel takes from the transcript. The editor needs the width of the screen to
 * be laid out, and the panel the height that is left: so the form is chosen first, by the size alone. */
static struct ui_layout make_whole_layout(struct ui *ui, struct editor_view *view)
{
    int columns = ui->columns, side = panel_place(&ui->panel, columns, ui->rows - PANEL_OTHER_ROWS).columns;
    struct ui_layout l = make_layout(columns, ui->rows, columns - side);
    editor_layout(ui->editor, l.columns - (l.left - 2 + PROMPT_COLUMNS) - 1, view);
    place_editor(&l, view->n_rows);
    struct panel_place place = panel_place(&ui->panel, columns, l.text_rows);
    if (side > 0)
        l.panel = (struct panel_area){l.title_y + 1, columns - side, l.rule_y - l.title_y - 1, side};
    else if (place.form == PANEL_STRIP)
        l.panel = (struct panel_area){l.rule_y - place.rows, 0, place.rows, columns};
    l.text_rows -= place.form == PANEL_STRIP && side == 0 ? place.rows : 0;
    ui->panel_form = side > 0 ? PANEL_SIDE : l.panel.rows > 0 ? PANEL_STRIP : PANEL_NONE;
    return l;
}

static void draw_chat(struct ui *ui, int *cursor_y, int *cursor_x)
{
    struct editor_view view;
    struct ui_layout l = make_whole_layout(ui, &view);
    int x = l.left - 2 + PROMPT_COLUMNS;
    place_notice(ui, &l);
    ui->transcript_rows = l.text_rows;
    transcript_resize(ui->transcript, (size_t)l.measure, (size_t)l.text_rows);
    if (l.title_y >= 0)
        draw_title(ui, &l);
    if (ui->status.phase == UI_LOADING && transcript_is_empty(ui->transcript))
        loading_draw(ui, &l);
    else
        draw_transcript(ui, &l);
    if (ui->panel_form != PANEL_NONE)
        panel_draw(&ui->panel, ui->panel_form, &l.panel);
    notice_draw(ui, l.notice_y);
    rule_draw(ui, &view, l.rule_y, l.columns);
    ui->rule_y = l.rule_y;
    bool is_blank = editor_is_empty(ui->editor) && !view.searching && !view.prompt[0];
    *cursor_y = draw_editor(&l, &view, x, is_blank);
    *cursor_x = x + view.cursor_column;
    status_bar_draw(ui, l.status_y, l.columns);
}

bool ui_draw_frame(struct ui *ui)
{
    int y = 0, x = 0;
    bool has_cursor = false;
    terminal_size(&ui->columns, &ui->rows);
    erase();
    if (ui->columns < UI_MIN_COLUMNS || ui->rows < UI_MIN_ROWS) {
        draw_too_small(ui);
    } else {
        draw_chat(ui, &y, &x);
        has_cursor = ui->overlay == OVERLAY_NONE;
        if (ui->overlay == OVERLAY_LIST)
            has_cursor = overlay_list_draw(ui, &y, &x);
        else if (ui->overlay == OVERLAY_HELP)
            overlay_help_draw(ui);
        if (ui->overlay != OVERLAY_NONE)
            notice_draw(ui, ui->rule_y - ui->notice_window.rows);
        move(y, x);
    }
    wnoutrefresh(stdscr);
    stall_begin();
    curs_set(0);
    terminal_flush();
    if (has_cursor)
        curs_set(1);
    bool is_shown = stall_end();
    if (!is_shown)
        terminal_redraw_all();
    return is_shown;
}
