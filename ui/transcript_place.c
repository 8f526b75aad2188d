/* Owns the place of the reader: the top of the window, following, and the selected message.
 * The top is kept as a byte of a text, never as a row, so nothing has to be done when rows come and go. */
#include "ui/transcript_parts.h"

#include "engine/base/mem.h"

/* ---- places and rows ---- */

static struct place place_of(struct transcript *t, struct transcript_pos pos)
{
    struct geometry g = item_geometry(t, pos.item);
    const struct item *item = &t->items[pos.item];
    struct place place = {.item = pos.item};
    size_t row = pos.row;
    int section = 0;
    for (; section < SECTION_N - 1 && row >= g.n[section]; section++)
        row -= g.n[section];
    place.section = (enum section)section;
    if (section == SECTION_REASON)
        place.byte = item->reason.wrap.rows[g.first_reason + row].start;
    else if (section == SECTION_TEXT && row < item->text.wrap.n_rows)
        place.byte = item->text.wrap.rows[row].start;
    return place;
}

/* A section that is not there (any more) is represented by the row above it. */
static struct transcript_pos pos_of(struct transcript *t, struct place place)
{
    struct geometry g = item_geometry(t, place.item);
    const struct item *item = &t->items[place.item];
    size_t above = 0, row = 0, n = g.n[place.section];
    for (int section = 0; section < (int)place.section; section++)
        above += g.n[section];
    if (place.section == SECTION_REASON && n > 0) {
        row = flow_row_of(&item->reason, place.byte);
        row = row > g.first_reason ? row - g.first_reason : 0;
    } else if (place.section == SECTION_TEXT) {
        row = flow_row_of(&item->text, place.byte);
    }
    if (n == 0)
        return (struct transcript_pos){.item = place.item, .row = above > 0 ? above - 1 : 0};
    return (struct transcript_pos){.item = place.item, .row = above + (row < n ? row : n - 1)};
}

static bool is_before(struct transcript_pos a, struct transcript_pos b)
{
    return a.item < b.item || (a.item == b.item && a.row < b.row);
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

/* ---- the window ---- */

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

/* Where folding or a higher window leaves too little below the place, the rows above it fill the window. */
struct transcript_pos transcript_top(struct transcript *t)
{
    struct transcript_pos end = end_top(t), pos = end;
    if (!t->follow)
        pos = pos_of(t, t->top);
    return is_before(pos, end) ? pos : end;
}

/* Counts anew what is seen of the end: after rows came or went that are not new. */
static void recount(struct transcript *t)
{
    if (t->follow)
        return;
    t->seen_item = t->n_items - 1;
    t->n_seen = item_height(t, t->seen_item);
}

/* At the end the reader follows. */
static void set_top(struct transcript *t, struct transcript_pos pos)
{
    bool was_following = t->follow;
    t->follow = !is_before(pos, end_top(t));
    if (t->follow)
        return;
    t->top = place_of(t, pos);
    if (was_following)
        recount(t);
}

void transcript_resize(struct transcript *t, size_t columns, size_t height)
{
    columns = columns < 2 ? 2 : columns;
    t->height = height < 1 ? 1 : height;
    if (columns == t->columns)
        return;
    t->columns = columns;
    recount(t);
}

void transcript_scroll(struct transcript *t, long rows)
{
    if (t->n_items == 0 || rows == 0 || (t->follow && rows > 0))
        return;
    struct transcript_pos pos = transcript_top(t), before = pos;
    if (rows > 0)
        go_down(t, &pos, (size_t)rows);
    else
        go_up(t, &pos, (size_t)-rows);
    if (rows > 0 || is_before(pos, before)) /* else the beginning is already in sight */
        set_top(t, pos);
}

void transcript_follow(struct transcript *t)
{
    t->follow = true;
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
    return !t->follow && t->n_items > 0 && is_before(transcript_top(t), end_top(t));
}

/* ---- the selected message ---- */

static int item_of(const struct transcript *t, int msg)
{
    for (int i = t->n_items - 1; i >= 0 && msg >= 0; i--)
        if (t->items[i].msg == msg)
            return i;
    return -1;
}

static struct transcript_pos label_of(int item)
{
    return (struct transcript_pos){.item = item, .row = item > 0};
}

long place_of_selected(struct transcript *t)
{
    int i = item_of(t, t->selected);
    if (i < 0)
        return -1;
    struct transcript_pos pos = transcript_top(t);
    if (is_before(label_of(i), pos))
        return -1;
    for (long row = 0; row < (long)t->height; row++) {
        if (!is_before(pos, label_of(i)))
            return row;
        transcript_next(t, &pos);
    }
    return -1;
}

/* Scrolls as little as shows the whole item, or as much of it as the window holds, from its label on. */
static void show_item(struct transcript *t, int i)
{
    struct transcript_pos top = transcript_top(t), label = label_of(i);
    struct transcript_pos least = {.item = i, .row = item_height(t, i) - 1};
    go_up(t, &least, t->height - 1);
    least = is_before(label, least) ? label : least;
    if (is_before(label, top))
        set_top(t, label);
    else if (is_before(top, least))
        set_top(t, least);
}

/* At this row of the window; -1: anywhere in it. */
static void put_label(struct transcript *t, int i, long row)
{
    struct transcript_pos pos = label_of(i);
    if (row < 0) {
        show_item(t, i);
        return;
    }
    go_up(t, &pos, (size_t)row);
    set_top(t, pos);
    recount(t);
}

int transcript_selected(const struct transcript *t)
{
    return t->selected;
}

void transcript_select(struct transcript *t, int msg)
{
    int i = item_of(t, msg);
    t->selected = i < 0 ? -1 : msg;
    if (i >= 0)
        show_item(t, i);
}

/* The first or the last message that has a row in the window, by direction; -1: none. */
static int item_in_window(struct transcript *t, int direction)
{
    struct transcript_pos pos = transcript_top(t);
    int found = -1;
    for (size_t row = 0; row < t->height && pos.item < t->n_items; row++) {
        if (t->items[pos.item].msg >= 0 && pos.row >= label_of(pos.item).row && (direction < 0 || found < 0))
            found = pos.item;
        if (!transcript_next(t, &pos))
            break;
    }
    return found;
}

void transcript_select_next(struct transcript *t, int direction)
{
    int i = item_of(t, t->selected);
    int next = i < 0 ? item_in_window(t, direction) : i + direction;
    while (next >= 0 && next < t->n_items && t->items[next].msg < 0)
        next += direction;
    bool is_there = next >= 0 && next < t->n_items;
    transcript_select(t, is_there ? t->items[next].msg : t->selected);
}

void transcript_number(const struct transcript *t, int msg, int *number, int *n)
{
    *number = *n = 0;
    for (int i = 0; i < t->n_items; i++) {
        *n += t->items[i].msg >= 0;
        if (t->items[i].msg == msg)
            *number = *n;
    }
}

/* Another branch is on screen: what stands beside the selected message now. */
static int item_beside(const struct transcript *t, int msg)
{
    const struct chat_msg *old = &t->chat->msgs[msg];
    for (int i = 0; i < t->n_items; i++) {
        const struct chat_msg *now = item_msg(t, &t->items[i]);
        if (now && now->parent == old->parent && now->role == old->role)
            return i;
    }
    return -1;
}

void place_settle(struct transcript *t, int top_msg, long row)
{
    int top = item_of(t, top_msg), i = item_of(t, t->selected);
    if (top >= 0)
        t->top.item = top;
    else if (t->top.item >= t->n_items)
        t->follow = true;
    if (t->selected < 0 || i >= 0)
        return;
    i = item_beside(t, t->selected);
    t->selected = i < 0 ? -1 : t->items[i].msg;
    if (i >= 0)
        put_label(t, i, row);
}

void transcript_unfold(struct transcript *t, bool unfolded)
{
    long row = place_of_selected(t);
    t->unfolded = unfolded;
    if (row >= 0)
        put_label(t, item_of(t, t->selected), row);
    recount(t);
}

bool transcript_is_unfolded(const struct transcript *t)
{
    return t->unfolded;
}
