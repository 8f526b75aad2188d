/* buf.h: a growable run of bytes, always NUL-terminated behind its length.
 * Growth is a needed allocation (mem.h): callers bound what untrusted input may append. Single thread. */
#ifndef FERRUM_BUF_H
#define FERRUM_BUF_H

#include <stddef.h>

struct buf {
    char *data; /* NULL until the first append; data[len] is NUL afterwards */
    size_t len;
    size_t cap;
};

void buf_append(struct buf *buf, const void *bytes, size_t n);
void buf_puts(struct buf *buf, const char *text);
void buf_putc(struct buf *buf, char c);
__attribute__((format(printf, 2, 3))) void buf_printf(struct buf *buf, const char *format, ...);
/* Shortens to n bytes (n <= len); keeps the memory. */
void buf_truncate(struct buf *buf, size_t n);
/* The text, "" when empty; stays owned by buf. */
const char *buf_text(const struct buf *buf);
/* Hands the bytes to the caller (mem_free) and empties buf; never NULL. */
char *buf_take(struct buf *buf);
void buf_fini(struct buf *buf);

#endif
