/* editor_layout.c: the line as rows of a width, and the cursor among them. Columns are those of wcwidth,
 * which is what ncurses lays cells out with. */
#include "ui/editor_state.h"

#include <stdio.h>
#include <string.h>
#include <wchar.h>

#include <readline/readline.h>
#include <utf8proc.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"

#define TAB_COLUMNS 8
#define DEFAULT_WIDTH 80
#define MAX_MARKS 4 /* ncurses keeps four on a base */
#define CONTROL_PICTURES 0x2400u
#define DELETE_PICTURE 0x2421u

struct walk {
    struct editor_lines *out;
    int column, n_marks;
    bool wants_cursor; /* the next shown character is the one the cursor stands on */
};

static void new_row(struct walk *w, size_t source)
{
    struct editor_lines *out = w->out;
    if (out->n_rows > 0) {
        struct editor_row_span *row = &out->rows[out->n_rows - 1];
        row->n = out->cells.len - row->text;
        row->columns = w->column;
        row->source_end = source;
    }
    if (out->n_rows == out->cap_rows) {
        out->cap_rows = out->cap_rows ? 2 * out->cap_rows : 16;
        out->rows = mem_need_resize(out->rows, (size_t)out->cap_rows, sizeof *out->rows);
    }
    out->rows[out->n_rows++] = (struct editor_row_span){.text = out->cells.len, .source = source};
    w->column = 0;
    w->n_marks = MAX_MARKS; /* no base to stand on yet */
}

static void mark_cursor(struct walk *w)
{
    w->out->cursor_row = w->out->n_rows - 1;
    w->out->cursor_column = w->column;
    w->wants_cursor = false;
}

/* Puts one shown character; what does not fit into the row begins the next. */
static void put(struct walk *w, uint32_t c, int columns, size_t source)
{
    if (w->column + columns > w->out->width)
        new_row(w, source);
    if (w->wants_cursor)
        mark_cursor(w);
    char bytes[UTF8_MAX_BYTES];
    buf_append(&w->out->cells, bytes, utf8_encode(c, bytes));
    w->column += columns;
    w->n_marks = 0;
}

static void put_mark(struct walk *w, uint32_t c)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    bool mark = category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_ME;
    bool selector = (c >= 0xFE00 && c <= 0xFE0F) || c == 0x20E3 || (c >= 0xE0100 && c <= 0xE01EF);
    if (!mark || selector || w->n_marks >= MAX_MARKS)
        return;
    char bytes[UTF8_MAX_BYTES];
    buf_append(&w->out->cells, bytes, utf8_encode(c, bytes));
    w->n_marks++;
}

static bool is_bidi_control(uint32_t c)
{
    return (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069) || c == 0x200E || c == 0x200F ||
           c == 0x061C;
}

static void put_character(struct walk *w, uint32_t c, size_t source)
{
    if (c == '\t') {
        int n = TAB_COLUMNS - w->column % TAB_COLUMNS;
        for (put(w, ' ', 1, source); --n > 0 && w->column < w->out->width;)
            put(w, ' ', 1, source);
        return;
    }
    if (c < 0x20)
        c += CONTROL_PICTURES;
    else if (c == 0x7f)
        c = DELETE_PICTURE;
    int columns = is_bidi_control(c) ? -1 : wcwidth((wchar_t)c);
    if (columns == 0)
        put_mark(w, c);
    else if (columns < 0 || columns > 2)
        put(w, UTF8_REPLACEMENT, 1, source);
    else
        put(w, c, columns, source);
}

static void put_chip(struct editor *e, struct walk *w, const char *s, size_t n, size_t source)
{
    buf_truncate(&e->scratch, 0);
    editor_chip_label(editor_chip_at(e, s, n), &e->scratch);
    if (w->column > 0 && w->column + (int)e->scratch.len > w->out->width)
        new_row(w, source);
    for (size_t i = 0; i < e->scratch.len; i++)
        put(w, (unsigned char)e->scratch.data[i], 1, source);
}

/* The cursor behind the last character of a line. */
static void mark_line_end(struct walk *w, size_t source)
{
    if (w->column >= w->out->width)
        new_row(w, source);
    mark_cursor(w);
}

static void lay_out(struct editor *e, const char *text, size_t n, size_t point, int width)
{
    struct editor_lines *out = &e->lines;
    struct walk w = {.out = out};
    out->n_rows = 0;
    out->width = width;
    buf_truncate(&out->cells, 0);
    new_row(&w, 0);
    for (size_t i = 0; i < n;) {
        uint32_t c;
        size_t used = utf8_decode(text + i, n - i, &c, NULL);
        w.wants_cursor = w.wants_cursor || i == point;
        if (c == '\n') {
            if (w.wants_cursor)
                mark_line_end(&w, i);
            new_row(&w, i + 1);
        } else if (editor_is_chip(text + i, n - i)) {
            put_chip(e, &w, text + i, n - i, i);
        } else {
            put_character(&w, c, i);
        }
        i += used;
    }
    if (point >= n || w.wants_cursor)
        mark_line_end(&w, n);
    struct editor_row_span *row = &out->rows[out->n_rows - 1];
    row->n = out->cells.len - row->text;
    row->columns = w.column;
    row->source_end = n;
}

/* ---- moving by rows ---- */

/* The columns the character at s takes when it starts at `column`; *used: its bytes. */
static int columns_of(struct editor *e, const char *s, size_t n, int column, size_t *used)
{
    uint32_t c;
    *used = utf8_decode(s, n, &c, NULL);
    if (editor_is_chip(s, n)) {
        buf_truncate(&e->scratch, 0);
        editor_chip_label(editor_chip_at(e, s, n), &e->scratch);
        return (int)e->scratch.len;
    }
    if (c == '\t')
        return TAB_COLUMNS - column % TAB_COLUMNS;
    int columns = c < 0x20 || c == 0x7f ? 1 : wcwidth((wchar_t)c);
    return columns < 0 || columns > 2 ? 1 : columns;
}

static size_t offset_at(struct editor *e, const struct editor_row_span *row, int goal)
{
    size_t at = row->source;
    int column = 0;
    while (at < row->source_end && rl_line_buffer[at] != '\n') {
        size_t used;
        int columns = columns_of(e, rl_line_buffer + at, row->source_end - at, column, &used);
        if (column + columns > goal && columns > 0)
            break;
        column += columns;
        at += used;
    }
    /* The offset behind a row that was wrapped is drawn at the start of the next: stay before its last
     * character. */
    if (at == row->source_end && at < (size_t)rl_end && rl_line_buffer[at] != '\n' && at > row->source) {
        at--;
        while (at > row->source && ((unsigned char)rl_line_buffer[at] & 0xC0) == 0x80)
            at--;
    }
    return at;
}

bool editor_move_rows(struct editor *e, int n)
{
    struct editor_lines *out = &e->lines;
    lay_out(e, rl_line_buffer, (size_t)rl_end, (size_t)rl_point, out->width ? out->width : DEFAULT_WIDTH);
    int row = out->cursor_row + n;
    if (row < 0 || row >= out->n_rows)
        return false;
    if (e->goal_column < 0)
        e->goal_column = out->cursor_column;
    rl_point = (int)offset_at(e, &out->rows[row], e->goal_column);
    return true;
}

/* ---- for drawing ---- */

/* Readline's own messages: "(arg: 4) ", or a search string's. Its prompt is empty. */
static void lay_out_prompt(struct editor *e)
{
    struct buf *prompt = &e->lines.prompt;
    buf_truncate(prompt, 0);
    if (e->search.active) {
        buf_printf(prompt, "search: %s", buf_text(&e->search.query));
        return;
    }
    if (!rl_display_prompt || rl_display_prompt == rl_prompt)
        return;
    for (const char *p = rl_display_prompt; *p; p++)
        if ((unsigned char)*p >= 0x20 && *p != 0x7f)
            buf_putc(prompt, *p);
}

void editor_layout(struct editor *e, int width, struct editor_view *view)
{
    struct editor_lines *out = &e->lines;
    size_t point = (size_t)rl_point;
    const char *text = e->search.active ? editor_search_match(e, &point) : rl_line_buffer;
    lay_out(e, text, e->search.active ? strlen(text) : (size_t)rl_end, point, width > 2 ? width : 2);
    lay_out_prompt(e);
    out->view_rows = mem_need_resize(out->view_rows, (size_t)out->cap_rows, sizeof *out->view_rows);
    for (int i = 0; i < out->n_rows; i++) {
        const struct editor_row_span *row = &out->rows[i];
        out->view_rows[i] = (struct editor_row){buf_text(&out->cells) + row->text, row->n, row->columns};
    }
    *view = (struct editor_view){
        .rows = out->view_rows,
        .n_rows = out->n_rows,
        .cursor_row = out->cursor_row,
        .cursor_column = out->cursor_column,
        .prompt = buf_text(&out->prompt),
        .searching = e->search.active,
        .found = e->search.found,
        .vi_command = rl_get_keymap() == vi_movement_keymap,
        .candidates = (const char *const *)e->candidates,
        .n_candidates = e->n_candidates,
    };
}

void editor_layout_close(struct editor *e)
{
    struct editor_lines *out = &e->lines;
    buf_fini(&out->cells);
    buf_fini(&out->prompt);
    mem_free(out->rows);
    mem_free(out->view_rows);
}
