/* jinja_case.c: capitals and small letters, as Python's str has them. Source of the exceptions: SpecialCasing
 * and UnicodeData of Unicode 15; the Greek letters with iota subscript are left out. */
#include <wctype.h>

#include "engine/jinja_value.h"

/* C.UTF-8 knows the letters of Unicode whatever the user's locale is; without it only ASCII has cases. */
locale_t jinja_locale(struct jinja_run *run)
{
    if (!run->locale)
        run->locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    if (!run->locale)
        run->locale = newlocale(LC_CTYPE_MASK, "C", (locale_t)0);
    return run->locale;
}

/* Letters whose capital is several letters, or another one at the beginning of a word. */
static const struct special {
    uint32_t cp, upper[3], title[3];
} specials[] = {
    {0xDF, {0x53, 0x53}, {0x53, 0x73}},
    {0x149, {0x2BC, 0x4E}, {0x2BC, 0x4E}},
    {0x1C4, {0x1C4}, {0x1C5}},
    {0x1C5, {0x1C4}, {0x1C5}},
    {0x1C6, {0x1C4}, {0x1C5}},
    {0x1C7, {0x1C7}, {0x1C8}},
    {0x1C8, {0x1C7}, {0x1C8}},
    {0x1C9, {0x1C7}, {0x1C8}},
    {0x1CA, {0x1CA}, {0x1CB}},
    {0x1CB, {0x1CA}, {0x1CB}},
    {0x1CC, {0x1CA}, {0x1CB}},
    {0x1F0, {0x4A, 0x30C}, {0x4A, 0x30C}},
    {0x1F1, {0x1F1}, {0x1F2}},
    {0x1F2, {0x1F1}, {0x1F2}},
    {0x1F3, {0x1F1}, {0x1F2}},
    {0x390, {0x399, 0x308, 0x301}, {0x399, 0x308, 0x301}},
    {0x3B0, {0x3A5, 0x308, 0x301}, {0x3A5, 0x308, 0x301}},
    {0x587, {0x535, 0x552}, {0x535, 0x582}},
    {0x1E96, {0x48, 0x331}, {0x48, 0x331}},
    {0x1E97, {0x54, 0x308}, {0x54, 0x308}},
    {0x1E98, {0x57, 0x30A}, {0x57, 0x30A}},
    {0x1E99, {0x59, 0x30A}, {0x59, 0x30A}},
    {0x1E9A, {0x41, 0x2BE}, {0x41, 0x2BE}},
    {0xFB00, {0x46, 0x46}, {0x46, 0x66}},
    {0xFB01, {0x46, 0x49}, {0x46, 0x69}},
    {0xFB02, {0x46, 0x4C}, {0x46, 0x6C}},
    {0xFB03, {0x46, 0x46, 0x49}, {0x46, 0x66, 0x69}},
    {0xFB04, {0x46, 0x46, 0x4C}, {0x46, 0x66, 0x6C}},
    {0xFB05, {0x53, 0x54}, {0x53, 0x74}},
    {0xFB06, {0x53, 0x54}, {0x53, 0x74}},
    {0xFB13, {0x544, 0x546}, {0x544, 0x576}},
    {0xFB14, {0x544, 0x535}, {0x544, 0x565}},
    {0xFB15, {0x544, 0x53B}, {0x544, 0x56B}},
    {0xFB16, {0x54E, 0x546}, {0x54E, 0x576}},
    {0xFB17, {0x544, 0x53D}, {0x544, 0x56D}},
};

static const struct special *find_special(uint32_t cp)
{
    for (size_t i = 0; cp >= specials[0].cp && i < sizeof specials / sizeof *specials; i++)
        if (specials[i].cp == cp)
            return &specials[i];
    return NULL;
}

static uint32_t simple_upper(struct jinja_run *run, uint32_t cp)
{
    locale_t locale = jinja_locale(run);
    return (uint32_t)(locale ? towupper_l((wint_t)cp, locale) : (wint_t)cp);
}

static uint32_t simple_lower(struct jinja_run *run, uint32_t cp)
{
    locale_t locale = jinja_locale(run);
    return (uint32_t)(locale ? towlower_l((wint_t)cp, locale) : (wint_t)cp);
}

static bool is_small(struct jinja_run *run, uint32_t cp)
{
    locale_t locale = jinja_locale(run);
    return locale && iswlower_l((wint_t)cp, locale);
}

static bool is_capital(struct jinja_run *run, uint32_t cp)
{
    locale_t locale = jinja_locale(run);
    return locale && iswupper_l((wint_t)cp, locale);
}

static bool is_cased(struct jinja_run *run, uint32_t cp)
{
    const struct special *special = find_special(cp);
    return special || is_small(run, cp) || is_capital(run, cp);
}

/* What stands between letters without ending a word: marks, and the signs of Unicode's MidLetter. */
static bool is_ignorable(uint32_t cp)
{
    return cp == '\'' || cp == '.' || cp == ':' || cp == '^' || cp == '`' || cp == 0xA8 || cp == 0xAD ||
           cp == 0xAF || cp == 0xB4 || cp == 0xB7 || cp == 0xB8 || (cp >= 0x300 && cp <= 0x36F) ||
           (cp >= 0x200B && cp <= 0x200F) || cp == 0x2018 || cp == 0x2019;
}

/* How far a sigma looks for its word; ignorable signs in longer rows do not occur. */
#define MAX_IGNORABLE 32

static bool follows_letter(struct jinja_run *run, const struct jinja_str *s, size_t at)
{
    uint32_t cp = 0;
    for (int i = 0; i < MAX_IGNORABLE && at > 0; i++) {
        at -= jinja_char_before(s, at, &cp);
        if (!is_ignorable(cp))
            return is_cased(run, cp);
    }
    return false;
}

static bool precedes_letter(struct jinja_run *run, const struct jinja_str *s, size_t at)
{
    uint32_t cp = 0;
    for (int i = 0; i < MAX_IGNORABLE && at < s->n; i++) {
        at += jinja_char_at(s, at, &cp);
        if (!is_ignorable(cp))
            return is_cased(run, cp);
    }
    return false;
}

static void put_upper(struct jinja_buf *out, uint32_t cp, const struct jinja_str *s, size_t at, bool title)
{
    const struct special *special = find_special(cp);
    if (!special) {
        jinja_put_char_like(out, simple_upper(out->run, cp), s, at);
        return;
    }
    const uint32_t *letters = title ? special->title : special->upper;
    for (int i = 0; i < 3 && letters[i]; i++)
        jinja_put_char_like(out, letters[i], s, at);
}

/* Neither capital nor small. */
static bool is_title_letter(uint32_t cp)
{
    return cp == 0x1C5 || cp == 0x1C8 || cp == 0x1CB || cp == 0x1F2;
}

/* n: the bytes of the character. */
static void put_lower(struct jinja_buf *out, uint32_t cp, const struct jinja_str *s, size_t at, size_t n)
{
    if (cp == 0x3A3 && follows_letter(out->run, s, at) && !precedes_letter(out->run, s, at + n)) {
        jinja_put_char_like(out, 0x3C2, s, at); /* sigma at the end of a word */
        return;
    }
    jinja_put_char_like(out, cp == 0x130 ? 'i' : simple_lower(out->run, cp), s, at);
    if (cp == 0x130) /* the dot of the Turkish I */
        jinja_put_char_like(out, 0x307, s, at);
}

/* Folding is the small form of the capital form, but for the Turkish i. */
static void put_folded(struct jinja_buf *out, uint32_t cp, const struct jinja_str *s, size_t at, size_t n)
{
    const struct special *special = find_special(cp);
    if (cp == 0x130 || cp == 0x131) {
        put_lower(out, cp, s, at, n);
        return;
    }
    const uint32_t one[3] = {simple_upper(out->run, cp), 0, 0}, *letters = special ? special->upper : one;
    for (int i = 0; i < 3 && (i == 0 || letters[i]); i++)
        jinja_put_char_like(out, simple_lower(out->run, letters[i]), s, at);
}

static bool becomes_capital(struct jinja_run *run, enum jinja_case how, uint32_t cp, bool is_first,
                            bool inside_word)
{
    switch (how) {
    case JINJA_UPPER:
        return true;
    case JINJA_CAPITALIZE:
    case JINJA_UPPER_FIRST:
        return is_first;
    case JINJA_TITLE:
        return !inside_word;
    case JINJA_SWAPCASE:
        return is_small(run, cp);
    case JINJA_LOWER:
    case JINJA_CASEFOLD:
        break;
    }
    return false;
}

struct jinja_value jinja_change_case(struct jinja_run *run, const struct jinja_str *s, enum jinja_case how)
{
    struct jinja_buf out;
    jinja_buf_init(&out, run);
    jinja_charge(run, s->n / (JINJA_CHARS_PER_STEP / 2)); /* several lookups in the locale each */
    bool inside = false;                                  /* a word, for title */
    for (size_t at = 0, n; at < s->n; at += n) {
        uint32_t cp;
        n = jinja_char_at(s, at, &cp);
        if (cp == 0xFFFD || (how == JINJA_SWAPCASE && is_title_letter(cp)))
            jinja_put_part(&out, s, at, at + n);
        else if (becomes_capital(run, how, cp, at == 0, inside))
            put_upper(&out, cp, s, at, how == JINJA_TITLE || how == JINJA_CAPITALIZE);
        else if (how == JINJA_CASEFOLD)
            put_folded(&out, cp, s, at, n);
        else
            put_lower(&out, cp, s, at, n);
        inside = how == JINJA_TITLE && is_cased(run, cp);
    }
    struct jinja_value v = jinja_buf_value(&out);
    v.as.s->is_safe = s->is_safe;
    return v;
}
