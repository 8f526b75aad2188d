/* jinja_lex.c: source to tokens, with the white space rules of trim_blocks and lstrip_blocks. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/utf8.h"
#include "engine/jinja_ast.h"

#define MAX_BRACKETS 256

struct lexer {
    struct jinja_run *run;
    const char *s;
    size_t n, at;
    unsigned line;
    size_t line_start;
    struct jinja_token *tokens;
    size_t n_tokens, cap;
    char brackets[MAX_BRACKETS];
    int n_brackets;
};

static void set_place(struct lexer *x)
{
    x->run->line = x->line;
    x->run->column = (unsigned)(x->at - x->line_start) + 1;
}

static void move_to(struct lexer *x, size_t to)
{
    for (; x->at < to; x->at++)
        if (x->s[x->at] == '\n') {
            x->line++;
            x->line_start = x->at + 1;
        }
}

static struct jinja_token *emit(struct lexer *x, enum jinja_token_type type, size_t from, size_t to)
{
    x->tokens = jinja_grow(x->run, x->tokens, x->n_tokens, &x->cap, sizeof *x->tokens);
    struct jinja_token *t = &x->tokens[x->n_tokens++];
    *t = (struct jinja_token){.type = type, .line = x->line, .column = (unsigned)(x->at - x->line_start) + 1};
    t->text = x->s + from;
    t->n = to - from;
    return t;
}

static bool looking_at(const struct lexer *x, size_t at, const char *text)
{
    size_t n = strlen(text);
    return x->n - at >= n && !memcmp(x->s + at, text, n);
}

static size_t space_length(const struct lexer *x, size_t at)
{
    uint32_t cp;
    if (at >= x->n)
        return 0;
    size_t n = utf8_decode(x->s + at, x->n - at, &cp, NULL);
    return jinja_is_space(cp) ? n : 0;
}

static size_t skip_space(const struct lexer *x, size_t at)
{
    for (size_t n; (n = space_length(x, at)) > 0;)
        at += n;
    return at;
}

/* The end of text [from, to) without its white space. */
static size_t strip_end(const struct lexer *x, size_t from, size_t to)
{
    struct jinja_str s = {.data = x->s + from, .n = to - from};
    uint32_t cp;
    for (size_t n; s.n > 0 && (n = jinja_char_before(&s, s.n, &cp)) > 0 && jinja_is_space(cp);)
        s.n -= n;
    return from + s.n;
}

/* lstrip_blocks: white space between the start of a line and a block goes. */
static size_t strip_line(const struct lexer *x, size_t from, size_t to)
{
    size_t end = strip_end(x, from, to);
    for (size_t i = to; i > end; i--)
        if (x->s[i - 1] == '\n')
            return i;
    return end > from || (from > 0 && x->s[from - 1] != '\n') ? to : from;
}

/* Emits the text before a tag at `tag`, stripped as its sign says, and goes to the tag. */
static void text_before(struct lexer *x, size_t from, size_t tag)
{
    char sign = tag + 2 < x->n ? x->s[tag + 2] : 0;
    size_t end = tag;
    if (sign == '-')
        end = strip_end(x, from, tag);
    else if (sign != '+' && x->s[tag + 1] != '{')
        end = strip_line(x, from, tag);
    if (end > from)
        emit(x, JINJA_TOK_DATA, from, end);
    move_to(x, tag);
}

/* What closes a tag at `at`: "-%}", "+%}", "%}" with what it strips; 0 if nothing does. */
static size_t tag_end(const struct lexer *x, size_t at, const char *close)
{
    bool is_variable = close[0] == '}';
    if (at < x->n && x->s[at] == '-' && looking_at(x, at + 1, close))
        return skip_space(x, at + 3);
    if (!is_variable && at < x->n && x->s[at] == '+' && looking_at(x, at + 1, close))
        return at + 3;
    if (!looking_at(x, at, close))
        return 0;
    return at + 2 + (!is_variable && at + 2 < x->n && x->s[at + 2] == '\n');
}

static void lex_comment(struct lexer *x)
{
    set_place(x);
    size_t i = x->at + 2;
    if (i < x->n && (x->s[i] == '-' || x->s[i] == '+'))
        i++;
    for (; i < x->n; i++) {
        size_t end = tag_end(x, i, "#}");
        if (end) {
            move_to(x, end);
            return;
        }
    }
    jinja_fail(x->run, "missing end of comment tag: expected '#}'");
}

/* After "{%" and a sign: where the word ends, 0 if another word stands there. */
static size_t after_word(const struct lexer *x, size_t tag, const char *word)
{
    size_t i = tag + 2;
    if (i < x->n && (x->s[i] == '-' || x->s[i] == '+'))
        i++;
    i = skip_space(x, i);
    return looking_at(x, i, word) ? skip_space(x, i + strlen(word)) : 0;
}

static bool lex_raw(struct lexer *x)
{
    size_t i = after_word(x, x->at, "raw");
    if (!i || !(looking_at(x, i, "%}") || looking_at(x, i, "-%}")))
        return false;
    set_place(x);
    size_t from = x->s[i] == '-' ? skip_space(x, i + 3) : i + 2;
    move_to(x, from);
    for (size_t tag = from; tag < x->n; tag++) {
        if (!looking_at(x, tag, "{%"))
            continue;
        size_t word = after_word(x, tag, "endraw"), end = word ? tag_end(x, word, "%}") : 0;
        if (end) {
            text_before(x, from, tag);
            move_to(x, end);
            return true;
        }
    }
    jinja_fail(x->run, "missing end of raw directive: expected 'endraw'");
}

static bool is_word_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (c & 0x80);
}

static bool is_digit(const struct lexer *x, size_t at)
{
    return at < x->n && x->s[at] >= '0' && x->s[at] <= '9';
}

static size_t digits_end(const struct lexer *x, size_t at)
{
    while (is_digit(x, at) || (at < x->n && x->s[at] == '_' && is_digit(x, at + 1)))
        at++;
    return at;
}

/* The end of a float, or `end` of the integer when there is no point and no exponent. */
static size_t float_end(const struct lexer *x, size_t end)
{
    size_t i = end;
    if (i < x->n && x->s[i] == '.' && is_digit(x, i + 1))
        i = digits_end(x, i + 1);
    size_t e = i;
    if (e < x->n && (x->s[e] == 'e' || x->s[e] == 'E')) {
        e++;
        if (e < x->n && (x->s[e] == '+' || x->s[e] == '-'))
            e++;
        if (is_digit(x, e))
            i = digits_end(x, e);
    }
    return i;
}

static size_t copy_number(const struct lexer *x, size_t from, size_t to, char *out, size_t cap)
{
    size_t n = 0;
    for (size_t i = from; i < to && n + 1 < cap; i++)
        if (x->s[i] != '_')
            out[n++] = x->s[i];
    out[n] = 0;
    return n;
}

static void lex_number(struct lexer *x)
{
    size_t from = x->at, end = digits_end(x, from), start = from;
    int base = 10;
    char text[400], *rest;
    if (x->s[from] == '0' && from + 1 < x->n && strchr("xXoObB", x->s[from + 1])) {
        base = (x->s[from + 1] | 32) == 'x' ? 16 : (x->s[from + 1] | 32) == 'o' ? 8 : 2;
        start = from + 2;
        for (end = start; end < x->n && is_word_byte(x->s[end]);)
            end++;
    }
    size_t real = base == 10 && !(from > 0 && x->s[from - 1] == '.') ? float_end(x, end) : end;
    set_place(x);
    copy_number(x, start, real > end ? real : end, text, sizeof text);
    struct jinja_token *t =
        emit(x, real > end ? JINJA_TOK_FLOAT : JINJA_TOK_INT, from, real > end ? real : end);
    errno = 0;
    if (real > end)
        t->f = strtod(text, &rest);
    else
        t->i = strtoll(text, &rest, base);
    if (*rest || rest == text || (errno == ERANGE && real == end))
        jinja_fail(x->run, "'%.*s' is no number of 64 bits", (int)(t->n > 40 ? 40 : t->n), t->text);
    move_to(x, from + t->n);
}

static void lex_string(struct lexer *x)
{
    size_t from = x->at, i = from + 1;
    while (i < x->n && x->s[i] != x->s[from])
        i += x->s[i] == '\\' ? 2 : 1;
    set_place(x);
    if (i >= x->n)
        jinja_fail(x->run, "unexpected char %c: a string without its end", x->s[from]);
    struct jinja_token *t = emit(x, JINJA_TOK_STRING, from + 1, i);
    struct jinja_str *s = jinja_unescape(x->run, t->text, t->n);
    t->text = s->data;
    t->n = s->n;
    move_to(x, i + 1);
}

static void check_bracket(struct lexer *x, char c)
{
    set_place(x);
    if (c == '(' || c == '[' || c == '{') {
        if (x->n_brackets == MAX_BRACKETS)
            jinja_fail(x->run, "more than %d brackets inside each other", MAX_BRACKETS);
        x->brackets[x->n_brackets++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
        if (x->n_brackets == 0)
            jinja_fail(x->run, "unexpected '%c'", c);
        char expected = x->brackets[--x->n_brackets];
        if (expected != c)
            jinja_fail(x->run, "unexpected '%c', expected '%c'", c, expected);
    }
}

static void lex_operator(struct lexer *x)
{
    static const char *const operators[] = {"//", "**", "==", "!=", "<=", ">=", "+", "-", "/",
                                            "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                            "<",  ">",  "=",  ".",  ":",  "|",  ",", ";"};
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
        if (looking_at(x, x->at, operators[i])) {
            check_bracket(x, x->s[x->at]);
            emit(x, JINJA_TOK_OP, x->at, x->at + strlen(operators[i]));
            move_to(x, x->at + strlen(operators[i]));
            return;
        }
    set_place(x);
    unsigned char c = (unsigned char)x->s[x->at];
    if (c > 32 && c < 127)
        jinja_fail(x->run, "unexpected char '%c'", c);
    jinja_fail(x->run, "unexpected char 0x%02x", c);
}

static void lex_tag(struct lexer *x, enum jinja_token_type end_type, const char *close)
{
    x->n_brackets = 0;
    for (;;) {
        /* As in Jinja the end is looked for before anything else, but only outside brackets. */
        size_t end = x->n_brackets ? 0 : tag_end(x, x->at, close);
        if (end) {
            emit(x, end_type, x->at, end);
            move_to(x, end);
            return;
        }
        if (x->at >= x->n) {
            set_place(x);
            jinja_fail(x->run, "unexpected end of template, expected '%s'", close);
        }
        size_t space = skip_space(x, x->at);
        if (space > x->at)
            move_to(x, space);
        else if (is_digit(x, x->at))
            lex_number(x);
        else if (is_word_byte(x->s[x->at])) {
            size_t to = x->at;
            while (to < x->n && is_word_byte(x->s[to]))
                to++;
            emit(x, JINJA_TOK_NAME, x->at, to);
            move_to(x, to);
        } else if (x->s[x->at] == '\'' || x->s[x->at] == '"')
            lex_string(x);
        else
            lex_operator(x);
    }
}

static size_t find_tag(const struct lexer *x)
{
    for (size_t i = x->at; i + 1 < x->n; i++)
        if (x->s[i] == '{' && (x->s[i + 1] == '{' || x->s[i + 1] == '%' || x->s[i + 1] == '#'))
            return i;
    return x->n;
}

static void lex_one(struct lexer *x)
{
    size_t from = x->at, tag = find_tag(x);
    if (tag == x->n) {
        emit(x, JINJA_TOK_DATA, from, tag);
        move_to(x, tag);
        return;
    }
    text_before(x, from, tag);
    char kind = x->s[tag + 1];
    size_t inside = tag + 2 + (tag + 2 < x->n && (x->s[tag + 2] == '-' || x->s[tag + 2] == '+'));
    if (kind == '#') {
        lex_comment(x);
    } else if (kind == '{') {
        emit(x, JINJA_TOK_VAR_BEGIN, tag, inside);
        move_to(x, inside);
        lex_tag(x, JINJA_TOK_VAR_END, "}}");
    } else if (!lex_raw(x)) {
        emit(x, JINJA_TOK_BLOCK_BEGIN, tag, inside);
        move_to(x, inside);
        lex_tag(x, JINJA_TOK_BLOCK_END, "%}");
    }
}

struct jinja_token *jinja_lex(struct jinja_run *run, const char *source, size_t n)
{
    struct lexer x = {.run = run, .s = source, .n = n, .line = 1};
    while (x.at < n)
        lex_one(&x);
    emit(&x, JINJA_TOK_EOF, n, n);
    return x.tokens;
}
