/* options.h: every option of the program, once: name, type, range, default, text and the commands that take
 * it.
 *
 * Parsing, --help, the config file, shell completion and the man page all come from the one table in
 * options.c. Ownership: values point into argv or into memory of struct options (options_fini). Single
 * thread. Errors: ERR_USAGE, one sentence naming the option, what was found and what is expected. */
#ifndef FERRUM_OPTIONS_H
#define FERRUM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "engine/base/err.h"

enum command {
    CMD_CHAT,
    CMD_BENCH,
    CMD_LOGITS,
    CMD_TOKENIZE,
    CMD_INSPECT,
    CMD_SESSIONS,
    CMD_RENDER,
    CMD_KV,
    CMD_DEVICES,
    CMD_N,
};
#define CMD_BIT(command) (1u << (command))

struct command_info {
    const char *name;  /* "" for the chat */
    const char *usage; /* what follows "ferrum-chat " */
    const char *help;
};
const struct command_info *command_info(enum command command);

enum opt_id {
    OPT_PROMPT,
    OPT_N_PREDICT,
    OPT_TEMP,
    OPT_TOP_K,
    OPT_TOP_P,
    OPT_MIN_P,
    OPT_TYPICAL,
    OPT_REPEAT_PENALTY,
    OPT_REPEAT_LAST_N,
    OPT_FREQUENCY_PENALTY,
    OPT_PRESENCE_PENALTY,
    OPT_SEED,
    OPT_STOP,
    OPT_RAW,
    OPT_SYSTEM,
    OPT_THINK,
    OPT_SESSION,
    OPT_CONTINUE,
    OPT_RESUME,
    OPT_PRIVATE,
    OPT_NO_KV_STORE,
    OPT_KV_EXACT,
    OPT_KV_LIMIT,
    OPT_DATA_DIR,
    OPT_PLAIN,
    OPT_JSON,
    OPT_PROFILE,
    OPT_TRACE,
    OPT_TRACE_TOKENS,
    OPT_SHOW_PROFILE,
    OPT_COMPARE,
    OPT_CSV,
    OPT_BACKEND,
    OPT_GPU_LAYERS,
    OPT_THREADS,
    OPT_CTX,
    OPT_KV_TYPE,
    OPT_BENCH_PROMPT,
    OPT_BENCH_GEN,
    OPT_BENCH_DEPTH,
    OPT_BENCH_REPEAT,
    OPT_TOKENS,
    OPT_OUT,
    OPT_BOS,
    OPT_SPECIAL,
    OPT_TEMPLATE,
    OPT_MESSAGES,
    OPT_NO_GENERATION_PROMPT,
    OPT_SET,
    OPT_BOS_TEXT,
    OPT_EOS_TEXT,
    OPT_NOW,
    OPT_HELP,
    OPT_VERSION,
    OPT_N,
};

enum opt_type {
    OPT_FLAG,   /* no value on the command line; true/false in the config file */
    OPT_INT,    /* decimal, range checked */
    OPT_REAL,   /* finite decimal, range checked */
    OPT_TEXT,   /* anything */
    OPT_CHOICE, /* one of the words in `choices` */
    OPT_TEXTS,  /* text, may be given more than once */
};

struct option_info {
    const char *name; /* without the dashes; also the key of the config file */
    char short_name;  /* 0: none */
    enum opt_type type;
    const char *arg;     /* name of the value in help texts, "" for flags */
    double min, max;     /* numbers */
    const char *choices; /* words separated by '|' */
    const char *default_text;
    const char *help;
    unsigned commands; /* CMD_BIT of those that take it */
    bool in_config;    /* makes sense as a lasting setting */
};
const struct option_info *option_info(enum opt_id id);

/* Later ones win over earlier ones; within one source the last value given wins. */
enum opt_source { OPT_UNSET, OPT_FROM_CONFIG, OPT_FROM_LINE };

#define OPT_MAX_TEXTS 16
struct opt_value {
    enum opt_source source;
    bool flag;
    int64_t number;
    double real;
    const char *text;                 /* texts and choices */
    const char *texts[OPT_MAX_TEXTS]; /* OPT_TEXTS */
    int n_texts;
};

struct options {
    enum command command;
    const char *words[8]; /* what is no option, after the subcommand: MODEL, or an action and its ID */
    int n_words;
    struct opt_value value[OPT_N];
    char **owned; /* strings of the config file */
    int n_owned;
};

/* Reads the command line. On an error *o is still valid for options_fini. */
bool options_parse(struct options *o, int argc, char **argv, struct err *err);
/* One value by option; value NULL for a flag on the command line. Copies nothing: see options_keep. */
bool options_set(struct options *o, enum opt_id id, const char *value, enum opt_source source,
                 struct err *err);
/* Takes over a string (mem_alloc'ed) for the life of o; returns it. */
const char *options_keep(struct options *o, char *text);
void options_fini(struct options *o);

/* The option of that name for a command, OPT_N if it has none. */
enum opt_id option_find(const char *name, enum command command);
/* The nearest name by edit distance, or NULL when none is near. */
const char *option_nearest(const char *name, enum command command);
/* What somebody may have meant who wrote this in a subcommand's place: one of nearly the same letters,
 * --help or --version; or NULL. */
const char *command_nearest(const char *name);

static inline bool opt_given(const struct options *o, enum opt_id id)
{
    return o->value[id].source != OPT_UNSET;
}
static inline bool opt_on_line(const struct options *o, enum opt_id id)
{
    return o->value[id].source == OPT_FROM_LINE;
}
static inline bool opt_flag(const struct options *o, enum opt_id id)
{
    return o->value[id].flag;
}
static inline const char *opt_text(const struct options *o, enum opt_id id)
{
    return o->value[id].text;
}
static inline int64_t opt_int(const struct options *o, enum opt_id id, int64_t fallback)
{
    return opt_given(o, id) ? o->value[id].number : fallback;
}

/* ---- texts made from the table (options_text.c) ---- */

void options_print_help(FILE *out, enum command command);
void options_print_completion(FILE *out); /* bash */
void options_print_man(FILE *out, const char *version);

#endif
