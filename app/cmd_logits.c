/* cmd_logits.c: `logits MODEL --tokens 1,2,3 --out F`: the logits of exactly these tokens, little-endian f32
 * [n_tokens, n_vocab]. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/commands.h"
#include "app/loader.h"
#include "app/out_file.h"
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

static bool write_logits(struct timeline *t, const struct token_list *ids, size_t n_vocab, const char *path,
                         struct err *err)
{
    size_t rows = ids->n < CHUNK ? ids->n : CHUNK, n_floats;
    struct out_file out = {0};
    float *logits = mem_mul(rows, n_vocab, &n_floats) ? mem_array(n_floats, sizeof *logits, err) : NULL;
    bool ok = logits && out_file_open(&out, "--out", path, err);
    for (size_t i = 0; ok && i < ids->n; i += rows) {
        size_t n = ids->n - i < rows ? ids->n - i : rows;
        ok = timeline_eval(t, ids->ids + i, n, NULL, logits, err);
        if (ok && fwrite(logits, sizeof *logits * n_vocab, n, out.file) != n)
            ok = out_file_fail(&out, err);
    }
    ok = out_file_close(&out, ok, err);
    mem_free(logits);
    return ok;
}

static bool run(const struct options *o, const char *path, const struct token_list *ids,
                struct loader_backends *backends, struct err *err)
{
    struct timeline *t = NULL;
    struct timeline_options options = {.n_ctx = (uint32_t)opt_int(o, OPT_CTX, 0)};
    struct model *m =
        loader_kv_type(o, DTYPE_F32, &options.kv_type, err) ? loader_model(path, backends, err) : NULL;
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
    struct loader_backends backends = {0};
    bool ok = loader_model_word(o, &path, err);
    if (ok && (!opt_given(o, OPT_TOKENS) || !opt_given(o, OPT_OUT)))
        ok = err_set(err, ERR_USAGE, "%s is missing; usage: ferrum-chat %s",
                     opt_given(o, OPT_TOKENS) ? "--out FILE" : "--tokens IDS",
                     command_info(CMD_LOGITS)->usage);
    ok = ok && parse_ids(opt_text(o, OPT_TOKENS), &ids, err) && loader_backends(o, true, &backends, err) &&
         run(o, path, &ids, &backends, err);
    loader_backends_close(&backends);
    token_list_fini(&ids);
    return ok;
}
