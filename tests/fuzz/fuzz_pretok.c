/* fuzz_pretok.c: any bytes, cut by every pre-tokenizer: the pieces must follow each other without a gap to
 * the end of the input. */
#include <stdlib.h>
#include <string.h>

#include "engine/pretok.h"
#include "engine/pretok_table.h"
#include "tests/fuzz/fuzz.h"

#define MAX_ROWS 64

/* Compiled once: that takes longer than most inputs. */
static struct pretok *all[MAX_ROWS];
static size_t n_all;

static void compile_all(void)
{
    const struct pretok_row *row;
    while (n_all < MAX_ROWS && (row = pretok_table_row(n_all))) {
        all[n_all] = pretok_new(row->name, strlen(row->name), NULL);
        if (!all[n_all++])
            abort();
    }
}

static bool follow(void *context, const char *piece, size_t n, struct err *err)
{
    (void)err;
    const char **next = context;
    if (n == 0 || piece != *next)
        abort();
    *next += n;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct pretok_run run = {0};
    if (n_all == 0)
        compile_all();
    for (size_t i = 0; i < n_all; i++) {
        const char *next = (const char *)data;
        if (!pretok_split(all[i], &run, (const char *)data, n, follow, &next, NULL) ||
            next != (const char *)data + n)
            abort();
    }
    pretok_run_fini(&run);
    return 0;
}

void fuzz_seed(int i, struct buf *out)
{
    static const char *const texts[] = {
        "Hello, world! It's DON'T 1234567 3.14\n\n  if (x == 10) {\n\t\treturn 0;\n}\n   ",
        "HTMLParser \u041F\u0440\u0438\u0432\u0435\u0442\u041C\u0438\u0440 \u4E2D\u6587\u304B\u306A "
        "\uD55C\uAD6D "
        "\u0939\u093F\u0928\u094D\u0926\u0940 \u0E44\u0E17\u0E22 \u00BD12 \u0663\u0664",
        "<sentinel:12>IMGIMGABZ    \r\n\r\n \u00A0\u3000\u180E e\u0301 \U0001F469\u200D\U0001F467 //\n'll",
    };
    if (i < 3)
        buf_append(out, texts[i], strlen(texts[i]));
    for (int k = 0; i == 3 && k < 3000; k++)
        buf_append(out, k < 1000 ? "1" : k < 2000 ? " " : "A", 1);
}
