/* about.c: the lists of about.h. */
#include "app/about.h"

#include <stddef.h>

static const struct about_row exit_codes[] = {
    {"0", "success"},
    {"1", "runtime error"},
    {"2", "usage: the command line is wrong"},
    {"3", "the model cannot be loaded"},
    {"4", "out of memory"},
    {"5", "the prompt does not fit the context"},
    {"6", "the database cannot be used"},
    {"129", "hang-up"},
    {"130", "interrupt"},
    {"141", "standard output closed"},
    {"143", "terminate"},
    {NULL, NULL},
};

static const struct about_row files[] = {
    {"~/.local/share/ferrum-chat/chat.db", "all chats ($XDG_DATA_HOME)"},
    {"~/.cache/ferrum-chat/kv.db",
     "KV blocks, so that chats resume at once; may be deleted ($XDG_CACHE_HOME)"},
    {"~/.local/state/ferrum-chat/history", "what was typed ($XDG_STATE_HOME)"},
    {"~/.local/state/ferrum-chat/log", "the log ($XDG_STATE_HOME)"},
    {"~/.config/ferrum-chat/config", "lines `name = value`, names as the long options ($XDG_CONFIG_HOME)"},
    {NULL, NULL},
};

static const struct about_row environment[] = {
    {"FERRUM_CPU", "the CPU kernels to compute with: scalar, or an instruction set by its name; for tests"},
    {"FERRUM_CL_STYLE", "how OpenCL kernels are written: gpu or cpu; for tests"},
    {"FERRUM_SPECULATE", "off: no tokens are guessed ahead; always: also where it does not pay; for tests"},
    {"FERRUM_MOE_PROFILE", "set to anything but 0: at the end of one turn, a table on standard error of what "
                           "the operations took, and of the experts of each layer"},
    {"FERRUM_MOE_LOAD_TRACE", "set to anything but 0: a line per layer on standard error and in the log: how "
                              "its experts are computed"},
    {"NO_COLOR", "when set, the screen has no colours"},
    {"ESCDELAY", "milliseconds to wait for what follows Esc"},
    {NULL, NULL},
};

const struct about_row *about_exit_codes(void)
{
    return exit_codes;
}

const struct about_row *about_files(void)
{
    return files;
}

const struct about_row *about_environment(void)
{
    return environment;
}
