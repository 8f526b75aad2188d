/* ui.h: the full-screen terminal: editor, transcript, status line, overlays.
 *
 * Purpose: turns terminal input into ui_events for app, and draws the state app hands over as a pure function
 * of it. Knows chats and numbers, never the engine or the store. Owns the terminal from ui_open to ui_close
 * (raw mode, alternate screen, signals SIGWINCH/SIGTSTP/crash handlers) and gives it back in every case,
 * crashes included. Thread rule: one thread (app's main). ui_restore_terminal is async-signal-safe and may be
 * called from any. Drawing: nothing is drawn unless something changed; an idle screen causes no wake-ups.
 * Text is sanitised here, on the only path to the screen. */
#ifndef FERRUM_UI_H
#define FERRUM_UI_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/chat.h"
#include "engine/base/err.h"
#include "engine/base/prof.h"
#include "ui/action.h"

struct ui;

struct ui_options {
    const char *history_path; /* input history (JSON lines), NULL: none is kept */
    const char *term;         /* TERM; NULL: ncurses looks itself */
    bool no_color;            /* NO_COLOR is set and not empty */
    int escape_ms;            /* ESCDELAY; 0: the default (150 fits ssh) */
};

/* True when a full screen is possible: stdin and stdout are terminals and term (TERM's value, or NULL) is set
 * and not "dumb". */
bool ui_is_possible(const char *term);

struct ui *ui_open(const struct ui_options *options, struct err *err);
/* Gives the terminal back, then writes last_words (may be NULL; sanitised) to the normal screen. */
void ui_close(struct ui *ui, const char *last_words);
void ui_restore_terminal(void);

/* ---- input ---- */

enum ui_event_type {
    UI_SEND, /* text: a message (pastes expanded), owned by ui until the next call. msg -1: it goes under the
                head. Else it is what the user made of message msg: app adds it beside that one (chat_add
                with the parent of msg, which makes it the head), answers it and calls
                ui_chat_changed(-1); refused, the head goes back and the text is given to
                ui_edit_message */
    UI_ACTION,     /* action; text: the argument of a slash command or "". ui does what concerns the screen
                      itself, and makes STOP or QUIT out of Esc, Ctrl-C and Ctrl-D. REGEN: msg is the answer to
                      give again, beside the old one (-1: the last). FORK: msg is the last message of the path
                      that a new chat begins with */
    UI_BRANCH,     /* show the branch of msg, a sibling of a message on screen: the head becomes
                      chat_newest_leaf(chat, msg), then ui_chat_changed(-1). While an answer is written app
                      refuses with a notice */
    UI_PICKED,     /* index: a row of the list overlay, which is closed */
    UI_DELETE,     /* index: the user asked (and confirmed) to delete that row; call ui_show_list with what is
                      left (the list stays open at its place), or ui_notice */
    UI_DRAFT,      /* the editor rested for a second after a change: text, cursor (bytes) */
    UI_PROFILE_OF, /* the panel shows something else from now on: msg, which is selected, or (-1) the newest
                      answer of what is shown. Call ui_set_profile, now or when it is there, and again while
                      it changes (ui_shows_profile_of) */
    UI_HANGUP,     /* the terminal is gone */
};
struct ui_event {
    enum ui_event_type type;
    enum ui_action action;
    int index;
    int msg; /* -1: none */
    const char *text;
    size_t n_text, cursor;
};

/* Descriptors to poll (at most 4) and the time until ui wants to be called even without input (-1: never). */
int ui_poll_fds(struct ui *ui, struct pollfd fds[4]);
int ui_timeout_ms(struct ui *ui);
/* Reads what is there; call ui_next_event until it returns false, then ui_draw. */
void ui_read_input(struct ui *ui);
bool ui_next_event(struct ui *ui, struct ui_event *event);

/* A draft, or a message the engine refused: replaces what the editor holds (app has stored or joined that
 * before);
 * "" empties it. */
void ui_reset_editor(struct ui *ui, const char *text, size_t n, size_t cursor);
/* Puts text into the editor as the new form of message msg: an edit that was sent and refused. What the
 * editor holds is kept and comes back when the edit is sent or given up. */
void ui_edit_message(struct ui *ui, int msg, const char *text, size_t n);
/* The text in the editor now (for the draft at exit); owned by ui until the next call. */
const char *ui_editor_text(struct ui *ui, size_t *cursor);

/* ---- what is shown ---- */

enum ui_phase { UI_LOADING, UI_IDLE, UI_PREFILL, UI_GENERATING, UI_FAILED };

/* Copied by ui_set_status. Texts are sanitised by ui. */
struct ui_status {
    enum ui_phase phase;
    char model[96];             /* "qwen3-0.6b q4_k_m" */
    char backend[48];           /* "cpu x2 avx2" */
    char think[12];             /* "think", "no think", or "": nothing to say about it */
    uint64_t done, total;       /* loading: bytes; prefill: tokens */
    uint32_t ctx_used, ctx_max; /* tokens; max 0: not known yet */
    double tokens_per_s;        /* last second while generating, mean of the turn afterwards; 0: none yet */
    bool queued;                /* a message waits for the model to load */
    bool preparing;             /* UI_IDLE: the chat is read ahead of its next message; done, total: tokens */
};
void ui_set_status(struct ui *ui, const struct ui_status *status);

/* The chat on screen: borrowed; the caller says when it changed. ui_set_chat(NULL) shows an empty chat. */
void ui_set_chat(struct ui *ui, const struct chat *chat);
/* Message msg (index) changed its text or status; -1: anything (path, messages). */
void ui_chat_changed(struct ui *ui, int msg);

/* One line above the editor until the next key press or replaced: info or error. */
void ui_notice(struct ui *ui, bool is_error, const char *text);
/* A block of text in the transcript that is not part of the chat (receipts, warnings), after the last
 * message. */
void ui_note(struct ui *ui, const char *text);

/* Overlays: a list to pick from (rows copied), or help (made from action.h). Esc closes. */
struct ui_list_row {
    const char *title, *detail; /* "How MoE works", "2 turns · qwen3 · 3 h ago" */
};
void ui_show_list(struct ui *ui, const char *heading, const struct ui_list_row *rows, int n);
void ui_show_help(struct ui *ui);

/* ---- the profiler panel ---- */

struct ui_profile {
    const struct prof *prof; /* of one turn; borrowed until the next call; NULL: none, title says why */
    double read_gb_s;        /* what reading memory reaches on this machine; 0: not known */
    const char *title;       /* what it is of: "this answer", "answer 2 of 6"; copied */
};
void ui_set_profile(struct ui *ui, const struct ui_profile *profile);
/* Whether the panel is open and shows the newest answer, or msg: else nobody needs copies of its profile. */
bool ui_shows_profile_of(const struct ui *ui, int msg);

/* Draws what changed, at most about 60 times a second (keys at once). */
void ui_draw(struct ui *ui);

#endif
