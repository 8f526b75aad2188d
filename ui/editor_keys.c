/* editor_keys.c: the guards between tokens and readline's callback interface.
 * Readline is fed only complete sequences that its keymap binds, at once and without remainder; commands that
 * would read or loop inside readline are answered here. Fed raw (keys on their way into readline past all
 * that) it crashes. */
#include "ui/editor_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <readline/readline.h>
#include <readline/history.h>
#include <utf8proc.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"

#define MAX_MACRO_DEPTH 8

/* A macro of the inputrc that calls itself twice would double with every level; this many bytes end it. */
#define MAX_MACRO_BYTES 4096

enum outcome { OUTCOME_WAITS, OUTCOME_DONE, OUTCOME_UNBOUND };

static struct editor *installed; /* readline's line handler has no context */
static size_t macro_bytes;

static void feed_bytes(struct editor *e, const char *bytes, size_t n, const struct input_token *token);

static void on_line(char *line)
{
    editor_accept_line(installed, line);
    free(line);
}

/* ---- running readline ---- */

static void drain(struct editor *e)
{
    while (e->queue_at < e->queue.len)
        rl_callback_read_char();
}

/* Commands on bytes can cut a character; readline's vi mode loops for ever on ill-formed text. */
static void repair_line(struct editor *e)
{
    if (utf8_is_valid(rl_line_buffer, (size_t)rl_end))
        return;
    struct buf clean = {0};
    input_clean(&clean, rl_line_buffer, (size_t)rl_end);
    editor_keys_reset(e, buf_text(&clean), clean.len, (size_t)rl_point);
    buf_fini(&clean);
}

static void recover(struct editor *e)
{
    static const char text[] = "That key made the line editor hang; the line is as before.";
    struct buf line = e->backup;
    e->backup = (struct buf){0};
    editor_keys_reset(e, buf_text(&line), line.len, (size_t)e->backup_point);
    buf_fini(&line);
    editor_push_text(e, EDITOR_NOTICE, text, sizeof text - 1);
}

/* Hands bytes to readline until it has taken all. */
static void run(struct editor *e, const char *bytes, size_t n)
{
    buf_truncate(&e->queue, 0);
    e->queue_at = 0;
    buf_append(&e->queue, bytes, n);
    buf_truncate(&e->backup, 0);
    buf_append(&e->backup, rl_line_buffer, (size_t)rl_end);
    e->backup_point = rl_point;
    if (!editor_watchdog_run(drain, e)) {
        recover(e);
        return;
    }
    if (RL_ISSTATE(RL_STATE_ISEARCH)) { /* only a macro could get here; readline's own search is never used */
        struct buf line = e->backup;
        e->backup = (struct buf){0};
        editor_keys_reset(e, buf_text(&line), line.len, (size_t)e->backup_point);
        buf_fini(&line);
    }
    repair_line(e);
}

void editor_keys_reset(struct editor *e, const char *text, size_t n, size_t point)
{
    char *line = mem_strndup(text, n);
    bool vi_command = rl_get_keymap() == vi_movement_keymap;
    buf_truncate(&e->queue, 0);
    e->queue_at = 0;
    e->n_sequence = 0;
    e->awaits_raw = false;
    rl_callback_sigcleanup();
    /* Back to the newest line by readline's own way: else the undo list of a history entry is freed twice. */
    rl_maybe_replace_line();
    rl_maybe_unsave_line();
    using_history();
    rl_callback_handler_remove();
    rl_executing_macro = NULL;
    rl_readline_state = RL_STATE_INITIALIZED;
    rl_clear_pending_input();
    rl_clear_message();
    rl_callback_handler_install("", on_line);
    rl_replace_line(line, 1);
    rl_point = (int)(point < n ? point : n);
    while (rl_point > 0 && ((unsigned char)rl_line_buffer[rl_point] & 0xC0) == 0x80)
        rl_point--;
    if (vi_command && rl_editing_mode == 0)
        rl_set_keymap(vi_movement_keymap);
    e->dirty = true;
    mem_free(line);
}

bool editor_keys_pending(const struct editor *e)
{
    return e->awaits_raw || e->n_sequence > 0 ||
           RL_ISSTATE(RL_STATE_NSEARCH | RL_STATE_CHARSEARCH | RL_STATE_VIMOTION | RL_STATE_NUMERICARG);
}

/* ---- commands that are answered here ---- */

static bool reads_raw_next(rl_command_func_t *f)
{
    return f == rl_quoted_insert || f == rl_char_search || f == rl_backward_char_search ||
           f == rl_vi_change_char || f == rl_vi_set_mark || f == rl_vi_goto_mark;
}

/* Commands that read the terminal by themselves or belong to what we own. */
static bool is_refused(rl_command_func_t *f)
{
    return f == rl_arrow_keys || f == rl_skip_csi_sequence || f == rl_bracketed_paste_begin ||
           (f == rl_call_last_kbd_macro && RL_ISSTATE(RL_STATE_MACRODEF));
}

static bool run_own(struct editor *e, rl_command_func_t *f)
{
    if (f == rl_reverse_search_history || f == rl_forward_search_history)
        editor_search_start(e);
    else if (f == rl_clear_screen || f == rl_clear_display)
        editor_push(e, EDITOR_REDRAW, NULL);
    else
        return false;
    return true;
}

/* Bytes of the first character. */
static size_t first_character(const char *s, size_t n)
{
    uint32_t c;
    return n > 0 ? utf8_decode(s, n, &c, NULL) : 0;
}

static bool is_mark(const char *bytes, size_t n)
{
    uint32_t c;
    utf8_decode(bytes, n, &c, NULL);
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_ME ||
           category == UTF8PROC_CATEGORY_MC;
}

/* A mark joins the character before it where Unicode has one for both; at the start of a line it has nothing
 * to stand on, and readline's vi mode loops there. True: done. */
static bool insert_mark(struct editor *e, const char *bytes, size_t n)
{
    if (n < 2)
        return false;
    if (is_mark(bytes, n) && (rl_point == 0 || rl_line_buffer[rl_point - 1] == '\n')) {
        editor_push(e, EDITOR_FLASH, NULL);
        return true;
    }
    if (RL_ISSTATE(RL_STATE_MACRODEF | RL_STATE_NUMERICARG | RL_STATE_OVERWRITE))
        return false;
    int from = rl_point;
    while (from > 0 && ((unsigned char)rl_line_buffer[--from] & 0xC0) == 0x80)
        ;
    struct buf joined = {0};
    editor_compose(&joined, rl_line_buffer + from, (size_t)(rl_point - from));
    size_t alone = joined.len;
    buf_truncate(&joined, 0);
    buf_append(&joined, rl_line_buffer + from, (size_t)(rl_point - from));
    buf_append(&joined, bytes, n);
    struct buf composed = {0};
    editor_compose(&composed, joined.data, joined.len);
    bool joins = from < rl_point && composed.len != alone + n &&
                 first_character(composed.data, composed.len) == composed.len;
    if (joins) {
        rl_begin_undo_group();
        rl_delete_text(from, rl_point);
        rl_point = from;
        rl_insert_text(composed.data);
        rl_end_undo_group();
        e->dirty = true;
    }
    buf_fini(&joined);
    buf_fini(&composed);
    return joins;
}

static void run_macro(struct editor *e, const char *macro)
{
    size_t n = strlen(macro);
    if (e->macro_depth >= MAX_MACRO_DEPTH || macro_bytes + n > MAX_MACRO_BYTES) {
        editor_push(e, EDITOR_FLASH, NULL);
        return;
    }
    e->macro_depth++;
    macro_bytes += n;
    feed_bytes(e, macro, n, NULL);
    e->macro_depth--;
}

/* ---- resolving ---- */

static void run_function(struct editor *e, rl_command_func_t *f, size_t n_last)
{
    char sequence[EDITOR_MAX_SEQUENCE];
    size_t n = e->n_sequence;
    memcpy(sequence, e->sequence, n);
    e->n_sequence = 0;
    if (run_own(e, f))
        return;
    if (f == rl_insert && insert_mark(e, sequence + n - n_last, n_last))
        return;
    run(e, sequence, n);
    e->awaits_raw = reads_raw_next(f);
    if (f == rl_re_read_init_file)
        editor_bindings_apply();
}

/* Adds a character of n bytes to the sequence. Only its first byte is looked up: the rest belongs to the
 * insertion. */
static enum outcome resolve(struct editor *e, const char *bytes, size_t n)
{
    if (e->n_sequence + n > sizeof e->sequence)
        return OUTCOME_UNBOUND;
    memcpy(e->sequence + e->n_sequence, bytes, n);
    size_t n_looked = e->n_sequence + 1;
    e->n_sequence += n;
    int type = ISFUNC;
    rl_command_func_t *f = rl_function_of_keyseq_len(e->sequence, n_looked, rl_get_keymap(), &type);
    if (f && type == ISFUNC && f == rl_do_lowercase_version) {
        char *last = &e->sequence[n_looked - 1];
        *last = (char)(*last | 0x20);
        f = rl_function_of_keyseq_len(e->sequence, n_looked, rl_get_keymap(), &type);
    }
    if (!f || (type == ISKMAP && n > 1))
        return OUTCOME_UNBOUND;
    if (type == ISKMAP)
        return OUTCOME_WAITS;
    if (type == ISMACR) {
        e->n_sequence = 0;
        run_macro(e, (const char *)(void *)f);
        return OUTCOME_DONE;
    }
    if (f == rl_do_lowercase_version || is_refused(f))
        return OUTCOME_UNBOUND;
    run_function(e, f, n);
    return OUTCOME_DONE;
}

static bool in_vi_insert(void)
{
    return rl_get_keymap() == vi_insertion_keymap;
}

static bool reads_raw(const struct editor *e)
{
    return e->awaits_raw || RL_ISSTATE(RL_STATE_NSEARCH | RL_STATE_CHARSEARCH | RL_STATE_VIMOTION);
}

/* ESC + key in vi insert mode: the ESC stands alone, and the key is a command. */
static bool split_vi_escape(struct editor *e)
{
    if (!in_vi_insert() || e->n_sequence < 2 || e->sequence[0] != ESC || e->sequence[1] == '[' ||
        e->sequence[1] == 'O')
        return false;
    char rest[EDITOR_MAX_SEQUENCE];
    size_t n = e->n_sequence - 1;
    memcpy(rest, e->sequence + 1, n);
    e->n_sequence = 0;
    run(e, "\033", 1);
    feed_bytes(e, rest, n, NULL);
    return true;
}

static void unbound(struct editor *e, bool whole, const struct input_token *token)
{
    if (split_vi_escape(e))
        return;
    e->n_sequence = 0;
    editor_push(e, whole && token ? EDITOR_UNBOUND : EDITOR_FLASH, token);
}

/* Feeds keys one after another; token: whose bytes these are, NULL for a macro's. */
static void feed_bytes(struct editor *e, const char *bytes, size_t n, const struct input_token *token)
{
    bool fresh = e->n_sequence == 0;
    for (size_t i = 0; i < n;) {
        size_t used = first_character(bytes + i, n - i);
        if (reads_raw(e)) {
            e->awaits_raw = false;
            run(e, bytes + i, used);
        } else if (resolve(e, bytes + i, used) == OUTCOME_UNBOUND) {
            bool whole = fresh && i + used == n;
            if (!whole && token) /* a sequence is unbound as a whole, however early the keymap says so */
                used = n - i;
            unbound(e, fresh && token != NULL, token);
        }
        i += used;
    }
}

/* ---- single keys ---- */

static void abort_pending(struct editor *e)
{
    bool waits = RL_ISSTATE(RL_STATE_NSEARCH | RL_STATE_NUMERICARG) != 0;
    e->n_sequence = 0;
    if (waits)
        run(e, "\a", 1);
}

static void feed_escape(struct editor *e, const struct input_token *token)
{
    if (RL_ISSTATE(RL_STATE_NSEARCH | RL_STATE_NUMERICARG) || (e->n_sequence > 0 && !reads_raw(e)))
        abort_pending(e);
    else if (reads_raw(e))
        feed_bytes(e, "\033", 1, NULL);
    else if (in_vi_insert())
        run(e, "\033", 1);
    else
        editor_push(e, EDITOR_ESC, token);
}

/* A named key while readline waits for a character: feeding its sequence would be an ESC and then garbage. */
static bool is_named(const struct input_token *token)
{
    return token->key != INPUT_KEY_CHARACTER && token->key != INPUT_KEY_CONTROL &&
           token->key != INPUT_KEY_ENTER;
}

/* Inserting a control character itself (vi's default for all it does not use) is no meaning we respect. */
static bool is_bound(const char *bytes, size_t n)
{
    int type;
    rl_command_func_t *f = rl_function_of_keyseq_len(bytes, n, rl_get_keymap(), &type);
    return f && f != rl_insert;
}

/* Keys with a meaning of their own while no sequence and no raw reading is under way. True: handled. */
static bool feed_control(struct editor *e, const struct input_token *token)
{
    char c = token->bytes[0];
    if (token->key == INPUT_KEY_ENTER && token->n_bytes <= 2 &&
        token->modifiers & (INPUT_SHIFT | INPUT_CTRL)) {
        rl_insert_text("\n");
        return true;
    }
    if (token->n_bytes != 1 || token->key != INPUT_KEY_CONTROL)
        return false;
    if (c == CTRL('D') && rl_end == 0 && !RL_ISSTATE(RL_STATE_NUMERICARG)) {
        int type;
        rl_command_func_t *f = rl_function_of_keyseq_len(&c, 1, rl_get_keymap(), &type);
        if (type != ISFUNC || (f != rl_delete && f != rl_vi_eof_maybe && f != rl_delete_or_show_completions))
            return false;
        editor_push(e, EDITOR_EOF, token);
        return true;
    }
    if (c == CTRL('Z') && !is_bound(&c, 1)) {
        editor_push(e, EDITOR_SUSPEND, token);
        return true;
    }
    return false;
}

static bool feed_interrupt(struct editor *e, const struct input_token *token)
{
    if (token->n_bytes != 1 || token->bytes[0] != CTRL('C') || e->awaits_raw || is_bound(token->bytes, 1))
        return false;
    if (RL_ISSTATE(RL_STATE_NSEARCH | RL_STATE_NUMERICARG) || e->n_sequence > 0)
        abort_pending(e);
    else if (RL_ISSTATE(RL_STATE_CHARSEARCH | RL_STATE_VIMOTION))
        run(e, "\033", 1);
    else
        editor_push(e, EDITOR_INTERRUPT, token);
    return true;
}

/* Fed byte by byte, the beginning of a key without meaning can have one: the ESC ESC of Alt-Up (as rxvt sends
 * it) completes, and its rest would be text. */
static bool begins_binding(const struct input_token *token)
{
    int type;
    return rl_function_of_keyseq_len(token->bytes, token->n_bytes, rl_get_keymap(), &type) != NULL;
}

void editor_keys_feed(struct editor *e, const struct input_token *token)
{
    macro_bytes = 0;
    if (feed_interrupt(e, token))
        return;
    if (token->key == INPUT_KEY_ESC) {
        feed_escape(e, token);
    } else if (reads_raw(e)) {
        if (is_named(token))
            editor_push(e, EDITOR_FLASH, NULL);
        else
            feed_bytes(e, token->bytes, token->n_bytes, NULL);
    } else if (e->n_sequence == 0 && is_named(token) && !begins_binding(token)) {
        editor_push(e, EDITOR_UNBOUND, token);
    } else if (e->n_sequence > 0 || !feed_control(e, token)) {
        feed_bytes(e, token->bytes, token->n_bytes, token);
    }
}

void editor_keys_open(struct editor *e)
{
    installed = e;
    rl_callback_handler_install("", on_line);
}

void editor_keys_close(void)
{
    rl_callback_sigcleanup();
    rl_callback_handler_remove();
}
