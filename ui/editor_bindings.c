/* editor_bindings.c: what readline is told: hooks and settings before rl_initialize, keys and variables after
 * it. A key is bound anew only while it still holds readline's default, so that the user's inputrc wins. */
#include "ui/editor_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <readline/readline.h>
#include <readline/history.h>

#include "engine/base/mem.h"

/* Readline's callbacks carry no context, and it has one line: one editor. */
static struct editor *current;

static void on_redisplay(void)
{
    current->dirty = true; /* drawing happens once a frame, not thousands of times in a paste */
}

static int on_getc(FILE *stream)
{
    (void)stream;
    if (current->queue_at >= current->queue.len)
        return EOF;
    return (unsigned char)current->queue.data[current->queue_at++];
}

/* vi insert mode asks this whether an ESC stands alone. */
static int on_input_available(void)
{
    return current->queue_at < current->queue.len;
}

/* ---- commands the inputrc can name ---- */

static int chat_newline(int count, int key)
{
    (void)key;
    for (int i = 0; i < count; i++)
        rl_insert_text("\n");
    return 0;
}

static int line_start(void)
{
    int at = rl_point;
    while (at > 0 && rl_line_buffer[at - 1] != '\n')
        at--;
    return at;
}

static int line_end(void)
{
    int at = rl_point;
    while (at < rl_end && rl_line_buffer[at] != '\n')
        at++;
    return at;
}

static int chat_line_start(int count, int key)
{
    (void)count;
    (void)key;
    rl_point = line_start();
    return 0;
}

static int chat_line_end(int count, int key)
{
    (void)count;
    (void)key;
    rl_point = line_end();
    return 0;
}

static int chat_discard_line(int count, int key);

/* At the end of a line its line break goes, so that the key can be repeated. */
static int chat_kill_line(int count, int key)
{
    if (count < 0)
        return chat_discard_line(-count, key);
    int from = rl_point, to = line_end();
    if (to == from && to < rl_end)
        to++;
    if (to > from)
        rl_kill_text(from, to);
    return 0;
}

static int chat_discard_line(int count, int key)
{
    if (count < 0)
        return chat_kill_line(-count, key);
    int from = rl_point, to = line_start();
    if (to == from && to > 0)
        to--;
    if (to < from)
        rl_kill_text(from, to); /* backwards: readline then puts it before what was killed last */
    rl_point = to;
    return 0;
}

static int chat_down(int count, int key);

static int chat_up(int count, int key)
{
    if (count < 0)
        return chat_down(-count, key);
    if (rl_last_func != chat_up && rl_last_func != chat_down)
        current->goal_column = -1;
    return editor_move_rows(current, -count) ? 0 : rl_get_previous_history(count, key);
}

static int chat_down(int count, int key)
{
    if (count < 0)
        return chat_up(-count, key);
    if (rl_last_func != chat_up && rl_last_func != chat_down)
        current->goal_column = -1;
    return editor_move_rows(current, count) ? 0 : rl_get_next_history(count, key);
}

/* ---- completion of slash commands ---- */

static char *next_candidate(const char *word, int state)
{
    static int index;
    if (state == 0)
        index = 0;
    const char *found = current->options.complete(current->options.complete_ctx, word, strlen(word), index++);
    return found ? strdup(found) : NULL; /* readline frees it */
}

static char **on_complete(const char *word, int start, int end)
{
    (void)end;
    rl_attempted_completion_over = 1; /* never file names */
    if (start != 0 || word[0] != '/' || !current->options.complete)
        return NULL;
    return rl_completion_matches(word, next_candidate);
}

static void on_matches(char **matches, int n, int max_length)
{
    (void)max_length;
    editor_forget_candidates(current);
    current->candidates = mem_need((size_t)n * sizeof *current->candidates);
    for (int i = 1; i <= n && matches[i]; i++)
        current->candidates[current->n_candidates++] = mem_strdup(matches[i]);
}

/* ---- set-up ---- */

static void add_commands(void)
{
    static bool added; /* readline keeps them for good */
    if (added)
        return;
    added = true;
    rl_add_defun("chat-newline", chat_newline, -1);
    rl_add_defun("chat-line-start", chat_line_start, -1);
    rl_add_defun("chat-line-end", chat_line_end, -1);
    rl_add_defun("chat-kill-line", chat_kill_line, -1);
    rl_add_defun("chat-discard-line", chat_discard_line, -1);
    rl_add_defun("chat-up", chat_up, -1);
    rl_add_defun("chat-down", chat_down, -1);
}

void editor_bindings_prepare(struct editor *e)
{
    static FILE *nowhere; /* readline prints bindings and variables: never onto our screen */
    current = e;
    if (!nowhere)
        nowhere = fopen("/dev/null", "w");
    rl_readline_name = "ferrum-chat";
    rl_instream = stdin;
    rl_outstream = nowhere;
    /* Before rl_initialize: readline then leaves termcap alone, which would replace ncurses' terminal. */
    rl_redisplay_function = on_redisplay;
    rl_getc_function = on_getc;
    rl_input_available_hook = on_input_available;
    rl_event_hook = NULL;
    rl_prep_term_function = NULL;
    rl_deprep_term_function = NULL;
    rl_catch_signals = 0;
    rl_catch_sigwinch = 0;
    rl_change_environment = 0;
    rl_attempted_completion_function = on_complete;
    rl_completion_display_matches_hook = on_matches;
    rl_variable_bind("show-all-if-ambiguous", "on"); /* our default; the inputrc is read after this */
    add_commands();
}

struct binding {
    const char *keys;                                /* in readline's notation */
    rl_command_func_t *standard, *standard_2, *ours; /* replaced: unbound, or one of the standards */
};

static void bind_one(const struct binding *b, Keymap map)
{
    int type = ISFUNC;
    rl_command_func_t *now = NULL;
    char sequence[32];
    int n;
    if (rl_translate_keyseq(b->keys, sequence, &n) != 0)
        return;
    now = rl_function_of_keyseq_len(sequence, (size_t)n, map, &type);
    if (!now || (type == ISFUNC && (now == b->standard || (b->standard_2 && now == b->standard_2))))
        rl_bind_keyseq_in_map(b->keys, b->ours, map);
}

/* Leaving termcap out leaves these without meaning under a bare inputrc; Alt-Enter would switch to vi mode.
 */
static const struct binding typing_keys[] = {
    {"\\C-j", rl_newline, NULL, chat_newline},
    {"\\e\\C-m", rl_vi_editing_mode, rl_newline, chat_newline},
    {"\\e\\C-j", rl_vi_editing_mode, rl_newline, chat_newline},
    {"\\C-a", rl_beg_of_line, NULL, chat_line_start},
    {"\\C-e", rl_end_of_line, NULL, chat_line_end},
};
static const struct binding killing_keys[] = {
    {"\\C-k", rl_kill_line, NULL, chat_kill_line},
    {"\\C-u", rl_unix_line_discard, NULL, chat_discard_line},
};
static const struct binding moving_keys[] = {
    {"\\e[A", rl_get_previous_history, NULL, chat_up},
    {"\\eOA", rl_get_previous_history, NULL, chat_up},
    {"\\e[B", rl_get_next_history, NULL, chat_down},
    {"\\eOB", rl_get_next_history, NULL, chat_down},
    {"\\e[C", rl_forward_char, NULL, rl_forward_char},
    {"\\eOC", rl_forward_char, NULL, rl_forward_char},
    {"\\e[D", rl_backward_char, NULL, rl_backward_char},
    {"\\eOD", rl_backward_char, NULL, rl_backward_char},
    {"\\e[H", rl_beg_of_line, NULL, chat_line_start},
    {"\\eOH", rl_beg_of_line, NULL, chat_line_start},
    {"\\e[1~", rl_beg_of_line, NULL, chat_line_start},
    {"\\e[7~", rl_beg_of_line, NULL, chat_line_start},
    {"\\e[F", rl_end_of_line, NULL, chat_line_end},
    {"\\eOF", rl_end_of_line, NULL, chat_line_end},
    {"\\e[4~", rl_end_of_line, NULL, chat_line_end},
    {"\\e[8~", rl_end_of_line, NULL, chat_line_end},
    {"\\e[3~", rl_delete, NULL, rl_delete},
    {"\\e[2~", rl_overwrite_mode, NULL, rl_overwrite_mode},
    {"\\e[1;5C", rl_forward_word, NULL, rl_forward_word},
    {"\\e[1;5D", rl_backward_word, NULL, rl_backward_word},
    {"\\e[3;5~", rl_kill_word, NULL, rl_kill_word},
};
static const struct binding vi_command_keys[] = {
    {"k", rl_get_previous_history, NULL, chat_up},
    {"j", rl_get_next_history, NULL, chat_down},
};

static void bind_all(const struct binding *bindings, size_t n, Keymap map)
{
    for (size_t i = 0; i < n; i++)
        bind_one(&bindings[i], map);
}
#define BIND_ALL(bindings, map) bind_all(bindings, sizeof(bindings) / sizeof((bindings)[0]), map)

void editor_bindings_apply(void)
{
    rl_variable_bind("blink-matching-paren", "off"); /* it sleeps in select on stdin */
    rl_variable_bind("enable-bracketed-paste", "off");
    rl_variable_bind("input-meta", "on"); /* the line is UTF-8, whatever the locale says */
    rl_variable_bind("output-meta", "on");
    rl_variable_bind("convert-meta", "off");
    rl_variable_bind("horizontal-scroll-mode", "off");
    BIND_ALL(typing_keys, emacs_standard_keymap);
    BIND_ALL(typing_keys, vi_insertion_keymap);
    BIND_ALL(killing_keys, emacs_standard_keymap);
    BIND_ALL(killing_keys, vi_insertion_keymap);
    BIND_ALL(killing_keys, vi_movement_keymap);
    BIND_ALL(moving_keys, emacs_standard_keymap);
    BIND_ALL(moving_keys, vi_insertion_keymap);
    BIND_ALL(moving_keys, vi_movement_keymap);
    BIND_ALL(vi_command_keys, vi_movement_keymap);
}
