/* Owns the items of a transcript, their caches of rows, and the place of the reader. */
#include "ui/transcript.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "ui/sanitize.h"
#include "ui/wrap.h"

/* One message or note. Its rows on screen: a blank one (not before the first item), the label, the reasoning,
 * the text, the mark; a note has only the blank one and its text. */
struct item {
    int msg;             /* index in the chat, -1: a note */
    struct buf source;   /* of a note; a message's text stays in the chat */
    struct buf clean;    /* what is shown of it */
    struct wrap wrap;    /* of clean, for `columns` */
    size_t columns;      /* 0: nothing wrapped yet */
    size_t n_source;     /* bytes of the source that are in clean */
    size_t stable;       /* up to the last LF: bytes of the source, */
    size_t stable_clean; /* of clean, */
    size_t stable_rows;  /* and rows that later text cannot change */
    bool was_open;       /* streaming when last looked at */
    char think[64];
};

struct note {
    int after; /* the message it stands behind, -1: before all */
    char *text;
};

struct transcript {
    const struct chat *chat;
    struct item *items;
    int n_items, cap_items;
    struct note *notes;
    int n_notes;
    char model[96];
    size_t columns, height;
    bool follow;
    struct transcript_pos top; /* when not following */
    size_t n_seen;             /* rows from seen_item's first to the end when the reader left it */
    int seen_item;
};

struct transcript *transcript_new(void)
{
    struct transcript *t = mem_need(sizeof *t);
    t->columns = 74;
    t->height = 20;
    t->follow = true;
    return t;
}

static void item_fini(struct item *item)
{
    buf_fini(&item->source);
    buf_fini(&item->clean);
    wrap_fini(&item->wrap);
    *item = (struct item){0};
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

static const struct chat_msg *item_msg(const struct transcript *t, const struct item *item)
{
    return item->msg >= 0 ? &t->chat->msgs[item->msg] : NULL;
}

/* ---- caches ---- */

static void describe_think(const struct chat_msg *msg, char *out, size_t n_out)
{
    size_t n_words = 0;
    bool inside = false;
    for (size_t i = 0; i < msg->think.len; i++) {
        bool blank = msg->think.data[i] == ' ' || msg->think.data[i] == '\n' || msg->think.data[i] == '\t';
        n_words += !blank && !inside;
        inside = !blank;
    }
    bool open = msg->status == CHAT_STREAMING && msg->text.len == 0;
    snprintf(out, n_out, "▸ %s · %zu words", open ? "Thinking" : "Thought", n_words);
}

static void cut_to_stable(struct item *item)
{
    item->n_source = item->stable;
    if (item->clean.len > item->stable_clean)
        buf_truncate(&item->clean, item->stable_clean);
    item->wrap.n_rows = item->stable_rows;
}

/* Brings clean and the rows up to date with source[0..n), whose beginning has not changed since the last
 * time. */
static void item_extend(struct item *item, const char *source, size_t n, size_t columns)
{
    cut_to_stable(item);
    size_t lf = n;
    while (lf > item->stable && source[lf - 1] != '\n')
        lf--;
    if (lf > item->stable) {
        sanitize_append(&item->clean, source + item->stable, lf - item->stable);
        wrap_append(&item->wrap, buf_text(&item->clean), item->stable_clean, item->clean.len, columns);
        item->stable = lf;
        item->stable_clean = item->clean.len;
        item->stable_rows = item->wrap.n_rows;
    }
    if (n > lf) {
        sanitize_append(&item->clean, source + lf, n - lf);
        wrap_append(&item->wrap, buf_text(&item->clean), item->stable_clean, item->clean.len, columns);
    }
    item->n_source = n;
}

static void item_rewrap(struct item *item, size_t columns)
{
    item->wrap.n_rows = 0;
    wrap_append(&item->wrap, buf_text(&item->clean), 0, item->stable_clean, columns);
    item->stable_rows = item->wrap.n_rows;
    wrap_append(&item->wrap, buf_text(&item->clean), item->stable_clean, item->clean.len, columns);
    item->columns = columns;
}

/* The item with its rows for the present width. */
static struct item *item_ready(struct transcript *t, int i)
{
    struct item *item = &t->items[i];
    const struct chat_msg *msg = item_msg(t, item);
    const struct buf *source = msg ? &msg->text : &item->source;
    if (item->columns != t->columns)
        item_rewrap(item, t->columns);
    if (item->n_source != source->len)
        item_extend(item, buf_text(source), source->len, t->columns);
    return item;
}

static size_t n_text_rows(const struct item *item)
{
    size_t n = item->wrap.n_rows;
    while (n > 0 && item->wrap.rows[n - 1].n_bytes == 0)
        n--;
    return n;
}

static size_t n_head_rows(const struct transcript *t, int i)
{
    const struct chat_msg *msg = item_msg(t, &t->items[i]);
    size_t n = i > 0 ? 1 : 0;
    if (msg)
        n += 1 + (msg->think.len > 0);
    return n;
}

static const char *mark_of(const struct chat_msg *msg)
{
    if (msg && msg->status == CHAT_INTERRUPTED)
        return "· stopped";
    if (msg && msg->status == CHAT_ERROR)
        return "· ended by an error";
    return NULL;
}

static size_t item_height(struct transcript *t, int i)
{
    struct item *item = item_ready(t, i);
    size_t n = n_head_rows(t, i) + n_text_rows(item);
    const struct chat_msg *msg = item_msg(t, item);
    bool is_open = msg && msg->status == CHAT_STREAMING;
    if (is_open && n_text_rows(item) == 0)
        n++; /* a row for the cursor, so that the first word does not move anything */
    n += mark_of(msg) != NULL;
    return n > 0 ? n : 1;
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

static void clamp_top(struct transcript *t)
{
    if (t->top.item >= t->n_items)
        transcript_follow(t);
    else if (t->top.row >= item_height(t, t->top.item))
        t->top.row = 0;
}

/* A text only grows while it streams, and stays afterwards; at the end, and after anything else, its cache
 * starts anew. */
static void refresh(struct transcript *t, struct item *item)
{
    const struct chat_msg *msg = item_msg(t, item);
    if (!msg)
        return;
    bool open = msg->status == CHAT_STREAMING;
    bool grown = open && msg->text.len >= item->n_source;
    bool same = !open && !item->was_open && msg->text.len == item->n_source;
    if (!grown && !same) {
        item->stable = item->stable_clean = item->stable_rows = 0;
        cut_to_stable(item);
    }
    item->was_open = open;
    if (msg->think.len > 0)
        describe_think(msg, item->think, sizeof item->think);
}

void transcript_set_chat(struct transcript *t, const struct chat *chat)
{
    if (t->chat && t->chat != chat)
        drop_notes(t);
    t->chat = chat;
    drop_items(t);
    rebuild(t);
    for (int i = 0; i < t->n_items; i++)
        refresh(t, &t->items[i]);
    transcript_follow(t);
}

void transcript_changed(struct transcript *t, int msg)
{
    bool known = false;
    for (int i = t->n_items - 1; i >= 0 && msg >= 0 && !known; i--)
        if (t->items[i].msg == msg) {
            refresh(t, &t->items[i]);
            known = true;
        }
    if (!known) {
        rebuild(t);
        for (int i = 0; i < t->n_items; i++)
            refresh(t, &t->items[i]);
    }
    if (!t->follow)
        clamp_top(t);
}

void transcript_add_note(struct transcript *t, const char *text)
{
    t->notes = mem_need_resize(t->notes, (size_t)t->n_notes + 1, sizeof *t->notes);
    int after = t->chat ? t->chat->head : -1;
    t->notes[t->n_notes++] = (struct note){.after = after, .text = mem_strdup(text)};
    rebuild(t);
}

void transcript_set_model(struct transcript *t, const char *name)
{
    struct buf clean = {0};
    sanitize_append(&clean, name, strcspn(name, " \n"));
    snprintf(t->model, sizeof t->model, "%s", buf_text(&clean));
    buf_fini(&clean);
}

/* ---- the place of the reader ---- */

void transcript_resize(struct transcript *t, size_t columns, size_t height)
{
    columns = columns < 2 ? 2 : columns;
    t->height = height < 1 ? 1 : height;
    if (columns == t->columns)
        return;
    if (t->follow || t->n_items == 0) {
        t->columns = columns;
        return;
    }
    /* The byte at the top of the window stays at the top. */
    struct item *item = item_ready(t, t->top.item);
    size_t head = n_head_rows(t, t->top.item), row = t->top.row, byte = 0;
    bool in_text = row >= head && row - head < item->wrap.n_rows;
    if (in_text)
        byte = item->wrap.rows[row - head].start;
    t->columns = columns;
    item = item_ready(t, t->top.item);
    if (in_text) {
        row = 0;
        while (row + 1 < item->wrap.n_rows && item->wrap.rows[row + 1].start <= byte)
            row++;
        t->top.row = head + row;
    }
    t->n_seen = 0; /* counted in rows of the old width: start anew from here */
    t->seen_item = t->n_items - 1;
    for (int i = t->seen_item; i < t->n_items; i++)
        t->n_seen += item_height(t, i);
    clamp_top(t);
}

/* The place `height` rows before the end, or the beginning of everything. */
static struct transcript_pos end_top(struct transcript *t)
{
    struct transcript_pos pos = {.item = 0, .row = 0};
    size_t left = t->height;
    for (int i = t->n_items - 1; i >= 0; i--) {
        size_t rows = item_height(t, i);
        if (rows >= left)
            return (struct transcript_pos){.item = i, .row = rows - left};
        left -= rows;
    }
    return pos;
}

struct transcript_pos transcript_top(struct transcript *t)
{
    return t->follow ? end_top(t) : t->top;
}

static bool is_before(struct transcript_pos a, struct transcript_pos b)
{
    return a.item < b.item || (a.item == b.item && a.row < b.row);
}

static void leave_end(struct transcript *t)
{
    t->follow = false;
    t->seen_item = t->n_items - 1;
    t->n_seen = item_height(t, t->seen_item);
}

static void go_up(struct transcript *t, struct transcript_pos *pos, size_t rows)
{
    while (rows > pos->row && pos->item > 0) {
        rows -= pos->row + 1;
        pos->item--;
        pos->row = item_height(t, pos->item) - 1;
    }
    pos->row -= rows < pos->row ? rows : pos->row;
}

static void go_down(struct transcript *t, struct transcript_pos *pos, size_t rows)
{
    size_t height = item_height(t, pos->item);
    while (pos->row + rows >= height && pos->item + 1 < t->n_items) {
        rows -= height - pos->row;
        pos->item++;
        pos->row = 0;
        height = item_height(t, pos->item);
    }
    pos->row = pos->row + rows < height ? pos->row + rows : height - 1;
}

void transcript_scroll(struct transcript *t, long rows)
{
    if (t->n_items == 0 || rows == 0 || (t->follow && rows > 0))
        return;
    struct transcript_pos pos = transcript_top(t), end = end_top(t);
    if (rows < 0) {
        struct transcript_pos before = pos;
        go_up(t, &pos, (size_t)-rows);
        if (!is_before(pos, before))
            return; /* the beginning is already in sight */
        if (t->follow)
            leave_end(t);
    } else {
        go_down(t, &pos, (size_t)rows);
    }
    t->top = pos;
    if (!is_before(pos, end))
        transcript_follow(t);
}

void transcript_follow(struct transcript *t)
{
    t->follow = true;
}

bool transcript_is_following(const struct transcript *t)
{
    return t->follow;
}

size_t transcript_n_new(struct transcript *t)
{
    if (t->follow)
        return 0;
    size_t rows = 0;
    for (int i = t->seen_item < 0 ? 0 : t->seen_item; i < t->n_items; i++)
        rows += item_height(t, i);
    return rows > t->n_seen ? rows - t->n_seen : 0;
}

bool transcript_is_empty(const struct transcript *t)
{
    return t->n_items == 0;
}

bool transcript_has_more(struct transcript *t)
{
    return !t->follow && t->n_items > 0 && is_before(t->top, end_top(t));
}

bool transcript_next(struct transcript *t, struct transcript_pos *pos)
{
    if (pos->item >= t->n_items)
        return false;
    if (++pos->row >= item_height(t, pos->item)) {
        pos->item++;
        pos->row = 0;
    }
    return pos->item < t->n_items;
}

static void set_text(struct transcript_row *row, enum transcript_kind kind, const char *text)
{
    row->kind = kind;
    row->text = text;
    row->n_text = strlen(text);
    row->n_columns = text_width(row->text, row->n_text);
}

static void head_row(struct transcript *t, const struct item *item, size_t index, struct transcript_row *row)
{
    bool is_user = row->role == CHAT_USER;
    if (index == 0)
        set_text(row, ROW_LABEL, is_user ? "You" : t->model[0] ? t->model : "Assistant");
    else
        set_text(row, ROW_THINK, item->think);
}

bool transcript_row_at(struct transcript *t, struct transcript_pos pos, struct transcript_row *row)
{
    *row = (struct transcript_row){.kind = ROW_BLANK, .text = ""};
    if (pos.item >= t->n_items)
        return false;
    const struct item *item = item_ready(t, pos.item);
    const struct chat_msg *msg = item_msg(t, item);
    size_t head = n_head_rows(t, pos.item), n_text = n_text_rows(item);
    size_t blank = pos.item > 0 ? 1 : 0;
    if (msg) {
        row->role = msg->role;
        row->status = msg->status;
    }
    if (pos.row < blank)
        return true;
    if (pos.row < head) {
        head_row(t, item, pos.row - blank, row);
        return true;
    }
    size_t i = pos.row - head;
    row->is_last_text = i + 1 == n_text || (n_text == 0 && i == 0);
    if (i < n_text) {
        row->kind = msg ? ROW_TEXT : ROW_NOTE;
        row->text = buf_text(&item->clean) + item->wrap.rows[i].start;
        row->n_text = item->wrap.rows[i].n_bytes;
        row->n_columns = item->wrap.rows[i].n_columns;
        row->indent = item->wrap.rows[i].indent;
    } else if (mark_of(msg)) {
        set_text(row, ROW_MARK, mark_of(msg));
    } else if (msg) {
        row->kind = ROW_TEXT; /* the open, still empty message */
    }
    return true;
}
