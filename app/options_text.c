/* options_text.c: --help, the bash completion and the man page, all written from the option table. */
#include <string.h>

#include "app/about.h"
#include "app/options.h"

static void print_option(FILE *out, const struct option_info *info)
{
    char left[64];
    int n = info->short_name ? snprintf(left, sizeof left, "  -%c, --%s", info->short_name, info->name)
                             : snprintf(left, sizeof left, "      --%s", info->name);
    if (*info->arg)
        snprintf(left + n, sizeof left - (size_t)n, " %s", info->arg);
    fprintf(out, "%-30s %s", left, info->help);
    if (info->choices)
        fprintf(out, ": %s", info->choices);
    if (*info->default_text)
        fprintf(out, " (default: %s)", info->default_text);
    fputc('\n', out);
}

void options_print_help(FILE *out, enum command command)
{
    fprintf(out, "usage: ferrum-chat %s\n%s\n\n", command_info(command)->usage, command_info(command)->help);
    if (command == CMD_CHAT) {
        fputs("commands:\n", out);
        for (int c = CMD_CHAT + 1; c < CMD_N; c++)
            fprintf(out, "  ferrum-chat %-9s %s\n", command_info(c)->name, command_info(c)->help);
        fputs("\n", out);
    }
    fputs("options:\n", out);
    for (int i = 0; i < OPT_N; i++)
        if (option_info(i)->commands & CMD_BIT(command))
            print_option(out, option_info(i));
    if (command == CMD_CHAT)
        fputs("\nLasting settings: $XDG_CONFIG_HOME/ferrum-chat/config, lines `name = value` with the names "
              "above.\n",
              out);
}

static void print_completion_words(FILE *out, enum command command)
{
    for (int i = 0; i < OPT_N; i++)
        if (option_info(i)->commands & CMD_BIT(command))
            fprintf(out, " --%s", option_info(i)->name);
}

void options_print_completion(FILE *out)
{
    fputs("# bash completion of ferrum-chat, made from its option table\n"
          "_ferrum_chat()\n{\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words\n"
          "    case $prev in\n",
          out);
    for (int i = 0; i < OPT_N; i++) {
        const struct option_info *info = option_info(i);
        if (!info->choices)
            continue;
        fprintf(out, "    --%s) COMPREPLY=($(compgen -W '", info->name);
        for (const char *c = info->choices; *c; c++)
            fputc(*c == '|' ? ' ' : *c, out);
        fputs("' -- \"$cur\")); return ;;\n", out);
    }
    fputs("    esac\n    case ${COMP_WORDS[1]} in\n", out);
    for (int c = CMD_CHAT + 1; c < CMD_N; c++) {
        fprintf(out, "    %s) words='", command_info(c)->name);
        print_completion_words(out, c);
        fputs("' ;;\n", out);
    }
    fputs("    *) words='", out);
    print_completion_words(out, CMD_CHAT);
    fputs("' ;;\n    esac\n"
          "    if [[ $COMP_CWORD -eq 1 && $cur != -* ]]; then\n        words='",
          out);
    for (int c = CMD_CHAT + 1; c < CMD_N; c++)
        fprintf(out, "%s ", command_info(c)->name);
    fputs("'\n    fi\n"
          "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\") $(compgen -f -- \"$cur\"))\n"
          "}\n"
          "complete -o filenames -F _ferrum_chat ferrum-chat\n",
          out);
}

/* Text in roff: a leading dot or quote and every backslash and dash need care. */
static void print_roff(FILE *out, const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", out);
    for (; *text; text++) {
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else
            fputc(*text, out);
    }
}

static void print_man_options(FILE *out, enum command command)
{
    for (int i = 0; i < OPT_N; i++) {
        const struct option_info *info = option_info(i);
        if (!(info->commands & CMD_BIT(command)))
            continue;
        fputs(".TP\n.B ", out);
        if (info->short_name)
            fprintf(out, "\\-%c, ", info->short_name);
        fputs("\\-\\-", out);
        print_roff(out, info->name);
        if (*info->arg)
            fprintf(out, " \\fI%s\\fR", info->arg);
        fputc('\n', out);
        print_roff(out, info->help);
        if (info->choices)
            fprintf(out, ": %s", info->choices);
        if (*info->default_text) {
            fputs(" (default: ", out);
            print_roff(out, info->default_text);
            fputc(')', out);
        }
        fputc('\n', out);
    }
}

static void print_man_rows(FILE *out, const char *title, const struct about_row *row)
{
    fprintf(out, ".SH %s\n", title);
    for (; row->name; row++) {
        fputs(".TP\n.B ", out);
        print_roff(out, row->name);
        fputc('\n', out);
        print_roff(out, row->help);
        fputc('\n', out);
    }
}

void options_print_man(FILE *out, const char *version)
{
    fprintf(out,
            ".TH FERRUM-CHAT 1 \"\" \"ferrum-chat %s\" \"User commands\"\n"
            ".SH NAME\nferrum-chat \\- a terminal chat with the language model inside\n.SH SYNOPSIS\n",
            version);
    for (int c = 0; c < CMD_N; c++) {
        fputs(".B ferrum-chat\n", out);
        print_roff(out, command_info(c)->usage);
        fputs("\n.br\n", out);
    }
    for (int c = 0; c < CMD_N; c++) {
        fprintf(out, ".SH %s%s\n", c ? "COMMAND " : "CHAT", command_info(c)->name);
        print_roff(out, command_info(c)->help);
        fputs(".\n", out);
        print_man_options(out, c);
    }
    print_man_rows(out, "EXIT STATUS", about_exit_codes());
    print_man_rows(out, "FILES", about_files());
    print_man_rows(out, "ENVIRONMENT", about_environment());
}
