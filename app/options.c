/* options.c: reads the command line by the table; owns nothing but strings given to options_keep. */
#include "app/options.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"

enum opt_id option_find(const char *name, enum command command)
{
    for (int i = 0; i < OPT_N; i++)
        if (option_info(i)->commands & CMD_BIT(command) && !strcmp(option_info(i)->name, name))
            return i;
    return OPT_N;
}

static enum opt_id find_short(char c, enum command command)
{
    for (int i = 0; i < OPT_N; i++)
        if (option_info(i)->commands & CMD_BIT(command) && option_info(i)->short_name == c)
            return i;
    return OPT_N;
}

#define MAX_NAME 32

/* Levenshtein distance of two short words. */
static int edit_distance(const char *a, const char *b)
{
    int row[MAX_NAME + 1];
    int n = (int)strnlen(b, MAX_NAME);
    for (int j = 0; j <= n; j++)
        row[j] = j;
    for (int i = 1; a[i - 1]; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            int best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            best = best < row[j] + 1 ? best : row[j] + 1;
            row[j] = best < row[j - 1] + 1 ? best : row[j - 1] + 1;
        }
    }
    return row[n];
}

const char *option_nearest(const char *name, enum command command)
{
    const char *nearest = NULL;
    int least = 4; /* farther than three edits is no typing mistake */
    if (strlen(name) > MAX_NAME)
        return NULL;
    for (int i = 0; i < OPT_N; i++) {
        const struct option_info *info = option_info(i);
        if (!(info->commands & CMD_BIT(command)))
            continue;
        int distance = edit_distance(name, info->name);
        if (distance < least && distance < (int)strlen(info->name)) {
            least = distance;
            nearest = info->name;
        }
    }
    return nearest;
}

const char *command_nearest(const char *name)
{
    if (!strcmp(name, "help") || !strcmp(name, "version"))
        return name[0] == 'h' ? "--help" : "--version";
    for (int least = 1; least <= 2 && strlen(name) <= MAX_NAME; least++)
        for (int i = 0; i < CMD_N; i++)
            if (i != CMD_CHAT && edit_distance(name, command_info(i)->name) == least)
                return command_info(i)->name;
    return NULL;
}

static const char *dashes(enum opt_id id)
{
    return option_info(id)->name[1] ? "--" : "-";
}

static bool set_int(struct opt_value *v, enum opt_id id, const char *text, struct err *err)
{
    const struct option_info *info = option_info(id);
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    bool plain = *text && !strchr(" \t\n\v\f\r", *text) && !*end && !errno;
    if (!plain || (double)number < info->min || (double)number > info->max)
        return err_set(err, ERR_USAGE, "%s%s: found \"%.60s\", expected a whole number from %.0f to %.0f",
                       dashes(id), info->name, text, info->min, info->max);
    v->number = number;
    return true;
}

static bool set_real(struct opt_value *v, enum opt_id id, const char *text, struct err *err)
{
    const struct option_info *info = option_info(id);
    char *end;
    double real = strtod(text, &end);
    bool plain = *text && strspn(text, "+-.0123456789eE") == strlen(text) && !*end && isfinite(real);
    if (!plain || real < info->min || real > info->max)
        return err_set(err, ERR_USAGE, "%s%s: found \"%.60s\", expected a number from %g to %g", dashes(id),
                       info->name, text, info->min, info->max);
    v->real = real;
    return true;
}

static bool set_choice(struct opt_value *v, enum opt_id id, const char *text, struct err *err)
{
    const char *choices = option_info(id)->choices;
    size_t n = strlen(text);
    for (const char *at = choices; n && !strchr(text, '|') && at; at = strchr(at, '|')) {
        at += *at == '|';
        if (!strncmp(at, text, n) && (at[n] == '|' || !at[n])) {
            v->text = text;
            return true;
        }
    }
    return err_set(err, ERR_USAGE, "%s%s: found \"%.60s\", expected one of %s", dashes(id),
                   option_info(id)->name, text, choices);
}

static bool set_flag(struct opt_value *v, enum opt_id id, const char *text, struct err *err)
{
    bool on = !text || !strcmp(text, "true");
    if (!on && strcmp(text, "false"))
        return err_set(err, ERR_USAGE, "%s%s: found \"%.60s\", expected true or false", dashes(id),
                       option_info(id)->name, text);
    v->flag = on;
    return true;
}

static bool add_text(struct opt_value *v, enum opt_id id, const char *text, enum opt_source source,
                     struct err *err)
{
    if (!*text)
        return err_set(err, ERR_USAGE, "%s%s: found an empty text, expected at least one character",
                       dashes(id), option_info(id)->name);
    if (v->source != source)
        v->n_texts = 0; /* the command line replaces the list of the config file */
    if (v->n_texts == OPT_MAX_TEXTS)
        return err_set(err, ERR_USAGE, "%s%s: given more than %d times; use fewer", dashes(id),
                       option_info(id)->name, OPT_MAX_TEXTS);
    v->texts[v->n_texts++] = text;
    return true;
}

static bool set_value(struct opt_value *v, enum opt_id id, const char *value, enum opt_source source,
                      struct err *err)
{
    switch (option_info(id)->type) {
    case OPT_FLAG:
        return set_flag(v, id, value, err);
    case OPT_INT:
        return set_int(v, id, value, err);
    case OPT_REAL:
        return set_real(v, id, value, err);
    case OPT_CHOICE:
        return set_choice(v, id, value, err);
    case OPT_TEXTS:
        return add_text(v, id, value, source, err);
    case OPT_TEXT:
        break;
    }
    v->text = value;
    return true;
}

bool options_set(struct options *o, enum opt_id id, const char *value, enum opt_source source,
                 struct err *err)
{
    struct opt_value *v = &o->value[id];
    if (v->source > source)
        return true; /* the config file never overrules the command line */
    if (!set_value(v, id, value, source, err))
        return false;
    v->source = source;
    return true;
}

const char *options_keep(struct options *o, char *text)
{
    o->owned = mem_need_resize(o->owned, (size_t)o->n_owned + 1, sizeof *o->owned);
    o->owned[o->n_owned++] = text;
    return text;
}

void options_fini(struct options *o)
{
    for (int i = 0; i < o->n_owned; i++)
        mem_free(o->owned[i]);
    mem_free(o->owned);
    o->owned = NULL;
    o->n_owned = 0;
}

static bool takes_value(const char *arg)
{
    for (int i = 0; i < OPT_N; i++) {
        const struct option_info *info = option_info(i);
        if (info->type == OPT_FLAG)
            continue;
        if (arg[1] == '-' ? !strcmp(arg + 2, info->name) : (arg[1] == info->short_name && !arg[2]))
            return true;
    }
    return false;
}

/* The subcommand is the first word that is neither an option nor an option's value. Returns its index, 0 if
 * none. */
static int find_command(int argc, char **argv, enum command *command)
{
    *command = CMD_CHAT;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--"))
            return 0;
        if (argv[i][0] == '-' && argv[i][1]) {
            i += takes_value(argv[i]);
            continue;
        }
        for (int c = CMD_CHAT + 1; c < CMD_N; c++)
            if (!strcmp(argv[i], command_info(c)->name)) {
                *command = c;
                return i;
            }
        return 0;
    }
    return 0;
}

static bool unknown_option(const struct options *o, const char *arg, int n_name, struct err *err)
{
    char name[MAX_NAME + 1] = "";
    if (n_name <= MAX_NAME && arg[1] == '-')
        memcpy(name, arg + 2, (size_t)n_name);
    const char *nearest = *name ? option_nearest(name, o->command) : NULL;
    const char *command = command_info(o->command)->name;
    if (nearest)
        return err_set(err, ERR_USAGE, "unknown option %.60s; did you mean --%s?", arg, nearest);
    return err_set(err, ERR_USAGE, "unknown option %.60s; `ferrum-chat %s%s--help` lists them all", arg,
                   command, *command ? " " : "");
}

/* Parses argv[*at] as an option and moves *at past its value. */
static bool parse_option(struct options *o, int argc, char **argv, int *at, struct err *err)
{
    const char *arg = argv[*at];
    const char *value = NULL;
    enum opt_id id;
    int n_name = 0;
    if (arg[1] == '-') {
        char name[MAX_NAME + 1];
        n_name = (int)strcspn(arg + 2, "=");
        snprintf(name, sizeof name, "%.*s", n_name, arg + 2);
        id = n_name <= MAX_NAME ? option_find(name, o->command) : OPT_N;
        value = arg[2 + n_name] ? arg + 2 + n_name + 1 : NULL;
    } else {
        id = find_short(arg[1], o->command);
        value = arg[2] ? arg + 2 : NULL;
    }
    if (id == OPT_N || (arg[1] != '-' && value && option_info(id)->type == OPT_FLAG))
        return unknown_option(o, arg, n_name, err);
    if (option_info(id)->type == OPT_FLAG && value)
        return err_set(err, ERR_USAGE, "--%s takes no value, found \"%.60s\"", option_info(id)->name, value);
    if (option_info(id)->type != OPT_FLAG && !value) {
        if (*at + 1 >= argc)
            return err_set(err, ERR_USAGE, "%s needs a value: %s %s", arg, arg, option_info(id)->arg);
        value = argv[++*at];
    }
    return options_set(o, id, value, OPT_FROM_LINE, err);
}

#define MAX_SESSION_NAME 200

static bool is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x2028 || c == 0x2029;
}

/* The name stands in lists, one chat a line. */
static bool check_session_name(const char *name, struct err *err)
{
    size_t n = strlen(name);
    if (!n || n > MAX_SESSION_NAME)
        return err_set(err, ERR_USAGE, "--session: found a name of %zu bytes, expected 1 to %d", n,
                       MAX_SESSION_NAME);
    if (!utf8_is_valid(name, n))
        return err_set(err, ERR_USAGE, "--session: the name is not valid UTF-8; give another");
    for (size_t i = 0; i < n;) {
        uint32_t c;
        size_t used = utf8_decode(name + i, n - i, &c, NULL);
        if (is_control(c))
            return err_set(err, ERR_USAGE,
                           "--session: found a control character at byte %zu of the name; leave it out",
                           i + 1);
        i += used;
    }
    return true;
}

static bool check_words(const struct options *o, struct err *err)
{
    for (int i = 0; i < o->n_words && o->command != CMD_SESSIONS; i++)
        if (!*o->words[i])
            return err_set(err, ERR_USAGE, "the model's name is empty; give the path of a GGUF file");
    return true;
}

bool options_parse(struct options *o, int argc, char **argv, struct err *err)
{
    *o = (struct options){0};
    int command_at = find_command(argc, argv, &o->command);
    bool only_words = false;
    for (int i = 1; i < argc; i++) {
        if (i == command_at)
            continue;
        if (!only_words && !strcmp(argv[i], "--")) {
            only_words = true;
        } else if (!only_words && argv[i][0] == '-' && argv[i][1]) {
            if (!parse_option(o, argc, argv, &i, err))
                return false;
        } else {
            if (o->n_words == (int)(sizeof o->words / sizeof *o->words))
                return err_set(err, ERR_USAGE, "too many words, the first too many is \"%.60s\"", argv[i]);
            o->words[o->n_words++] = argv[i];
        }
    }
    return check_words(o, err) &&
           (!opt_given(o, OPT_SESSION) || check_session_name(opt_text(o, OPT_SESSION), err));
}
