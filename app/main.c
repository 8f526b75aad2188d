/* main.c: reads the options, then hands over to one face of the chat or one subcommand. Owns the exit code.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/commands.h"
#include "app/config.h"
#include "app/faces.h"
#include "app/json_lines.h"
#include "app/loader.h"
#include "app/output.h"
#include "app/paths.h"
#include "app/signals.h"
#include "app/version.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "ui/ui.h"

/* A database must never get descriptor 1 because the caller had closed it. What stands in refuses the wrong
 * direction. */
static void fill_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)!open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

static int fail(const struct err *err, bool json)
{
    int code = err->code == ERR_CANCELLED ? ERR_RUNTIME : (int)err->code;
    struct buf lines = {0};
    report_line("%s", err->text);
    if (!json)
        return code;
    json_line_error(&lines, err);
    json_line_exit(&lines, code);
    fwrite(lines.data, 1, lines.len, stdout);
    fflush(stdout);
    buf_fini(&lines);
    return code;
}

/* The same question for a command line that could not be read to its end. */
static bool asks_for_json(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
        if (!strcmp(argv[i], "--json"))
            return true;
    return false;
}

/* What is typed into a shell may be in any encoding; what a chat keeps is UTF-8. */
static void clean_system_message(struct options *o)
{
    const char *text = opt_text(o, OPT_SYSTEM);
    struct buf clean = {0};
    size_t n_bad = text ? utf8_append_clean(&clean, text, strlen(text)) : 0;
    if (n_bad) {
        report_line("the system message is not valid UTF-8: %zu ill-formed places became U+FFFD", n_bad);
        o->value[OPT_SYSTEM].text = options_keep(o, buf_take(&clean));
    }
    buf_fini(&clean);
}

static int run_chat(struct options *o, struct paths *paths, const struct environment *env)
{
    struct err err = {0};
    bool terminals = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    bool one_turn = opt_given(o, OPT_PROMPT) || !terminals;
    int signal_fd = signals_open(&err);
    if (signal_fd < 0 || !paths_init(paths, o, env, true, &err))
        return fail(&err, opt_flag(o, OPT_JSON));
    if (paths->state_trouble.code)
        report_line("%s", paths->state_trouble.text);
    if (paths->log && !log_open(paths->log, &err))
        report_line("%s", err.text);
    if (!one_turn && opt_flag(o, OPT_JSON)) {
        err_set(&err, ERR_USAGE, "--json answers one prompt; give it with -p TEXT or on standard input");
        return fail(&err, true);
    }
    clean_system_message(o);
    int code;
    if (one_turn)
        code = one_turn_run(o, paths, env, signal_fd);
    else if (opt_flag(o, OPT_PLAIN) || !ui_is_possible(env->term))
        code = plain_loop_run(o, paths, signal_fd);
    else
        code = chat_loop_run(o, paths, env, signal_fd);
    log_close();
    close(signal_fd);
    return code;
}

/* Output of a subcommand is complete only when the last byte is out. */
static int close_stdout(int code)
{
    if (!fflush(stdout) && !ferror(stdout))
        return code;
    int error = errno;
    if (error == EPIPE || error == EBADF)
        return 141;
    report_line("standard output cannot be written: %s", strerror(error));
    return code ? code : ERR_RUNTIME;
}

static int run_command(struct options *o, struct paths *paths, const struct environment *env)
{
    struct err err = {0};
    bool ok = false;
    switch (o->command) {
    case CMD_BENCH:
        ok = cmd_bench(o, &err);
        break;
    case CMD_LOGITS:
        ok = cmd_logits(o, &err);
        break;
    case CMD_TOKENIZE:
        ok = cmd_tokenize(o, &err);
        break;
    case CMD_RENDER:
        ok = cmd_render(o, &err);
        break;
    case CMD_INSPECT:
        ok = cmd_inspect(o, &err);
        break;
    case CMD_DEVICES:
        ok = cmd_devices(o, &err);
        break;
    case CMD_SESSIONS:
        ok = paths_init(paths, o, env, false, &err) && cmd_sessions(o, paths, &err);
        break;
    case CMD_KV:
        ok = paths_init(paths, o, env, false, &err) && cmd_kv(o, paths, &err);
        break;
    default:
        return run_chat(o, paths, env);
    }
    return close_stdout(ok ? 0 : fail(&err, opt_flag(o, OPT_JSON)));
}

int main(int argc, char **argv)
{
    struct options options;
    struct environment env;
    struct paths paths;
    struct err err = {0};
    fill_standard_descriptors();
    signal(SIGPIPE, SIG_IGN);
    signals_explain_bus_error();
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is an error of write(2), not the end */
    setlocale(LC_CTYPE, "");  /* only this category: numbers are written with a point everywhere */
    json_set_alloc_funcs(mem_need, mem_free);
    mem_set_oom_handler(ui_restore_terminal);
    config_environment(&env);
    paths_config(&paths, &env);
    loader_cpu_kernels(env.cpu);
    loader_speculation(env.speculate);
    loader_trace_experts(env.moe_load_trace);
    loader_progress_on(isatty(STDERR_FILENO) && env.term && strcmp(env.term, "dumb"));

    int code;
    bool parsed = options_parse(&options, argc, argv, &err);
    if (opt_flag(&options, OPT_HELP)) {
        options_print_help(stdout, options.command);
        code = close_stdout(0);
    } else if (opt_flag(&options, OPT_VERSION)) {
        version_print(stdout);
        code = close_stdout(0);
    } else if (!parsed || (paths.config && !config_load(&options, paths.config, &err))) {
        code = fail(&err, asks_for_json(argc, argv));
    } else {
        char *cl_cache = paths_cl_cache(&options, &env);
        loader_cl_kernels(env.cl_style, cl_cache);
        code = run_command(&options, &paths, &env);
        mem_free(cl_cache);
    }
    options_fini(&options);
    paths_fini(&paths);
    return code;
}
