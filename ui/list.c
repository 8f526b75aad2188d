/* Owns the list overlay's behaviour. */
#include "ui/list.h"

#include <string.h>
#include <utf8proc.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "ui/sanitize.h"

#define WHEEL_ROWS 3
#define MAX_FILTER_BYTES 200 /* about: the last key may go beyond */

static bool begins_with_folded(const char *text, const char *pattern, size_t n_pattern)
{
    size_t n = strlen(text), i = 0, k = 0;
    while (k < n_pattern) {
        uint32_t a, b;
        if (i >= n)
            return false;
        i += utf8_decode(text + i, n - i, &a, NULL);
        k += utf8_decode(pattern + k, n_pattern - k, &b, NULL);
        if (utf8proc_tolower((int32_t)a) != utf8proc_tolower((int32_t)b))
            return false;
    }
    return true;
}

static bool contains_folded(const char *text, const struct buf *pattern)
{
    for (const char *p = text; *p; p++)
        if (begins_with_folded(p, buf_text(pattern), pattern->len))
            return true;
    return pattern->len == 0;
}

static void apply_filter(struct list *list)
{
    list->n_shown = 0;
    for (int i = 0; i < list->n_rows; i++)
        if (contains_folded(list->rows[i].title, &list->filter) ||
            contains_folded(list->rows[i].detail, &list->filter))
            list->shown[list->n_shown++] = i;
}

static void select_row(struct list *list, int selected)
{
    int last = list->n_shown - 1;
    list->selected = selected > last ? last : selected;
    if (list->selected < 0)
        list->selected = 0;
}

static void drop_rows(struct list *list)
{
    for (int i = 0; i < list->n_rows; i++) {
        mem_free(list->rows[i].title);
        mem_free(list->rows[i].detail);
    }
    mem_free(list->rows);
    mem_free(list->shown);
    list->rows = NULL;
    list->shown = NULL;
    list->n_rows = list->n_shown = 0;
}

void list_fini(struct list *list)
{
    drop_rows(list);
    mem_free(list->heading);
    buf_fini(&list->filter);
    *list = (struct list){0};
}

void list_set(struct list *list, const char *heading, const struct ui_list_row *rows, int n)
{
    char *clean = sanitize_line(heading);
    if (!list->heading || strcmp(list->heading, clean) != 0)
        list_fini(list);
    drop_rows(list);
    mem_free(list->heading);
    list->heading = clean;
    list->rows = mem_need((size_t)(n + 1) * sizeof *list->rows);
    list->shown = mem_need((size_t)(n + 1) * sizeof *list->shown);
    list->n_rows = n;
    list->confirming = false;
    for (int i = 0; i < n; i++)
        list->rows[i] = (struct list_row){sanitize_line(rows[i].title), sanitize_line(rows[i].detail)};
    apply_filter(list);
    select_row(list, list->selected);
}

static enum list_answer feed_confirm(struct list *list, const struct input_token *token, int *index)
{
    list->confirming = false;
    bool yes = token->type == INPUT_KEY && token->key == INPUT_KEY_CHARACTER &&
               (token->bytes[0] == 'y' || token->bytes[0] == 'Y');
    if (!yes || list->n_shown == 0)
        return LIST_STAYS;
    *index = list->shown[list->selected];
    return LIST_DELETED;
}

/* The first line of a paste is typed. */
static void paste_filter(struct list *list, const struct input_token *token)
{
    const char *lf = memchr(token->paste, '\n', token->n_paste);
    size_t n = lf ? (size_t)(lf - token->paste) : token->n_paste;
    if (list->filter.len < MAX_FILTER_BYTES)
        sanitize_append(&list->filter, token->paste, text_fit(token->paste, n, MAX_FILTER_BYTES));
}

static void edit_filter(struct list *list, const struct input_token *token)
{
    bool erase = token->key == INPUT_KEY_CONTROL && (token->bytes[0] == 0x7F || token->bytes[0] == 0x08);
    if (token->type == INPUT_PASTE) {
        paste_filter(list, token);
    } else if (erase && list->filter.len > 0) {
        size_t n = list->filter.len - 1;
        while (n > 0 && ((unsigned char)list->filter.data[n] & 0xC0) == 0x80)
            n--;
        buf_truncate(&list->filter, n);
    } else if (token->key == INPUT_KEY_CONTROL && token->bytes[0] == 0x15 && list->filter.len > 0) {
        buf_truncate(&list->filter, 0);
    } else if (token->key == INPUT_KEY_CHARACTER && !(token->modifiers & INPUT_ALT) &&
               list->filter.len < MAX_FILTER_BYTES) {
        sanitize_append(&list->filter, token->bytes, token->n_bytes);
    } else {
        return;
    }
    list->top = list->selected = 0;
    apply_filter(list);
}

static bool is_control(const struct input_token *token, char byte)
{
    return token->key == INPUT_KEY_CONTROL && token->bytes[0] == byte;
}

/* How far a key moves the selection; 0: it is no such key. */
static int movement(const struct list *list, const struct input_token *token)
{
    int page = list->page > 1 ? list->page - 1 : 1;
    if (token->type == INPUT_WHEEL)
        return token->lines * WHEEL_ROWS;
    switch ((int)token->key) {
    case INPUT_KEY_UP:
        return -1;
    case INPUT_KEY_DOWN:
        return 1;
    case INPUT_KEY_PAGE_UP:
        return -page;
    case INPUT_KEY_PAGE_DOWN:
        return page;
    case INPUT_KEY_HOME:
        return -list->n_shown;
    case INPUT_KEY_END:
        return list->n_shown;
    default:
        return is_control(token, 0x10) ? -1 : is_control(token, 0x0E) ? 1 : 0; /* Ctrl-P, Ctrl-N */
    }
}

enum list_answer list_feed(struct list *list, const struct input_token *token, int *index)
{
    if (token->type != INPUT_KEY && token->type != INPUT_WHEEL && token->type != INPUT_PASTE)
        return LIST_STAYS;
    if (list->confirming)
        return feed_confirm(list, token, index);
    if (token->type == INPUT_PASTE) {
        edit_filter(list, token);
        return LIST_STAYS;
    }
    int move = movement(list, token);
    if (move != 0) {
        select_row(list, list->selected + move);
    } else if (token->key == INPUT_KEY_ESC || is_control(token, 0x03) || is_control(token, 0x07)) {
        return LIST_CLOSED;
    } else if (token->key == INPUT_KEY_ENTER) {
        if (list->n_shown == 0)
            return LIST_STAYS;
        *index = list->shown[list->selected];
        return LIST_PICKED;
    } else if (token->key == INPUT_KEY_DELETE || token->key == INPUT_KEY_F1 + 7) {
        list->confirming = list->n_shown > 0;
    } else {
        edit_filter(list, token);
    }
    return LIST_STAYS;
}
