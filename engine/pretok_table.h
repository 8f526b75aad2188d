/* pretok_table.h: what each pre-tokenizer consists of.
 *
 * Purpose: from a name (tokenizer.ggml.pre) to the steps pretok.c performs, each within the pieces the one
 * before left. Constant data, any thread; nothing to free, no errors. */
#ifndef FERRUM_PRETOK_TABLE_H
#define FERRUM_PRETOK_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#define PRETOK_MAX_STEPS 6

enum pretok_step_kind {
    PRETOK_ISOLATED,          /* each match is a piece, and what lies between */
    PRETOK_THREES,            /* each match is cut into threes of characters, counted from its end */
    PRETOK_THREES_FROM_RIGHT, /* the same, but its first part and its end stay with their neighbours */
};

struct pretok_step {
    enum pretok_step_kind kind;
    const char *pattern; /* PCRE2 with UTF and UCP; NULL behind the last step */
};

enum pretok_row_flags {
    PRETOK_IGNORES_MERGES = 1,   /* a piece that is a token is taken as it is */
    PRETOK_ADDS_BOS = 2,         /* BOS comes first when the file does not say */
    PRETOK_WHOLE_CHARACTERS = 4, /* tokens are spelled as text with U+2581 for the space, not as bytes */
};

struct pretok_row {
    const char *name;
    unsigned flags;
    struct pretok_step steps[PRETOK_MAX_STEPS];
};

/* NULL if the name is not known. */
const struct pretok_row *pretok_table_find(const char *name, size_t n);
/* Each row once, under its main name; NULL behind the last. For tests of all of them. */
const struct pretok_row *pretok_table_row(size_t i);

#endif
