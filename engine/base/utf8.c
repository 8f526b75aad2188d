#include "engine/base/utf8.h"

#include "engine/base/buf.h"

/* Length of the sequence a lead byte opens and the range of its second byte; length 0: no lead byte. */
static size_t lead(unsigned char b, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (b >= 0xC2 && b <= 0xDF)
        return 2;
    if (b >= 0xE0 && b <= 0xEF) {
        if (b == 0xE0)
            *low = 0xA0;
        if (b == 0xED)
            *high = 0x9F;
        return 3;
    }
    if (b >= 0xF0 && b <= 0xF4) {
        if (b == 0xF0)
            *low = 0x90;
        if (b == 0xF4)
            *high = 0x8F;
        return 4;
    }
    return 0;
}

/* How many leading bytes of s are a well-formed (possibly unfinished) sequence; *need gets its full length.
 */
static size_t well_formed(const char *s, size_t n, size_t *need)
{
    unsigned char low, high;
    *need = lead((unsigned char)s[0], &low, &high);
    if (*need == 0)
        return 0;
    size_t i = 1;
    while (i < *need && i < n) {
        unsigned char c = (unsigned char)s[i];
        if (c < low || c > high)
            break;
        low = 0x80;
        high = 0xBF;
        i++;
    }
    return i;
}

size_t utf8_decode(const char *s, size_t n, uint32_t *code_point, bool *valid)
{
    unsigned char b = (unsigned char)s[0];
    bool ok = true;
    size_t used = 1, need;
    if (b < 0x80) {
        *code_point = b;
    } else {
        size_t have = well_formed(s, n, &need);
        ok = need != 0 && have == need;
        used = have ? have : 1;
        *code_point = UTF8_REPLACEMENT;
        if (ok) {
            uint32_t c = b & (0xFFu >> (need + 1));
            for (size_t i = 1; i < need; i++)
                c = c << 6 | ((unsigned char)s[i] & 0x3F);
            *code_point = c;
        }
    }
    if (valid)
        *valid = ok;
    return used;
}

size_t utf8_encode(uint32_t c, char out[UTF8_MAX_BYTES])
{
    if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
        c = UTF8_REPLACEMENT;
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

bool utf8_is_valid(const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t c;
        bool ok;
        i += utf8_decode(s + i, n - i, &c, &ok);
        if (!ok)
            return false;
    }
    return true;
}

size_t utf8_incomplete_tail(const char *s, size_t n)
{
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        size_t need, have = well_formed(s + n - back, back, &need);
        if (need)
            return have == back && have < need ? back : 0;
    }
    return 0;
}

size_t utf8_append_clean(struct buf *out, const char *s, size_t n)
{
    size_t n_replaced = 0;
    for (size_t i = 0; i < n;) {
        uint32_t c;
        bool ok;
        char bytes[UTF8_MAX_BYTES];
        i += utf8_decode(s + i, n - i, &c, &ok);
        n_replaced += !ok;
        buf_append(out, bytes, utf8_encode(c, bytes));
    }
    return n_replaced;
}
