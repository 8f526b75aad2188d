/* editor_search.c: Ctrl-R: incremental search through the history, beside readline (its own crashes, see
 * editor.h). */
#include "ui/editor_state.h"

#include <stdio.h>
#include <string.h>

#include <readline/readline.h>
#include <readline/history.h>

#define CTRL_KEY(letter) ((letter)&0x1f)

static const char *entry(int index)
{
    HIST_ENTRY *found = index >= 0 && index < history_length ? history_get(history_base + index) : NULL;
    return found ? found->line : NULL;
}

/* A capital in the query asks for exact case. */
static const char *find_in(const char *line, const char *query)
{
    for (const char *p = query; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            return strstr(line, query);
    return strcasestr(line, query);
}

/* Looks from entry `from` on, step by step; keeps the match it has when there is no other. */
static void look(struct editor *e, int from, int step)
{
    struct editor_search *s = &e->search;
    if (s->query.len == 0) {
        s->found = true;
        s->at = history_length;
        return;
    }
    for (int i = from; i >= 0 && i < history_length; i += step) {
        if (find_in(entry(i), buf_text(&s->query))) {
            s->at = i;
            s->found = true;
            return;
        }
    }
    s->found = false;
}

void editor_search_start(struct editor *e)
{
    struct editor_search *s = &e->search;
    s->active = true;
    s->found = true;
    s->at = history_length;
    buf_truncate(&s->query, 0);
}

void editor_search_stop(struct editor *e)
{
    e->search.active = false;
}

const char *editor_search_match(const struct editor *e, size_t *point)
{
    const struct editor_search *s = &e->search;
    const char *line = s->query.len ? entry(s->at) : NULL;
    const char *found = line ? find_in(line, buf_text(&s->query)) : NULL;
    *point = found ? (size_t)(found - line) : 0;
    return found ? line : "";
}

static void accept(struct editor *e)
{
    size_t point;
    const char *line = editor_search_match(e, &point);
    e->search.active = false;
    size_t n = strlen(line);
    if (n > EDITOR_MAX_LINE_BYTES) {
        rl_begin_undo_group();
        editor_replace_line("", 0, 0);
        editor_paste_insert(e, line, n);
        rl_end_undo_group();
    } else if (n > 0) {
        editor_replace_line(line, n, point);
    }
}

static void drop_last(struct editor *e)
{
    struct buf *query = &e->search.query;
    size_t n = query->len;
    while (n > 0 && ((unsigned char)query->data[n - 1] & 0xC0) == 0x80)
        n--;
    buf_truncate(query, n > 0 ? n - 1 : 0);
    look(e, history_length - 1, -1);
}

static void extend(struct editor *e, const char *text, size_t n)
{
    struct editor_search *s = &e->search;
    buf_append(&s->query, text, n);
    look(e, s->at < history_length ? s->at : history_length - 1, -1);
}

void editor_search_paste(struct editor *e, const char *text, size_t n)
{
    const char *end = memchr(text, '\n', n);
    extend(e, text, end ? (size_t)(end - text) : n);
}

bool editor_search_key(struct editor *e, const struct input_token *token)
{
    struct editor_search *s = &e->search;
    char c = token->bytes[0];
    if (token->key == INPUT_KEY_CHARACTER && token->modifiers == 0) {
        extend(e, token->bytes, token->n_bytes);
        return true;
    }
    if (token->key == INPUT_KEY_CONTROL && token->n_bytes == 1) {
        if (c == CTRL_KEY('r') || c == CTRL_KEY('s')) {
            int step = c == CTRL_KEY('r') ? -1 : 1;
            look(e, s->at + step, step);
            return true;
        }
        if (c == 0x7f || c == CTRL_KEY('h')) {
            drop_last(e);
            return true;
        }
        if (c == CTRL_KEY('g')) {
            editor_search_stop(e);
            return true;
        }
    }
    accept(e);
    return token->key == INPUT_KEY_ENTER || token->key == INPUT_KEY_ESC;
}
