/* options_test.c: the option table and the parser. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "app/options.h"
#include "engine/base/mem.h"

#define MAX_ARGS 12

/* Words separated by single spaces after the program's name. */
static bool parse(struct options *o, const char *line, struct err *err)
{
    static char copy[256];
    char *argv[MAX_ARGS] = {(char *)"ferrum-chat"};
    int argc = 1;
    strcpy(copy, line);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    return options_parse(o, argc, argv, err);
}

static void options__table__is_consistent(void **state)
{
    (void)state;
    for (int i = 0; i < OPT_N; i++) {
        const struct option_info *info = option_info(i);
        assert_non_null(info->name);
        assert_true(*info->help);
        assert_true(info->commands);
        assert_int_equal(info->type == OPT_FLAG, !*info->arg);
        assert_int_equal(info->type == OPT_CHOICE, info->choices != NULL);
        for (int k = 0; k < i; k++) {
            bool together = option_info(k)->commands & info->commands;
            assert_false(together && !strcmp(option_info(k)->name, info->name));
            assert_false(together && info->short_name && option_info(k)->short_name == info->short_name);
        }
    }
}

static void options__parse__accepts(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        enum command command;
        int n_words;
    } cases[] = {
        {"m.gguf", CMD_CHAT, 1},
        {"m.gguf -p bench", CMD_CHAT, 1},
        {"-p bench m.gguf", CMD_CHAT, 1},
        {"-- bench", CMD_CHAT, 1},
        {"./bench", CMD_CHAT, 1},
        {"bench m.gguf -p 4 -n 2 -r 1", CMD_BENCH, 1},
        {"--json bench m.gguf", CMD_BENCH, 1},
        {"m.gguf --temp=0.5 -n-1 --stop a --stop b", CMD_CHAT, 1},
        {"sessions show 3 --json", CMD_SESSIONS, 2},
        {"kv stat --json", CMD_KV, 1},
        {"m.gguf -- --temp", CMD_CHAT, 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct options o;
        struct err err = {0};
        if (!parse(&o, cases[i].line, &err))
            fail_msg("%s: %s", cases[i].line, err.text);
        assert_int_equal(o.command, cases[i].command);
        assert_int_equal(o.n_words, cases[i].n_words);
        options_fini(&o);
    }
}

static void options__parse__refuses_with_a_sentence(void **state)
{
    (void)state;
    static const struct {
        const char *line, *text;
    } cases[] = {
        {"m --temp", "needs a value"},
        {"m --temp nan", "expected a number"},
        {"m --temp inf", "expected a number"},
        {"m --temp 0x1", "expected a number"},
        {"m --temp -1", "from 0 to 100"},
        {"m -n 1.5", "whole number"},
        {"m -n 99999999999999999999", "whole number"},
        {"m --seed -1", "whole number"},
        {"m --ctx 0", "from 1"},
        {"m --top-k= ", "whole number"},
        {"m --backend c", "auto|cpu|opencl"},
        {"m --contniue", "--continue"},
        {"m --x", "unknown option --x;"},
        {"m -z", "unknown option -z"},
        {"m --raw=yes", "takes no value"},
        {"bench m --session a", "unknown option"},
        {"a b c d e f g h i", "too many words"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct options o;
        struct err err = {0};
        assert_false(parse(&o, cases[i].line, &err));
        assert_int_equal(err.code, ERR_USAGE);
        if (!strstr(err.text, cases[i].text))
            fail_msg("%s: %s", cases[i].line, err.text);
        options_fini(&o);
    }
}

static void options__set__command_line_wins_over_config(void **state)
{
    (void)state;
    struct options o;
    assert_true(parse(&o, "m --top-k 5 --stop x", NULL));
    assert_true(options_set(&o, OPT_TOP_K, "7", OPT_FROM_CONFIG, NULL));
    assert_true(options_set(&o, OPT_SEED, "9", OPT_FROM_CONFIG, NULL));
    assert_true(options_set(&o, OPT_STOP, "y", OPT_FROM_CONFIG, NULL));
    assert_int_equal(opt_int(&o, OPT_TOP_K, 0), 5);
    assert_int_equal(opt_int(&o, OPT_SEED, 0), 9);
    assert_int_equal(o.value[OPT_STOP].n_texts, 1);
    assert_string_equal(o.value[OPT_STOP].texts[0], "x");
    options_fini(&o);
}

static void options__set__choices_match_whole_words(void **state)
{
    (void)state;
    struct options o = {0};
    assert_true(options_set(&o, OPT_KV_TYPE, "f32", OPT_FROM_LINE, NULL));
    assert_string_equal(opt_text(&o, OPT_KV_TYPE), "f32");
    assert_false(options_set(&o, OPT_KV_TYPE, "f3", OPT_FROM_LINE, NULL));
    assert_false(options_set(&o, OPT_KV_TYPE, "f32|int8", OPT_FROM_LINE, NULL));
    assert_false(options_set(&o, OPT_KV_TYPE, "", OPT_FROM_LINE, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options__table__is_consistent),
        cmocka_unit_test(options__parse__accepts),
        cmocka_unit_test(options__parse__refuses_with_a_sentence),
        cmocka_unit_test(options__set__command_line_wins_over_config),
        cmocka_unit_test(options__set__choices_match_whole_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
