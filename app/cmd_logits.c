/* cmd_logits.c: `logits MODEL --tokens 1,2,3 --out F`: the logits of exactly these tokens, little-endian f32
 * [n_tokens, n_vocab]. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/commands.h"
#include "app/loader.h"
#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "engine/timeline.h"

#define CHUNK 256 /* tokens whose logits are in memory at once */

static bool parse_ids(const char *text, struct token_list *ids, struct err *err)
{
    const char *at = text;
    do {
        char *end;
        errno = 0;
        long id = strtol(at, &end, 10);
        bool digits = *at >= '0' && *at <= '9';
        if (!digits || errno || id > INT32_MAX || (*end && *end != ','))
            return err_set(err, ERR_USAGE,
                           "--tokens: found \"%.40s\" at character %zu, expected ids separated by commas", at,
                           (size_t)(at - text) + 1);
        token_list_add(ids, (int32_t)id);
        at = *end ? end + 1 : NULL;
    } while (at);
    return true;
}

static bool check_ids(const struct token_list *ids, int n_vocab, struct err *err)
{
    for (size_t i = 0; i < ids->n; i++)
        if (ids->ids[i] >= n_vocab)
            return err_set(err, ERR_USAGE,
                           "--tokens: id %d (number %zu) is outside the vocabulary of %d; expected 0 to %d",
                           (int)ids->ids[i], i + 1, n_vocab, n_vocab - 1);
    return true;
}

/* ---- the file: it bears its name only when it is whole ---- */

/* Written under another name beside it, then renamed; a device or a pipe is written itself. */
struct out_file {
    FILE *file;
    char *path, *temporary; /* NULL: no renaming */
};

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

static bool cannot_write(const char *path, struct err *err)
{
    return err_set(err, ERR_RUNTIME, "--out %s: the file cannot be written: %s", path, strerror(errno));
}

static bool out_file_open(struct out_file *out, const char *path, struct err *err)
{
    struct stat st;
    bool exists = !stat(path, &st);
    char *real = exists ? realpath(path, NULL) : NULL; /* a link stays one */
    *out = (struct out_file){.path = mem_strdup(real ? real : path)};
    free(real);
    if (exists && !S_ISREG(st.st_mode)) {
        out->file = fopen(path, "wb");
        return out->file || cannot_write(path, err);
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
    return out->file || cannot_write(path, err);
}

/* Ends the file: under its name if all went well (ok), else without a trace. */
static bool out_file_close(struct out_file *out, bool ok, struct err *err)
{
    if (out->file && fclose(out->file) && ok)
        ok = cannot_write(out->path, err);
    if (ok && out->temporary && rename(out->temporary, out->path))
        ok = cannot_write(out->path, err);
    if (!ok && removed_by_signal)
        unlink(removed_by_signal);
    removed_by_signal = NULL;
    mem_free(out->temporary);
    mem_free(out->path);
    return ok;
}

static bool write_logits(struct timeline *t, const struct token_list *ids, size_t n_vocab, const char *path,
                         struct err *err)
{
    size_t rows = ids->n < CHUNK ? ids->n : CHUNK, n_floats;
    struct out_file out = {0};
    float *logits = mem_mul(rows, n_vocab, &n_floats) ? mem_array(n_floats, sizeof *logits, err) : NULL;
    bool ok = logits && out_file_open(&out, path, err);
    for (size_t i = 0; ok && i < ids->n; i += rows) {
        size_t n = ids->n - i < rows ? ids->n - i : rows;
        ok = timeline_eval(t, ids->ids + i, n, NULL, logits, err);
        if (ok && fwrite(logits, sizeof *logits * n_vocab, n, out.file) != n)
            ok = cannot_write(path, err);
    }
    ok = out_file_close(&out, ok, err);
    mem_free(logits);
    return ok;
}

static bool run(const struct options *o, const char *path, const struct token_list *ids,
                struct backend *backend, struct err *err)
{
    struct timeline *t = NULL;
    struct timeline_options options = {.n_ctx = (uint32_t)opt_int(o, OPT_CTX, 0)};
    struct model *m =
        loader_kv_type(o, DTYPE_F32, &options.kv_type, err) ? loader_model(path, backend, err) : NULL;
    bool ok = m && check_ids(ids, vocab_size(model_vocab(m)), err);
    if (ok && !options.n_ctx) { /* no more memory than these tokens need */
        bool limited;
        uint32_t n_ctx = timeline_default_ctx(m, options.kv_type, &limited);
        options.n_ctx = ids->n < n_ctx ? (uint32_t)ids->n : n_ctx;
    }
    if (ok && ids->n > options.n_ctx)
        ok = err_set(err, ERR_PROMPT,
                     "--tokens: %zu ids do not fit the context of %u; give fewer, or a larger --ctx", ids->n,
                     (unsigned)options.n_ctx);
    ok = ok && (t = timeline_new(m, &options, err)) &&
         write_logits(t, ids, model_config(m)->n_vocab, opt_text(o, OPT_OUT), err);
    timeline_free(t);
    model_free(m);
    return ok;
}

bool cmd_logits(const struct options *o, struct err *err)
{
    const char *path;
    struct token_list ids = {0};
    struct backend backend = {0};
    bool ok = loader_model_word(o, &path, err);
    if (ok && (!opt_given(o, OPT_TOKENS) || !opt_given(o, OPT_OUT)))
        ok = err_set(err, ERR_USAGE, "%s is missing; usage: ferrum-chat %s",
                     opt_given(o, OPT_TOKENS) ? "--out FILE" : "--tokens IDS",
                     command_info(CMD_LOGITS)->usage);
    ok = ok && parse_ids(opt_text(o, OPT_TOKENS), &ids, err) && loader_backend(o, &backend, err) &&
         run(o, path, &ids, &backend, err);
    if (backend.ops)
        backend_close(&backend);
    token_list_fini(&ids);
    return ok;
}
