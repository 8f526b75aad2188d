#include "app/kv_cache.h"

#include <stdio.h>
#include <string.h>

#include "app/fingerprint.h"
#include "app/output.h"
#include "app/receipt.h"
#include "app/signals.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/kv_pages.h"
#include "engine/memory_left.h"

#define HURRY_MS 300
#define SAY_AFTER_MS 500 /* waiting shorter than this is not worth a line */
#define SLICE_MS 50      /* how late a signal is seen while waiting */
#define PATIENCE_MS 2400 /* and then two hurries: 3 s in all */
#define GIB 1073741824.0

void kv_cache_identify(struct kv_cache *c, const struct gguf *g, const struct model_config *config,
                       enum dtype kv_type)
{
    const struct kv_shape shape = {kv_type, config->n_layer, config->n_kv_head, config->head_dim};
    size_t token_bytes = kv_token_bytes(&shape);
    c->space = (struct kv_space){0};
    snprintf(c->space.kv_type, sizeof c->space.kv_type, "%s", dtype_info(kv_type)->name);
    if (token_bytes <= UINT32_MAX && fingerprint_of_weights(g, config->arch, c->space.fingerprint))
        c->space.token_bytes = (uint32_t)token_bytes;
}

/* Two of the contexts in use; a limit that the user gave is the user's. */
static uint64_t least_bytes(const struct kv_cache *c, const struct options *o,
                            const struct model_config *config)
{
    uint64_t fits = memory_left() / 2 / c->space.token_bytes;
    uint64_t n_ctx = fits < config->n_ctx_train ? fits : config->n_ctx_train;
    if (opt_given(o, OPT_KV_LIMIT))
        return 0;
    return 2 * (uint64_t)opt_int(o, OPT_CTX, (int64_t)n_ctx) * c->space.token_bytes;
}

void kv_cache_open(struct kv_cache *c, const char *path, const struct options *o,
                   const struct backend *backend, const struct model_config *config, const char *model_name)
{
    char label[96], numerics[64];
    if (!path || !c->space.token_bytes)
        return;
    snprintf(label, sizeof label, "%.60s %s", model_name, config->quant);
    backend_kernels_name(backend->ops->describe(backend->ctx), numerics, sizeof numerics);
    const struct kv_io_options options = {
        .db = {.path = path,
               .limit_bytes = opt_given(o, OPT_KV_LIMIT) ? (uint64_t)(o->value[OPT_KV_LIMIT].real * GIB) : 0,
               .least_bytes = least_bytes(c, o, config)},
        .space = c->space,
        .label = label,
        .numerics = numerics,
        .exact = opt_flag(o, OPT_KV_EXACT),
    };
    c->io = kv_io_open(&options, &c->trouble);
}

const struct kv_shelf *kv_cache_shelf(const struct kv_cache *c)
{
    return c->io ? kv_io_shelf(c->io) : NULL;
}

bool kv_cache_trouble(struct kv_cache *c, struct err *why)
{
    struct kv_io_stats stats = {.why = c->trouble};
    if (c->io)
        kv_io_stats(c->io, &stats);
    if (!stats.why.code || !strcmp(stats.why.text, c->told))
        return false;
    snprintf(c->told, sizeof c->told, "%s", stats.why.text);
    log_line("KV cache: %s", stats.why.text);
    *why = stats.why;
    return true;
}

bool kv_cache_settle(struct kv_cache *c, int limit_ms)
{
    uint64_t start_ns = clock_now_ns();
    bool ended = !c->io || kv_io_flush(c->io, limit_ms);
    c->waited_ns += limit_ms ? clock_now_ns() - start_ns : 0;
    return ended;
}

static bool has_waited(const struct kv_cache *c, int ms)
{
    return c->waited_ns >= (uint64_t)ms * 1000000u;
}

void kv_cache_finish(struct kv_cache *c, int signal_fd, bool in_a_hurry)
{
    if (!c->io)
        return;
    bool ended = in_a_hurry || kv_cache_settle(c, 0), has_said = false;
    while (!ended && !has_waited(c, PATIENCE_MS)) {
        if (!has_said && has_waited(c, SAY_AFTER_MS))
            report_line("writing the KV cache, so that this chat resumes at once; Ctrl-C ends that");
        has_said = has_said || has_waited(c, SAY_AFTER_MS);
        ended = kv_cache_settle(c, SLICE_MS) || signals_next(signal_fd);
    }
    kv_io_hurry(c->io, HURRY_MS);
}

void kv_cache_close(struct kv_cache *c)
{
    struct err why;
    if (kv_cache_trouble(c, &why))
        report_line("%s", why.text);
    if (!kv_io_close(c->io, HURRY_MS) && !*c->told)
        report_line("the KV cache is not fully saved; what is missing is computed when the chat is resumed");
    *c = (struct kv_cache){0};
}

void kv_cache_forget(struct kv_cache *c, const unsigned char owner[KV_OWNER_BYTES])
{
    if (c->io)
        kv_io_forget(c->io, owner);
}

struct kv_written kv_cache_written(const struct kv_cache *c)
{
    struct kv_io_stats stats = {0};
    if (c->io)
        kv_io_stats(c->io, &stats);
    return (struct kv_written){.turns = stats.written_bytes - stats.ahead_bytes - c->shown.turns,
                               .ahead = stats.ahead_bytes - c->shown.ahead};
}

void kv_cache_told(struct kv_cache *c, struct kv_written shown)
{
    c->shown.turns += shown.turns;
    c->shown.ahead += shown.ahead;
}

static void append_kept(struct buf *out, const struct kv_io_stats *stats)
{
    if (!stats->limit_bytes) {
        buf_puts(out, "not counted yet");
        return;
    }
    receipt_count(out, stats->kept_blocks);
    buf_puts(out, " (");
    receipt_bytes(out, stats->kept_bytes);
    buf_puts(out, " of ");
    receipt_bytes(out, stats->limit_bytes);
    buf_putc(out, ')');
}

void kv_cache_report(const struct kv_cache *c, struct buf *out)
{
    struct kv_io_stats stats = {.why = c->trouble};
    if (c->io)
        kv_io_stats(c->io, &stats);
    if (stats.off || !c->io) {
        buf_printf(out, "No KV blocks are kept on disk%s%s", stats.why.code ? ": " : ".", stats.why.text);
        return;
    }
    buf_puts(out, "KV blocks on disk: ");
    append_kept(out, &stats);
    buf_puts(out, "; written since the program began: ");
    receipt_bytes(out, stats.written_bytes);
}
