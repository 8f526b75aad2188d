/* view.h: what the files of the screen share: the state behind struct ui. Private to this room.
 *
 * ui.c takes state from app and keeps the clock; ui_keys.c turns tokens into events and movements, ui_tree.c
 * does it for the selected message, ui_edit.c holds an earlier message that is being edited; ui_draw.c
 * composes a frame out of title, transcript, rule, editor and status bar; the overlays lie on top. Drawing
 * changes no state but geometry that key handling needs (pages, window heights). */
#ifndef FERRUM_VIEW_H
#define FERRUM_VIEW_H

#include "ui/editor.h"
#include "ui/input.h"
#include "ui/list.h"
#include "ui/panel.h"
#include "ui/progress.h"
#include "ui/transcript.h"
#include "ui/ui.h"

#define UI_MIN_COLUMNS 40
#define UI_MIN_ROWS 8
#define UI_COMPACT_COLUMNS 60
#define UI_COMPACT_ROWS 10
#define UI_LOW_ROWS 16 /* below, overlays take all but the status line */
#define UI_MEASURE 96  /* columns of text a reader follows easily */

#define CTRL_C 0x03
#define CTRL_L 0x0C
#define CTRL_Z 0x1A

enum overlay { OVERLAY_NONE, OVERLAY_LIST, OVERLAY_HELP };

/* The rows of a notice that is too long for the hairline. */
struct notice_window {
    int top, rows; /* seen, of n_rows; rows 0: it stands in the hairline, or there is none */
    int n_rows;
};

/* An earlier message whose text is in the editor. */
struct edit {
    int msg;        /* -1: none, and then all else is empty */
    char *original; /* what the editor held at first */
    char *stash;    /* what it held before */
    size_t stash_cursor;
    struct buf draft; /* given out by edit_draft */
};

struct pending_event {
    struct ui_event event;
    char *text; /* owned; NULL for none */
};

struct ui {
    struct editor *editor;
    struct input *input;
    struct transcript *transcript;
    const struct chat *chat;
    struct edit edit;
    struct panel panel;
    int panel_of;               /* told as UI_PROFILE_OF: a message, or one of the two below */
    enum panel_form panel_form; /* in the last frame */

    struct ui_status status; /* its texts are clean */
    struct progress progress;
    char *notice; /* clean, NULL: none */
    bool notice_is_error;
    struct notice_window notice_window;
    enum overlay overlay;
    struct list list;
    int help_top, help_page;

    struct pending_event *events; /* first_event..n_events wait */
    int n_events, first_event, cap_events;
    char *event_text; /* of the event given out last */

    bool quit_armed;
    bool hung_up;
    uint64_t revision, told_revision; /* of the editor: seen, and told as UI_DRAFT or gone with a UI_SEND */
    uint64_t changed_ns;              /* when revision changed */

    bool dirty;
    bool urgent; /* a key wants to be seen at once */
    uint64_t drawn_ns;
    int columns, rows;            /* of the screen */
    int transcript_rows;          /* height of its window in the last frame */
    int rule_y;                   /* where the hairline was drawn */
    int overlay_top, overlay_end; /* the rows overlays may take, the second exclusive */
};

/* ---- ui.c ---- */
void ui_mark_dirty(struct ui *ui);
/* Queues an event; text is copied, may be NULL. */
void ui_push_event(struct ui *ui, enum ui_event_type type, enum ui_action action, int index, const char *text,
                   size_t n);
void ui_clear_notice(struct ui *ui);
/* Whether an answer is on its way. */
bool ui_is_busy(const struct ui *ui);
void ui_take_terminal_changes(struct ui *ui, unsigned changes);

/* ---- ui_keys.c ---- */
void ui_feed_token(struct ui *ui, const struct input_token *token);

/* ---- ui_panel.c ---- */
#define PANEL_OF_LIVE (-1)
#define PANEL_OF_NOTHING (-2)
/* The panel's own actions; argument[0..n): of a slash command. False: it is none of these. */
bool ui_panel_action(struct ui *ui, enum ui_action action, const char *argument, size_t n);
/* Another chat: what was told is of the old one's messages. */
void ui_panel_forget(struct ui *ui);
/* Tells app what the panel shows, when that changed. */
void ui_panel_watch(struct ui *ui);

/* ---- ui_edit.c ---- */
bool edit_is_open(const struct ui *ui);
/* Puts the text of message msg into the editor; what the editor holds waits. */
void edit_begin(struct ui *ui, int msg, const char *text, size_t n);
/* Sent or given up: the draft that waited is back in the editor. */
void edit_end(struct ui *ui);
void edit_give_up(struct ui *ui);
/* The chat changes: one draft out of what waits and what was changed. */
void edit_keep_as_draft(struct ui *ui);
/* Somebody else decides what the editor holds. */
void edit_forget(struct ui *ui);
/* What the user has written and not sent, the editor's text and the draft that waits; owned by ui until the
 * next call. */
const char *edit_draft(struct ui *ui, size_t *n, size_t *cursor);
/* What the hairline says meanwhile, in at most room columns where possible. */
void edit_hint(const struct ui *ui, int room, struct buf *out);

/* ---- ui_tree.c ---- */
/* A token while a message is selected. False: it goes on to the editor. */
bool tree_feed(struct ui *ui, const struct input_token *token);
/* Edits the newest message of the user; words[0..n), if any, take the place of its text in the editor. */
void tree_edit_last(struct ui *ui, const char *words, size_t n);
/* argument[0..n): "next", "prev", or nothing. */
void tree_show_branch(struct ui *ui, const char *argument, size_t n);
void tree_fork(struct ui *ui);
void tree_hint(const struct ui *ui, int room, struct buf *out);

/* ---- the parts of a frame ---- */
struct ui_layout {
    int columns, rows;
    int text_columns; /* left of the panel */
    int left;         /* column of the role labels */
    int indent;       /* from there to the text */
    int measure;      /* columns of text */
    int title_y;      /* -1: no title line */
    int text_y, text_rows;
    struct panel_area panel; /* rows 0: there is none */
    int notice_y;            /* == rule_y: it needs no rows of its own */
    int rule_y;
    int editor_y, editor_rows;
    int status_y;
};
/* False: the terminal stalled, and the frame is to be drawn again. */
bool ui_draw_frame(struct ui *ui);
void status_bar_draw(const struct ui *ui, int y, int columns);
/* The hairline, which is the progress bar and the place of notices as well. */
void rule_draw(struct ui *ui, const struct editor_view *view, int y, int columns);
/* Columns the hairline has for a notice, beside what stands at its right end. */
int rule_room(struct ui *ui, int columns);
/* Sets ui->notice_window; returns the rows a notice wants above the hairline, at most text_rows. */
int notice_place(struct ui *ui, int rule_room, int text_rows);
void notice_draw(const struct ui *ui, int y);
/* How to see what is cut, "" when all is seen. */
const char *notice_hint(const struct ui *ui);
/* Pages a cut notice by direction (1, -1); false: there is nothing to page. */
bool notice_page(struct ui *ui, int direction);
void loading_draw(const struct ui *ui, const struct ui_layout *layout);
/* Returns true when the cursor belongs at *y, *x. */
bool overlay_list_draw(struct ui *ui, int *y, int *x);
void overlay_help_draw(struct ui *ui);

#endif
