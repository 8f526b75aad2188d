/* Screens as a user sees them, through a pseudo-terminal and an emulator: the pictures of tests/ui/screens
 * (written anew by `test_screen --update`), keys and commands, storms, and the terminal given back. */
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
#include "engine/base/mem.h"
#include "tests/ui/golden.h"
#include "tests/ui/screen.h"

#define IDLE "status 1 0 0 7700 32768 11.8 0"
#define BUSY "status 3 0 0 7700 32768 11.8 0"

static struct screen *start_chat(int columns, int rows, bool no_color)
{
    struct screen *s = screen_start(columns, rows, no_color);
    screen_tell(s, "title How MoE routing works");
    screen_tell(s, "user How does the router choose experts? Show a tiny C example.");
    screen_tell(
        s, "answer The router multiplies the hidden state by a small matrix, which gives one score for each "
           "of the 128 experts. Then:\\n\\n1. softmax over the 128 scores\\n2. keep the 8 largest\\n3. scale "
           "them so that they sum to 1\\n\\n    for (int i = 0; i < k; i++)\\n        acc += weight[i];\\n");
    screen_tell(s, IDLE);
    return s;
}

static void screen__chat__at_80x24(void **state)
{
    (void)state;
    struct screen *s = start_chat(80, 24, false);
    screen_wait(s, "11.8 tok/s");
    golden_assert(s, "chat-80x24", true);
    screen_stop(s);
}

static void screen__chat__at_120x40_without_color(void **state)
{
    (void)state;
    struct screen *s = start_chat(120, 40, true);
    screen_wait(s, "11.8 tok/s");
    golden_assert(s, "chat-120x40-mono", true);
    screen_stop(s);
}

static void screen__chat__at_60x10_and_40x8(void **state)
{
    (void)state;
    struct screen *s = start_chat(60, 10, false);
    screen_wait(s, "11.8 tok/s");
    golden_assert(s, "chat-60x10", false);
    screen_resize(s, 40, 8);
    screen_wait_gone(s, "ferrum");
    screen_wait(s, "acc += weight[i];");
    golden_assert(s, "chat-40x8", false);
    screen_stop(s);
}

static void screen__chat__too_small_and_back(void **state)
{
    (void)state;
    struct screen *s = start_chat(20, 5, false);
    screen_wait(s, "need 40x8, have 20x5");
    screen_type(s, "typed blind");
    screen_tell(s, BUSY);
    screen_tell(s, "stream goes on meanwhile");
    screen_resize(s, 80, 24);
    screen_wait(s, "› typed blind");
    screen_wait(s, "goes on meanwhile▌");
    screen_resize(s, 3, 1);
    screen_wait(s, "nee");
    screen_resize(s, 80, 24);
    screen_wait(s, "› typed blind");
    screen_stop(s);
}

static void screen__chat__wide_characters(void **state)
{
    (void)state;
    struct screen *s = screen_start(60, 16, false);
    screen_tell(s, "title 日本語の題名");
    screen_tell(s, "user 漢字とemoji 😀👩\u200D💻 in one line");
    screen_tell(s, "stream 東京は日本の首都であり、世界最大の都市の一つです。人口は約千四百万人です。😀😀😀😀😀😀 "
                   "e\u0301te\u0301");
    screen_tell(s, BUSY);
    screen_type(s, "打つ 😀");
    screen_wait(s, "打つ 😀");
    screen_wait(s, "Esc stop");
    golden_assert(s, "wide-60x16", false);
    screen_wait_cursor(s, 10, 13);
    screen_stop(s);
}

static void screen__chat__code_keeps_its_shape(void **state)
{
    (void)state;
    struct screen *s = screen_start(40, 10, false);
    screen_tell(s, "stream \t\tif (one_condition && another_one)\\n\t\t\treturn;\\n");
    screen_tell(s, BUSY);
    screen_wait(s, "\n                 if (one_condition &&\n                 another_one)\n"
                   "                         return;▌\n");
    screen_stop(s);
}

static void screen__chat__hostile_text_stays_text(void **state)
{
    (void)state;
    struct screen *s = screen_start(80, 24, false);
    screen_tell(s, "title \033]0;owned\007 title");
    screen_tell(s, "user \033[2J\033[?1049l\033[31mred \u202Egnp.exe");
    screen_tell(s, "answer \033]52;c;AAAA\007 \033P$q\033\\ \302\233?25l\rback\b\b");
    screen_tell(s, "note \033[5n");
    screen_tell(s, "notice \033[6n");
    screen_tell(s, IDLE);
    screen_wait(s, "11.8 tok/s");
    golden_assert(s, "hostile-80x24", false);
    screen_stop(s);
}

static void screen__loading__page(void **state)
{
    (void)state;
    struct screen *s = screen_start(80, 24, false);
    screen_tell(s, "status 0 11600000000 18600000000 0 0 0 0");
    screen_wait(s, "62%");
    golden_assert(s, "loading-80x24", false);
    screen_tell(s, "status 0 11600000000 18600000000 0 0 0 1");
    screen_wait(s, "Your message is sent when the model is ready.");
    screen_tell(s, "note another model wrote this chat");
    screen_wait(s, "─ 11.6 of 18.6 GB ─");
    screen_tell(s, "status 4 0 0 0 0 0 0");
    screen_wait(s, "no model");
    screen_stop(s);
}

static void screen__prefill__fills_the_hairline(void **state)
{
    (void)state;
    struct screen *s = start_chat(80, 24, false);
    screen_tell(s, "status 2 512 2048 7700 32768 0 0");
    screen_wait(s, "reading   512 of 2,048 tokens");
    screen_wait(s, "━━━─");
    screen_tell(s, "status 2 1024 2048 26500 32768 0 0");
    screen_wait(s, "reading 1,024 of 2,048 tokens");
    screen_wait(s, "26k/32k");
    screen_stop(s);
}

static void screen__preparing__leaves_the_editor_free(void **state)
{
    (void)state;
    struct screen *s = start_chat(80, 24, false);
    screen_tell(s, "status 1 3200 16000 7700 32768 0 2");
    screen_wait(s, "preparing  3,200 of 16,000 tokens");
    screen_wait(s, "Esc stop");
    screen_tell(s, "status 1 0 0 7700 32768 0 0");
    screen_wait(s, "ready");
    screen_stop(s);
}

static void screen__status__numbers_keep_their_places(void **state)
{
    (void)state;
    struct screen *s = start_chat(80, 24, false);
    screen_tell(s, "status 3 0 0 0 32768 0 0");
    screen_wait(s, "avx2 · answering  · ctx ········    0/32k");
    screen_tell(s, "status 3 0 0 999 32768 9.9 0");
    screen_wait(s, "avx2 ·  9.9 tok/s · ctx ▎·······  999/32k");
    screen_tell(s, "status 3 0 0 10230 32768 99.94 0");
    screen_wait(s, "avx2 · 99.9 tok/s · ctx ██▌·····  10k/32k");
    screen_tell(s, "status 3 0 0 32768 32768 1234 0");
    screen_wait(s, "avx2 · 1234 tok/s · ctx ████████  32k/32k");
    screen_tell(s, "status 2 7 2048 500 512 0 0");
    screen_wait(s, "reading     7 of 2,048 tokens");
    screen_wait(s, "avx2 · reading    · ctx ███████▉ 500/512");
    screen_tell(s, "model Qwen3-0.6B-Q4_K_M q4_k_m");
    screen_tell(s, IDLE);
    screen_wait(s, " Qwen3-0.6B-Q4_K_M · cpu x2");
    screen_stop(s);
}

static void start_thinking(struct screen *s)
{
    screen_tell(s, BUSY);
    screen_tell(s, "think \\nFirst, the router is a linear layer, and the user wants an example in C, so I "
                   "should keep it small.\\n\\nThen top-k: ");
    screen_tell(s, "think the 8 largest of 128 scores, softmax over them.\\nThe user asked for \033[31m");
}

static void screen__think__folds_when_the_answer_begins(void **state)
{
    (void)state;
    struct screen *s = screen_start(80, 24, false);
    screen_tell(s, "title Routing");
    screen_tell(s, "user How does it choose?");
    screen_tell(s, "mode think");
    start_thinking(s);
    screen_wait(s, "▾ Thinking · 37 words");
    screen_wait(s, "asked for ␛[31m▌");
    screen_wait_gone(s, "First, the router");
    screen_wait(s, "q4_k_m · think · 11.8 tok/s");
    golden_assert(s, "think-80x24", true);
    screen_type(s, "\033h");
    screen_wait(s, "│ First, the router");
    screen_wait(s, "▾ Thinking · 37 words");
    screen_type(s, "/reaso\r");
    screen_wait_gone(s, "First, the router");
    screen_tell(s, "stream It takes the");
    screen_wait(s, "▸ Thought · 37 words\n    It takes the▌");
    screen_wait_gone(s, "│");
    screen_type(s, "\033h");
    screen_wait(s, "▾ Thought · 37 words");
    screen_wait(s, "softmax over them.");
    screen_tell(s, "stream  best eight.");
    screen_wait(s, "best eight.▌");
    screen_tell(s, "end 0");
    screen_tell(s, IDLE);
    screen_wait_gone(s, "▌");
    golden_assert(s, "thought-80x24", true);
    for (int i = 0; i < 20; i++)
        screen_tell(s, "note line %d", i);
    screen_wait(s, "line 19");
    screen_type(s, "\033[5~");
    screen_wait(s, "↓ more");
    screen_type(s, "/reasoning\r"); /* above the window: what is seen does not move */
    screen_wait(s, "› Write a message");
    screen_wait(s, "↓ more");
    screen_stop(s);
}

static void screen__think__in_a_small_window_without_color(void **state)
{
    (void)state;
    struct screen *s = screen_start(40, 8, true);
    screen_tell(s, "user How does it choose?");
    start_thinking(s);
    screen_wait(s, "▾ Thinking · 37 words");
    screen_wait(s, "asked for ␛[31m▌");
    golden_assert(s, "think-40x8-mono", true);
    screen_stop(s);
}

static void screen__list__filter_pick_delete(void **state)
{
    (void)state;
    struct screen *s = start_chat(80, 24, false);
    screen_tell(s, "list 5");
    screen_wait(s, "First chat␛[31m");
    golden_assert(s, "list-80x24", false);
    screen_type(s, "pACK");
    screen_wait(s, "1 of 5");
    screen_type(s, "\033[19~");
    screen_wait(s, "Delete \"Packing list\"?");
    screen_type(s, "n");
    screen_wait_gone(s, "Delete");
    screen_type(s, "\033[3~");
    screen_wait(s, "Delete \"Packing list\"?");
    screen_type(s, "y");
    screen_wait_report(s, "delete 1\n");
    screen_type(s, "\177\177\177\177");
    screen_wait(s, "5 of 5");
    screen_type(s, "\033[B\033[B\r");
    screen_wait_report(s, "picked 2\n");
    screen_wait_gone(s, "search");
    screen_tell(s, "list 5");
    screen_wait(s, "search");
    screen_type(s, "\033");
    screen_wait_gone(s, "search");
    screen_stop(s);
}

static void screen__list__in_a_small_window(void **state)
{
    (void)state;
    struct screen *s = start_chat(40, 8, false);
    screen_tell(s, "list 5");
    screen_wait(s, "How MoE");
    screen_type(s, "\033[6~\033[6~\033[6~\033[6~\033[6~");
    screen_wait(s, "First chat");
    screen_tell(s, "list 0");
    screen_wait(s, "nothing here yet");
    screen_type(s, "\r\033[3~x");
    screen_wait(s, "nothing");
    screen_stop(s);
}

static void screen__help__shows_every_command(void **state)
{
    (void)state;
    struct screen *s = start_chat(80, 30, false);
    screen_type(s, "\033OP");
    screen_wait(s, "Esc closes");
    golden_assert(s, "help-80x30", false);
    screen_type(s, "\033");
    screen_wait_gone(s, "Esc closes");
    screen_type(s, "/help\r");
    screen_wait(s, "Esc closes");
    screen_resize(s, 100, 72);
    screen_wait(s, "On a selected message:");
    screen_wait(s, "own means");
    golden_assert(s, "help-100x72", false);
    screen_stop(s);
}

static void screen__help__nothing_is_cut_in_a_small_window(void **state)
{
    (void)state;
    struct screen *s = start_chat(60, 10, false);
    screen_type(s, "\033OP");
    screen_wait(s, "Esc closes");
    golden_assert(s, "help-60x10", false);
    screen_type(s, "\033[<65;10;10M"); /* three rows */
    screen_wait_gone(s, "send the message");
    for (int i = 0; i < 20; i++)
        screen_type(s, "\033[6~");
    screen_wait(s, "own means");
    screen_resize(s, 80, 24);
    screen_wait(s, "Ctrl-Z");
    /* Enough for the small window too: the keys may overtake the new size. */
    for (int i = 0; i < 20; i++)
        screen_type(s, "\033[5~");
    screen_wait(s, "send the message");
    golden_assert(s, "help-80x24", false);
    screen_stop(s);
}

static void screen__help__typing_goes_to_the_message(void **state)
{
    (void)state;
    struct screen *s = start_chat(80, 24, false);
    screen_tell(s, BUSY);
    screen_tell(s, "help");
    screen_wait(s, "Esc closes");
    screen_tell(s, "stream more text\\nbelow");
    screen_tell(s, "timeout");
    screen_wait_report(s, "timeout ");
    screen_wait(s, "Esc closes");
    screen_type(s, "hello");
    screen_wait(s, "› hello");
    screen_wait_gone(s, "Esc closes");
    screen_wait(s, "below▌");
    screen_tell(s, "help");
    screen_wait(s, "Esc closes");
    screen_type(s, "\033[200~, pasted\033[201~");
    screen_wait(s, "› hello, pasted");
    screen_tell(s, "list 5");
    screen_wait(s, "search");
    screen_type(s, "\033[200~Trip\nplan\033[201~");
    screen_wait(s, "search  Trip");
    screen_wait(s, "1 of 5");
    screen_type(s, "\033");
    screen_wait(s, "› hello, pasted");
    screen_stop(s);
}

#define LONG_ERROR                                                                                           \
    "the prompt of 522 tokens does not fit: the context has 512, and the answer needs room for at least "    \
    "16; "                                                                                                   \
    "start a new chat with /new, shorten the message, or start the program with --ctx 4096, which needs "    \
    "about 96 MB more memory, /home/somebody/models/a-rather-long-file-name-without-any-blank-in-it.gguf "   \
    "END"

static void screen__error__is_readable_whole(void **state)
{
    (void)state;
    struct screen *s = start_chat(80, 24, false);
    assert_in_range(sizeof LONG_ERROR, 300, 312);
    screen_tell(s, "error %s", LONG_ERROR);
    screen_wait(s, "gguf END");
    golden_assert(s, "error-80x24", true);
    screen_tell(s, "list 5");
    screen_wait(s, "search");
    screen_wait(s, "gguf END");
    golden_assert(s, "error-list-80x24", false);
    screen_type(s, "\033");
    screen_wait_gone(s, "gguf END");
    screen_tell(s, "error a short one");
    screen_wait(s, "── ! a short one ──");
    screen_stop(s);
}

static void screen__error__pages_in_a_small_window(void **state)
{
    (void)state;
    struct screen *s = start_chat(40, 10, false);
    screen_tell(s, "error %s", LONG_ERROR);
    screen_wait(s, "PgDn the rest");
    golden_assert(s, "error-40x10", false);
    screen_type(s, "\033[6~");
    screen_wait(s, "gguf END");
    screen_wait(s, "PgUp the beginning");
    screen_resize(s, 80, 24);
    screen_wait(s, "! the prompt of");
    screen_wait(s, "gguf END");
    screen_resize(s, 40, 10);
    screen_wait(s, "PgDn the rest");
    screen_type(s, "x");
    screen_wait_gone(s, "the prompt of");
    screen_wait(s, "› x");
    screen_stop(s);
}

static void screen__command__is_never_sent(void **state)
{
    (void)state;
    struct screen *s = start_chat(80, 24, false);
    screen_type(s, "/nonsense x\r");
    screen_wait(s, "! /nonsense is no command");
    screen_wait(s, "› /nonsense x");
    screen_type(s, "\025//usr/bin\r");
    screen_wait_report(s, "send /usr/bin\n");
    screen_type(s, "/reg\r");
    screen_wait_report(s, "action answer the last message again (the old answer is kept) \n");
    screen_type(s, "/sess one two\r");
    screen_wait_report(s, "action list chats and open one one two\n");
    screen_type(s, "\033o");
    screen_wait_report(s, "action list chats and open one \n");
    screen_type(s, "/qu\t");
    screen_wait(s, "› /quit");
    screen_type(s, "\r");
    screen_wait_report(s, "action leave; everything is saved \n");
    screen_stop(s);
}

static void screen__keys__ctrl_c_in_three_steps(void **state)
{
    (void)state;
    struct screen *s = start_chat(80, 24, false);
    screen_tell(s, BUSY);
    screen_wait(s, "Esc stop");
    screen_type(s, "kept\003");
    screen_wait_report(s, "action stop the answer \n");
    screen_wait(s, "› kept");
    screen_tell(s, IDLE);
    screen_wait_gone(s, "Esc stop");
    screen_type(s, "\003");
    screen_wait(s, "› Write a message");
    screen_type(s, "\003");
    screen_wait(s, "press Ctrl-C again to quit");
    screen_type(s, "x");
    screen_wait_gone(s, "press Ctrl-C");
    screen_type(s, "\177\003");
    screen_wait(s, "press Ctrl-C again to quit");
    screen_type(s, "\003");
    screen_wait_report(s, "action leave; everything is saved \n");
    screen_stop(s);
}

static void screen__keys__multi_line_message_and_draft(void **state)
{
    (void)state;
    struct screen *s = start_chat(80, 24, false);
    screen_type(s, "one\ntwo 😀");
    screen_wait(s, "two 😀");
    screen_wait_report(s, "draft 12 one\ntwo 😀\n");
    screen_type(s, "\033[200~pasted\r\nlines\033[201~");
    screen_wait(s, "pasted");
    screen_type(s, "\r");
    screen_wait_report(s, "send one\ntwo 😀pasted\nlines\n");
    screen_wait(s, "› Write a message");
    screen_stop(s);
}

static void screen__editor__is_reset_without_a_draft(void **state)
{
    (void)state;
    struct screen *s = start_chat(80, 24, false);
    screen_type(s, "the first chat's");
    screen_wait(s, "› the first chat's");
    screen_tell(s, "reset two\\nlines");
    screen_wait(s, "› two\n");
    screen_wait_gone(s, "the first chat's");
    screen_tell(s, "timeout"); /* -1: no draft is going to be told */
    screen_wait_report(s, "timeout -1\n");
    screen_type(s, "\037!");
    screen_wait(s, "  lines!"); /* undo does not bring the other chat's text back */
    screen_wait_report(s, "draft 10 two\nlines!\n");
    screen_type(s, "\033[200~");
    for (int i = 0; i < 30; i++)
        screen_type(s, "pasted\n");
    screen_type(s, "\033[201~");
    screen_wait(s, "[paste: 30 lines]");
    screen_tell(s, "reset");
    screen_wait(s, "› Write a message");
    screen_type(s, "next\r");
    screen_wait_report(s, "send next\n");
    screen_stop(s);
}

static void screen__editor__grows_to_two_fifths(void **state)
{
    (void)state;
    struct screen *s = start_chat(80, 20, false);
    for (int i = 0; i < 30; i++)
        screen_type(s, "row\n");
    screen_type(s, "last");
    screen_wait(s, "last");
    struct buf text = {0};
    int n = 0;
    screen_text(s, &text);
    for (const char *p = buf_text(&text); (p = strstr(p, "   row\n")); p++)
        n++;
    assert_in_range(n, 6, 8);
    assert_non_null(strstr(buf_text(&text), "11.8 tok/s"));
    buf_fini(&text);
    screen_stop(s);
}

static void screen__inputrc__is_read(void **state)
{
    (void)state;
    char path[64];
    snprintf(path, sizeof path, "/tmp/ferrum-inputrc-%d", (int)getpid());
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("set editing-mode vi\n$if ferrum-chat\n\"\\C-xg\": \"good day\"\n\"\\C-k\": unix-word-rubout\n"
          "$else\n\"\\C-xg\": \"wrong\"\n$endif\n$if Bash\n\"\\C-xg\": \"wrong\"\n$endif\n",
          file);
    fclose(file);
    setenv("INPUTRC", path, 1);
    struct screen *s = start_chat(80, 24, false);
    setenv("INPUTRC", "/dev/null", 1);
    screen_type(s, "\030g");
    screen_wait(s, "› good day");
    screen_type(s, "\013big\n2"); /* the file's meaning of Ctrl-K */
    screen_wait(s, "› good big");
    screen_type(s, "\033");
    screen_wait(s, ": good big");
    screen_type(s, "khx");
    screen_wait(s, ": ood big");
    screen_type(s, "A!\r");
    screen_wait_report(s, "send ood big\n2!\n");
    screen_stop(s);
    unlink(path);
}

static void screen__scroll__new_lines_and_back(void **state)
{
    (void)state;
    struct screen *s = start_chat(80, 24, false);
    for (int i = 0; i < 60; i++)
        screen_tell(s, "stream line %d\\n", i);
    screen_wait(s, "line 59");
    screen_type(s, "\033[5~");
    screen_wait(s, "↓ more · Ctrl-End");
    screen_tell(s, "stream three\\nmore\\nlines");
    screen_wait(s, "↓ 3 new lines · Ctrl-End");
    screen_type(s, "\033[1;5F");
    screen_wait(s, "lines▌");
    screen_wait_gone(s, "Ctrl-End");
    screen_type(s, "\033[<64;10;10M");
    screen_wait(s, "↓ more");
    screen_type(s, "\033[<65;10;10M");
    screen_wait_gone(s, "↓ more");
    screen_stop(s);
}

static void screen__resize__storm_while_streaming(void **state)
{
    (void)state;
    struct screen *s = start_chat(80, 24, false);
    screen_tell(s, BUSY);
    for (int i = 0; i < 150; i++) {
        screen_resize(s, 1 + i * 37 % 150, 1 + i * 23 % 50);
        screen_tell(s, "stream word%d 漢字 ", i);
        if (i % 10 == 0)
            screen_type(s, i % 20 ? "\033[5~" : "\033[6~x");
        if (i == 70)
            screen_tell(s, "list 5");
        if (i == 120)
            screen_tell(s, "help");
    }
    screen_resize(s, 80, 24);
    screen_tell(s, "timeout"); /* what was told and what was typed come by different ways */
    screen_wait_report(s, "timeout ");
    screen_type(s, "Z");
    screen_wait(s, "Z");
    screen_tell(s, "help");
    screen_wait(s, "Esc closes");
    screen_type(s, "\033");
    screen_wait_gone(s, "Esc closes");
    screen_type(s, "\033[1;5F");
    screen_wait(s, "word149");
    screen_wait(s, "Esc stop");
    screen_stop(s);
}

static void screen__idle__asks_for_no_wake_up(void **state)
{
    (void)state;
    struct screen *s = start_chat(80, 24, false);
    screen_wait(s, "11.8 tok/s");
    screen_tell(s, "timeout");
    screen_wait_report(s, "timeout -1\n");
    screen_stop(s);
}

static void screen__end__last_words_on_the_normal_screen(void **state)
{
    (void)state;
    struct screen *s = start_chat(80, 24, false);
    screen_wait(s, "11.8 tok/s");
    assert_false(screen_is_given_back(s));
    screen_tell(s, "quit The answer.\\nIn two lines \033[31mnot red");
    const char *text = screen_wait_end(s);
    assert_non_null(strstr(text, "The answer.\nIn two lines ␛[31mnot red\n"));
    assert_null(strstr(text, "tok/s"));
    assert_true(screen_is_given_back(s));
    screen_stop(s);
}

/* There the chat stays on the screen: the words come below it, and nothing of the status line shows. */
static void screen__end__without_an_alternate_screen(void **state)
{
    static const char *const terms[] = {"vt100", "linux"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct screen *s = screen_start_on(terms[i], 60, 10, false);
        screen_tell(s, "user What is it?");
        screen_tell(s, "notice ready");
        screen_tell(s, IDLE);
        screen_wait(s, "11.8 tok/s");
        screen_tell(s, "quit The answer.\\nIn two lines.");
        const char *text = screen_wait_end(s);
        if (!strstr(text, "\n\nThe answer.\nIn two lines.\n\n") || strstr(text, "tok/s"))
            fail_msg("%s: left on the screen:\n%s", terms[i], text);
        assert_non_null(strstr(text, "What is it?"));
        assert_true(screen_is_given_back(s));
        screen_stop(s);
    }
}

static void screen__end__the_terminal_goes_away(void **state)
{
    (void)state;
    struct screen *s = start_chat(80, 24, false);
    screen_wait(s, "11.8 tok/s");
    screen_hang_up(s);
    screen_wait_report(s, "hangup\n");
    screen_stop(s);
}

int main(int argc, char **argv)
{
    setenv("INPUTRC", "/dev/null", 1);
    golden_update = argc > 1 && strcmp(argv[1], "--update") == 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(screen__chat__at_80x24),
        cmocka_unit_test(screen__chat__at_120x40_without_color),
        cmocka_unit_test(screen__chat__at_60x10_and_40x8),
        cmocka_unit_test(screen__chat__too_small_and_back),
        cmocka_unit_test(screen__chat__wide_characters),
        cmocka_unit_test(screen__chat__code_keeps_its_shape),
        cmocka_unit_test(screen__chat__hostile_text_stays_text),
        cmocka_unit_test(screen__loading__page),
        cmocka_unit_test(screen__prefill__fills_the_hairline),
        cmocka_unit_test(screen__preparing__leaves_the_editor_free),
        cmocka_unit_test(screen__status__numbers_keep_their_places),
        cmocka_unit_test(screen__think__folds_when_the_answer_begins),
        cmocka_unit_test(screen__think__in_a_small_window_without_color),
        cmocka_unit_test(screen__list__filter_pick_delete),
        cmocka_unit_test(screen__list__in_a_small_window),
        cmocka_unit_test(screen__help__shows_every_command),
        cmocka_unit_test(screen__help__nothing_is_cut_in_a_small_window),
        cmocka_unit_test(screen__help__typing_goes_to_the_message),
        cmocka_unit_test(screen__error__is_readable_whole),
        cmocka_unit_test(screen__error__pages_in_a_small_window),
        cmocka_unit_test(screen__command__is_never_sent),
        cmocka_unit_test(screen__keys__ctrl_c_in_three_steps),
        cmocka_unit_test(screen__keys__multi_line_message_and_draft),
        cmocka_unit_test(screen__editor__is_reset_without_a_draft),
        cmocka_unit_test(screen__editor__grows_to_two_fifths),
        cmocka_unit_test(screen__inputrc__is_read),
        cmocka_unit_test(screen__scroll__new_lines_and_back),
        cmocka_unit_test(screen__resize__storm_while_streaming),
        cmocka_unit_test(screen__idle__asks_for_no_wake_up),
        cmocka_unit_test(screen__end__last_words_on_the_normal_screen),
        cmocka_unit_test(screen__end__without_an_alternate_screen),
        cmocka_unit_test(screen__end__the_terminal_goes_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
