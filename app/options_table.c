/* options_table.c: the one table of options and the one of commands (options.h). */
#include <stddef.h>
#include <stdint.h>

#include "app/options.h"
#include "engine/trace.h"

#define CHAT CMD_BIT(CMD_CHAT)
#define BENCH CMD_BIT(CMD_BENCH)
#define LOGITS CMD_BIT(CMD_LOGITS)
#define TOKENIZE CMD_BIT(CMD_TOKENIZE)
#define INSPECT CMD_BIT(CMD_INSPECT)
#define RENDER CMD_BIT(CMD_RENDER)
#define SESSIONS CMD_BIT(CMD_SESSIONS)
#define KV CMD_BIT(CMD_KV)
#define DEVICES CMD_BIT(CMD_DEVICES)
#define LOADS (CHAT | BENCH | LOGITS)
#define ALL (LOADS | TOKENIZE | RENDER | INSPECT | SESSIONS | KV | DEVICES)
#define INT32 2147483647.0
#define MAX_SEED 9007199254740991.0 /* 2^53 - 1: exact in every JSON reader */

static const struct command_info commands[CMD_N] = {
    [CMD_CHAT] = {"", "[MODEL.gguf] [options]", "chat, or one turn with -p or a pipe"},
    [CMD_BENCH] = {"bench", "bench MODEL [options]",
                   "measure prefill and decode speed, beside the limits of the machine"},
    [CMD_LOGITS] = {"logits", "logits MODEL --tokens 1,2,3 --out FILE [options]",
                    "write the logits of exactly these tokens (little-endian f32)"},
    [CMD_TOKENIZE] = {"tokenize", "tokenize MODEL [options] <TEXT", "turn standard input into token ids"},
    [CMD_INSPECT] = {"inspect", "inspect MODEL [options]", "show what is in a model file"},
    [CMD_SESSIONS] = {"sessions", "sessions list|show ID|export ID|delete ID|search WORDS [options]",
                      "look after saved chats"},
    [CMD_RENDER] = {"render", "render MODEL|--template FILE --messages FILE.json [options]",
                    "print the exact prompt a chat template makes"},
    [CMD_KV] = {"kv", "kv stat|verify|clear [options]", "look after the KV blocks kept on disk"},
    [CMD_DEVICES] = {"devices", "devices", "list what can compute: --backend"},
};

/* name, short, type, argument, range, choices, default, help, commands, in the config file */
static const struct option_info options[OPT_N] = {
    [OPT_PROMPT] = {"prompt", 'p', OPT_TEXT, "TEXT", 0, 0, NULL, "",
                    "one turn: answer TEXT on standard output and end; piped input comes before it", CHAT,
                    false},
    [OPT_N_PREDICT] = {"n-predict", 'n', OPT_INT, "N", -1, INT32, NULL,
                       "until the model stops or the context is full", "at most N tokens per answer", CHAT,
                       true},
    [OPT_TEMP] = {"temp", 0, OPT_REAL, "T", 0, 100, NULL, "the model's, else 0.8",
                  "temperature; 0 always takes the likeliest token", CHAT, true},
    [OPT_TOP_K] = {"top-k", 0, OPT_INT, "K", 0, INT32, NULL, "the model's, else 40",
                   "keep the K likeliest tokens; 0 is off", CHAT, true},
    [OPT_TOP_P] = {"top-p", 0, OPT_REAL, "P", 0, 1, NULL, "the model's, else 0.95",
                   "keep the likeliest tokens of total probability P; 1 is off", CHAT, true},
    [OPT_MIN_P] = {"min-p", 0, OPT_REAL, "P", 0, 1, NULL, "the model's, else 0.05",
                   "drop tokens below P times the likeliest one; 0 is off", CHAT, true},
    [OPT_TYPICAL] = {"typical", 0, OPT_REAL, "P", 0, 1, NULL, "1", "locally typical sampling; 1 is off", CHAT,
                     true},
    [OPT_REPEAT_PENALTY] = {"repeat-penalty", 0, OPT_REAL, "X", 0.01, 100, NULL, "1",
                            "penalty of tokens seen; 1 is off", CHAT, true},
    [OPT_REPEAT_LAST_N] = {"repeat-last-n", 0, OPT_INT, "N", -1, INT32, NULL, "64",
                           "tokens the penalties look back on; 0 is off, -1 the whole context", CHAT, true},
    [OPT_FREQUENCY_PENALTY] = {"frequency-penalty", 0, OPT_REAL, "X", -100, 100, NULL, "0",
                               "penalty per occurrence; 0 is off", CHAT, true},
    [OPT_PRESENCE_PENALTY] = {"presence-penalty", 0, OPT_REAL, "X", -100, 100, NULL, "0",
                              "penalty of tokens that occurred; 0 is off", CHAT, true},
    [OPT_SEED] = {"seed", 0, OPT_INT, "N", 0, MAX_SEED, NULL, "random",
                  "seed of the random draws, reported with the answer; 0 is random", CHAT, true},
    [OPT_STOP] = {"stop", 0, OPT_TEXTS, "TEXT", 0, 0, NULL, "",
                  "end the answer before TEXT; may be given again", CHAT, true},
    [OPT_RAW] = {"raw", 0, OPT_FLAG, "", 0, 0, NULL, "",
                 "no chat template: the model continues the bare text", CHAT, false},
    [OPT_SYSTEM] = {"system", 0, OPT_TEXT, "TEXT", 0, 0, NULL, "", "system message of a new chat", CHAT,
                    true},
    [OPT_THINK] = {"think", 0, OPT_CHOICE, "MODE", 0, 0, "on|off|auto", "auto",
                   "reasoning before the answer; auto: as the model's template does by itself", CHAT, true},
    [OPT_SESSION] = {"session", 0, OPT_TEXT, "NAME", 0, 0, NULL, "",
                     "continue the chat of this name, or create it", CHAT, false},
    [OPT_CONTINUE] = {"continue", 0, OPT_FLAG, "", 0, 0, NULL, "", "continue the most recent chat", CHAT,
                      false},
    [OPT_RESUME] = {"resume", 0, OPT_INT, "ID", 1, MAX_SEED, NULL, "",
                    "continue the chat ID of `sessions list`", CHAT, false},
    [OPT_PRIVATE] = {"private", 0, OPT_FLAG, "", 0, 0, NULL, "", "write nothing to disk", CHAT, false},
    [OPT_NO_KV_STORE] = {"no-kv-store", 0, OPT_FLAG, "", 0, 0, NULL, "", "do not keep KV blocks on disk",
                         CHAT, true},
    [OPT_KV_EXACT] = {"kv-exact", 0, OPT_FLAG, "", 0, 0, NULL, "",
                      "take only KV blocks that the same kernels computed", CHAT, true},
    [OPT_KV_LIMIT] = {"kv-limit", 0, OPT_REAL, "GIB", 0.001, 1048576, NULL,
                      "16, or a tenth of the free space; two contexts at least",
                      "disk space for KV blocks; the least recently used go first", CHAT | KV, true},
    [OPT_DATA_DIR] = {"data-dir", 0, OPT_TEXT, "DIR", 0, 0, NULL, "the XDG directories",
                      "keep every written file in DIR", CHAT | SESSIONS | KV, true},
    [OPT_PLAIN] = {"plain", 0, OPT_FLAG, "", 0, 0, NULL, "", "a plain line loop instead of the full screen",
                   CHAT, true},
    [OPT_JSON] = {"json", 0, OPT_FLAG, "", 0, 0, NULL, "", "machine-readable output",
                  CHAT | BENCH | INSPECT | SESSIONS | KV, false},
    [OPT_PROFILE] = {"profile", 0, OPT_TEXT, "FILE", 0, 0, NULL, "",
                     "write the timers to FILE (JSON) at the end", CHAT, false},
    [OPT_TRACE] =
        {"trace", 0, OPT_TEXT, "FILE", 0, 0, NULL, "",
         "write the operations of the last tokens to FILE at the end, for Perfetto or chrome://tracing", CHAT,
         false},
    [OPT_TRACE_TOKENS] = {"trace-tokens", 0, OPT_INT, "N", 1, TRACE_MAX_TOKENS, NULL, "64",
                          "how many decoded tokens --trace keeps", CHAT, false},
    [OPT_SHOW_PROFILE] = {"profile", 0, OPT_FLAG, "", 0, 0, NULL, "",
                          "show: where the time of each answer went, instead of its text", SESSIONS, false},
    [OPT_COMPARE] =
        {"compare", 0, OPT_TEXT, "A,B", 0, 0, NULL, "",
         "show: the profiles of two answers side by side, by their numbers; CHAT:NUMBER is another chat's",
         SESSIONS, false},
    [OPT_CSV] = {"csv", 0, OPT_INT, "NUMBER", 1, INT32, NULL, "",
                 "show: the tokens each expert was given in that answer, as layer,expert,prefill,decode",
                 SESSIONS, false},
    [OPT_BACKEND] = {"backend", 0, OPT_CHOICE, "NAME", 0, 0, "auto|cpu|opencl", "auto", "what computes",
                     LOADS, true},
    [OPT_GPU_LAYERS] = {"gpu-layers", 0, OPT_TEXT, "N|auto", 0, 0, NULL, "auto: as many as it has memory for",
                        "layers that the OpenCL device computes, the last ones; the CPU computes the rest",
                        LOADS, true},
    [OPT_THREADS] = {"threads", 0, OPT_INT, "N", 1, 1024, NULL, "physical cores allowed to the process",
                     "CPU threads", LOADS, true},
    [OPT_CTX] = {"ctx", 0, OPT_INT, "N", 1, INT32, NULL,
                 "the trained length, or what fits in half of the free memory", "context length in tokens",
                 LOADS, true},
    [OPT_KV_TYPE] = {"kv-type", 0, OPT_CHOICE, "TYPE", 0, 0, "f16|f32|int8", "f16 (logits: f32)",
                     "number type of the KV cache", LOADS, true},
    [OPT_BENCH_PROMPT] = {"n-prompt", 'p', OPT_INT, "N", 0, 1 << 24, NULL, "512",
                          "prefill N tokens; 0 skips it", BENCH, false},
    [OPT_BENCH_GEN] = {"n-gen", 'n', OPT_INT, "N", 0, 1 << 24, NULL, "64", "decode N tokens; 0 skips it",
                       BENCH, false},
    [OPT_BENCH_DEPTH] = {"depth", 'd', OPT_INT, "N", 0, 1 << 24, NULL, "0", "tokens already in the context",
                         BENCH, false},
    [OPT_BENCH_REPEAT] = {"repeat", 'r', OPT_INT, "N", 1, 10000, NULL, "3", "repetitions; the median counts",
                          BENCH, false},
    [OPT_TOKENS] = {"tokens", 0, OPT_TEXT, "IDS", 0, 0, NULL, "",
                    "token ids separated by commas; nothing is added", LOGITS, false},
    [OPT_OUT] = {"out", 0, OPT_TEXT, "FILE", 0, 0, NULL, "", "file for f32 [n_tokens, n_vocab]", LOGITS,
                 false},
    [OPT_BOS] = {"bos", 0, OPT_FLAG, "", 0, 0, NULL, "", "put the BOS token first", TOKENIZE, false},
    [OPT_SPECIAL] = {"special", 0, OPT_FLAG, "", 0, 0, NULL, "",
                     "special tokens spelled in the text become tokens", TOKENIZE, false},
    [OPT_TEMPLATE] = {"template", 0, OPT_TEXT, "FILE", 0, 0, NULL, "that of the model file",
                      "the chat template", RENDER, false},
    [OPT_MESSAGES] = {"messages", 0, OPT_TEXT, "FILE", 0, 0, NULL, "",
                      "JSON: a list of messages, or {messages, tools, ...}", RENDER, false},
    [OPT_NO_GENERATION_PROMPT] = {"no-generation-prompt", 0, OPT_FLAG, "", 0, 0, NULL, "",
                                  "end behind the last message", RENDER, false},
    [OPT_SET] = {"set", 0, OPT_TEXTS, "NAME=VALUE", 0, 0, NULL, "",
                 "set a variable: JSON, else text; may be given again", RENDER, false},
    [OPT_BOS_TEXT] = {"bos", 0, OPT_TEXT, "TEXT", 0, 0, NULL, "that of the model file", "bos_token", RENDER,
                      false},
    [OPT_EOS_TEXT] = {"eos", 0, OPT_TEXT, "TEXT", 0, 0, NULL, "that of the model file", "eos_token", RENDER,
                      false},
    [OPT_NOW] = {"now", 0, OPT_TEXT, "TIME", 0, 0, NULL, "the present",
                 "\"YYYY-MM-DD HH:MM:SS\" for strftime_now", RENDER, false},
    [OPT_HELP] = {"help", 'h', OPT_FLAG, "", 0, 0, NULL, "", "this help", ALL, false},
    [OPT_VERSION] = {"version", 0, OPT_FLAG, "", 0, 0, NULL, "", "program, commit, compiler, features", ALL,
                     false},
};

const struct command_info *command_info(enum command command)
{
    return &commands[command];
}

const struct option_info *option_info(enum opt_id id)
{
    return &options[id];
}
