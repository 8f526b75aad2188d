#include "app/out_file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"

/* For the signal handler, which may read nothing else. */
static char *volatile removed_by_signal;

static void remove_and_end(int number)
{
    if (removed_by_signal)
        unlink(removed_by_signal);
    raise(number); /* the handler is the default one again */
}

static void remove_on_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    const struct sigaction action = {.sa_handler = remove_and_end, .sa_flags = (int)SA_RESETHAND};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction now;
        if (!sigaction(numbers[i], NULL, &now) && now.sa_handler == SIG_DFL)
            sigaction(numbers[i], &action, NULL);
    }
}

static bool fail(const char *option, const char *path, struct err *err)
{
    return err_set(err, ERR_RUNTIME, "%s %s: the file cannot be written: %s", option, path,
                   errno ? strerror(errno) : "unknown reason");
}

bool out_file_fail(const struct out_file *out, struct err *err)
{
    return fail(out->option, out->path, err);
}

/* A regular file, or a new one, is written beside itself first. */
static bool can_write_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) + 1 : 0;
    char *folder = n ? mem_strndup(path, n) : mem_strdup(".");
    errno = ENOENT;
    bool ok = path[0] && path[n] && !access(folder, W_OK | X_OK);
    mem_free(folder);
    return ok;
}

bool out_file_check(const char *option, const char *path, struct err *err)
{
    struct stat st;
    char *real = realpath(path, NULL);
    bool ok, exists = real && !stat(real, &st);
    if (exists && S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        ok = false;
    } else if (exists && !S_ISREG(st.st_mode)) {
        ok = !access(path, W_OK);
    } else {
        ok = can_write_folder_of(exists ? real : path);
    }
    ok = ok || fail(option, path, err);
    free(real);
    return ok;
}

bool out_file_open(struct out_file *out, const char *option, const char *path, struct err *err)
{
    struct stat st;
    bool exists = !stat(path, &st);
    char *real = exists ? realpath(path, NULL) : NULL; /* a link stays one */
    *out = (struct out_file){.option = option, .path = mem_strdup(real ? real : path)};
    free(real);
    if (exists && !S_ISREG(st.st_mode)) {
        out->file = fopen(path, "wb");
        return out->file || out_file_fail(out, err);
    }
    struct buf name = {0};
    buf_printf(&name, "%s.%ld.part", out->path, (long)getpid());
    out->temporary = removed_by_signal =
        buf_take(&name); /* known before it exists: no signal comes between */
    remove_on_signals();
    int fd = open(out->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd >= 0 && exists)
        (void)!fchmod(fd, st.st_mode & 0777);
    out->file = fd >= 0 ? fdopen(fd, "wb") : NULL;
    return out->file || out_file_fail(out, err);
}

bool out_file_close(struct out_file *out, bool ok, struct err *err)
{
    if (out->file && fclose(out->file) && ok)
        ok = out_file_fail(out, err);
    if (ok && out->temporary && rename(out->temporary, out->path))
        ok = out_file_fail(out, err);
    if (!ok && removed_by_signal)
        unlink(removed_by_signal);
    removed_by_signal = NULL;
    mem_free(out->temporary);
    mem_free(out->path);
    return ok;
}
