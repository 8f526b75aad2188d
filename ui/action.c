/* Owns the look-up of actions in the one list of action.h. */
#include "ui/action.h"

#include <string.h>

static const struct ui_action_info actions[ACTION_N] = {
#define UI_ACTION_ROW(id, keys, command, hint, help) [ACTION_##id] = {keys, command, hint, help},
    UI_ACTIONS(UI_ACTION_ROW)
#undef UI_ACTION_ROW
};

const struct ui_action_info *ui_action_info(enum ui_action action)
{
    return &actions[action];
}

const struct ui_other_key *ui_other_key(size_t i)
{
    static const struct ui_other_key rows[] = {
#define UI_OTHER_KEY_ROW(id, where, keys, help) {#id, where, keys, help},
        UI_OTHER_KEYS(UI_OTHER_KEY_ROW)
#undef UI_OTHER_KEY_ROW
    };
    return i < sizeof rows / sizeof *rows ? &rows[i] : NULL;
}

enum ui_action ui_action_of_command(const char *name, size_t n)
{
    enum ui_action found = ACTION_NONE;
    if (n < 2 || name[0] != '/')
        return ACTION_NONE;
    name++;
    n--;
    for (int i = 0; i < ACTION_N; i++) {
        const char *command = actions[i].command;
        if (strncmp(command, name, n) != 0)
            continue;
        if (command[n] == '\0')
            return (enum ui_action)i;
        if (found != ACTION_NONE)
            return ACTION_NONE;
        found = (enum ui_action)i;
    }
    return found;
}

const char *ui_action_candidate(const char *word, size_t n, int index)
{
    static const char *const names[ACTION_N] = {
#define UI_ACTION_NAME(id, keys, command, hint, help) [ACTION_##id] = "/" command,
        UI_ACTIONS(UI_ACTION_NAME)
#undef UI_ACTION_NAME
    };
    for (int i = 0; i < ACTION_N; i++)
        if (names[i][1] != '\0' && strncmp(names[i], word, n) == 0 && index-- == 0)
            return names[i];
    return NULL;
}
