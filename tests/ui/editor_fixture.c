#include "tests/ui/editor_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <readline/readline.h>

#include "engine/base/mem.h"

static const char *const commands[] = {"/help", "/new", "/regen", "/sessions", "/quit", "/quiet"};

static const char *complete(void *ctx, const char *word, size_t n, int index)
{
    (void)ctx;
    for (size_t i = 0; i < N(commands); i++)
        if (strncmp(commands[i], word, n) == 0 && index-- == 0)
            return commands[i];
    return NULL;
}

void editor_fixture_open(struct editor_fixture *f, const char *history_path)
{
    struct editor_options options = {.history_path = history_path, .complete = complete};
    f->editor = editor_open(&options, NULL);
    assert_non_null(f->editor);
    rl_variable_bind("editing-mode", "emacs");
    f->input = input_new(&(struct input_options){0});
    f->now = 1;
}

void editor_fixture_close(struct editor_fixture *f)
{
    editor_close(f->editor);
    input_free(f->input);
}

int editor_fixture_set_up(void **state)
{
    struct editor_fixture *f = mem_need(sizeof *f);
    editor_fixture_open(f, NULL);
    *state = f;
    return 0;
}

int editor_fixture_tear_down(void **state)
{
    struct editor_fixture *f = *state;
    editor_fixture_close(f);
    buf_fini(&f->sent);
    if (f->path[0])
        unlink(f->path);
    mem_free(f);
    return 0;
}

void editor_fixture_take_events(struct editor_fixture *f)
{
    struct editor_event event;
    while (editor_next_event(f->editor, &event)) {
        f->n_events[event.type]++;
        f->last = event;
        if (event.type == EDITOR_SEND) {
            buf_append(&f->sent, event.text, event.n_text);
            buf_putc(&f->sent, '|');
        }
    }
}

void editor_fixture_type(struct editor_fixture *f, const char *bytes, size_t n)
{
    struct input_token token;
    input_feed(f->input, bytes, n, f->now);
    for (int turn = 0; turn < 4; turn++, f->now += 2000000000u)
        while (input_next(f->input, f->now, &token)) {
            editor_feed(f->editor, &token);
            editor_fixture_take_events(f);
        }
}

void editor_fixture_expect(struct editor_fixture *f, const char *text, size_t cursor)
{
    size_t n, at;
    assert_string_equal(editor_text(f->editor, &n, &at), text);
    assert_int_equal(n, strlen(text));
    assert_int_equal(at, cursor);
}

char *editor_fixture_long_text(size_t n_lines, size_t *n)
{
    struct buf text = {0};
    for (size_t i = 0; i < n_lines; i++)
        buf_printf(&text, "line %zu of a long paste\n", i);
    *n = text.len;
    return buf_take(&text);
}

void editor_fixture_paste(struct editor_fixture *f, const char *text, size_t n)
{
    struct buf bytes = {0};
    buf_puts(&bytes, "\033[200~");
    buf_append(&bytes, text, n);
    buf_puts(&bytes, "\033[201~");
    editor_fixture_type(f, bytes.data, bytes.len);
    buf_fini(&bytes);
}

/* Readline itself loses memory in a few commands. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libreadline";
}
