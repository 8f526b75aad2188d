/* transcript.h: the conversation as rows of clean text, and which of them are seen.
 *
 * Every message of the path on screen is an item with its own cache of wrapped rows, made when somebody first
 * looks at it. The place of the reader is an item and a byte of its text, whatever row that is in now; so
 * nothing above the window has to be wrapped to know what is in it, and the cost of a frame or a resize is
 * that of the visible rows, however long the chat. While following, the place is computed from the end
 * instead. An open message is cleaned and wrapped again only from its last line break on. Reasoning is one
 * line when folded; while it grows its last rows stand below that line, and it folds when the answer begins.
 * Unfolded is a state of the whole view. One message may be selected. It keeps its row when its branch is
 * changed for another: the sibling is selected then. Borrows the chat; copies nothing but clean text. Pure
 * data, no terminal. Single thread. */
#ifndef FERRUM_TRANSCRIPT_H
#define FERRUM_TRANSCRIPT_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/chat.h"

struct transcript;

struct transcript_pos {
    int item;
    size_t row; /* inside the item */
};

enum transcript_kind {
    ROW_BLANK,
    ROW_LABEL,  /* who speaks */
    ROW_THINK,  /* one line that stands for the reasoning */
    ROW_REASON, /* what is shown of it */
    ROW_TEXT,
    ROW_MARK, /* how the message ended, when not well */
    ROW_NOTE, /* not part of the chat */
};

struct transcript_row {
    enum transcript_kind kind;
    enum chat_role role;
    enum chat_status status;
    bool is_last_text; /* behind it the cursor of an open message stands */
    bool is_selected;
    int position,
        count;        /* of a label: which of the siblings this message is, from 1, and how many there are */
    const char *text; /* clean, owned by the transcript until its next change */
    size_t n_text;
    size_t n_columns; /* with the indent: columns to leave free before the text */
    size_t indent;
};

struct transcript *transcript_new(void);
void transcript_free(struct transcript *t);

/* NULL: no chat. Always starts at the end, following. */
void transcript_set_chat(struct transcript *t, const struct chat *chat);
/* Message msg changed; -1: the path may have changed too. */
void transcript_changed(struct transcript *t, int msg);
void transcript_add_note(struct transcript *t, const char *text);
/* Who answers: the label of the assistant. */
void transcript_set_model(struct transcript *t, const char *name);

/* The size of the window, columns being the measure of the text. */
void transcript_resize(struct transcript *t, size_t columns, size_t height);

/* Whether all reasoning is shown; at first it is not. */
void transcript_unfold(struct transcript *t, bool unfolded);
bool transcript_is_unfolded(const struct transcript *t);

/* Selects a message of the path and scrolls to it; -1: none is. */
void transcript_select(struct transcript *t, int msg);
/* The message before (-1) or behind (1) the selected one; when none is, the last or the first in the window.
 * At either end the selected one is only scrolled to. */
void transcript_select_next(struct transcript *t, int direction);
int transcript_selected(const struct transcript *t);
/* The how manieth of the n messages of the path msg is; 0: it is none of them. */
void transcript_number(const struct transcript *t, int msg, int *number, int *n);

bool transcript_is_empty(const struct transcript *t);

/* Rows towards the end (positive) or the beginning. Reaching the end makes it follow again. */
void transcript_scroll(struct transcript *t, long rows);
void transcript_follow(struct transcript *t);
/* Rows that came since the reader left the end; 0 while following. */
size_t transcript_n_new(struct transcript *t);
/* Whether rows lie below the window. */
bool transcript_has_more(struct transcript *t);

/* The rows of the window: the first one, then next until false. */
struct transcript_pos transcript_top(struct transcript *t);
bool transcript_row_at(struct transcript *t, struct transcript_pos pos, struct transcript_row *row);
bool transcript_next(struct transcript *t, struct transcript_pos *pos);

#endif
