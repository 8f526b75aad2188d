/* jinja_string.c: strings with the marks of what came from input, and the buffer that builds them. */
#include <string.h>

#include "engine/base/utf8.h"
#include "engine/jinja_value.h"

#define MIN_CAP 64

void jinja_buf_init(struct jinja_buf *buf, struct jinja_run *run)
{
    *buf = (struct jinja_buf){.run = run};
}

static void reserve(struct jinja_buf *buf, size_t n)
{
    if (n <= buf->cap - buf->n)
        return;
    size_t cap = buf->cap ? buf->cap : MIN_CAP;
    while (cap - buf->n < n)
        cap *= 2;
    char *data = jinja_alloc(buf->run, cap);
    if (buf->n)
        memcpy(data, buf->data, buf->n);
    buf->data = data;
    buf->cap = cap;
}

static void add_span(struct jinja_buf *buf, size_t at, size_t n)
{
    struct jinja_span *last = buf->n_spans ? &buf->spans[buf->n_spans - 1] : NULL;
    if (last && last->at + last->n == at) {
        last->n += n;
        return;
    }
    buf->spans = jinja_grow(buf->run, buf->spans, buf->n_spans, &buf->cap_spans, sizeof *buf->spans);
    buf->spans[buf->n_spans++] = (struct jinja_span){at, n};
}

static void put_bytes(struct jinja_buf *buf, const char *bytes, size_t n)
{
    if (buf->max_bytes && n > buf->max_bytes - buf->n)
        jinja_fail(buf->run, "the output is longer than %zu MiB", buf->max_bytes >> 20);
    if (n > JINJA_MAX_MEMORY_BYTES)
        jinja_fail(buf->run, "a string is too long");
    reserve(buf, n);
    memcpy(buf->data + buf->n, bytes, n);
    size_t old = buf->n;
    buf->n += n;
    jinja_charge(buf->run, buf->n / JINJA_BYTES_PER_STEP - old / JINJA_BYTES_PER_STEP);
}

void jinja_put(struct jinja_buf *buf, const char *bytes, size_t n, bool is_input)
{
    if (n == 0)
        return;
    put_bytes(buf, bytes, n);
    if (is_input)
        add_span(buf, buf->n - n, n);
}

void jinja_puts(struct jinja_buf *buf, const char *text)
{
    jinja_put(buf, text, strlen(text), false);
}

/* The first span that reaches behind `from`. */
static size_t first_span(const struct jinja_str *s, size_t from)
{
    size_t low = 0, high = s->n_spans;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (s->spans[middle].at + s->spans[middle].n > from)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* The part of a span inside [from, to), counted from `from`. */
static struct jinja_span clip(struct jinja_span span, size_t from, size_t to)
{
    size_t begin = span.at > from ? span.at : from;
    size_t end = span.at + span.n < to ? span.at + span.n : to;
    return (struct jinja_span){begin - from, end - begin};
}

void jinja_put_part(struct jinja_buf *buf, const struct jinja_str *s, size_t from, size_t to)
{
    if (from >= to)
        return;
    size_t at = buf->n;
    put_bytes(buf, s->data + from, to - from);
    for (size_t i = first_span(s, from); i < s->n_spans && s->spans[i].at < to; i++) {
        struct jinja_span span = clip(s->spans[i], from, to);
        add_span(buf, at + span.at, span.n);
    }
}

void jinja_put_str(struct jinja_buf *buf, const struct jinja_str *s)
{
    jinja_put_part(buf, s, 0, s->n);
}

static struct jinja_value str_value(struct jinja_str *s)
{
    return (struct jinja_value){.type = JINJA_STRING, .as.s = s};
}

struct jinja_value jinja_buf_value(struct jinja_buf *buf)
{
    struct jinja_str *s = jinja_alloc(buf->run, sizeof *s);
    *s = (struct jinja_str){
        .data = buf->data ? buf->data : "", .n = buf->n, .spans = buf->spans, .n_spans = buf->n_spans};
    return str_value(s);
}

struct jinja_value jinja_str_n(struct jinja_run *run, const char *text, size_t n)
{
    struct jinja_str *s = jinja_alloc(run, sizeof *s);
    *s = (struct jinja_str){.data = text, .n = n};
    return str_value(s);
}

struct jinja_value jinja_str(struct jinja_run *run, const char *text)
{
    return jinja_str_n(run, text, strlen(text));
}

struct jinja_value jinja_part(struct jinja_run *run, const struct jinja_str *s, size_t from, size_t to)
{
    struct jinja_str *part = jinja_alloc(run, sizeof *part);
    *part = (struct jinja_str){.data = s->data + from, .n = to > from ? to - from : 0, .is_safe = s->is_safe};
    size_t first = first_span(s, from), end = first;
    while (end < s->n_spans && s->spans[end].at < to)
        end++;
    if (end > first && to > from) {
        struct jinja_span *spans = jinja_alloc_array(run, end - first, sizeof *spans);
        for (size_t i = first; i < end; i++)
            spans[i - first] = clip(s->spans[i], from, to);
        part->spans = spans;
        part->n_spans = end - first;
        jinja_charge(run, (end - first) / 4);
    }
    return str_value(part);
}

bool jinja_is_input_at(const struct jinja_str *s, size_t at)
{
    size_t i = first_span(s, at);
    return i < s->n_spans && s->spans[i].at <= at;
}

bool jinja_str_is(const struct jinja_str *s, const char *text)
{
    return s->n == strlen(text) && !memcmp(s->data, text, s->n);
}

bool jinja_str_equal(const struct jinja_str *a, const struct jinja_str *b)
{
    return a->n == b->n && !memcmp(a->data, b->data, a->n);
}

int jinja_str_compare(const struct jinja_str *a, const struct jinja_str *b)
{
    int order = memcmp(a->data, b->data, a->n < b->n ? a->n : b->n); /* UTF-8 sorts as its code points */
    return order ? order : (a->n > b->n) - (a->n < b->n);
}

size_t jinja_char_at(const struct jinja_str *s, size_t at, uint32_t *cp)
{
    return utf8_decode(s->data + at, s->n - at, cp, NULL);
}

size_t jinja_char_before(const struct jinja_str *s, size_t end, uint32_t *cp)
{
    for (size_t n = 1; n <= UTF8_MAX_BYTES && n <= end; n++)
        if (utf8_decode(s->data + end - n, n, cp, NULL) == n &&
            ((unsigned char)s->data[end - n] & 0xC0) != 0x80)
            return n;
    *cp = UTF8_REPLACEMENT;
    return 1;
}

size_t jinja_str_length(struct jinja_run *run, const struct jinja_str *s)
{
    size_t count = 0;
    uint32_t cp;
    for (size_t at = 0; at < s->n; count++)
        at += (unsigned char)s->data[at] < 0x80 ? 1 : jinja_char_at(s, at, &cp);
    jinja_charge(run, s->n / JINJA_BYTES_PER_STEP);
    return count;
}

size_t jinja_str_offset(struct jinja_run *run, const struct jinja_str *s, size_t i)
{
    size_t at = 0;
    uint32_t cp;
    for (; i > 0 && at < s->n; i--)
        at += (unsigned char)s->data[at] < 0x80 ? 1 : jinja_char_at(s, at, &cp);
    jinja_charge(run, at / JINJA_BYTES_PER_STEP);
    return at;
}

size_t jinja_str_find(struct jinja_run *run, const struct jinja_str *s, size_t from,
                      const struct jinja_str *needle)
{
    if (from > s->n)
        return SIZE_MAX;
    const char *hit = memmem(s->data + from, s->n - from, needle->data, needle->n);
    size_t n_read = hit ? (size_t)(hit - s->data) - from + needle->n : s->n - from;
    jinja_charge(run, n_read / JINJA_CHARS_PER_STEP);
    return hit ? (size_t)(hit - s->data) : SIZE_MAX;
}

/* Byte i of the needle counted from its end. */
static char from_end(const struct jinja_str *needle, size_t i)
{
    return needle->data[needle->n - 1 - i];
}

/* Knuth, Morris and Pratt's search, mirrored. Strings have less than JINJA_MAX_MEMORY_BYTES, so that 32 bits
 * hold a length. */
struct jinja_search jinja_search_right(struct jinja_run *run, const struct jinja_str *s,
                                       const struct jinja_str *needle)
{
    struct jinja_search search = {.run = run, .s = s, .needle = needle};
    if (needle->n > s->n)
        return search;
    uint32_t *borders = search.borders = jinja_alloc_array(run, needle->n, sizeof *borders);
    jinja_charge(run, needle->n / JINJA_CHARS_PER_STEP);
    for (size_t i = 1, k = 0; i < needle->n; i++) {
        while (k > 0 && from_end(needle, i) != from_end(needle, k))
            k = borders[k - 1];
        k += from_end(needle, i) == from_end(needle, k);
        borders[i] = (uint32_t)k;
    }
    return search;
}

size_t jinja_search_last(const struct jinja_search *search, size_t end)
{
    const struct jinja_str *needle = search->needle;
    if (needle->n == 0)
        return end;
    size_t at = needle->n <= end ? end : 0, k = 0;
    while (at > 0 && k < needle->n) {
        char c = search->s->data[--at];
        while (k > 0 && from_end(needle, k) != c)
            k = search->borders[k - 1];
        k += from_end(needle, k) == c;
    }
    jinja_charge(search->run, (end - at) / JINJA_CHARS_PER_STEP);
    return k == needle->n ? at : SIZE_MAX;
}

bool jinja_is_space(uint32_t cp)
{
    if (cp < 128)
        return cp == ' ' || (cp >= 9 && cp <= 13) || (cp >= 28 && cp <= 31);
    return cp == 0x85 || cp == 0xA0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 ||
           cp == 0x2029 || cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

struct jinja_value jinja_concat(struct jinja_run *run, const struct jinja_str *a, const struct jinja_str *b)
{
    struct jinja_buf out;
    jinja_buf_init(&out, run);
    if (a->is_safe != b->is_safe) {
        a = a->is_safe ? a : jinja_escape(run, a).as.s;
        b = b->is_safe ? b : jinja_escape(run, b).as.s;
    }
    reserve(&out, a->n + b->n);
    jinja_put_str(&out, a);
    jinja_put_str(&out, b);
    struct jinja_value v = jinja_buf_value(&out);
    v.as.s->is_safe = a->is_safe && b->is_safe;
    return v;
}

struct jinja_value jinja_escape(struct jinja_run *run, const struct jinja_str *s)
{
    static const char special[] = "&<>'\"";
    static const char *const forms[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    struct jinja_buf out;
    jinja_buf_init(&out, run);
    jinja_charge(run, s->n / JINJA_CHARS_PER_STEP);
    for (size_t i = 0; i < s->n; i++) {
        const char *hit = s->data[i] ? strchr(special, s->data[i]) : NULL;
        if (hit)
            jinja_put(&out, forms[hit - special], strlen(forms[hit - special]), jinja_is_input_at(s, i));
        else
            jinja_put_part(&out, s, i, i + 1);
    }
    struct jinja_value v = jinja_buf_value(&out);
    v.as.s->is_safe = true;
    return v;
}

void jinja_put_char_like(struct jinja_buf *buf, uint32_t cp, const struct jinja_str *s, size_t at)
{
    char bytes[UTF8_MAX_BYTES];
    jinja_put(buf, bytes, utf8_encode(cp, bytes), jinja_is_input_at(s, at));
}
