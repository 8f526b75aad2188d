/* gguf_cursor.c: bounded reads and the sentence when they fail. */
#include "engine/gguf_cursor.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *gguf_show(const char *data, size_t n, char out[GGUF_SHOWN_BYTES])
{
    size_t shown = n < GGUF_SHOWN_BYTES - 4 ? n : GGUF_SHOWN_BYTES - 4;
    for (size_t i = 0; i < shown; i++)
        out[i] = data[i] >= 0x20 && data[i] < 0x7F ? data[i] : '?';
    strcpy(out + shown, shown < n ? "..." : "");
    return out;
}

bool gguf_damaged(const struct gguf_cursor *c, const char *format, ...)
{
    char text[220];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return err_set(c->err, ERR_MODEL, "%s: byte %zu, %s: %s; the file is damaged, download it again",
                   c->file->label, c->at, c->where, text);
}

static size_t bytes_left(const struct gguf_cursor *c)
{
    return c->file->n_bytes - c->at;
}

bool gguf_take(struct gguf_cursor *c, uint64_t n, const unsigned char **bytes)
{
    if (n > bytes_left(c)) {
        err_set(c->err, ERR_MODEL,
                "%s: byte %zu, %s: the file ends after %zu of %" PRIu64
                " bytes; it is incomplete or damaged, download it again",
                c->file->label, c->at, c->where, bytes_left(c), n);
        return false;
    }
    *bytes = c->file->bytes + c->at;
    c->at += (size_t)n;
    return true;
}

bool gguf_take_u32(struct gguf_cursor *c, uint32_t *out)
{
    const unsigned char *bytes;
    if (!gguf_take(c, sizeof *out, &bytes))
        return false;
    memcpy(out, bytes, sizeof *out);
    return true;
}

bool gguf_take_u64(struct gguf_cursor *c, uint64_t *out)
{
    const unsigned char *bytes;
    if (!gguf_take(c, sizeof *out, &bytes))
        return false;
    memcpy(out, bytes, sizeof *out);
    return true;
}

bool gguf_take_string(struct gguf_cursor *c, struct gguf_string *out)
{
    uint64_t n;
    const unsigned char *bytes;
    if (!gguf_take_u64(c, &n) || !gguf_take(c, n, &bytes))
        return false;
    *out = (struct gguf_string){.data = (const char *)bytes, .n = (size_t)n};
    return true;
}

bool gguf_check_count(const struct gguf_cursor *c, uint64_t n, size_t min_bytes)
{
    if (n <= bytes_left(c) / min_bytes)
        return true;
    return gguf_damaged(c, "found a count of %" PRIu64 ", but the %zu bytes left hold %zu at most", n,
                        bytes_left(c), bytes_left(c) / min_bytes);
}
