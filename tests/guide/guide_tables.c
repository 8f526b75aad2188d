/* guide_tables.c: writes everything the program knows about itself as JSON: the facts the built-in guide is
 * trained on, and what its tests hold its answers against. From the program's own tables, so that a new
 * option or key is a new fact without anybody copying it. */
#include <jansson.h>
#include <stdio.h>

#include "app/about.h"
#include "app/options.h"
#include "ui/action.h"

static json_t *text(const char *s)
{
    return json_string(s ? s : "");
}

static json_t *commands_of(unsigned bits)
{
    json_t *names = json_array();
    for (int c = 0; c < CMD_N; c++)
        if (bits & CMD_BIT(c))
            json_array_append_new(names, text(command_info((enum command)c)->name));
    return names;
}

static json_t *option_row(const struct option_info *info)
{
    char short_name[2] = {info->short_name, '\0'};
    json_t *row = json_object();
    json_object_set_new(row, "name", text(info->name));
    json_object_set_new(row, "short", text(short_name));
    json_object_set_new(row, "arg", text(info->arg));
    json_object_set_new(row, "choices", text(info->choices));
    json_object_set_new(row, "default", text(info->default_text));
    json_object_set_new(row, "help", text(info->help));
    json_object_set_new(row, "commands", commands_of(info->commands));
    json_object_set_new(row, "in_config", json_boolean(info->in_config));
    return row;
}

static json_t *options(void)
{
    json_t *rows = json_array();
    for (int i = 0; i < OPT_N; i++)
        json_array_append_new(rows, option_row(option_info((enum opt_id)i)));
    return rows;
}

static json_t *commands(void)
{
    json_t *rows = json_array();
    for (int c = 0; c < CMD_N; c++) {
        const struct command_info *info = command_info((enum command)c);
        json_t *row = json_object();
        json_object_set_new(row, "name", text(info->name));
        json_object_set_new(row, "usage", text(info->usage));
        json_object_set_new(row, "help", text(info->help));
        json_array_append_new(rows, row);
    }
    return rows;
}

static json_t *actions(void)
{
    static const char *const ids[ACTION_N] = {
#define ACTION_NAME(id, keys, command, hint, help) [ACTION_##id] = #id,
        UI_ACTIONS(ACTION_NAME)
#undef ACTION_NAME
    };
    json_t *rows = json_array();
    for (int i = 0; i < ACTION_N; i++) {
        const struct ui_action_info *info = ui_action_info((enum ui_action)i);
        json_t *row = json_object();
        json_object_set_new(row, "id", text(ids[i]));
        json_object_set_new(row, "keys", text(info->keys));
        json_object_set_new(row, "command", text(info->command));
        json_object_set_new(row, "hint", text(info->hint));
        json_object_set_new(row, "help", text(info->help));
        json_array_append_new(rows, row);
    }
    return rows;
}

static json_t *other_keys(void)
{
    json_t *rows = json_array();
    const struct ui_other_key *key;
    for (size_t i = 0; (key = ui_other_key(i)); i++) {
        json_t *row = json_object();
        json_object_set_new(row, "id", text(key->id));
        json_object_set_new(row, "where", text(key->where));
        json_object_set_new(row, "keys", text(key->keys));
        json_object_set_new(row, "help", text(key->help));
        json_array_append_new(rows, row);
    }
    return rows;
}

static json_t *about(const struct about_row *list)
{
    json_t *rows = json_array();
    for (; list->name; list++) {
        json_t *row = json_object();
        json_object_set_new(row, "name", text(list->name));
        json_object_set_new(row, "help", text(list->help));
        json_array_append_new(rows, row);
    }
    return rows;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fputs("usage: guide_tables FILE.json\n", stderr);
        return 2;
    }
    json_t *all = json_object();
    json_object_set_new(all, "commands", commands());
    json_object_set_new(all, "options", options());
    json_object_set_new(all, "actions", actions());
    json_object_set_new(all, "keys", other_keys());
    json_object_set_new(all, "exit_codes", about(about_exit_codes()));
    json_object_set_new(all, "files", about(about_files()));
    json_object_set_new(all, "environment", about(about_environment()));
    bool ok = json_dump_file(all, argv[1], JSON_INDENT(1)) == 0;
    json_decref(all);
    if (!ok)
        fprintf(stderr, "guide_tables: %s cannot be written\n", argv[1]);
    return ok ? 0 : 1;
}
