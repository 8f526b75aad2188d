/* tiny_script.c owns how a text becomes a chain of tokens: words with the space in front of them, cut at
 * eight bytes, each place a token of its own even where the spelling repeats, for a token has one follower.
 */
#include "tests/support/tiny_script.h"

#include <stdio.h>
#include <string.h>

#define MAX_PIECE 8
#define NORMAL 1

static bool follows(struct tiny_tokens *t, int32_t before, int32_t after)
{
    if (t->next[before] >= 0 && t->next[before] != after)
        return false;
    t->next[before] = after;
    return true;
}

/* Bytes of the piece at s: up to the next space, tag or eighth byte, never half a character. */
static size_t piece_length(const char *s)
{
    size_t n = 1;
    while (s[n] && s[n] != ' ' && s[n] != '<' && n < MAX_PIECE)
        n++;
    while (((unsigned char)s[n] & 0xC0) == 0x80)
        n++;
    return n;
}

static int32_t add_piece(struct tiny_tokens *t, const char *s, size_t n)
{
    bool is_spaced = s[0] == ' ';
    if (t->n == TINY_MAX_TOKENS)
        return -1;
    snprintf(t->text[t->n], TINY_TOKEN_BYTES, "%s%.*s", is_spaced ? "\u2581" : "", (int)(n - is_spaced),
             s + is_spaced);
    t->types[t->n] = NORMAL;
    t->scores[t->n] = -(float)t->n;
    return t->n++;
}

static bool starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* The token at s, and its bytes; -1: no room. */
static int32_t next_token(struct tiny_tokens *t, const char *s, int32_t before,
                          const struct tiny_script_marks *m, size_t *n)
{
    const struct {
        const char *text;
        int32_t id;
        bool fits;
    } known[] = {
        {"<think>", m->think, true},
        {"</think>", m->end_think, true},
        {"\n\n", m->empty_line, before == m->end_think},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].id >= 0 && known[i].fits && starts_with(s, known[i].text)) {
            *n = strlen(known[i].text);
            return known[i].id;
        }
    *n = piece_length(s);
    return add_piece(t, s, *n);
}

bool tiny_script_add(struct tiny_tokens *t, const char *script, const struct tiny_script_marks *marks)
{
    int32_t before = marks->newline;
    for (int i = 0; i < TINY_MAX_TOKENS; i++)
        t->next[i] = -1;
    for (size_t n; *script; script += n) {
        int32_t id = next_token(t, script, before, marks, &n);
        if (id < 0 || !follows(t, before, id))
            return false;
        before = id;
    }
    if (!follows(t, before, marks->end_turn))
        return false;
    if (marks->empty_line >= 0 && t->next[marks->empty_line] < 0)
        t->next[marks->empty_line] = t->next[marks->newline];
    return true;
}
