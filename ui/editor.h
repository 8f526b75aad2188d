/* editor.h: the line editor: GNU readline's callback interface behind guards, with multi-line text.
 *
 * Readline edits; everything around it is ours, because its callback mode crashes, hangs and splits pastes
 * when it is fed raw: keys arrive as tokens (input.h), are resolved in the keymap first, and only complete
 * bound sequences are fed; pastes, history search, completion lists and drawing never enter readline. The
 * user's inputrc works ($if ferrum-chat), and where it binds a key that ui uses as well, the inputrc wins.
 * The buffer: valid UTF-8 in NFC. A long paste (above 20 lines or 4 KiB) stands in it as one character, drawn
 * as the chip
 * `[paste: 214 lines]` and replaced by its text in whatever leaves the editor. All offsets given out refer to
 * the text with pastes expanded, except in the drawn rows. Readline's state is global, so there is at most
 * one editor. Thread rule: one thread. Call terminal_set_locale first. Texts given out are owned by the
 * editor, until the next call of any function here. */
#ifndef FERRUM_EDITOR_H
#define FERRUM_EDITOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "ui/input.h"

struct editor;

struct editor_options {
    /* JSON lines, one string per entry, made with mode 0600; NULL: history lives in memory only. A file that
     * cannot be read or written is no reason not to open: editor_warning tells. */
    const char *history_path;
    /* Candidates for Tab on a word that starts with '/' in column 0, without the slash's arguments: the
     * index-th one (from 0) that could complete word[0..n), complete with its slash, or NULL after the last.
     * NULL: Tab does nothing. */
    const char *(*complete)(void *ctx, const char *word, size_t n, int index);
    void *complete_ctx;
};

struct editor *editor_open(const struct editor_options *options, struct err *err);
void editor_close(struct editor *editor);
/* Why the history file is not used (once, then NULL). */
const char *editor_warning(struct editor *editor);

/* ---- input ---- */

/* Takes a key, a paste, or any other token; look for events afterwards. */
void editor_feed(struct editor *editor, const struct input_token *token);

enum editor_event_type {
    EDITOR_SEND,      /* Enter: text (pastes expanded, never only blanks); the line is empty now */
    EDITOR_INTERRUPT, /* Ctrl-C: ui stops the answer, or calls editor_clear, or arms quitting */
    EDITOR_EOF,       /* Ctrl-D on an empty line */
    EDITOR_ESC,       /* Esc that no mode of the editor wanted */
    EDITOR_REDRAW,    /* Ctrl-L */
    EDITOR_SUSPEND,   /* Ctrl-Z: call terminal_suspend */
    EDITOR_UNBOUND,   /* token: nothing in the keymap wanted it: PgUp, F1, Alt-O, wheel, focus ... */
    EDITOR_FLASH,     /* a key sequence that means nothing */
    EDITOR_NOTICE,    /* text: a sentence for the notice line (paste cut, editor recovered) */
};
struct editor_event {
    enum editor_event_type type;
    const char *text;
    size_t n_text;
    struct input_token token;
};
bool editor_next_event(struct editor *editor, struct editor_event *event);

/* ---- the text ---- */

/* The text, pastes expanded, NUL-terminated; *cursor and *n (may be NULL) in bytes. */
const char *editor_text(struct editor *editor, size_t *n, size_t *cursor);
bool editor_is_empty(const struct editor *editor);
/* Replaces the text (a draft, a refused message). Made valid and NFC; a cursor beyond the end means the end.
 */
void editor_set_text(struct editor *editor, const char *text, size_t n, size_t cursor);
/* Ctrl-C on a line with text: empties it and leaves any search or pending argument; undo brings it back. */
void editor_clear(struct editor *editor);
/* Counts up with every change of the text; compare to save drafts. */
uint64_t editor_revision(const struct editor *editor);

/* ---- drawing ---- */

/* A row ready to draw: no control characters (a TAB is spaces, others are pictures like U+241B), a chip is
 * its label; every character has 1 or 2 columns by wcwidth, or 0 for the marks on a base. Not NUL-terminated.
 */
struct editor_row {
    const char *text;
    size_t n;
    int columns;
};
struct editor_view {
    const struct editor_row *rows; /* at least 1, wrapped at the width */
    int n_rows;
    int cursor_row, cursor_column; /* cursor_column < width */
    const char
        *prompt;    /* "" or what readline or the search asks: "(arg: 4) ", "search: rout"; one line, clean */
    bool searching; /* the rows show the match, the cursor stands in it */
    bool found;     /* searching: there is a match (or nothing was typed yet) */
    bool vi_command;               /* vi command mode: draw another cursor or a mark */
    const char *const *candidates; /* after Tab with several matches, until the next key */
    int n_candidates;
};
/* Lays the text out for this width (at least 2). Rows stay valid until the next call of any function here. */
void editor_layout(struct editor *editor, int width, struct editor_view *view);
/* True once after anything that editor_layout shows has changed. */
bool editor_take_dirty(struct editor *editor);

/* Adds an entry as if it had been sent (editor_feed does it for EDITOR_SEND). */
void editor_add_history(struct editor *editor, const char *text, size_t n);

#endif
