#include "app/thought.h"

#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

/* Of the environment's locale, without making it the program's. */
static bool is_utf8(void)
{
    locale_t locale = newlocale(LC_CTYPE_MASK, "", (locale_t)0);
    bool utf8 = locale && !strcmp(nl_langinfo_l(CODESET, locale), "UTF-8");
    if (locale)
        freelocale(locale);
    return utf8;
}

static size_t count_words(const struct buf *text)
{
    size_t n = 0;
    bool inside = false;
    for (size_t i = 0; i < text->len; i++) {
        bool blank = text->data[i] == ' ' || text->data[i] == '\n' || text->data[i] == '\t';
        n += !blank && !inside;
        inside = !blank;
    }
    return n;
}

static void describe(const struct buf *think, const char *before, const char *between, char *out,
                     size_t n_out)
{
    size_t n = count_words(think);
    snprintf(out, n_out, "%s%s%zu word%s", before, between, n, n == 1 ? "" : "s");
}

void thought_line(const struct buf *think, char *out, size_t n_out)
{
    if (is_utf8())
        describe(think, "▸ Thought", " · ", out, n_out);
    else
        describe(think, "> Thought", ", ", out, n_out);
}

void thought_progress(const struct buf *think, char *out, size_t n_out)
{
    describe(think, is_utf8() ? "thinking…" : "thinking...", " ", out, n_out);
}
