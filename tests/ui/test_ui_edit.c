/* Whatever is typed, edited, sent, refused or given up, in any order: every word of the user is in the draft
 * that app is told, or in the history. The keys go in as tokens; nothing is drawn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <readline/history.h>
#include <readline/readline.h>

#include "engine/base/mem.h"
#include "ui/terminal.h"
#include "ui/view.h"

#define MAX_WORDS 400

struct desk {
    struct ui ui;
    struct chat *chat;
    char words[MAX_WORDS][12];
    int n_words;
    char *sent; /* the last message that left, and which one it was made of */
    int sent_msg;
};

static uint64_t random_state = 1181783497276652981u;
static unsigned random_below(unsigned n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state % n);
}

static void desk_open(struct desk *d)
{
    *d = (struct desk){.chat = chat_new(), .sent_msg = -1};
    d->ui.edit.msg = -1;
    d->ui.editor = editor_open(&(struct editor_options){0}, NULL);
    assert_non_null(d->ui.editor);
    d->ui.transcript = transcript_new();
    for (int i = 0; i < 6; i++)
        chat_add(d->chat, d->chat->head, i % 2 ? CHAT_ASSISTANT : CHAT_USER, i == 2 ? "/etc" : "hello",
                 i == 2 ? 4 : 5);
    ui_set_chat(&d->ui, d->chat);
    clear_history();
}

static void desk_close(struct desk *d)
{
    editor_close(d->ui.editor);
    transcript_free(d->ui.transcript);
    edit_forget(&d->ui);
    mem_free(d->ui.events);
    mem_free(d->ui.notice);
    mem_free(d->sent);
    chat_free(d->chat);
}

/* ---- keys ---- */

static void press(struct desk *d, enum input_key key, unsigned modifiers, const char *bytes)
{
    struct input_token token = {.type = INPUT_KEY, .key = key, .modifiers = modifiers};
    token.n_bytes = strlen(bytes);
    memcpy(token.bytes, bytes, token.n_bytes);
    ui_feed_token(&d->ui, &token);
}

static void type(struct desk *d, const char *text)
{
    for (; *text; text++)
        press(d, INPUT_KEY_CHARACTER, 0, (char[]){*text, '\0'});
}

static void type_word(struct desk *d)
{
    if (d->n_words == MAX_WORDS)
        return;
    char *word = d->words[d->n_words];
    snprintf(word, sizeof d->words[0], " W%dW", d->n_words++);
    type(d, word); /* its blank leaves a selection, in which letters are commands */
}

static void edit_some(struct desk *d)
{
    for (unsigned i = 1 + random_below(6); i > 0; i--)
        press(d, INPUT_KEY_UP, INPUT_ALT, "\033[1;3A");
    press(d, INPUT_KEY_ENTER, 0, "\r");
}

/* ---- what app does ---- */

static void take_events(struct desk *d)
{
    struct ui_event event;
    while (ui_next_event(&d->ui, &event))
        if (event.type == UI_SEND) {
            mem_free(d->sent);
            d->sent = mem_strdup(event.text);
            d->sent_msg = event.msg;
        } else if (event.type == UI_BRANCH) {
            d->chat->head = chat_newest_leaf(d->chat, event.msg);
            ui_chat_changed(&d->ui, -1);
        }
    mem_free(d->ui.event_text);
    d->ui.event_text = NULL;
}

/* A message the engine refused: an edit again, or joined with what stands in the editor. */
static void refuse(struct desk *d)
{
    if (!d->sent)
        return;
    if (d->sent_msg >= 0 && random_below(2)) {
        ui_edit_message(&d->ui, d->sent_msg, d->sent, strlen(d->sent));
    } else {
        struct buf joined = {0};
        buf_printf(&joined, "%s\n\n%s", d->sent, ui_editor_text(&d->ui, NULL));
        ui_reset_editor(&d->ui, joined.data, joined.len, joined.len);
        buf_fini(&joined);
    }
    mem_free(d->sent);
    d->sent = NULL;
}

static void step(struct desk *d)
{
    static const enum ui_phase phases[] = {UI_IDLE, UI_IDLE, UI_GENERATING};
    switch (random_below(10)) {
    case 0:
    case 1:
    case 2:
        type_word(d);
        break;
    case 3:
    case 4:
        edit_some(d);
        break;
    case 5:
        press(d, INPUT_KEY_ESC, 0, "\033");
        break;
    case 6:
        press(d, INPUT_KEY_ENTER, 0, "\r");
        break;
    case 7:
        refuse(d);
        break;
    case 8:
        d->ui.status.phase = phases[random_below(3)];
        break;
    default:
        if (random_below(4) == 0)
            ui_set_chat(&d->ui, d->chat);
    }
    take_events(d);
}

static bool is_kept(struct desk *d, const char *word)
{
    if (strstr(ui_editor_text(&d->ui, NULL), word))
        return true;
    for (int i = 0; i < history_length; i++)
        if (strstr(history_get(history_base + i)->line, word))
            return true;
    return false;
}

static void edit__any_order__loses_no_word(void **state)
{
    (void)state;
    struct desk d;
    int n_edits = 0;
    for (int round = 0; round < 40; round++) {
        desk_open(&d);
        for (int i = 0; i < 120; i++) {
            step(&d);
            n_edits += edit_is_open(&d.ui);
            for (int k = 0; k < d.n_words; k++)
                if (!is_kept(&d, d.words[k]))
                    fail_msg("round %d, step %d: \"%s\" is lost; the draft is \"%s\"", round, i, d.words[k],
                             ui_editor_text(&d.ui, NULL));
        }
        desk_close(&d);
    }
    assert_true(n_edits > 500);
}

/* Sent messages, edits and answers given again grow the tree under random keys. */
static void grow(struct desk *d)
{
    struct chat *chat = d->chat;
    if (d->sent && chat->n_msgs < 60) {
        int beside = d->sent_msg;
        chat_add(chat, beside >= 0 ? chat->msgs[beside].parent : chat->head, CHAT_USER, d->sent,
                 strlen(d->sent));
        chat_add(chat, chat->head, CHAT_ASSISTANT, "an answer", 9);
        ui_chat_changed(&d->ui, -1);
    }
    mem_free(d->sent);
    d->sent = NULL;
}

static void tree__random_keys__stay_on_the_path(void **state)
{
    static const struct {
        enum input_key key;
        unsigned modifiers;
        const char *bytes;
    } keys[] = {
        {INPUT_KEY_UP, INPUT_ALT, "\033[1;3A"},
        {INPUT_KEY_UP, INPUT_ALT, "\033\033[A"},
        {INPUT_KEY_DOWN, INPUT_ALT, "\033[1;3B"},
        {INPUT_KEY_UP, 0, "\033[A"},
        {INPUT_KEY_DOWN, 0, "\033[B"},
        {INPUT_KEY_LEFT, 0, "\033[D"},
        {INPUT_KEY_RIGHT, 0, "\033[C"},
        {INPUT_KEY_ENTER, 0, "\r"},
        {INPUT_KEY_ESC, 0, "\033"},
        {INPUT_KEY_CONTROL, 0, "\003"},
        {INPUT_KEY_CONTROL, 0, "\025"},
        {INPUT_KEY_HOME, 0, "\033[H"},
        {INPUT_KEY_PAGE_UP, 0, "\033[5~"},
        {INPUT_KEY_CHARACTER, INPUT_ALT, "\033h"},
        {INPUT_KEY_CHARACTER, 0, "e"},
        {INPUT_KEY_CHARACTER, 0, "r"},
        {INPUT_KEY_CHARACTER, 0, "f"},
        {INPUT_KEY_CHARACTER, 0, "x"},
    };
    static const char *const commands[] = {"/edit", "/branch", "/branch prev", "/fork", "/regen"};
    struct desk d;
    int n_selected = 0;
    (void)state;
    desk_open(&d);
    for (int i = 0; i < 6000; i++) {
        unsigned k = random_below(sizeof keys / sizeof *keys + 1);
        if (k < sizeof keys / sizeof *keys)
            press(&d, keys[k].key, keys[k].modifiers, keys[k].bytes);
        else
            type(&d, commands[random_below(5)]);
        take_events(&d);
        grow(&d);
        int selected = transcript_selected(d.ui.transcript), number, n;
        transcript_number(d.ui.transcript, selected, &number, &n);
        assert_int_equal(n, chat_path(d.chat, d.chat->head, NULL, 0));
        assert_true(selected < 0 ? number == 0 : number > 0);
        assert_true(d.ui.edit.msg < d.chat->n_msgs);
        n_selected += selected >= 0;
    }
    assert_true(n_selected > 500 && d.chat->n_msgs > 20);
    desk_close(&d);
}

int main(void)
{
    setenv("INPUTRC", "/dev/null", 1);
    terminal_set_locale();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edit__any_order__loses_no_word),
        cmocka_unit_test(tree__random_keys__stay_on_the_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Readline itself loses memory in a few commands. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libreadline";
}
