/* action.h: everything a user can ask for, once: id, key, slash command, help text.
 * The key map, F1 help, /help, completion of commands and the man page come from this one list. Plain data.
 */
#ifndef FERRUM_ACTION_H
#define FERRUM_ACTION_H

#include <stdbool.h>
#include <stddef.h>

/* X(id, keys for people or "", command or "", argument hint or "", help) */
#define UI_ACTIONS(X)                                                                                        \
    X(SEND, "Enter", "", "", "send the message")                                                             \
    X(NEWLINE, "Ctrl-J, Alt-Enter", "", "", "new line in the message")                                       \
    X(STOP, "Esc", "", "", "stop the answer")                                                                \
    X(INTERRUPT, "Ctrl-C", "", "", "stop the answer; else clear the line; when it is empty, twice quits")    \
    X(QUIT, "Ctrl-D on empty line", "quit", "", "leave; everything is saved")                                \
    X(HELP, "F1", "help", "", "this page: the keys and commands")                                            \
    X(NEW, "", "new", "", "start a new chat")                                                                \
    X(SESSIONS, "Alt-O", "sessions", "", "list chats and open one")                                          \
    X(REGEN, "", "regen", "", "answer the last message again (the old answer is kept)")                      \
    X(EDIT, "", "edit", "[WORDS]", "change your last message and send it as a new branch")                   \
    X(BRANCH, "", "branch", "next|prev", "show another branch where the chat last parted")                   \
    X(FORK, "", "fork", "", "go on in a new chat that begins with this one")                                 \
    X(KV, "", "kv", "", "what of this chat the KV cache holds")                                              \
    X(THINK, "", "think", "", "the model reasons before its next answers in this chat")                      \
    X(NOTHINK, "", "nothink", "", "the model answers without reasoning from now on in this chat")            \
    X(REASONING, "Alt-H", "reasoning", "", "unfold or fold the reasoning of answers")                        \
    X(SELECT_UP, "Alt-Up", "", "", "select the message above")                                               \
    X(SELECT_DOWN, "Alt-Down", "", "", "select the message below")                                           \
    X(PROFILE, "F2", "profile", "[PART]",                                                                    \
      "show or hide where time goes; PART: ops, layers, experts, prefill, decode, all, 12")                  \
    X(PROFILE_VIEW, "F3", "", "", "profile: operations, layers or experts")                                  \
    X(EXPERTS, "", "experts", "", "profile: which experts are asked")                                        \
    X(PROFILE_PHASE, "F4", "", "", "profile: reading the prompt or writing the answer")                      \
    X(PROFILE_PIN, "F5", "", "", "profile: hold this one to compare others with, or let it go")              \
    X(PROFILE_SIZE, "F6, F7", "", "", "profile: smaller, larger")                                            \
    X(PROFILE_LAYER, "Ctrl-Up, Ctrl-Down", "", "", "profile: one layer, or all of them")                     \
    X(PAGE_UP, "PgUp", "", "", "scroll back")                                                                \
    X(PAGE_DOWN, "PgDn", "", "", "scroll forward")                                                           \
    X(SCROLL_END, "Ctrl-End", "", "", "go to the end and follow the answer")                                 \
    X(REDRAW, "Ctrl-L", "", "", "draw the screen anew")

/* Keys that ask for no action of the list: X(id, where they work or "" for the editor, keys, help) */
#define UI_OTHER_KEYS(X)                                                                                     \
    X(SHOW_BRANCHES, "On a selected message", "Left, Right", "show its other branches")                      \
    X(EDIT_SELECTED, "On a selected message", "Enter, e",                                                    \
      "edit it and send it as a new branch, if it is yours")                                                 \
    X(REGEN_SELECTED, "On a selected message", "r", "answer again, if it is an answer")                      \
    X(FORK_SELECTED, "On a selected message", "f", "go on in a new chat that begins with all up to there")   \
    X(MOVE_SELECTION, "On a selected message", "Up, Down, Esc", "select the next one, or none")              \
    X(SHIFT_ENTER, "", "Shift-Enter", "new line too, where the terminal reports it")                         \
    X(WHEEL, "", "Wheel", "scroll three lines")                                                              \
    X(HISTORY, "", "Up, Down", "earlier messages, or lines of this one")                                     \
    X(SEARCH_HISTORY, "", "Ctrl-R", "search earlier messages")                                               \
    X(DELETE_PART, "", "Ctrl-K, Ctrl-U", "delete to the end, to the beginning of the line")                  \
    X(YANK_UNDO, "", "Ctrl-Y, Ctrl-_", "bring back what was deleted, undo")                                  \
    X(COMPLETE, "", "Tab", "complete a command")                                                             \
    X(LITERAL_SLASH, "", "//text", "send /text: a message that begins with a slash")                         \
    X(SUSPEND, "", "Ctrl-Z", "suspend; fg comes back")                                                       \
    X(SELECT_TEXT, "", "Shift + mouse", "select text with the terminal's own means")

enum ui_action {
#define UI_ACTION_ENUM(id, keys, command, hint, help) ACTION_##id,
    UI_ACTIONS(UI_ACTION_ENUM)
#undef UI_ACTION_ENUM
        ACTION_N,
    ACTION_NONE = -1,
};

struct ui_action_info {
    const char *keys, *command, *hint, *help;
};
const struct ui_action_info *ui_action_info(enum ui_action action);

struct ui_other_key {
    const char *id, *where, *keys, *help;
};
/* The i-th (from 0) row of UI_OTHER_KEYS, for the help page and the guide; NULL after the last. */
const struct ui_other_key *ui_other_key(size_t i);

/* Looks a slash command up: "/reg" (unique prefix) or full name, without arguments. ACTION_NONE: unknown or
 * ambiguous. */
enum ui_action ui_action_of_command(const char *name, size_t n);

/* The index-th (from 0) command that word[0..n) begins, complete with its slash; NULL after the last. */
const char *ui_action_candidate(const char *word, size_t n, int index);

#endif
