#include "app/paths.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"

static char *join(const char *a, const char *b, const char *c)
{
    struct buf path = {0};
    buf_printf(&path, "%s%s%s", a, b, c);
    return buf_take(&path);
}

/* "$XDG_..._HOME/ferrum-chat", else "$HOME<fallback>/ferrum-chat"; NULL without a home. */
static char *xdg_directory(const char *xdg, const char *home, const char *fallback)
{
    if (xdg)
        return join(xdg, "/ferrum-chat", "");
    return home ? join(home, fallback, "/ferrum-chat") : NULL;
}

bool paths_make_directories(const char *path, struct err *err)
{
    char *copy = mem_strdup(path);
    bool ok = true;
    for (char *at = copy + 1; ok && at; at = *at ? at + 1 : NULL) {
        at += strcspn(at, "/");
        char slash = *at;
        *at = '\0';
        if (mkdir(copy, 0700) && errno != EEXIST)
            ok = err_set(err, ERR_DATABASE, "%s: the directory cannot be made: %s", copy, strerror(errno));
        *at = slash;
    }
    struct stat st;
    if (ok && !stat(path, &st) && !S_ISDIR(st.st_mode))
        ok = err_set(err, ERR_DATABASE, "%s: found a file, expected a directory", path);
    mem_free(copy);
    return ok;
}

static bool make_data_directory(const char *path, struct err *err)
{
    struct err why = {0};
    if (paths_make_directories(path, &why))
        return true;
    return err_set(err, ERR_DATABASE, "%s; give another with --data-dir DIR, or use --private", why.text);
}

/* --data-dir, where ~ is the home directory though no shell has said so; else that of XDG. NULL without a
 * home. */
static char *directory_of(const struct options *o, const char *xdg, const char *home, const char *fallback)
{
    if (!opt_given(o, OPT_DATA_DIR))
        return xdg_directory(xdg, home, fallback);
    const char *given = opt_text(o, OPT_DATA_DIR);
    if (given[0] != '~' || (given[1] && given[1] != '/'))
        return mem_strdup(given);
    return home ? join(home, given + 1, "") : NULL;
}

/* A cache may be deleted at any time, so that it does not lie beside the chats. */
static char *cache_path(const struct options *o, const struct environment *env, const char *name)
{
    char *dir = directory_of(o, env->cache_home, env->home, "/.cache");
    char *path = dir ? join(dir, name, "") : NULL;
    mem_free(dir);
    return path;
}

char *paths_cl_cache(const struct options *o, const struct environment *env)
{
    return opt_flag(o, OPT_PRIVATE) ? NULL : cache_path(o, env, "/cl");
}

/* A chat is worth having without its log and the input history. */
static bool state_is_usable(struct paths *p, const char *path)
{
    struct err why = {0};
    bool ok = paths_make_directories(path, &why);
    if (ok && access(path, W_OK | X_OK))
        ok = err_set(&why, ERR_RUNTIME, "%s: the directory cannot be written: %s", path, strerror(errno));
    if (!ok)
        err_set(&p->state_trouble, ERR_RUNTIME, "%s; the input history and the log are not kept", why.text);
    return ok;
}

void paths_config(struct paths *p, const struct environment *env)
{
    *p = (struct paths){0};
    char *dir = xdg_directory(env->config_home, env->home, "/.config");
    p->config = dir ? join(dir, "/config", "") : NULL;
    mem_free(dir);
}

bool paths_init(struct paths *p, const struct options *o, const struct environment *env, bool make,
                struct err *err)
{
    if (opt_flag(o, OPT_PRIVATE))
        return true;
    bool ok = true;
    if (opt_given(o, OPT_DATA_DIR) && !*opt_text(o, OPT_DATA_DIR))
        return err_set(err, ERR_USAGE, "--data-dir: found an empty text, expected a directory");
    char *data = directory_of(o, env->data_home, env->home, "/.local/share");
    char *state = directory_of(o, env->state_home, env->home, "/.local/state");
    if (!data || !state)
        ok = err_set(err, ERR_DATABASE,
                     "no home directory is known (HOME is unset); give --data-dir DIR, or use --private");
    else if (make)
        ok = make_data_directory(data, err);
    if (ok)
        p->chat_db = join(data, "/chat.db", "");
    if (ok)
        p->kv_db = opt_flag(o, OPT_NO_KV_STORE) ? NULL : cache_path(o, env, "/kv.db");
    bool one_directory = ok && !strcmp(data, state); /* then chat.db says what is wrong with it */
    if (ok && (!make || (one_directory ? !access(state, W_OK | X_OK) : state_is_usable(p, state)))) {
        p->history = join(state, "/history", "");
        p->log = join(state, "/log", "");
    }
    mem_free(data);
    mem_free(state);
    return ok;
}

void paths_fini(struct paths *p)
{
    mem_free(p->config);
    mem_free(p->chat_db);
    mem_free(p->kv_db);
    mem_free(p->history);
    mem_free(p->log);
    *p = (struct paths){0};
}
