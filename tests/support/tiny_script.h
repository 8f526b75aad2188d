/* tiny_script.h: what a tiny model is to say, as tokens that follow each other. For tiny_model.c. */
#ifndef FERRUM_TEST_TINY_SCRIPT_H
#define FERRUM_TEST_TINY_SCRIPT_H

#include <stdbool.h>
#include <stdint.h>

#define TINY_MAX_TOKENS 4096
#define TINY_TOKEN_BYTES 24

/* The vocabulary being made. */
struct tiny_tokens {
    char text[TINY_MAX_TOKENS][TINY_TOKEN_BYTES]; /* as the file spells it */
    float scores[TINY_MAX_TOKENS];
    int32_t types[TINY_MAX_TOKENS];
    int n;
    int32_t next[TINY_MAX_TOKENS]; /* what follows it, -1: anything */
};

/* Adds the pieces of the script, and says what follows what. newline: the token that a prompt ends with; the
 * others are -1 where the vocabulary lacks them. False where one token would need two followers, or the
 * script is too long. */
struct tiny_script_marks {
    int32_t newline, empty_line, think, end_think, end_turn;
};
bool tiny_script_add(struct tiny_tokens *t, const char *script, const struct tiny_script_marks *marks);

#endif
