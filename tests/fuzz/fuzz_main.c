/* fuzz_main.c: runs a fuzz target without libFuzzer: its seeds, then N deterministic mutations of them.
 * fuzz_NAME [FILE...]: only the given files, to look at one finding. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "tests/fuzz/fuzz.h"

#ifndef N_MUTATIONS /* fewer for targets that work on files */
#define N_MUTATIONS 3000
#endif
#define MAX_EDITS 6

static uint64_t state = 1;

static size_t below(size_t n) /* xorshift64*, Vigna, public domain */
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (size_t)((state * 0x2545F4914F6CDD1Du) >> 33) % n;
}

/* Numbers at which counts and lengths go wrong. */
static void put_odd_number(struct buf *input, size_t at)
{
    static const uint64_t odd[] = {0,      1,          0x7F,       0xFF,      0x7FFF,
                                   0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, INT64_MAX, UINT64_MAX};
    size_t width = (size_t)1 << below(4);
    uint64_t value = odd[below(sizeof odd / sizeof *odd)];
    if (at + width <= input->len)
        memcpy(input->data + at, &value, width);
}

static void move_bytes(struct buf *input, size_t at)
{
    size_t n = 1 + below(16), to = below(input->len);
    if (at + n <= input->len && to + n <= input->len)
        memmove(input->data + to, input->data + at, n);
}

static void mutate(struct buf *input)
{
    for (size_t edits = 1 + below(MAX_EDITS); edits > 0 && input->len > 0; edits--) {
        /* Half of the edits go to the first KiB, where the structure of most formats is. */
        size_t at = below(below(2) && input->len > 1024 ? 1024 : input->len);
        switch (below(5)) {
        case 0:
            input->data[at] ^= (char)(1 << below(8));
            break;
        case 1:
            input->data[at] = (char)below(256);
            break;
        case 2:
            put_odd_number(input, at);
            break;
        case 3:
            move_bytes(input, at);
            break;
        default:
            if (below(4) == 0)
                buf_truncate(input, at);
        }
    }
}

/* Runs a copy of the exact size, so that a sanitizer sees any step beyond it. */
static void run(const struct buf *input)
{
    uint8_t *copy = mem_need(input->len);
    if (input->len)
        memcpy(copy, input->data, input->len);
    LLVMFuzzerTestOneInput(copy, input->len);
    mem_free(copy);
}

static bool run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return false;
    }
    struct buf input = {0};
    char piece[4096];
    for (size_t n; (n = fread(piece, 1, sizeof piece, f)) > 0;)
        buf_append(&input, piece, n);
    fclose(f);
    run(&input);
    buf_fini(&input);
    return true;
}

static int n_seeds(void)
{
    for (int i = 0;; i++) {
        struct buf seed = {0};
        fuzz_seed(i, &seed);
        size_t n = seed.len;
        if (n)
            run(&seed);
        buf_fini(&seed);
        if (n == 0)
            return i;
    }
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (!run_file(argv[i]))
            return 1;
    if (argc > 1)
        return 0;
    int n = n_seeds();
    if (n == 0) {
        fprintf(stderr, "the target has no seeds\n");
        return 1;
    }
    for (int i = 0; i < N_MUTATIONS; i++) {
        struct buf input = {0};
        fuzz_seed(i % n, &input);
        mutate(&input);
        run(&input);
        buf_fini(&input);
    }
    printf("%d seeds, %d mutations\n", n, N_MUTATIONS);
    return 0;
}
