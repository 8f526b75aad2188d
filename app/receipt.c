#include "app/receipt.h"

#include <inttypes.h>

#define WORTH_SAYING_MS 500 /* a shorter time saved is not worth a word */

void receipt_count(struct buf *out, uint64_t n)
{
    if (n >= 1000) {
        receipt_count(out, n / 1000);
        buf_printf(out, ",%03d", (int)(n % 1000));
    } else {
        buf_printf(out, "%d", (int)n);
    }
}

void receipt_bytes(struct buf *out, uint64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    if (bytes < 1024) {
        buf_printf(out, "%" PRIu64 " byte%s", bytes, bytes == 1 ? "" : "s");
        return;
    }
    double shown = (double)bytes / 1024;
    size_t unit = 0;
    for (; shown >= 1023.95 && unit < sizeof units / sizeof *units - 1; unit++)
        shown /= 1024;
    buf_printf(out, "%.1f %s", shown, units[unit]);
}

/* "20 ms", "0.6 s", "4 min", "1.5 h" */
static void append_time(struct buf *out, double ms)
{
    double seconds = ms / 1000;
    if (ms < 99.5)
        buf_printf(out, "%.0f ms", ms);
    else if (seconds < 9.95)
        buf_printf(out, "%.1f s", seconds);
    else if (seconds < 99.5)
        buf_printf(out, "%.0f s", seconds);
    else if (seconds < 99.5 * 60)
        buf_printf(out, "%.0f min", seconds / 60);
    else
        buf_printf(out, "%.1f h", seconds / 3600);
}

/* Begins the next part of the line: after another one a dot. */
static void next_part(struct buf *out, size_t start)
{
    if (out->len > start)
        buf_puts(out, " · ");
}

static void append_reuse(struct buf *out, const struct turn_stats *t)
{
    buf_puts(out, t->reused_disk ? "resumed " : "reused ");
    receipt_count(out, t->reused_disk ? t->reused_disk : t->reused_memory);
    buf_puts(out, " of ");
    receipt_count(out, t->prompt_tokens);
    buf_puts(out, t->prompt_tokens == 1 ? " token" : " tokens");
    if (!t->reused_disk)
        return;
    buf_puts(out, " from disk in ");
    append_time(out, t->fetch_ms);
    if (t->saved_ms < WORTH_SAYING_MS)
        return;
    buf_puts(out, " (saves about ");
    append_time(out, t->saved_ms);
    buf_putc(out, ')');
}

static void append_oddities(struct buf *out, size_t start, const struct turn_stats *t)
{
    if (t->foreign_tokens) {
        next_part(out, start);
        receipt_count(out, t->foreign_tokens);
        buf_puts(out, " computed by other kernels");
        if (t->foreign_kernels[0])
            buf_printf(out, " (%s)", t->foreign_kernels);
    }
    if (t->damaged_blocks) {
        next_part(out, start);
        buf_printf(out, "%" PRIu32 " damaged block%s dropped", t->damaged_blocks,
                   t->damaged_blocks == 1 ? "" : "s");
    }
}

void receipt_append(struct buf *out, const struct turn_stats *t, uint64_t written, uint64_t prepared)
{
    size_t start = out->len;
    if (t->reused_disk || t->reused_memory)
        append_reuse(out, t);
    if (t->reused_disk && t->reused_memory) {
        next_part(out, start);
        receipt_count(out, t->reused_memory);
        buf_puts(out, " from memory");
    }
    append_oddities(out, start, t);
    if (t->prefilled_tokens) {
        next_part(out, start);
        buf_puts(out, "prefilled ");
        receipt_count(out, t->prefilled_tokens);
    }
    if (written) {
        next_part(out, start);
        buf_puts(out, "wrote ");
        receipt_bytes(out, written);
    }
    if (prepared) {
        next_part(out, start);
        buf_puts(out, "prepared ");
        receipt_bytes(out, prepared);
    }
}
