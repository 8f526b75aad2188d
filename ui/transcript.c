/* Owns the items of a transcript and their caches of rows. */
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "ui/sanitize.h"
#include "ui/transcript_parts.h"

#define REASON_INDENT 2 /* columns of the bar before a row of reasoning */
#define LIVE_ROWS 3     /* of the reasoning, while it grows */

struct transcript *transcript_new(void)
{
    struct transcript *t = mem_need(sizeof *t);
    t->columns = 74;
    t->height = 20;
    t->follow = true;
    t->selected = -1;
    return t;
}

static void item_fini(struct item *item)
{
    buf_fini(&item->source);
    flow_fini(&item->text);
    flow_fini(&item->reason);
    *item = (struct item){.msg = -1};
}

static void drop_items(struct transcript *t)
{
    for (int i = 0; i < t->n_items; i++)
        item_fini(&t->items[i]);
    t->n_items = 0;
}

static void drop_notes(struct transcript *t)
{
    for (int i = 0; i < t->n_notes; i++)
        mem_free(t->notes[i].text);
    mem_free(t->notes);
    t->notes = NULL;
    t->n_notes = 0;
}

void transcript_free(struct transcript *t)
{
    if (!t)
        return;
    drop_items(t);
    drop_notes(t);
    mem_free(t->items);
    mem_free(t);
}

const struct chat_msg *item_msg(const struct transcript *t, const struct item *item)
{
    return item->msg >= 0 ? &t->chat->msgs[item->msg] : NULL;
}

/* ---- rows ---- */

static bool is_thinking(const struct item *item, const struct chat_msg *msg)
{
    return msg->status == CHAT_STREAMING && msg->text.len == 0 && item->n_words > 0;
}

/* Only what came since the last time. */
static void count_words(struct item *item, const struct buf *reason)
{
    for (; item->n_counted < reason->len; item->n_counted++) {
        char c = reason->data[item->n_counted];
        bool blank = c == ' ' || c == '\n' || c == '\t';
        item->n_words += !blank && !item->inside_word;
        item->inside_word = !blank;
    }
}

static void describe_reason(struct transcript *t, struct item *item, const struct chat_msg *msg)
{
    bool thinking = is_thinking(item, msg);
    snprintf(item->head, sizeof item->head, "%s %s · %zu word%s", t->unfolded || thinking ? "▾" : "▸",
             thinking ? "Thinking" : "Thought", item->n_words, item->n_words == 1 ? "" : "s");
}

/* The reasoning is wrapped only where it is seen. */
static void place_reason(struct transcript *t, struct item *item, const struct chat_msg *msg,
                         struct geometry *g)
{
    count_words(item, &msg->think);
    if (item->n_words == 0)
        return;
    g->n[SECTION_HEAD] = 1;
    if (!t->unfolded && !is_thinking(item, msg))
        return;
    const char *source = buf_text(&msg->think);
    size_t skipped = strspn(source, " \t\n"); /* empty lines, but no indent */
    while (skipped > 0 && source[skipped - 1] != '\n')
        skipped--;
    size_t columns = t->columns > REASON_INDENT + 2 ? t->columns - REASON_INDENT : 2;
    flow_update(&item->reason, source + skipped, msg->think.len - skipped, columns);
    size_t n = flow_n_rows(&item->reason);
    g->n[SECTION_REASON] = t->unfolded || n < LIVE_ROWS ? n : LIVE_ROWS;
    g->first_reason = n - g->n[SECTION_REASON];
}

static const char *mark_of(const struct chat_msg *msg)
{
    if (msg && msg->status == CHAT_INTERRUPTED)
        return "· stopped";
    if (msg && msg->status == CHAT_ERROR)
        return "· ended by an error";
    return NULL;
}

struct geometry item_geometry(struct transcript *t, int i)
{
    struct item *item = &t->items[i];
    const struct chat_msg *msg = item_msg(t, item);
    const struct buf *source = msg ? &msg->text : &item->source;
    struct geometry g = {.n[SECTION_BLANK] = i > 0, .n[SECTION_LABEL] = msg != NULL};
    flow_update(&item->text, buf_text(source), source->len, t->columns);
    g.n[SECTION_TEXT] = flow_n_rows(&item->text);
    if (msg)
        place_reason(t, item, msg, &g);
    /* A row for the cursor, so that the first word does not move anything; and no item is without rows. */
    if (g.n[SECTION_TEXT] == 0 && (!msg || (msg->status == CHAT_STREAMING && !is_thinking(item, msg))))
        g.n[SECTION_TEXT] = 1;
    g.n[SECTION_GAP] = g.n[SECTION_REASON] > 0 && g.n[SECTION_TEXT] > 0;
    g.n[SECTION_MARK] = mark_of(msg) != NULL;
    return g;
}

size_t item_height(struct transcript *t, int i)
{
    struct geometry g = item_geometry(t, i);
    size_t n = 0;
    for (int section = 0; section < SECTION_N; section++)
        n += g.n[section];
    return n;
}

static void set_text(struct transcript_row *row, enum transcript_kind kind, const char *text)
{
    row->kind = kind;
    row->text = text;
    row->n_text = strlen(text);
    row->n_columns = text_width(row->text, row->n_text);
}

static void set_label(struct transcript *t, struct item *item, struct transcript_row *row)
{
    bool is_user = row->role == CHAT_USER;
    set_text(row, ROW_LABEL, is_user ? "You" : t->model[0] ? t->model : "Assistant");
    if (item->n_msgs != t->chat->n_msgs)
        chat_siblings(t->chat, item->msg, &item->position, &item->count);
    item->n_msgs = t->chat->n_msgs;
    row->position = item->position;
    row->count = item->count;
}

static void set_flow(struct transcript_row *row, enum transcript_kind kind, const struct flow *flow, size_t i)
{
    row->kind = kind;
    if (i >= flow->wrap.n_rows)
        return; /* the open, still empty message */
    row->text = buf_text(&flow->clean) + flow->wrap.rows[i].start;
    row->n_text = flow->wrap.rows[i].n_bytes;
    row->n_columns = flow->wrap.rows[i].n_columns;
    row->indent = flow->wrap.rows[i].indent;
}

bool transcript_row_at(struct transcript *t, struct transcript_pos pos, struct transcript_row *row)
{
    *row = (struct transcript_row){.kind = ROW_BLANK, .text = ""};
    if (pos.item >= t->n_items)
        return false;
    struct geometry g = item_geometry(t, pos.item);
    struct item *item = &t->items[pos.item];
    const struct chat_msg *msg = item_msg(t, item);
    int section = 0;
    size_t i = pos.row;
    for (; section < SECTION_N - 1 && i >= g.n[section]; section++)
        i -= g.n[section];
    if (msg) {
        row->role = msg->role;
        row->status = msg->status;
        row->is_selected = item->msg == t->selected && section != SECTION_BLANK;
    }
    if (section == SECTION_LABEL) {
        set_label(t, item, row);
    } else if (section == SECTION_HEAD) {
        describe_reason(t, item, msg);
        set_text(row, ROW_THINK, item->head);
    } else if (section == SECTION_REASON) {
        set_flow(row, ROW_REASON, &item->reason, g.first_reason + i);
        row->is_last_text = g.n[SECTION_TEXT] == 0 && i + 1 == g.n[SECTION_REASON];
    } else if (section == SECTION_TEXT) {
        set_flow(row, msg ? ROW_TEXT : ROW_NOTE, &item->text, i);
        row->is_last_text = i + 1 == g.n[SECTION_TEXT];
    } else if (section == SECTION_MARK && mark_of(msg)) {
        set_text(row, ROW_MARK, mark_of(msg));
    }
    return true;
}

/* ---- the items ---- */

static struct item *add_item(struct transcript *t, int msg)
{
    if (t->n_items == t->cap_items) {
        t->cap_items = t->cap_items ? t->cap_items * 2 : 32;
        t->items = mem_need_resize(t->items, (size_t)t->cap_items, sizeof *t->items);
    }
    t->items[t->n_items] = (struct item){.msg = msg};
    return &t->items[t->n_items++];
}

static void add_notes_after(struct transcript *t, int msg)
{
    for (int i = 0; i < t->n_notes; i++)
        if (t->notes[i].after == msg)
            buf_puts(&add_item(t, -1)->source, t->notes[i].text);
}

/* Lists the items anew; a message that was there before keeps its cache. */
static void rebuild(struct transcript *t)
{
    struct item *old = t->items;
    int n_old = t->n_items;
    t->items = NULL;
    t->n_items = t->cap_items = 0;
    add_notes_after(t, -1);
    int n_path = t->chat ? chat_path(t->chat, t->chat->head, NULL, 0) : 0;
    int *path = mem_need_resize(NULL, (size_t)n_path + 1, sizeof *path);
    if (n_path > 0)
        chat_path(t->chat, t->chat->head, path, n_path);
    for (int i = 0; i < n_path; i++) {
        if (t->chat->msgs[path[i]].role != CHAT_SYSTEM)
            add_item(t, path[i]);
        add_notes_after(t, path[i]);
    }
    mem_free(path);
    for (int i = 0, k = 0; i < t->n_items && k < n_old; i++) {
        if (t->items[i].msg < 0)
            continue;
        while (k < n_old && old[k].msg < t->items[i].msg)
            k++;
        if (k < n_old && old[k].msg == t->items[i].msg) {
            t->items[i] = old[k];
            old[k++] = (struct item){.msg = -1};
        }
    }
    for (int i = 0; i < n_old; i++)
        item_fini(&old[i]);
    mem_free(old);
}

/* A text only grows while it streams, and stays afterwards; at the end, and after anything else, its cache
 * starts anew. */
static void refresh(struct transcript *t, struct item *item)
{
    const struct chat_msg *msg = item_msg(t, item);
    if (!msg)
        return;
    bool open = msg->status == CHAT_STREAMING;
    bool grown = open && msg->text.len >= item->text.n_source;
    bool same = !open && !item->was_open && msg->text.len == item->text.n_source;
    if (!grown && !same)
        flow_reset(&item->text);
    if (msg->think.len < item->n_counted || (item->was_open && !open)) {
        flow_reset(&item->reason);
        item->n_words = item->n_counted = 0;
        item->inside_word = false;
    }
    item->was_open = open;
}

static void relist(struct transcript *t)
{
    int top_msg = t->top.item < t->n_items ? t->items[t->top.item].msg : -1;
    long row = place_of_selected(t);
    rebuild(t);
    for (int i = 0; i < t->n_items; i++)
        refresh(t, &t->items[i]);
    place_settle(t, top_msg, row);
}

void transcript_set_chat(struct transcript *t, const struct chat *chat)
{
    if (t->chat) /* perhaps freed, and the new one has its address: which one it was cannot be asked */
        drop_notes(t);
    t->chat = chat;
    t->selected = -1;
    drop_items(t);
    transcript_follow(t);
    relist(t);
}

void transcript_changed(struct transcript *t, int msg)
{
    for (int i = t->n_items - 1; i >= 0 && msg >= 0; i--)
        if (t->items[i].msg == msg) {
            refresh(t, &t->items[i]);
            return;
        }
    relist(t);
}

void transcript_add_note(struct transcript *t, const char *text)
{
    t->notes = mem_need_resize(t->notes, (size_t)t->n_notes + 1, sizeof *t->notes);
    int after = t->chat ? t->chat->head : -1;
    t->notes[t->n_notes++] = (struct note){.after = after, .text = mem_strdup(text)};
    relist(t);
}

void transcript_set_model(struct transcript *t, const char *name)
{
    struct buf clean = {0};
    sanitize_append(&clean, name, strcspn(name, " \n"));
    snprintf(t->model, sizeof t->model, "%s", buf_text(&clean));
    buf_fini(&clean);
}
