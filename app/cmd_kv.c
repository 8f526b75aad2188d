/* cmd_kv.c: `kv stat|verify|clear [--json]`: the KV blocks kept on disk, without a model. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/commands.h"
#include "app/loader.h"
#include "app/output.h"
#include "app/receipt.h"
#include "app/signals.h"
#include "engine/base/mem.h"
#include "store/kv_db.h"
#include "ui/sanitize.h"

#define GIB 1073741824.0

static void print_json(json_t *root)
{
    char *text = json_dumps(root, JSON_INDENT(1));
    puts(text);
    mem_free(text);
    json_decref(root);
}

static void print_line(struct buf *line)
{
    puts(buf_text(line));
    buf_fini(line);
}

/* "1,234 blocks (78,976 tokens), 8.1 GiB" */
static void append_amount(struct buf *out, uint64_t n_blocks, uint64_t n_tokens, uint64_t n_bytes)
{
    receipt_count(out, n_blocks);
    buf_puts(out, n_blocks == 1 ? " block (" : " blocks (");
    receipt_count(out, n_tokens);
    buf_puts(out, n_tokens == 1 ? " token), " : " tokens), ");
    receipt_bytes(out, n_bytes);
}

/* ---- stat ---- */

static json_t *space_json(const struct kv_db_space_stat *space)
{
    return json_pack("{s:s, s:s, s:I, s:I, s:I}", "label", space->label, "kv_type", space->kv_type, "blocks",
                     (json_int_t)space->n_blocks, "tokens", (json_int_t)space->n_tokens, "bytes",
                     (json_int_t)space->n_bytes);
}

static void print_stat_json(const char *path, const struct kv_db_stat *stat)
{
    json_t *spaces = json_array();
    for (size_t i = 0; i < stat->n_spaces; i++)
        json_array_append_new(spaces, space_json(&stat->spaces[i]));
    print_json(json_pack("{s:s%, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "path", path, strlen(path),
                         "blocks", (json_int_t)stat->n_blocks, "tokens", (json_int_t)stat->n_tokens, "bytes",
                         (json_int_t)stat->n_bytes, "file_bytes", (json_int_t)stat->file_bytes, "limit_bytes",
                         (json_int_t)stat->limit_bytes, "free_bytes", (json_int_t)stat->free_bytes, "evicted",
                         (json_int_t)stat->n_evicted, "spaces", spaces));
}

static void print_stat_text(const char *path, const struct kv_db_stat *stat)
{
    struct buf line = {0};
    append_amount(&line, stat->n_blocks, stat->n_tokens, stat->n_bytes);
    buf_printf(&line, " in %s", path);
    print_line(&line);
    buf_puts(&line, "limit ");
    receipt_bytes(&line, stat->limit_bytes);
    buf_puts(&line, ", file ");
    receipt_bytes(&line, stat->file_bytes);
    buf_puts(&line, ", free on this disk ");
    receipt_bytes(&line, stat->free_bytes);
    if (stat->n_evicted) {
        buf_puts(&line, "; ");
        receipt_count(&line, stat->n_evicted);
        buf_puts(&line, " dropped so far to stay within the limit");
    }
    print_line(&line);
    for (size_t i = 0; i < stat->n_spaces; i++) {
        const struct kv_db_space_stat *space = &stat->spaces[i];
        char *label = sanitize_line(space->label);
        buf_printf(&line, "  %s, %s: ", label, space->kv_type);
        append_amount(&line, space->n_blocks, space->n_tokens, space->n_bytes);
        print_line(&line);
        mem_free(label);
    }
}

static bool show_stat(struct kv_db *db, const char *path, bool as_json, struct err *err)
{
    struct kv_db_stat stat = {0};
    if (db && !kv_db_stat(db, &stat, err))
        return false;
    if (as_json)
        print_stat_json(path, &stat);
    else if (!stat.n_blocks)
        printf("no blocks are kept yet in %s\n", path);
    else
        print_stat_text(path, &stat);
    mem_free(stat.spaces);
    return true;
}

/* ---- verify ---- */

struct verifying {
    int signal_fd;
    int signal; /* that ended it */
};

static bool on_progress(void *arg, uint64_t done, uint64_t total)
{
    struct verifying *v = arg;
    loader_progress("reading KV blocks", done, total);
    v->signal = signals_next(v->signal_fd);
    return !v->signal;
}

/* Whoever waits for this process sees what ended it. */
static void die_of(int number)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    fflush(stdout);
    raise(number);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void print_verdict(const struct kv_db_verdict *verdict, bool as_json)
{
    struct buf line = {0};
    if (as_json) {
        print_json(json_pack("{s:I, s:I, s:I, s:I}", "blocks", (json_int_t)verdict->n_blocks, "bytes",
                             (json_int_t)verdict->n_bytes, "damaged", (json_int_t)verdict->n_damaged,
                             "dropped", (json_int_t)verdict->n_dropped));
        return;
    }
    receipt_count(&line, verdict->n_blocks);
    buf_puts(&line, verdict->n_blocks == 1 ? " block of " : " blocks of ");
    receipt_bytes(&line, verdict->n_bytes);
    buf_puts(&line, verdict->n_damaged ? " read" : " read, all sound");
    print_line(&line);
}

/* Damage ends with an exit code of its own, although the cache is sound again: a disk that damages one file
 * may damage others. */
static bool verify(struct kv_db *db, bool put_aside, bool as_json, struct err *err)
{
    struct verifying v = {.signal_fd = signals_open(err)};
    struct kv_db_verdict verdict = {0};
    bool ok = v.signal_fd >= 0 && (!db || kv_db_verify(db, on_progress, &v, &verdict, err));
    loader_progress("", 1, 1);
    if (ok)
        print_verdict(&verdict, as_json);
    if (ok && verdict.n_damaged)
        ok = err_set(err, ERR_DATABASE,
                     "%" PRIu64 " of %" PRIu64
                     " KV blocks were damaged; they and what followed from them (%" PRIu64
                     " blocks) are dropped and will be computed anew; look after the disk",
                     verdict.n_damaged, verdict.n_blocks, verdict.n_dropped);
    if (ok && put_aside)
        ok = err_set(err, ERR_DATABASE,
                     "the whole file was unusable; what it held will be computed anew; look after the disk");
    if (v.signal_fd >= 0)
        close(v.signal_fd);
    if (v.signal)
        die_of(v.signal);
    return ok;
}

/* ---- clear ---- */

/* What was put aside as damaged holds blocks too. */
static bool clear(struct kv_db *db, const char *path, bool as_json, struct err *err)
{
    uint64_t n_bytes = 0, n_aside;
    struct buf line = {0};
    if ((db && !kv_db_clear(db, &n_bytes, err)) || !kv_db_drop_aside(path, &n_aside, err))
        return false;
    if (as_json) {
        print_json(json_pack("{s:I}", "freed_bytes", (json_int_t)(n_bytes + n_aside)));
        return true;
    }
    buf_puts(&line, n_bytes ? "all KV blocks are dropped" : "there was nothing to drop");
    if (n_aside && n_bytes)
        buf_printf(&line, ", and %s.bad, the damaged cache put aside before", path);
    else if (n_aside)
        buf_printf(&line, " but %s.bad, the damaged cache put aside before", path);
    if (n_bytes + n_aside) {
        buf_puts(&line, "; freed ");
        receipt_bytes(&line, n_bytes + n_aside);
    }
    print_line(&line);
    return true;
}

/* ---- the command ---- */

/* No file yet means no blocks, which is no error; *db is NULL then. *put_aside: there was one, of no use. */
static bool open_cache(const struct options *o, const char *path, struct kv_db **db, bool *put_aside,
                       struct err *err)
{
    *db = NULL;
    *put_aside = false;
    if (access(path, F_OK) && (errno == ENOENT || errno == ENOTDIR))
        return true;
    struct err note = {0};
    const struct kv_db_options options = {
        .path = path,
        .just_look = true,
        .limit_bytes = opt_given(o, OPT_KV_LIMIT) ? (uint64_t)(o->value[OPT_KV_LIMIT].real * GIB) : 0};
    *db = kv_db_open(&options, &note, err);
    *put_aside = *db && note.code;
    if (*put_aside)
        report_line("%s", note.text);
    return *db != NULL;
}

bool cmd_kv(const struct options *o, const struct paths *paths, struct err *err)
{
    const char *action = o->n_words ? o->words[0] : "";
    bool is_stat = !strcmp(action, "stat"), is_verify = !strcmp(action, "verify"),
         is_clear = !strcmp(action, "clear");
    struct kv_db *db;
    bool put_aside;
    if (!is_stat && !is_verify && !is_clear)
        return err_set(err, ERR_USAGE,
                       "kv: found \"%.40s\", expected stat, verify or clear; usage: ferrum-chat %s", action,
                       command_info(CMD_KV)->usage);
    if (o->n_words > 1)
        return err_set(err, ERR_USAGE, "kv %s: found \"%.40s\", expected nothing more", action, o->words[1]);
    if (!open_cache(o, paths->kv_db, &db, &put_aside, err))
        return false;
    bool json = opt_flag(o, OPT_JSON);
    bool ok = is_stat     ? show_stat(db, paths->kv_db, json, err)
              : is_verify ? verify(db, put_aside, json, err)
                          : clear(db, paths->kv_db, json, err);
    kv_db_close(db);
    return ok;
}
