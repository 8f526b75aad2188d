/* The list of actions and the look-up of slash commands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ui/action.h"

static void action__of_command__full_names(void **state)
{
    (void)state;
    assert_int_equal(ui_action_of_command("/help", 5), ACTION_HELP);
    assert_int_equal(ui_action_of_command("/quit", 5), ACTION_QUIT);
    assert_int_equal(ui_action_of_command("/sessions", 9), ACTION_SESSIONS);
}

static void action__of_command__unique_prefix(void **state)
{
    (void)state;
    assert_int_equal(ui_action_of_command("/reg", 4), ACTION_REGEN);
    assert_int_equal(ui_action_of_command("/sess and more", 5), ACTION_SESSIONS);
}

static void action__of_command__unknown(void **state)
{
    (void)state;
    assert_int_equal(ui_action_of_command("/", 1), ACTION_NONE);
    assert_int_equal(ui_action_of_command("/re", 3), ACTION_NONE); /* several */
    assert_int_equal(ui_action_of_command("/helpme", 7), ACTION_NONE);
    assert_int_equal(ui_action_of_command("help", 4), ACTION_NONE);
    assert_int_equal(ui_action_of_command("/H", 2), ACTION_NONE);
}

/* Every command is found by its own name, whatever other names it begins. */
static void action__of_command__every_command(void **state)
{
    (void)state;
    for (int i = 0; i < ACTION_N; i++) {
        char name[64] = "/";
        const struct ui_action_info *info = ui_action_info((enum ui_action)i);
        assert_true(info->help[0] != '\0');
        assert_true(info->keys[0] != '\0' || info->command[0] != '\0');
        if (info->command[0] == '\0')
            continue;
        strncat(name, info->command, sizeof name - 2);
        assert_int_equal(ui_action_of_command(name, strlen(name)), i);
    }
}

static void action__candidate__lists_what_fits(void **state)
{
    (void)state;
    assert_string_equal(ui_action_candidate("/he", 3, 0), "/help");
    assert_null(ui_action_candidate("/he", 3, 1));
    assert_null(ui_action_candidate("/zz", 3, 0));
    int n = 0, n_commands = 0;
    while (ui_action_candidate("/", 1, n))
        n++;
    for (int i = 0; i < ACTION_N; i++)
        n_commands += ui_action_info((enum ui_action)i)->command[0] != '\0';
    assert_int_equal(n, n_commands);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(action__of_command__full_names),
        cmocka_unit_test(action__of_command__unique_prefix),
        cmocka_unit_test(action__of_command__unknown),
        cmocka_unit_test(action__of_command__every_command),
        cmocka_unit_test(action__candidate__lists_what_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
