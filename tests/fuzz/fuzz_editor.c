/* fuzz_editor.c: any bytes through the tokenizer and the guarded readline. The first byte chooses emacs or vi
 * mode; a byte 0xfe lets the timers run out. What stands in the line afterwards is valid UTF-8 with the
 * cursor inside. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>

#include <readline/readline.h>

#include "engine/base/utf8.h"
#include "ui/editor.h"
#include "ui/terminal.h"

#define TIMERS_OUT_NS 2000000000u
#define MAX_KEYS 4096 /* a mutation is about keys, not about length */

/* Readline itself loses memory in a few commands. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libreadline";
}

static struct editor *the_editor(void)
{
    static struct editor *editor;
    if (!editor) {
        setenv("INPUTRC", "/dev/null", 1);
        terminal_set_locale();
        editor = editor_open(&(struct editor_options){0}, NULL);
    }
    return editor;
}

static void feed_all(struct editor *editor, struct input *input, uint64_t now)
{
    struct input_token token;
    struct editor_event event;
    while (input_next(input, now, &token)) {
        editor_feed(editor, &token);
        while (editor_next_event(editor, &event))
            ;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct editor *editor = the_editor();
    struct input *input = input_new(&(struct input_options){0});
    struct editor_view view;
    uint64_t now = 1;
    if (n > 0)
        rl_variable_bind("editing-mode", data[0] & 1 ? "vi" : "emacs");
    for (size_t i = 1; i < n && i < MAX_KEYS; i++) {
        if (data[i] == 0xfe)
            now += TIMERS_OUT_NS;
        else
            input_feed(input, data + i, 1, now);
        feed_all(editor, input, now);
    }
    feed_all(editor, input, now + TIMERS_OUT_NS);
    editor_layout(editor, 20, &view);
    if (!utf8_is_valid(rl_line_buffer, (size_t)rl_end) || rl_point < 0 || rl_point > rl_end ||
        view.cursor_row >= view.n_rows)
        abort();
    editor_set_text(editor, "", 0, 0);
    input_free(input);
    return 0;
}

void fuzz_seed(int i, struct buf *out)
{
    static const char *const seeds[] = {
        "e\x12\x18\x09",
        "e\x13\x18)",
        "e\x18(\xfe\033\xfe\033\xfe\x18)\x18"
        "e",
        "a\xc3\xa9\xa4\033\xfe"
        "0E",
        "e\x18(\x18"
        "e\x18)\x18"
        "e",
        "ahello world\xfe\033\xfe"
        "bcwx\xfe\033\xfeu.d2fwr\xe6\x97\xa5",
        "ee\xcc\x81\xe6\xbc\xa2\033[200~a\nb\033[201~\x1f\x19\r\033[A\033[D",
        "e\0333x\033p\x12y\x12\x07\x16\033\xfe\x1dl",
    };
    if (i >= 0 && i < (int)(sizeof seeds / sizeof seeds[0]))
        buf_puts(out, seeds[i]);
}
