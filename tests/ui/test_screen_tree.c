/* The tree of messages as a user sees and moves in it: selection, branches, edits, and drafts that are never
 * lost.
 * (`test_screen_tree --update` writes the pictures anew.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/ui/golden.h"
#include "tests/ui/screen.h"

#define IDLE "status 1 0 0 7700 32768 11.8 0"
#define BUSY "status 3 0 0 7700 32768 11.8 0"

#define ALT_UP "\033[1;3A"
#define ALT_DOWN "\033[1;3B"
#define LEFT "\033[D"
#define RIGHT "\033[C"
#define ESC "\033"

/* Messages 0 You, 1 and 2 answers to it, 3 You (below 2), 4 answer. */
static void tell_tree(struct screen *s)
{
    screen_tell(s, "title Routing");
    screen_tell(s, "user How does it choose?");
    screen_tell(s, "answer By weight.");
    screen_tell(s, "head 0");
    screen_tell(s, "answer By the size of its scores.\\nThe eight largest win.");
    screen_tell(s, "user And then?");
    screen_tell(s, "answer They are scaled to sum to one.");
    screen_tell(s, IDLE);
    screen_wait(s, "11.8 tok/s");
    screen_wait(s, "sum to one.");
}

static struct screen *start_tree(int columns, int rows, bool no_color)
{
    struct screen *s = screen_start(columns, rows, no_color);
    tell_tree(s);
    return s;
}

static void screen__select__marks_and_leaves(void **state)
{
    (void)state;
    struct screen *s = start_tree(80, 24, false);
    screen_wait(s, "qwen3-0.6b  ‹2/2›");
    screen_type(s, ALT_UP);
    screen_wait(s, "message 4 of 4 · r answers again · f forks · Esc");
    screen_wait(s, "▌ qwen3-0.6b\n▌   They are scaled");
    screen_type(s, "\033[A" ALT_UP);
    screen_wait(s, "message 2 of 4 · r answers again · ←→ branches · f forks · Esc");
    golden_assert(s, "select-80x24", true);
    screen_type(s, "\033\033[A" ALT_UP ALT_UP);
    screen_wait(s, "message 1 of 4 · Enter edits");
    screen_type(s, ALT_DOWN);
    screen_wait(s, "message 2 of 4");
    screen_type(s, ESC);
    screen_wait_gone(s, "message 2 of 4");
    screen_wait_gone(s, "▌");
    screen_stop(s);
}

static void screen__select__in_a_small_window_without_color(void **state)
{
    (void)state;
    struct screen *s = start_tree(40, 8, true);
    screen_type(s, ALT_UP ALT_UP ALT_UP);
    screen_wait(s, " 2 of 4 ");
    screen_wait(s, "↓ more");
    golden_assert(s, "select-40x8-mono", true);
    screen_type(s, "\033[5~"); /* scrolling does not leave it */
    screen_wait(s, "How does it");
    screen_type(s, ALT_DOWN);
    screen_wait(s, " 3 of 4 ");
    screen_wait(s, "And then?");
    screen_type(s, ALT_DOWN);
    screen_wait(s, "sum to one.");
    screen_stop(s);
}

static void screen__select__in_eight_colors(void **state)
{
    (void)state;
    struct screen *s = screen_start_on("xterm", 60, 30, false);
    tell_tree(s);
    screen_tell(s, BUSY);
    screen_tell(s, "user Why?");
    screen_tell(s, "think Softmax keeps\\nthe order.");
    screen_wait(s, "the order.▌");
    screen_type(s, ALT_UP ALT_UP ALT_UP ALT_UP ALT_UP);
    screen_wait(s, "message 2 of 6");
    golden_assert(s, "select-60x30-8-colors", true);
    screen_stop(s);
}

static void screen__select__text_goes_to_the_editor(void **state)
{
    (void)state;
    struct screen *s = start_tree(80, 24, false);
    screen_type(s, "so " ALT_UP);
    screen_wait(s, "message 4 of 4");
    screen_type(s, "x");
    screen_wait(s, "› so x");
    screen_wait_gone(s, "message 4 of 4");
    screen_type(s, ALT_UP "\033[200~rest\033[201~");
    screen_wait(s, "› so xrest");
    screen_type(s, ALT_UP "\001" ALT_UP "\003"); /* Ctrl-A edits, Ctrl-C leaves the selection alone */
    screen_type(s, "!");
    screen_wait(s, "› !so xrest");
    screen_stop(s);
}

static void screen__branch__keeps_the_selection_in_its_row(void **state)
{
    (void)state;
    struct screen *s = start_tree(80, 24, false);
    screen_type(s, ALT_UP ALT_UP ALT_UP);
    screen_wait(s, "message 2 of 4");
    screen_type(s, RIGHT);
    screen_wait_report(s, "branch 1\n");
    screen_wait(s, "message 2 of 2");
    screen_wait(s, "\n▌ qwen3-0.6b  ‹1/2›\n▌   By weight.\n");
    screen_type(s, LEFT);
    screen_wait_report(s, "branch 2\n");
    screen_wait(s, "message 2 of 4");
    screen_wait(s, "\n▌ qwen3-0.6b  ‹2/2›\n▌   By the size");
    screen_type(s, ALT_UP RIGHT);
    screen_wait(s, "this message has no other branch");
    screen_type(s, ESC);
    screen_wait_gone(s, "no other branch");
    screen_wait_gone(s, "message 1");
    screen_type(s, "/branch next\r");
    screen_wait(s, "By weight.");
    screen_type(s, "/branch prev \r");
    screen_wait(s, "sum to one.");
    screen_type(s, "/branch up\r");
    screen_wait(s, "say /branch next or /branch prev");
    screen_stop(s);
}

static void screen__regen_fork__tell_the_message(void **state)
{
    (void)state;
    struct screen *s = start_tree(80, 24, false);
    screen_type(s, ALT_UP "r");
    screen_wait_report(s, "message 4 action answer the last message again");
    screen_wait_gone(s, "message 4 of 4");
    screen_type(s, ALT_UP ALT_UP "r");
    screen_wait(s, "r answers again: select an answer");
    screen_type(s, "\r" ESC ALT_UP "\r");
    screen_wait(s, "an answer is not edited");
    screen_type(s, "f");
    screen_wait_report(s, "message 4 action go on in a new chat");
    screen_type(s, "/fork\r/kv\r");
    screen_wait_report(s, "\naction what of this chat the KV cache holds \n");
    screen_stop(s);
}

/* ---- editing ---- */

static void expect_editor(struct screen *s, const char *line)
{
    screen_tell(s, "editor");
    screen_wait_report(s, line);
}

static void screen__edit__stashes_the_draft(void **state)
{
    (void)state;
    struct screen *s = start_tree(80, 24, false);
    screen_type(s, "my draft" LEFT);
    screen_wait(s, "› my draft");
    screen_type(s, ALT_UP ALT_UP);
    screen_wait(s, "message 3 of 4 · Enter edits");
    screen_type(s, "\r");
    screen_wait(s, "editing message 3 · Enter sends it as a new branch · Esc gives up");
    screen_wait(s, "› And then?");
    golden_assert(s, "edit-80x24", true);
    expect_editor(s, "editor 7 my draft\n"); /* nothing was changed */
    screen_type(s, "\177, exactly?");
    screen_wait(s, "› And then, exactly?");
    expect_editor(s, "editor 28 my draft\n\nAnd then, exactly?\n");
    screen_type(s, "\r");
    screen_wait_report(s, "edit 3 send And then, exactly?\n");
    screen_wait(s, "› my draft");
    screen_wait_gone(s, "editing");
    screen_type(s, "!");
    screen_wait(s, "› my draf!t");
    screen_stop(s);
}

static void screen__edit__given_up_brings_the_draft_back(void **state)
{
    (void)state;
    struct screen *s = start_tree(80, 24, false);
    screen_type(s, "my draft");
    screen_type(s, ALT_UP ALT_UP "e");
    screen_wait(s, "› And then?");
    screen_type(s, ESC);
    screen_wait(s, "› my draft");
    screen_wait_gone(s, "editing");
    screen_type(s, ALT_UP ALT_UP "e");
    screen_wait(s, "› And then?");
    screen_type(s, " And why?" ESC);
    screen_wait(s, "› my draft");
    screen_wait(s, "the edit is given up");
    screen_type(s, "\033[A");
    screen_wait(s, "› And then? And why?"); /* in the history */
    screen_type(s, "\033[B");
    screen_wait(s, "› my draft");
    screen_type(s, ALT_UP ALT_UP "e");
    screen_wait(s, "› And then?");
    screen_type(s, ALT_UP "r"); /* answering again leaves an edit alone */
    screen_wait_report(s, "message 4 action answer the last message again");
    screen_wait(s, "› And then?");
    screen_wait(s, "editing message 3");
    screen_type(s, "\003\003"); /* clears the line, then gives up */
    screen_wait(s, "› my draft");
    screen_wait_gone(s, "press Ctrl-C");
    screen_stop(s);
}

static void screen__edit__waits_while_an_answer_is_written(void **state)
{
    (void)state;
    struct screen *s = start_tree(80, 24, false);
    screen_type(s, "my draft");
    screen_tell(s, BUSY);
    screen_tell(s, "user More");
    screen_tell(s, "stream So it");
    screen_type(s, "/edit\r"); /* text of the message with the draft before it: no command */
    screen_wait_report(s, "send my draft/edit\n");
    screen_type(s, "kept\033[1;3A" ALT_UP);
    screen_wait(s, "Ctrl-C stop");
    screen_wait(s, "message 5 of 6");
    screen_type(s, "e");
    screen_wait(s, "› More");
    screen_type(s, " please\r");
    screen_wait(s, "an answer is being written");
    screen_wait(s, "› More please");
    screen_resize(s, 40, 8);
    screen_wait_gone(s, "ferrum");
    screen_resize(s, 80, 24);
    screen_wait(s, "Ctrl-C stop");
    screen_type(s, "\003"); /* stops the answer, not the edit */
    screen_wait_report(s, "action stop the answer \n");
    screen_tell(s, IDLE);
    screen_wait_gone(s, "Ctrl-C stop");
    screen_wait(s, "› More please");
    screen_wait(s, "editing message 5");
    screen_type(s, "\r");
    screen_wait_report(s, "edit 5 send More please\n");
    screen_wait(s, "› kept");
    screen_tell(s, "refuse 5 More please");
    screen_wait(s, "› More please");
    screen_wait(s, "editing message 5");
    expect_editor(s, "editor 17 kept\n\nMore please\n");
    screen_type(s, "\r");
    screen_wait(s, "› kept");
    screen_stop(s);
}

static void screen__edit__of_another_message_and_commands(void **state)
{
    (void)state;
    struct screen *s = start_tree(80, 24, false);
    screen_type(s, "/edit\r");
    screen_wait(s, "editing message 3");
    screen_type(s, " Really?");
    screen_type(s, ALT_UP "\033[A\033[A\033[A\r");
    screen_wait(s, "editing message 1");
    screen_wait(s, "› How does it choose?");
    expect_editor(s, "editor 17 And then? Really?\n"); /* what was made of the first is the draft */
    screen_type(s, "\025/branch next\r");
    screen_wait(s, "By weight.");
    screen_wait(s, "editing message 1");
    screen_type(s, "/nonsense\r");
    screen_wait(s, "› /nonsense");
    screen_type(s, "\025/edit\r"); /* it had to give way to the command */
    screen_wait(s, "› How does it choose?");
    screen_type(s, ESC);
    screen_wait(s, "› And then? Really?");
    screen_stop(s);
}

/* A message that begins with a slash is one again when it is sent. */
static void screen__edit__of_a_slash(void **state)
{
    (void)state;
    struct screen *s = start_tree(80, 24, false);
    screen_tell(s, "user /usr/bin");
    screen_wait(s, "/usr/bin");
    screen_type(s, "/edit\r");
    screen_wait(s, "› //usr/bin");
    screen_type(s, "/env\r");
    screen_wait_report(s, "edit 5 send /usr/bin/env\n");
    screen_stop(s);
}

static void screen__edit__takes_words_in_place_of_the_text(void **state)
{
    (void)state;
    struct screen *s = start_tree(80, 24, false);
    screen_type(s, "/edit Why by weight?\r");
    screen_wait(s, "editing message 3");
    screen_wait(s, "› Why by weight?");
    screen_type(s, ESC);
    screen_wait(s, "its text is in the history");
    screen_type(s, "/edit /usr\r");
    screen_wait(s, "› //usr");
    screen_type(s, "\r");
    screen_wait_report(s, "send /usr\n");
    screen_stop(s);
}

static void screen__edit__survives_resets_and_other_chats(void **state)
{
    (void)state;
    struct screen *s = start_tree(80, 24, false);
    screen_type(s, "draft");
    screen_wait(s, "› draft");
    screen_type(s, ALT_UP ALT_UP "e");
    screen_wait(s, "› And then?");
    screen_type(s, " More");
    screen_wait_report(s, "draft 21 draft\n\nAnd then? More\n"); /* told like any draft */
    screen_tell(s, "renew");
    screen_wait_gone(s, "How does it choose?");
    screen_wait_gone(s, "editing");
    screen_wait(s, "› draft\n");
    screen_wait(s, "   And then? More\n");
    screen_tell(s, "user Hi");
    screen_wait(s, "Hi");
    screen_type(s, "\003/edit\r");
    screen_wait(s, "› Hi");
    screen_tell(s, "reset refused");
    screen_wait(s, "› refused");
    screen_wait_gone(s, "editing");
    screen_type(s, "\r");
    screen_wait_report(s, "\nsend refused\n");
    screen_stop(s);
}

static void screen__edit__the_terminal_goes_away(void **state)
{
    (void)state;
    struct screen *s = start_tree(80, 24, false);
    screen_type(s, "draft" ALT_UP ALT_UP "e");
    screen_wait(s, "› And then?");
    screen_type(s, "!!");
    screen_wait(s, "› And then?!!");
    screen_hang_up(s);
    screen_wait_report(s, "hangup\n");
    screen_wait_report(s, "left 18 draft\n\nAnd then?!!\n");
    screen_stop(s);
}

int main(int argc, char **argv)
{
    setenv("INPUTRC", "/dev/null", 1);
    golden_update = argc > 1 && strcmp(argv[1], "--update") == 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(screen__select__marks_and_leaves),
        cmocka_unit_test(screen__select__in_a_small_window_without_color),
        cmocka_unit_test(screen__select__in_eight_colors),
        cmocka_unit_test(screen__select__text_goes_to_the_editor),
        cmocka_unit_test(screen__branch__keeps_the_selection_in_its_row),
        cmocka_unit_test(screen__regen_fork__tell_the_message),
        cmocka_unit_test(screen__edit__stashes_the_draft),
        cmocka_unit_test(screen__edit__given_up_brings_the_draft_back),
        cmocka_unit_test(screen__edit__waits_while_an_answer_is_written),
        cmocka_unit_test(screen__edit__of_another_message_and_commands),
        cmocka_unit_test(screen__edit__of_a_slash),
        cmocka_unit_test(screen__edit__takes_words_in_place_of_the_text),
        cmocka_unit_test(screen__edit__survives_resets_and_other_chats),
        cmocka_unit_test(screen__edit__the_terminal_goes_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
