/* The profiler panel as a user sees it, through a pseudo-terminal and an emulator: its pictures at three
 * sizes, with 256, 8 and all colours and without any, dense and with experts; its keys; and that it takes
 * nothing from who writes. (`test_screen_panel --update [TEST]` writes the pictures anew.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "tests/ui/golden.h"
#include "tests/ui/screen.h"

#define BUSY "status 3 0 0 7700 32768 11.8 0"
#define IDLE "status 1 0 0 7700 32768 11.8 0"
#define F2 "\033OQ"
#define F3 "\033OR"
#define F4 "\033OS"
#define F5 "\033[15~"
#define F6 "\033[17~"
#define F7 "\033[18~"
#define CTRL_UP "\033[1;5A"
#define CTRL_DOWN "\033[1;5B"
#define ALT_UP "\033[1;3A"

#define MOE "profile 48 128 8 512 184 1000 41.2 this answer"
#define DENSE "profile 28 0 0 512 184 1000 41.2 this answer"

static struct screen *start_on(const char *term, int columns, int rows, bool no_color, const char *profile)
{
    struct screen *s = screen_start_on(term, columns, rows, no_color);
    screen_tell(s, "title How MoE routing works");
    screen_tell(s, "user How does the router choose experts? Show a tiny C example.");
    screen_tell(
        s, "stream The router multiplies the hidden state by a small matrix, which gives one score for each "
           "of the 128 experts. Then:\\n\\n1. softmax over the 128 scores\\n2. keep the 8 largest\\n3. scale "
           "them so that they sum to 1\\n\\n    for (int i = 0; i < k; i++)\\n        acc += weight[i];\\n\\n"
           "Only these 8 experts are read from memory,");
    screen_tell(s, BUSY);
    screen_wait(s, "11.8 tok/s");
    if (profile) {
        screen_type(s, F2);
        screen_wait_report(s, "profile of -1\n");
        screen_tell(s, "%s", profile);
        screen_wait(s, "this answer");
    }
    return s;
}

static struct screen *start(int columns, int rows, const char *profile)
{
    return start_on("xterm-256color", columns, rows, false, profile);
}

/* ---- pictures ---- */

static void panel__strip__at_80x24(void **state)
{
    (void)state;
    struct screen *s = start(80, 24, MOE);
    screen_wait(s, "gate_up");
    golden_assert(s, "panel-80x24", true);
    screen_type(s, F3);
    screen_wait(s, "48 layers");
    golden_assert(s, "panel-layers-80x24", true);
    screen_type(s, F3);
    screen_wait(s, "balance");
    golden_assert(s, "panel-experts-80x24", true);
    screen_stop(s);
}

static void panel__side__at_120x40(void **state)
{
    (void)state;
    struct screen *s = start(120, 40, MOE);
    screen_wait(s, "gate_up");
    screen_wait(s, "balance");
    golden_assert(s, "panel-120x40", true);
    screen_type(s, F3 CTRL_DOWN CTRL_DOWN CTRL_DOWN);
    screen_wait(s, "layer 2 ");
    screen_wait(s, "the layer");
    golden_assert(s, "panel-layers-120x40", true);
    screen_type(s, F3);
    screen_wait(s, "layer 2: balance");
    golden_assert(s, "panel-experts-120x40", true);
    screen_stop(s);
}

static void panel__side__at_200x60(void **state)
{
    (void)state;
    struct screen *s = start(200, 60, MOE);
    screen_wait(s, "balance");
    golden_assert(s, "panel-200x60", true);
    screen_type(s, F4);
    screen_wait(s, "Profile  prefill");
    screen_wait_gone(s, "newest");
    golden_assert(s, "panel-prefill-200x60", false);
    screen_stop(s);
}

static void panel__dense__at_all_sizes(void **state)
{
    (void)state;
    struct screen *s = start(80, 24, DENSE);
    screen_type(s, F4);
    screen_wait(s, "profile · prefill");
    golden_assert(s, "panel-dense-prefill-80x24", false);
    screen_type(s, F4 F3 F3);
    screen_wait(s, "this model is dense: it has no experts");
    screen_type(s, F3);
    screen_resize(s, 120, 40);
    screen_wait(s, "28 layers");
    golden_assert(s, "panel-dense-120x40", false);
    screen_resize(s, 200, 60);
    screen_wait(s, "Alt-O chats\n");
    screen_wait(s, "F6 F7 size");
    golden_assert(s, "panel-dense-200x60", false);
    screen_stop(s);
}

static void panel__colors__eight(void **state)
{
    (void)state;
    struct screen *s = start_on("xterm", 120, 40, false, MOE);
    screen_wait(s, "balance");
    golden_assert(s, "panel-8-colors-120x40", true);
    screen_stop(s);
}

/* A terminal description as of xterm-direct, which few systems have: its colours are 0xRRGGBB. */
static bool make_direct_terminal(const char *folder)
{
    char command[1024];
    snprintf(command, sizeof command,
             "mkdir -p %s && cat >%s/source <<'END' && tic -x -o %s %s/source\n"
             "test-direct|colours by value,\n\tRGB, colors#0x1000000, pairs#0x7FFF, op=\\E[39;49m,\n"
             "\tsetaf=\\E[38;2;%%p1%%{65536}%%/%%d;%%p1%%{256}%%/%%{255}%%&%%d;%%p1%%{255}%%&%%dm,\n"
             "\tsetab=\\E[48;2;%%p1%%{65536}%%/%%d;%%p1%%{256}%%/%%{255}%%&%%d;%%p1%%{255}%%&%%dm,\n"
             "\tuse=xterm-256color,\nEND\n",
             folder, folder, folder, folder);
    return system(command) == 0;
}

static void panel__colors__all(void **state)
{
    char folder[64];
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/ferrum-terminfo-%d", (int)getpid());
    if (!make_direct_terminal(folder)) {
        print_message("SKIP: tic makes no terminal description here\n");
        skip();
    }
    setenv("TERMINFO", folder, 1);
    struct screen *s = start_on("test-direct", 80, 24, false, MOE);
    unsetenv("TERMINFO");
    screen_type(s, F3 F3);
    screen_wait(s, "balance");
    golden_assert(s, "panel-all-colors-80x24", true);
    screen_stop(s);
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

static void panel__mono__no_color_and_vt100(void **state)
{
    (void)state;
    struct screen *s = start_on("xterm-256color", 80, 24, true, MOE);
    screen_type(s, F3 F3);
    screen_wait(s, "balance");
    golden_assert(s, "panel-mono-80x24", true);
    screen_resize(s, 200, 60);
    screen_wait(s, "4 × mean");
    screen_stop(s);
    s = start_on("vt100", 120, 40, false, MOE);
    screen_wait(s, "balance");
    golden_assert(s, "panel-vt100-120x40", true);
    screen_type(s, F3 F3);
    screen_wait(s, "◆");
    golden_assert(s, "panel-experts-vt100-120x40", true);
    screen_stop(s);
}

/* ---- numbers ---- */

static void panel__numbers__are_those_of_the_profile(void **state)
{
    (void)state;
    struct screen *s = start(80, 24, "profile 1 0 0 0 10 1000 50 this answer");
    /* 190 us and 5.2 MB a token: 27.4 GB/s, 55 % of 50. */
    screen_wait(s, "qkv              1  0.190   2.0%  27.4    55%");
    screen_wait(s, "lm_head          1  6.800  73.1%  37.5    75%");
    screen_wait(s, "one token");
    screen_wait(s, "9.299 100.0%");
    screen_wait(s, "other            –  0.279   3.0%     –      –");
    screen_stop(s);
}

static void panel__numbers__unknown_is_never_zero(void **state)
{
    (void)state;
    struct screen *s = start(120, 40, "profile 48 128 8 0 0 1000 0 this answer");
    screen_wait(s, "all timed        –      –      –     –      –");
    screen_wait(s, "tokens/s           –");
    screen_wait(s, "the timers took – · memory reads – GB/s");
    screen_wait(s, "balance    – · entropy     – of 7.00 bits");
    screen_wait(s, "overlap    – (chance 6%)");
    golden_assert(s, "panel-zero-120x40", false);
    screen_type(s, F3);
    screen_wait(s, "a token – ms/tok");
    screen_stop(s);
}

static void panel__numbers__without_any_profile(void **state)
{
    (void)state;
    struct screen *s = start(80, 24, NULL);
    screen_type(s, F2);
    screen_wait_report(s, "profile of -1\n");
    screen_tell(s, "profile 0 0 0 0 0 0 0 no profile yet: it comes \033[31mwith the next answer");
    screen_wait(s, "no profile yet: it comes ␛[31mwith the next answer");
    screen_type(s, F5);
    screen_wait(s, "there is no profile to hold yet");
    screen_type(s, F3 F3 F4 CTRL_DOWN CTRL_UP F6 F7);
    screen_wait(s, "profile · prefill");
    screen_stop(s);
}

static void panel__shapes__of_all_kinds(void **state)
{
    static const char *const shapes[] = {"1024 8 2 0 9", "1024 0 0 9 0",  "2 4096 64 3 5",
                                         "1 1 1 2 2",    "3 2 1 0 70000", "61 256 8 100 300"};
    static const int sizes[][2] = {{60, 16}, {80, 24}, {100, 14}, {120, 40}, {300, 100}};
    (void)state;
    struct screen *s = start(80, 24, MOE);
    int n = 0;
    for (int shape = 0; shape < 6; shape++)
        for (int size = 0; size < 5; size++, n++) {
            char mark[16];
            snprintf(mark, sizeof mark, "profile %d", n);
            screen_resize(s, sizes[size][0], sizes[size][1]);
            screen_tell(s, "profile %s 1000 41.2 %s", shapes[shape], mark);
            screen_wait(s, mark);
            screen_type(s, F3 CTRL_DOWN);
            screen_type(s, n % 4 == 3 ? F4 : CTRL_UP CTRL_UP);
            screen_type(s, n % 5 == 4 ? F5 : F7);
            screen_tell(s, "timeout");
        }
    screen_wait_report(s, "timeout ");
    screen_type(s, F2 "still here");
    screen_wait(s, "› still here");
    screen_stop(s);
}

static void panel__map__many_layers_and_experts(void **state)
{
    (void)state;
    struct screen *s = start(80, 24, "profile 1024 8 2 0 9 10 41.2 this answer");
    screen_type(s, F3 F3);
    screen_wait(s, "in a cell");
    golden_assert(s, "panel-1024-layers-80x24", false);
    screen_tell(s, "profile 2 4096 64 0 9 10 41.2 that answer");
    screen_wait(s, "that answer");
    golden_assert(s, "panel-4096-experts-80x24", false);
    screen_tell(s, "profile 2 1 1 0 9 10 41.2 a third answer");
    screen_wait(s, "a third answer");
    screen_wait(s, "balance 1.00 · entropy  0.00 of 0.00 bits");
    screen_stop(s);
}

/* ---- two profiles ---- */

static void panel__compare__holds_one(void **state)
{
    (void)state;
    struct screen *s = start(80, 24, MOE);
    screen_type(s, F5);
    screen_wait(s, "held: this answer");
    screen_tell(s, "profile 48 128 8 512 184 1500 41.2 message 4 of 6");
    screen_wait(s, "now: message 4 of 6");
    screen_wait(s, "gate_up         34.9    52.3     1.50");
    screen_wait(s, "tokens/s        10.7     7.2     0.67");
    golden_assert(s, "panel-compare-80x24", false);
    screen_resize(s, 120, 40);
    screen_wait(s, "F5 let go");
    screen_wait(s, "weighted_sum");
    golden_assert(s, "panel-compare-120x40", false);
    screen_tell(s, "profile 28 0 0 512 184 1000 41.2 a dense answer"); /* another shape */
    screen_wait(s, "a dense answer");
    screen_wait(s, "ffn                –");
    screen_wait(s, "gate_up        34.87       –        –");
    screen_type(s, F5);
    screen_wait_gone(s, "held:");
    screen_stop(s);
}

/* A layer is compared with the same layer, or with nothing. */
static void panel__compare__other_number_of_layers(void **state)
{
    (void)state;
    struct screen *s = start(120, 40, DENSE);
    screen_type(s, F5);
    screen_wait(s, "held: this answer");
    screen_tell(s, "profile 48 128 8 512 184 2000 41.2 message 4 of 6");
    screen_wait(s, "now: message 4 of 6");
    screen_type(s, CTRL_UP);
    screen_wait(s, "no layer · message 4");
    screen_wait(s, "lm_head         6.80   13.60     2.00");
    screen_wait_gone(s, "qkv  ");
    screen_type(s, CTRL_UP);
    screen_wait(s, "layer 47 · message 4");
    screen_wait(s, "qkv                –");
    screen_wait(s, "the layer          –");
    screen_type(s, "/profile 27\r");
    screen_wait(s, "layer 27 · message 4");
    screen_wait_gone(s, "qkv                –");
    screen_type(s, "/profile 30\r");
    screen_wait(s, "layer 30 · message 4");
    screen_tell(s, "profile 28 0 0 512 184 1000 41.2 a dense answer");
    screen_wait(s, "Profile  decode · a dense answer");
    screen_stop(s);
}

/* ---- keys and commands ---- */

static void panel__keys__leave_the_editor_alone(void **state)
{
    (void)state;
    struct screen *s = start(80, 24, MOE);
    screen_tell(s, IDLE);
    screen_type(s, "one " F3 "two\n" F4 F7 "three" CTRL_DOWN F5 " four" F6 F5 F3);
    screen_wait(s, "three four");
    screen_type(s, "\001\013"
                   "1st\033f\033b"); /* readline's: to the beginning, kill, words */
    screen_wait(s, "1st");
    screen_type(s, F2 F2 "\r");
    screen_wait_report(s, "send one two\n1st\n");
    screen_wait(s, "profile · prefill");
    screen_stop(s);
}

/* The user's own meaning of a key comes first. */
static void panel__keys__inputrc_wins(void **state)
{
    char path[64];
    (void)state;
    snprintf(path, sizeof path, "/tmp/ferrum-panel-inputrc-%d", (int)getpid());
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("\"\\eOQ\": \"from the inputrc\"\n", file);
    fclose(file);
    setenv("INPUTRC", path, 1);
    struct screen *s = start(80, 24, NULL);
    setenv("INPUTRC", "/dev/null", 1);
    screen_type(s, F2);
    screen_wait(s, "› from the inputrc");
    screen_type(s, "\001\013/profile\r");
    screen_wait_report(s, "profile of -1\n");
    screen_stop(s);
    unlink(path);
}

static void panel__keys__close_leaves_no_trace(void **state)
{
    (void)state;
    struct buf before = {0}, after = {0};
    struct screen *s = start(120, 40, NULL);
    screen_text(s, &before);
    screen_type(s, F2);
    screen_wait(s, "F2 close");
    screen_tell(s, MOE);
    screen_wait(s, "gate_up");
    screen_type(s, F2);
    screen_wait_gone(s, "F2 close");
    screen_text(s, &after);
    assert_string_equal(buf_text(&before), buf_text(&after));
    screen_tell(s, "timeout");
    screen_wait_report(s, "timeout -1\n");
    buf_fini(&before);
    buf_fini(&after);
    screen_stop(s);
}

static int rows_of_panel(struct screen *s)
{
    struct buf text = {0};
    int n = 0, first = -1;
    screen_text(s, &text);
    char *row = text.data;
    for (char *lf; (lf = strchr(row, '\n')); row = lf + 1, n++) {
        if (strncmp(row, "── profile", strlen("── profile")) == 0)
            first = n;
        else if (first >= 0 && strncmp(row, "────", strlen("────")) == 0)
            break;
    }
    buf_fini(&text);
    return n - first;
}

static void panel__keys__larger_and_smaller(void **state)
{
    (void)state;
    struct screen *s = start(80, 24, MOE);
    int rows = rows_of_panel(s);
    screen_type(s, F7 F7);
    screen_wait(s, "6 more");
    assert_true(rows_of_panel(s) > rows);
    for (int i = 0; i < 20; i++)
        screen_type(s, F7);
    screen_wait(s, "4 more");
    assert_int_equal(rows_of_panel(s), 14); /* four rows stay for the conversation */
    for (int i = 0; i < 20; i++)
        screen_type(s, F6);
    screen_wait(s, "12 more");
    assert_int_equal(rows_of_panel(s), 6);
    screen_type(s, F2);
    screen_wait_gone(s, "F2 close");
    screen_type(s, F2);
    screen_wait(s, "12 more"); /* remembered */
    screen_resize(s, 120, 40);
    screen_wait(s, "weighted_sum");
    for (int i = 0; i < 20; i++)
        screen_type(s, F6);
    screen_wait(s, "op           ms/tok  share\n");
    screen_stop(s);
}

static void panel__commands__choose_what_is_shown(void **state)
{
    (void)state;
    struct screen *s = start(80, 24, MOE);
    screen_type(s, "/profile prefill\r");
    screen_wait(s, "profile · prefill · this answer");
    screen_type(s, "/profile layers\r");
    screen_wait(s, "48 layers");
    screen_type(s, "/profile 12\r");
    screen_wait(s, "profile · prefill · layer 12");
    screen_type(s, "/profile decode\r/profile ops\r");
    screen_wait(s, "profile · decode · layer 12");
    screen_wait(s, "the layer");
    screen_type(s, CTRL_DOWN);
    screen_wait(s, "layer 13");
    screen_type(s, "/profile all\r");
    screen_wait(s, "one token");
    screen_type(s, CTRL_UP);
    screen_wait(s, "no layer");
    screen_wait(s, "lm_head");
    screen_type(s, "/exp\r");
    screen_wait(s, "balance");
    screen_type(s, "/profile 48\r");
    screen_wait(s, "say /profile prefill, decode,");
    screen_type(s, "/profile\r");
    screen_wait_gone(s, "F2 close");
    screen_type(s, "/experts\r");
    screen_wait(s, "balance");
    screen_stop(s);
}

static void panel__select__asks_for_that_message(void **state)
{
    (void)state;
    struct screen *s = start(80, 24, MOE);
    screen_tell(s, "end 0");
    screen_tell(s, "user And then?");
    screen_tell(s, "answer They are scaled.");
    screen_tell(s, IDLE);
    screen_wait(s, "They are scaled.");
    screen_type(s, ALT_UP);
    screen_wait_report(s, "profile of 3\n");
    screen_type(s, ALT_UP);
    screen_wait_report(s, "profile of 2\n");
    screen_type(s, ALT_UP);
    screen_wait_report(s, "profile of 1\n");
    screen_tell(s, "profile 48 128 8 512 184 900 41.2 message 2 of 4");
    screen_wait(s, "message 2 of 4 ──");
    screen_type(s, "\033");
    screen_wait_gone(s, "r answers again");
    screen_wait_report(s, "profile of 1\nprofile of -1\n");
    screen_type(s, F2);
    screen_wait_gone(s, "F2 close");
    screen_type(s, ALT_UP);
    screen_wait(s, "r answers again");
    screen_type(s, F2);
    screen_wait_report(s, "profile of -1\nprofile of 3\n");
    screen_tell(s, "renew"); /* another chat: what was shown was the old one's */
    screen_wait_gone(s, "gate_up");
    screen_wait_report(s, "profile of 3\nprofile of -1\n");
    screen_stop(s);
}

/* ---- windows ---- */

static void panel__small__gives_way_with_a_sentence(void **state)
{
    (void)state;
    struct screen *s = start(40, 8, NULL);
    screen_type(s, F2);
    screen_wait(s, "the profile needs 60x15");
    screen_tell(s, MOE);
    golden_assert(s, "panel-40x8", false);
    screen_type(s, "typed");
    screen_wait(s, "typed");
    screen_resize(s, 80, 24);
    screen_wait(s, "gate_up");
    screen_resize(s, 60, 15);
    screen_wait(s, "12 more");
    golden_assert(s, "panel-60x15", false);
    screen_tell(s,
                "profile 48 128 8 512 184 1000 41.2 a title that is much longer than the row it stands in, "
                "and goes on");
    screen_wait(s, "a title that is much longer");
    screen_resize(s, 60, 14);
    screen_wait(s, "the profile needs 60x15");
    screen_type(s, F2);
    screen_wait_gone(s, "the profile needs");
    screen_stop(s);
}

static void panel__notice__stands_below_it(void **state)
{
    (void)state;
    struct screen *s = start(80, 24, MOE);
    screen_tell(s, "error a sentence that is much too long for the hairline, because it says what happened, "
                   "where, what was found, what was expected, and what can be done about it now, to the END");
    screen_wait(s, "to the END");
    golden_assert(s, "panel-error-80x24", false);
    screen_tell(s, "help");
    screen_wait(s, "Esc closes");
    screen_type(s, "\033");
    screen_wait(s, "gate_up");
    screen_stop(s);
}

static void panel__resize__storm_while_open(void **state)
{
    (void)state;
    struct screen *s = start(80, 24, MOE);
    for (int i = 0; i < 150; i++) {
        screen_resize(s, 1 + i * 37 % 230, 1 + i * 23 % 70);
        screen_tell(s, "profile 48 128 8 512 %d 1000 41.2 this answer", 184 + i);
        screen_tell(s, "stream word%d ", i);
        screen_type(s, i % 7 == 0 ? F3 : i % 5 == 0 ? F7 : i % 3 == 0 ? CTRL_DOWN : "x");
    }
    screen_resize(s, 80, 24);
    screen_tell(s, "timeout");
    screen_wait_report(s, "timeout ");
    screen_type(s, "\025Z/");
    screen_wait(s, "Z/");
    screen_wait(s, "── profile · decode");
    screen_wait(s, "word149");
    screen_stop(s);
}

static void panel__idle__asks_for_no_wake_up(void **state)
{
    (void)state;
    struct screen *s = start(120, 40, MOE);
    screen_tell(s, IDLE);
    screen_wait_gone(s, "Esc stop");
    screen_tell(s, "timeout");
    screen_wait_report(s, "timeout -1\n");
    screen_stop(s);
}

int main(int argc, char **argv)
{
    setenv("INPUTRC", "/dev/null", 1);
    golden_update = argc > 1 && strcmp(argv[1], "--update") == 0;
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(panel__strip__at_80x24),
        cmocka_unit_test(panel__side__at_120x40),
        cmocka_unit_test(panel__side__at_200x60),
        cmocka_unit_test(panel__dense__at_all_sizes),
        cmocka_unit_test(panel__colors__eight),
        cmocka_unit_test(panel__colors__all),
        cmocka_unit_test(panel__mono__no_color_and_vt100),
        cmocka_unit_test(panel__numbers__are_those_of_the_profile),
        cmocka_unit_test(panel__numbers__unknown_is_never_zero),
        cmocka_unit_test(panel__numbers__without_any_profile),
        cmocka_unit_test(panel__shapes__of_all_kinds),
        cmocka_unit_test(panel__map__many_layers_and_experts),
        cmocka_unit_test(panel__compare__holds_one),
        cmocka_unit_test(panel__compare__other_number_of_layers),
        cmocka_unit_test(panel__keys__leave_the_editor_alone),
        cmocka_unit_test(panel__keys__inputrc_wins),
        cmocka_unit_test(panel__keys__close_leaves_no_trace),
        cmocka_unit_test(panel__keys__larger_and_smaller),
        cmocka_unit_test(panel__commands__choose_what_is_shown),
        cmocka_unit_test(panel__select__asks_for_that_message),
        cmocka_unit_test(panel__small__gives_way_with_a_sentence),
        cmocka_unit_test(panel__notice__stands_below_it),
        cmocka_unit_test(panel__resize__storm_while_open),
        cmocka_unit_test(panel__idle__asks_for_no_wake_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
