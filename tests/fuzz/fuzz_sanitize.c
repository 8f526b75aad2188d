/* fuzz_sanitize.c: any bytes on their way to the terminal: what comes out keeps the promise of sanitize.h,
 * cleaning it again changes nothing, and pieces give what the whole gives. */
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "engine/base/utf8.h"
#include "tests/fuzz/fuzz.h"
#include "ui/sanitize.h"

static void check_promise(const struct buf *out)
{
    int marks = 0;
    for (size_t i = 0; i < out->len;) {
        uint32_t c;
        bool valid;
        i += utf8_decode(out->data + i, out->len - i, &c, &valid);
        int width = wcwidth((wchar_t)c);
        bool control = c != '\n' && (c < 0x20 || (c >= 0x7F && c < 0xA0));
        bool bidi = (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
        marks = width == 0 ? marks + 1 : 0;
        if (!valid || control || bidi || marks > 4 || (c != '\n' && (width < 0 || width > 2)))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct buf once = {0}, twice = {0}, pieces = {0};
    struct sanitizer s = {0};
    const char *text = (const char *)data;
    setlocale(LC_CTYPE, "C.UTF-8");
    sanitize_append(&once, text, n);
    check_promise(&once);
    sanitize_append(&twice, buf_text(&once), once.len);
    for (size_t i = 0, k; i < n; i += k) {
        k = 1 + data[i] % 5;
        k = k > n - i ? n - i : k;
        sanitizer_push(&s, &pieces, text + i, k);
    }
    sanitizer_flush(&s, &pieces);
    if (strcmp(buf_text(&once), buf_text(&twice)) != 0 || strcmp(buf_text(&once), buf_text(&pieces)) != 0)
        abort();
    buf_fini(&once);
    buf_fini(&twice);
    buf_fini(&pieces);
    return 0;
}

void fuzz_seed(int i, struct buf *out)
{
    static const char *const seeds[] = {
        "plain text, and a second line\n\twith a tab\r\n",
        "\033[31mred\033[0m \033]52;c;QUFB\007 \302\2331m",
        "👩\u200D💻 👍🏽 ❤\uFE0F 1\uFE0F\u20E3 🇫🇷 \U000E0041",
        "e\u0301 \u1112\u1161\u11AB x\u0321\u0322\u0327\u0328\u0331 \u0301 \u09C7\u09BE",
        "\u202Eabc\u202C \u2066x\u2069 \u2028 \xE2\x82 \xFF \xED\xA0\x80 漢字",
    };
    if (i >= 0 && i < (int)(sizeof seeds / sizeof *seeds))
        buf_puts(out, seeds[i]);
}
