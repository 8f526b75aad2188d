/* jinja_unescape.c: the escapes of string literals, as Python's. */
#include <string.h>

#include "engine/base/utf8.h"
#include "engine/jinja_ast.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* \x, \u, \U: exactly n digits. */
static size_t put_hex(struct jinja_buf *out, const char *s, size_t left, size_t n)
{
    uint32_t cp = 0;
    char bytes[UTF8_MAX_BYTES];
    for (size_t i = 0; i < n; i++) {
        int d = i < left ? hex_digit(s[i]) : -1;
        if (d < 0)
            jinja_fail(out->run, "truncated escape in a string: expected %zu hexadecimal digits", n);
        cp = cp << 4 | (uint32_t)d;
    }
    jinja_put(out, bytes, utf8_encode(cp, bytes), false);
    return n;
}

static size_t put_octal(struct jinja_buf *out, const char *s, size_t left)
{
    uint32_t cp = 0;
    char bytes[UTF8_MAX_BYTES];
    size_t i = 0;
    for (; i < 3 && i < left && s[i] >= '0' && s[i] <= '7'; i++)
        cp = cp << 3 | (uint32_t)(s[i] - '0');
    jinja_put(out, bytes, utf8_encode(cp, bytes), false);
    return i;
}

/* What follows a backslash; returns the bytes used. */
static size_t put_escape(struct jinja_buf *out, const char *s, size_t left)
{
    static const char letters[] = "abfnrtv\\'\"", bytes[] = "\a\b\f\n\r\t\v\\'\"";
    const char *letter = *s ? strchr(letters, *s) : NULL;
    if (letter) {
        jinja_put(out, bytes + (letter - letters), 1, false);
        return 1;
    }
    switch (*s) {
    case '\n':
        return 1;
    case 'x':
        return 1 + put_hex(out, s + 1, left - 1, 2);
    case 'u':
        return 1 + put_hex(out, s + 1, left - 1, 4);
    case 'U':
        return 1 + put_hex(out, s + 1, left - 1, 8);
    }
    if (*s == 'N')
        jinja_fail(out->run, "characters cannot be named: write \\u and the number instead of \\N{...}");
    if (*s >= '0' && *s <= '7')
        return put_octal(out, s, left);
    jinja_put(out, "\\", 1, false); /* an unknown escape stays as it is */
    return 0;
}

struct jinja_str *jinja_unescape(struct jinja_run *run, const char *s, size_t n)
{
    struct jinja_buf out;
    jinja_buf_init(&out, run);
    for (size_t i = 0; i < n;) {
        const char *slash = memchr(s + i, '\\', n - i);
        size_t to = slash ? (size_t)(slash - s) : n;
        jinja_put(&out, s + i, to - i, false);
        i = to;
        if (i < n) {
            i++;
            if (i < n)
                i += put_escape(&out, s + i, n - i);
        }
    }
    return jinja_buf_value(&out).as.s;
}
