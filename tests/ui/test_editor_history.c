/* Tests of the editor's input history: what comes back from the file, how long it gets, and what another
 * program may do to it. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <readline/history.h>

#include "engine/base/mem.h"
#include "tests/ui/editor_fixture.h"
#include "ui/terminal.h"

static void editor__history__comes_back_whole(void **state)
{
    struct editor_fixture *f = *state;
    static const char *const entries[] = {
        "plain",
        "two\nlines",
        "\n\nblank lines\n\n",
        "#345\nnot a time",
        "quote \" back \\ slash",
        "caf\xc3\xa9 \xf0\x9f\x98\x80",
        "tab\there ",
        "{\"json\": true}",
    };
    editor_fixture_tear_down(state);
    f = mem_need(sizeof *f);
    *state = f;
    snprintf(f->path, sizeof f->path, "/tmp/ferrum-history-%d", (int)getpid());
    unlink(f->path);
    editor_fixture_open(f, f->path);
    for (size_t i = 0; i < N(entries); i++)
        editor_add_history(f->editor, entries[i], strlen(entries[i]));
    struct stat st;
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    FILE *file = fopen(f->path, "a");
    fputs("not json\n\"torn", file);
    fclose(file);
    for (int turn = 0; turn < 2; turn++) {
        editor_fixture_close(f);
        editor_fixture_open(f, f->path);
        assert_null(editor_warning(f->editor));
        for (size_t i = N(entries); i-- > 0;) {
            if (turn == 1 && i == N(entries) - 1)
                TYPE(f, "\x10");
            TYPE(f, "\x10");
            assert_string_equal(editor_text(f->editor, NULL, NULL), entries[i]);
        }
        editor_clear(f->editor);
        if (turn == 0)
            editor_add_history(f->editor, "after the torn line", 19);
    }
}

static void editor__history__trims_a_long_file(void **state)
{
    struct editor_fixture *f = *state;
    struct stat st;
    char line[64];
    int n = 0;
    editor_fixture_close(f);
    snprintf(f->path, sizeof f->path, "/tmp/ferrum-history-%d", (int)getpid());
    FILE *file = fopen(f->path, "w");
    assert_non_null(file);
    for (int i = 0; i < 2001; i++)
        fprintf(file, "\"entry %d\"\n", i);
    fclose(file);
    editor_fixture_open(f, f->path);
    assert_null(editor_warning(f->editor));
    TYPE(f, "new\r\x10\x10");
    assert_string_equal(editor_text(f->editor, NULL, NULL), "entry 2000");
    file = fopen(f->path, "r");
    assert_non_null(fgets(line, sizeof line, file));
    assert_string_equal(line, "\"entry 1001\"\n");
    for (n = 1; fgets(line, sizeof line, file); n++)
        ;
    fclose(file);
    assert_int_equal(n, 1001);
    assert_string_equal(line, "\"new\"\n");
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

/* Writes a history of n entries, "0", "1" and so on, filled up with blanks to `each` bytes, and opens it. */
static void open_long_history(struct editor_fixture *f, int n, int each)
{
    editor_fixture_close(f);
    snprintf(f->path, sizeof f->path, "/tmp/ferrum-history-%d", (int)getpid());
    FILE *file = fopen(f->path, "w");
    assert_non_null(file);
    for (int i = 0; i < n; i++)
        fprintf(file, "\"%-*d\"\n", each, i);
    fclose(file);
    editor_fixture_open(f, f->path);
    assert_null(editor_warning(f->editor));
}

static void editor__history__trims_a_big_file(void **state)
{
    struct editor_fixture *f = *state;
    struct stat st;
    open_long_history(f, 5, 1 << 20); /* 5 MB: 4 are read, 3 are kept, less their quotes: 2 */
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_size, 2 * ((1 << 20) + 3));
    assert_int_equal(history_length, 3);
    assert_int_equal(history_get(history_base)->line[0], '2'); /* read, but gone from the file */
    assert_int_equal(history_get(history_base + 2)->line[0], '4');
    char *text = mem_need((1 << 20) + 2);
    memset(text, 'x', (1 << 20) + 1);
    editor_add_history(f->editor, text, (1 << 20) + 1); /* too long */
    assert_int_equal(history_length, 3);
    editor_add_history(f->editor, text, 1 << 20);
    assert_int_equal(history_length, 4);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_size, 3 * ((1 << 20) + 3));
    mem_free(text);
}

/* The message of a comparison of strings would be as long as they are. */
static void expect_whole(struct editor_fixture *f, const char *text, size_t n)
{
    size_t n_now;
    const char *now = editor_text(f->editor, &n_now, NULL);
    assert_int_equal(n_now, n);
    assert_memory_equal(now, text, n);
}

static void editor__history__calls_a_long_paste_up_again(void **state)
{
    struct editor_fixture *f = *state;
    struct editor_view view;
    size_t n;
    char *text = editor_fixture_long_text(4300, &n);
    assert_true(n > 108000);
    open_long_history(f, 0, 1);
    editor_fixture_paste(f, text, n);
    TYPE(f, "\rshort\r");
    for (int turn = 0; turn < 2; turn++) {
        TYPE(f, "\x10\x10");
        editor_layout(f->editor, 80, &view);
        assert_int_equal(view.n_rows, 1);
        assert_memory_equal(view.rows[0].text, "[paste: 4300 lines]", 19);
        expect_whole(f, text, n);
        TYPE(f, "\x1f\x0e\x10"); /* undo, and away and back: the entry is whole as before */
        expect_whole(f, text, n);
        editor_fixture_close(f);
        editor_fixture_open(f, f->path);
    }
    buf_truncate(&f->sent, 0);
    TYPE(f, "draft\x12line 4299\r"); /* found by a search */
    expect_whole(f, text, n);
    TYPE(f, "\x1f");
    editor_fixture_expect(f, "draft", 5);
    editor_clear(f->editor);
    TYPE(f, "\x10\x10!\r");
    assert_int_equal(f->sent.len, n + 2);
    assert_memory_equal(f->sent.data, text, n);
    assert_string_equal(f->sent.data + n, "!|");
    mem_free(text);
}

/* Locks the file in another process until it is ended; returns when the lock is there. */
static pid_t lock_elsewhere(const char *path)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        alarm(60); /* should the test fail */
        int fd = open(path, O_RDWR | O_CREAT, 0600);
        if (fd < 0 || flock(fd, LOCK_EX) != 0 || write(ready[1], "!", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return pid;
}

static void editor__history__waits_for_nobody(void **state)
{
    struct editor_fixture *f = *state;
    struct stat before, st;
    open_long_history(f, 1500, 1);
    FILE *file = fopen(f->path, "a");
    for (int i = 1500; i < 2001; i++)
        fprintf(file, "\"%d\"\n", i);
    fclose(file);
    assert_int_equal(stat(f->path, &before), 0);
    pid_t pid = lock_elsewhere(f->path);
    editor_fixture_close(f);
    editor_fixture_open(f, f->path); /* would hang here, and at Enter */
    TYPE(f, "\x10");
    editor_fixture_expect(f, "2000", 4);
    editor_clear(f->editor);
    TYPE(f, "new\r");
    assert_null(editor_warning(f->editor));
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_size, before.st_size + 6); /* not trimmed, and added to */
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    editor_fixture_close(f);
    editor_fixture_open(f, f->path);
    assert_int_equal(stat(f->path, &st), 0);
    assert_true(st.st_size < before.st_size);
    TYPE(f, "\x10");
    editor_fixture_expect(f, "new", 3);
}

static void editor__history__says_when_it_cannot_be_kept(void **state)
{
    struct editor_fixture *f = *state;
    editor_fixture_close(f);
    editor_fixture_open(f, "/nonexistent/history");
    assert_non_null(strstr(editor_warning(f->editor), "/nonexistent/history"));
    assert_null(editor_warning(f->editor));
    TYPE(f, "still works\r\x10");
    editor_fixture_expect(f, "still works", 11);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, editor_fixture_set_up, editor_fixture_tear_down)

int main(void)
{
    setenv("INPUTRC", "/dev/null", 1);
    assert_true(terminal_set_locale());
    const struct CMUnitTest tests[] = {
        TEST(editor__history__comes_back_whole), TEST(editor__history__trims_a_long_file),
        TEST(editor__history__trims_a_big_file), TEST(editor__history__calls_a_long_paste_up_again),
        TEST(editor__history__waits_for_nobody), TEST(editor__history__says_when_it_cannot_be_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
