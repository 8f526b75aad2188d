#include "app/output.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void output_init(struct output *out, int fd)
{
    *out = (struct output){.fd = fd, .is_terminal = isatty(fd)};
}

void output_fini(struct output *out)
{
    buf_fini(&out->bytes);
}

void output_text(struct output *out, const char *text, size_t n)
{
    if (out->error)
        return;
    if (out->is_terminal)
        sanitizer_push(&out->sanitizer, &out->bytes, text, n);
    else
        buf_append(&out->bytes, text, n);
}

void output_end_line(struct output *out)
{
    if (out->is_terminal)
        sanitizer_flush(&out->sanitizer, &out->bytes);
    out->sanitizer = (struct sanitizer){0};
    if (!out->error)
        buf_putc(&out->bytes, '\n');
}

bool output_pending(const struct output *out)
{
    return !out->error && out->sent < out->bytes.len;
}

void output_flush_some(struct output *out)
{
    size_t n = out->bytes.len - out->sent;
    ssize_t written = write(out->fd, out->bytes.data + out->sent, n < PIPE_BUF ? n : PIPE_BUF);
    if (written < 0 && errno != EINTR && errno != EAGAIN)
        out->error = errno;
    if (written > 0)
        out->sent += (size_t)written;
    if (out->sent == out->bytes.len) {
        buf_truncate(&out->bytes, 0);
        out->sent = 0;
    }
}

void report_line(const char *format, ...)
{
    char text[2048];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t length = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    struct buf line = {0};
    buf_puts(&line, "ferrum-chat: ");
    if (isatty(STDERR_FILENO))
        sanitize_append(&line, text, length);
    else
        buf_append(&line, text, length);
    buf_putc(&line, '\n');
    (void)!write(STDERR_FILENO, line.data, line.len);
    buf_fini(&line);
}
