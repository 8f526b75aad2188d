#include "random_text.h"

#include <string.h>

#include "engine/base/utf8.h"

static size_t below(uint64_t *seed, size_t n) /* xorshift64*, Vigna, public domain */
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return (size_t)((*seed * 0x2545F4914F6CDD1Du) >> 33) % n;
}

static const char *const snippets[] = {
    "hello",
    " world",
    "it's",
    "DON'T",
    " don't",
    "HTMLParser",
    "camelCase",
    "  if (x == 10) {\n",
    "\t\treturn 0;\n}\n",
    "\r\n\r\n",
    "   \n  \n",
    "\n\n\n",
    "        ",
    "1234567",
    "3.14159",
    " 1,234,567.89",
    "12_345",
    "0xDEADBEEF",
    "https://a.b/c\?d=e",
    "!!\n\n",
    " ....",
    "<|im_end|>",
    "<s>",
    "</s>",
    "<0x0A>",
    "[INST]",
    "<think>",
    "\u2581",
    "\u4EBA\u5DE5\u667A\u80FD 2024\u5E74",
    "\u041F\u0440\u0438\u0432\u0435\u0442 \u041C\u0418\u0420",
    "\u0647\u0630\u0627 \u0639\u0631\u0628\u064A\u060C \u0663\u0664",
    "\u0939\u093F\u0928\u094D\u0926\u0940",
    "\uD55C\uAD6D\uC5B4",
    "\u3072\u3089\u30AB\u30BF",
    "\u0E20\u0E32\u0E29\u0E32\u0E44\u0E17\u0E22",
    "e\u0301n\u0303\u0308",
    "\u00A0\u3000\u2003\u200B\uFEFF",
    "\U0001F469\u200D\U0001F469\u200D\U0001F467",
    "\U0001F3F3\uFE0F\u200D\U0001F308",
    "\U0001F44D\U0001F3FD",
    "\U0001F1E9\U0001F1EA",
    "1\uFE0F\u20E3",
    "\u00BD\u00B2\u2167\u2460",
    "\U0001D400\U0001D7D8\U00020000",
};

static uint32_t random_character(uint64_t *seed)
{
    static const uint32_t tops[] = {0x20, 0x80, 0x100, 0x3000, 0xD800, 0x1F700, 0x110000};
    uint32_t c = (uint32_t)below(seed, tops[below(seed, sizeof tops / sizeof *tops)]);
    return c >= 0xD800 && c < 0xE000 ? 0xFFFD : c;
}

size_t random_text(uint64_t *seed, char *out, size_t max)
{
    size_t n = 0, want = below(seed, max);
    for (;;) {
        char c[UTF8_MAX_BYTES];
        const char *part = c;
        size_t n_part;
        if (below(seed, 4) > 0) {
            part = snippets[below(seed, sizeof snippets / sizeof *snippets)];
            n_part = strlen(part);
        } else {
            n_part = utf8_encode(random_character(seed), c);
        }
        if (n + n_part > want)
            return n;
        memcpy(out + n, part, n_part);
        n += n_part;
    }
}
