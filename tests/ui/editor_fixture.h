/* editor_fixture.h: what the tests of the editor share: an editor with its input, in process, that is typed
 * into; time is ours. Failures fail the cmocka test. */
#ifndef FERRUM_TEST_EDITOR_FIXTURE_H
#define FERRUM_TEST_EDITOR_FIXTURE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "ui/editor.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))
#define TYPE(f, bytes) editor_fixture_type(f, bytes, sizeof(bytes) - 1)

struct editor_fixture {
    struct editor *editor;
    struct input *input;
    uint64_t now;
    struct buf sent; /* every sent text, ended by a '|' */
    int n_events[EDITOR_NOTICE + 1];
    struct editor_event last;
    char path[64];
};

int editor_fixture_set_up(void **state);
/* Removes the history file as well. */
int editor_fixture_tear_down(void **state);
void editor_fixture_open(struct editor_fixture *f, const char *history_path);
void editor_fixture_close(struct editor_fixture *f);
void editor_fixture_take_events(struct editor_fixture *f);
/* Types these bytes and then waits until every timer has run out. */
void editor_fixture_type(struct editor_fixture *f, const char *bytes, size_t n);
void editor_fixture_paste(struct editor_fixture *f, const char *text, size_t n);
void editor_fixture_expect(struct editor_fixture *f, const char *text, size_t cursor);
/* The caller frees it. */
char *editor_fixture_long_text(size_t n_lines, size_t *n);

#endif
