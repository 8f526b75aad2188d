/* Owns the comparison of screens with their files. */
#include "tests/ui/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"

bool golden_update;

static char *read_golden(const char *path)
{
    struct buf all = {0};
    char bytes[4096];
    size_t n;
    FILE *file = fopen(path, "r");
    if (!file)
        return mem_strdup("");
    while ((n = fread(bytes, 1, sizeof bytes, file)) > 0)
        buf_append(&all, bytes, n);
    fclose(file);
    return buf_take(&all);
}

void golden_assert(struct screen *s, const char *name, bool looks)
{
    char path[512];
    struct buf got = {0};
    screen_text(s, &got);
    if (looks) {
        buf_puts(&got, "=== looks\n");
        screen_looks(s, &got);
        size_t end = got.len;
        buf_puts(&got, "=== grounds\n");
        if (!screen_grounds(s, &got))
            buf_truncate(&got, end);
    }
    snprintf(path, sizeof path, "%s/%s.txt", SCREENS_DIR, name);
    if (golden_update) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fwrite(got.data, 1, got.len, file);
        fclose(file);
    }
    char *want = read_golden(path);
    if (strcmp(want, buf_text(&got)) != 0)
        fail_msg("%s differs: wanted\n%s\ngot\n%s", name, want, buf_text(&got));
    mem_free(want);
    buf_fini(&got);
}
