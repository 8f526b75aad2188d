#include "app/config.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "engine/base/utf8.h"

/* XDG says: a relative path in these variables is invalid and to be ignored. */
static const char *directory(const char *name)
{
    const char *value = getenv(name);
    return value && *value == '/' ? value : NULL;
}

static bool is_set(const char *name)
{
    const char *value = getenv(name);
    return value && *value;
}

/* Set to anything but 0. */
static bool is_on(const char *name)
{
    return is_set(name) && strcmp(getenv(name), "0") != 0;
}

static int small_number(const char *name)
{
    const char *value = getenv(name);
    long number = value ? strtol(value, NULL, 10) : 0;
    return number > 0 && number <= 10000 ? (int)number : 0;
}

void config_environment(struct environment *env)
{
    const struct passwd *user = NULL;
    *env = (struct environment){
        .home = directory("HOME"),
        .config_home = directory("XDG_CONFIG_HOME"),
        .data_home = directory("XDG_DATA_HOME"),
        .cache_home = directory("XDG_CACHE_HOME"),
        .state_home = directory("XDG_STATE_HOME"),
        .term = getenv("TERM"),
        .cpu = is_set("FERRUM_CPU") ? getenv("FERRUM_CPU") : NULL,
        .cl_style = is_set("FERRUM_CL_STYLE") ? getenv("FERRUM_CL_STYLE") : NULL,
        .speculate = is_set("FERRUM_SPECULATE") ? getenv("FERRUM_SPECULATE") : NULL,
        .moe_profile = is_on("FERRUM_MOE_PROFILE"),
        .moe_load_trace = is_on("FERRUM_MOE_LOAD_TRACE"),
        .no_color = is_set("NO_COLOR"),
        .escape_ms = small_number("ESCDELAY"),
    };
    if (!env->home && (user = getpwuid(getuid())) && user->pw_dir && *user->pw_dir == '/')
        env->home = user->pw_dir;
}

#define CONFIG_MAX_BYTES ((size_t)64 << 10)

/* Opened without waiting: a FIFO nobody writes to would hold the program for ever. */
static bool open_file(const char *path, int *fd, struct err *err)
{
    struct stat st;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return true;
    if (*fd < 0 || fstat(*fd, &st))
        return err_set(err, ERR_RUNTIME, "%s: the config file cannot be read: %s; repair or remove it", path,
                       strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_USAGE,
                       "%s: found a %s, expected a regular file with lines `name = value`; remove it", path,
                       S_ISDIR(st.st_mode) ? "directory" : "special file");
    return true;
}

static bool read_all(int fd, const char *path, struct buf *all, struct err *err)
{
    char block[4096];
    ssize_t n;
    while ((n = read(fd, block, sizeof block)) > 0 && all->len <= CONFIG_MAX_BYTES)
        buf_append(all, block, (size_t)n);
    if (n < 0)
        return err_set(err, ERR_RUNTIME, "%s: the config file cannot be read: %s; repair or remove it", path,
                       strerror(errno));
    if (all->len > CONFIG_MAX_BYTES)
        return err_set(err, ERR_USAGE,
                       "%s: found more than %zu KiB, too much for a config file; repair or remove it", path,
                       CONFIG_MAX_BYTES >> 10);
    const char *nul = all->len ? memchr(all->data, '\0', all->len) : NULL;
    int line = 1;
    for (const char *at = all->data; nul && at < nul; at++)
        line += *at == '\n';
    if (nul)
        return err_set(err, ERR_USAGE, "%s:%d: found a NUL byte, expected text; repair or remove the file",
                       path, line);
    return true;
}

/* The whole file as text (mem_free); *text NULL when there is none. */
static bool read_file(const char *path, char **text, struct err *err)
{
    int fd;
    struct buf all = {0};
    *text = NULL;
    bool ok = open_file(path, &fd, err);
    if (ok && fd >= 0) {
        ok = read_all(fd, path, &all, err);
        *text = ok ? buf_take(&all) : NULL;
    }
    if (fd >= 0)
        close(fd);
    buf_fini(&all);
    return ok;
}

static char *trim(char *text)
{
    static const char blank[] = " \t\r";
    text += strspn(text, blank);
    size_t n = strlen(text);
    while (n > 0 && strchr(blank, text[n - 1]))
        text[--n] = '\0';
    return text;
}

/* Name and value where there are any. */
static bool config_error(const char *path, int line, const char *key, const char *value, const char *reason,
                         struct err *err)
{
    return err_set(err, ERR_USAGE, "%s:%d: %.60s%s%.60s%s%s", path, line, key, *key ? ": " : "", value,
                   *value ? ": " : "", reason);
}

/* The directory in which a program is started is no place that a lasting setting can mean. */
static bool is_lasting_path(const char *path)
{
    return *path == '/' || !strcmp(path, "~") || !strncmp(path, "~/", 2);
}

/* A key that no command knows is a mistake; one that this command does not take is checked, then dropped. */
static bool set_pair(struct options *o, const char *path, int line, char *key, char *value, struct err *err)
{
    char reason[128] = "belongs on the command line";
    enum opt_id known = OPT_N;
    for (int c = 0; c < CMD_N && known == OPT_N; c++)
        known = option_find(key, c);
    if (known == OPT_N) {
        const char *nearest = option_nearest(key, CMD_CHAT);
        snprintf(reason, sizeof reason, "unknown setting; %s%s%s",
                 nearest ? "did you mean " : "see `ferrum-chat --help`", nearest ? nearest : "",
                 nearest ? "?" : "");
    }
    if (known == OPT_N || !option_info(known)->in_config)
        return config_error(path, line, key, value, reason, err);
    if (!utf8_is_valid(value, strlen(value)))
        return config_error(path, line, key, "?", "the value is not valid UTF-8", err);
    if (known == OPT_DATA_DIR && !is_lasting_path(value))
        return config_error(path, line, key, value, "expected a whole path, from / or ~/ on", err);
    struct options dropped = {0};
    struct err why = {0};
    bool taken = option_info(known)->commands & CMD_BIT(o->command);
    if (options_set(taken ? o : &dropped, known, value, OPT_FROM_CONFIG, &why))
        return true;
    const char *colon = strchr(why.text, ':'); /* the option's name is there already */
    return config_error(path, line, key, value, colon ? colon + 2 : why.text, err);
}

bool config_load(struct options *o, const char *path, struct err *err)
{
    char *text;
    if (!read_file(path, &text, err))
        return false;
    if (!text)
        return true;
    options_keep(o, text); /* values point into it */
    int number = 0;
    text += strncmp(text, "\xEF\xBB\xBF", 3) ? 0 : 3; /* a byte order mark is an editor's, not the writer's */
    for (char *line = text, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        number++;
        char *key = trim(line);
        if (!*key || *key == '#')
            continue;
        char *equals = strchr(key, '=');
        if (!equals)
            return config_error(path, number, key, "", "expected a line `name = value`", err);
        *equals = '\0';
        if (!set_pair(o, path, number, trim(key), trim(equals + 1), err))
            return false;
    }
    return true;
}
