/* The profiler panel as a user sees it, through a pseudo-terminal and an emulator: its pictures at three
 * sizes, with 256, 8 and all colours and without any, dense and with experts; its keys; and that it takes
 * nothing from who writes. (`test_screen_panel --update` writes the pictures anew.) */
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
    screen_wait(s, "Esc stop");
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

int main(int argc, char **argv)
{
    setenv("INPUTRC", "/dev/null", 1);
    struct screen *s = start(atoi(argv[1]), atoi(argv[2]), argc > 4 ? argv[4] : MOE);
    (void)argc;
    for (const char *k = argv[3]; *k; k++) {
        char key[8] = "";
        switch (*k) {
        case '3': strcpy(key, F3); break;
        case '4': strcpy(key, F4); break;
        case '5': strcpy(key, F5); break;
        case '6': strcpy(key, F6); break;
        case '7': strcpy(key, F7); break;
        case 'd': strcpy(key, CTRL_DOWN); break;
        case 'u': strcpy(key, CTRL_UP); break;
        }
        screen_type(s, key);
    }
    screen_type(s, "Q");
    screen_wait(s, "› Q");
    struct buf b = {0};
    screen_text(s, &b);
    if (getenv("LOOKS")) screen_looks(s, &b);
    puts(b.data);
    return 0;
}
