/* editor.c: the editor as its users see it: tokens in, events and text out. */
#include "ui/editor_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <readline/readline.h>
#include <readline/history.h>
#include <utf8proc.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"

struct editor *editor_open(const struct editor_options *options, struct err *err)
{
    static bool is_open_once;
    struct editor *e = mem_alloc(sizeof *e, err);
    if (!e)
        return NULL;
    e->options = *options;
    e->history_path = options->history_path ? mem_strdup(options->history_path) : NULL;
    e->goal_column = -1;
    e->dirty = true;
    editor_bindings_prepare(e);
    rl_initialize();
    if (!is_open_once)
        editor_bindings_apply();
    is_open_once = true;
    editor_history_open(e);
    editor_keys_open(e);
    return e;
}

void editor_close(struct editor *e)
{
    if (!e)
        return;
    editor_keys_close();
    for (int i = e->first_event; i < e->n_events; i++)
        mem_free(e->event_texts[i]);
    mem_free(e->events);
    mem_free(e->event_texts);
    mem_free(e->given_text);
    editor_forget_candidates(e);
    mem_free(e->candidates);
    editor_paste_close(e);
    editor_layout_close(e);
    struct buf *bufs[] = {&e->scratch, &e->queue, &e->backup, &e->search.query, &e->text, &e->last_line};
    for (size_t i = 0; i < sizeof bufs / sizeof bufs[0]; i++)
        buf_fini(bufs[i]);
    mem_free(e->history_path);
    mem_free(e->warning);
    mem_free(e);
}

const char *editor_warning(struct editor *e)
{
    mem_free(e->given_text);
    e->given_text = e->warning;
    e->warning = NULL;
    return e->given_text;
}

/* ---- events ---- */

static struct editor_event *add_event(struct editor *e, enum editor_event_type type)
{
    if (e->first_event == e->n_events)
        e->first_event = e->n_events = 0;
    if (e->n_events == e->cap_events) {
        e->cap_events = e->cap_events ? 2 * e->cap_events : 16;
        e->events = mem_need_resize(e->events, (size_t)e->cap_events, sizeof *e->events);
        e->event_texts = mem_need_resize(e->event_texts, (size_t)e->cap_events, sizeof *e->event_texts);
    }
    e->event_texts[e->n_events] = NULL;
    e->events[e->n_events] = (struct editor_event){.type = type};
    return &e->events[e->n_events++];
}

void editor_push(struct editor *e, enum editor_event_type type, const struct input_token *token)
{
    struct editor_event *event = add_event(e, type);
    if (token)
        event->token = *token;
}

void editor_push_text(struct editor *e, enum editor_event_type type, const char *text, size_t n)
{
    struct editor_event *event = add_event(e, type);
    char *copy = mem_strndup(text, n);
    e->event_texts[e->n_events - 1] = copy;
    event->text = copy;
    event->n_text = n;
}

bool editor_next_event(struct editor *e, struct editor_event *event)
{
    if (e->first_event == e->n_events)
        return false;
    mem_free(e->given_text);
    e->given_text = e->event_texts[e->first_event];
    *event = e->events[e->first_event++];
    return true;
}

/* ---- the text ---- */

void editor_compose(struct buf *out, const char *text, size_t n)
{
    utf8proc_uint8_t *composed = NULL;
    utf8proc_ssize_t n_composed = -1;
    if (n > 0)
        n_composed = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &composed,
                                  UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (n_composed >= 0)
        buf_append(out, composed, (size_t)n_composed);
    else
        buf_append(out, text, n);
    free(composed);
}

void editor_replace_line(const char *text, size_t n, size_t point)
{
    char *copy = mem_strndup(text, n);
    rl_begin_undo_group();
    rl_delete_text(0, rl_end);
    rl_point = rl_mark = 0;
    rl_insert_text(copy);
    rl_end_undo_group();
    rl_point = (int)(point < n ? point : n);
    mem_free(copy);
}

const char *editor_text(struct editor *e, size_t *n, size_t *cursor)
{
    buf_truncate(&e->text, 0);
    size_t point = editor_expand(e, &e->text, rl_line_buffer, (size_t)rl_end, (size_t)rl_point);
    if (n)
        *n = e->text.len;
    if (cursor)
        *cursor = point;
    return buf_text(&e->text);
}

bool editor_is_empty(const struct editor *e)
{
    (void)e;
    return rl_end == 0;
}

uint64_t editor_revision(const struct editor *e)
{
    return e->revision;
}

bool editor_take_dirty(struct editor *e)
{
    bool dirty = e->dirty;
    e->dirty = false;
    return dirty;
}

/* Counts a change; called at the end of everything that could have made one. */
static void note_change(struct editor *e)
{
    e->dirty = true;
    if (e->last_line.len == (size_t)rl_end &&
        memcmp(buf_text(&e->last_line), rl_line_buffer, (size_t)rl_end) == 0)
        return;
    buf_truncate(&e->last_line, 0);
    buf_append(&e->last_line, rl_line_buffer, (size_t)rl_end);
    e->revision++;
}

void editor_set_text(struct editor *e, const char *text, size_t n, size_t cursor)
{
    struct buf clean = {0}, line = {0};
    size_t split = cursor < n ? cursor : n;
    input_clean(&clean, text, split);
    editor_compose(&line, buf_text(&clean), clean.len);
    size_t point = line.len;
    buf_truncate(&clean, 0);
    input_clean(&clean, text + split, n - split);
    editor_compose(&line, buf_text(&clean), clean.len);
    editor_search_stop(e);
    if (line.len > EDITOR_MAX_LINE_BYTES) {
        editor_keys_reset(e, "", 0, 0);
        editor_paste_insert(e, line.data, line.len);
        rl_free_undo_list(); /* as in the other case: undo begins here */
    } else {
        editor_keys_reset(e, buf_text(&line), line.len, point);
    }
    buf_fini(&clean);
    buf_fini(&line);
    note_change(e);
}

void editor_clear(struct editor *e)
{
    editor_search_stop(e);
    if (editor_keys_pending(e))
        editor_keys_reset(e, rl_line_buffer, (size_t)rl_end, (size_t)rl_point);
    if (rl_end > 0)
        editor_replace_line("", 0, 0);
    note_change(e);
}

/* ---- input ---- */

void editor_forget_candidates(struct editor *e)
{
    for (int i = 0; i < e->n_candidates; i++)
        mem_free(e->candidates[i]);
    mem_free(e->candidates);
    e->candidates = NULL;
    e->n_candidates = 0;
}

static bool is_blank(const char *text, size_t n)
{
    return strspn(text, " \t\n") >= n;
}

/* Readline's line handler: it has emptied its line already. */
void editor_accept_line(struct editor *e, const char *line)
{
    if (!line) {
        editor_push(e, EDITOR_EOF, NULL);
        return;
    }
    struct buf text = {0};
    editor_expand(e, &text, line, strlen(line), 0);
    if (!is_blank(buf_text(&text), text.len)) {
        editor_add_history(e, text.data, text.len);
        editor_push_text(e, EDITOR_SEND, text.data, text.len);
    }
    buf_fini(&text);
}

void editor_feed(struct editor *e, const struct input_token *token)
{
    if (token->type != INPUT_KEY && token->type != INPUT_PASTE) {
        editor_push(e, EDITOR_UNBOUND, token);
        return;
    }
    editor_forget_candidates(e);
    if (token->type == INPUT_PASTE) {
        editor_paste(e, token);
    } else if (e->search.active && token->bytes[0] == 3) {
        editor_search_stop(e);
    } else if (!e->search.active || !editor_search_key(e, token)) {
        editor_keys_feed(e, token);
    }
    editor_fold_entry(e);
    note_change(e);
}
