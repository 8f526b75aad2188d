/* jinja_ast.h: the tokens and the tree. Both live in the template's arena and never change after jinja_parse.
 */
#ifndef FERRUM_JINJA_AST_H
#define FERRUM_JINJA_AST_H

#include "engine/jinja_value.h"

enum jinja_token_type {
    JINJA_TOK_DATA,
    JINJA_TOK_VAR_BEGIN,
    JINJA_TOK_VAR_END,
    JINJA_TOK_BLOCK_BEGIN,
    JINJA_TOK_BLOCK_END,
    JINJA_TOK_NAME,
    JINJA_TOK_STRING,
    JINJA_TOK_INT,
    JINJA_TOK_FLOAT,
    JINJA_TOK_OP,
    JINJA_TOK_EOF,
};
struct jinja_token {
    enum jinja_token_type type;
    unsigned line, column;
    const char *text; /* as written; a string's decoded bytes */
    size_t n;
    int64_t i;
    double f;
};
/* All tokens of source[0..n), the last one JINJA_TOK_EOF. The source must live as long as the template. */
struct jinja_token *jinja_lex(struct jinja_run *run, const char *source, size_t n);
/* Decodes the escapes of a string literal's inside. */
struct jinja_str *jinja_unescape(struct jinja_run *run, const char *s, size_t n);

enum jinja_node_kind {
    /* expressions */
    JINJA_CONST,   /* value */
    JINJA_NAME,    /* name */
    JINJA_LISTX,   /* a: items; op 1: a tuple */
    JINJA_DICTX,   /* a: key, value, key, value ... */
    JINJA_ATTR,    /* a, name */
    JINJA_ITEM,    /* a, b: index */
    JINJA_SLICE,   /* a; b, c, d: start, stop, step or NULL */
    JINJA_CALL,    /* a; b: arguments */
    JINJA_FILTER,  /* a (NULL in a filter block); name, fn; b: arguments */
    JINJA_TEST,    /* a; name, fn; b: arguments; op 1: negated */
    JINJA_ARG,     /* a; name: keyword; op '*' or 'd' (**): unpacked */
    JINJA_NEG,     /* a */
    JINJA_POS,     /* a */
    JINJA_ARITH,   /* a op b */
    JINJA_CONCAT,  /* a: items */
    JINJA_COMPARE, /* a; b: list of JINJA_ARG with op */
    JINJA_AND,
    JINJA_OR,
    JINJA_NOT,
    JINJA_COND, /* a if b else c (c may be NULL) */
    /* statements */
    JINJA_DATA,         /* value */
    JINJA_PRINT,        /* a */
    JINJA_IF,           /* a, b: body, c: else (an elif is a JINJA_IF there) */
    JINJA_FOR,          /* a: target, b: iterable, c: body, d: else, e: filter; op 1: recursive */
    JINJA_SET,          /* a: target, b: value */
    JINJA_SET_BLOCK,    /* a: target, b: body, c: filters */
    JINJA_MACRO_DEF,    /* name; a: parameters (JINJA_ARG with name, a: default); b: body; op: JINJA_USES_* */
    JINJA_CALL_BLOCK,   /* a: call; b: a JINJA_MACRO_DEF */
    JINJA_FILTER_BLOCK, /* a: filters; b: body */
    JINJA_WITH,         /* a: targets, b: values, c: body */
    JINJA_SCOPE,        /* b: body, in a frame of its own */
    JINJA_BREAK,
    JINJA_CONTINUE,
};
enum jinja_op {
    JINJA_EQ = 1,
    JINJA_NE,
    JINJA_LT,
    JINJA_LE,
    JINJA_GT,
    JINJA_GE,
    JINJA_IN,
    JINJA_NOT_IN,
    JINJA_FLOORDIV = '/' + 256,
    JINJA_POW = '*' + 256
};
#define JINJA_USES_VARARGS 1
#define JINJA_USES_KWARGS 2

struct jinja_node {
    enum jinja_node_kind kind;
    int op;
    unsigned line, column;
    const struct jinja_str *name;
    const struct jinja_builtin *fn;
    struct jinja_value value;
    struct jinja_node *a, *b, *c, *d, *e;
    struct jinja_node *next; /* in the list this node is an item of */
};

#define JINJA_NAME_BUCKETS 512
struct jinja_name {
    struct jinja_str str;
    struct jinja_name *next;
};
struct jinja_template {
    struct jinja_arena arena;
    const char *source;
    size_t n;
    struct jinja_node *body;
    struct jinja_name *names[JINJA_NAME_BUCKETS];
};

struct jinja_parser {
    struct jinja_run *run;
    struct jinja_template *t;
    struct jinja_token *tok; /* the current one */
    int nesting;
    int loops; /* how many for loops are around */
    int uses;  /* JINJA_USES_* of the macro around */
};
/* jinja_parse_expr.c */
struct jinja_node *jinja_parse_expression(struct jinja_parser *p);
/* Items separated by commas become a tuple; end: a word that ends it, or NULL. */
struct jinja_node *jinja_parse_tuple(struct jinja_parser *p, bool with_cond, const char *end);
struct jinja_node *jinja_parse_target(struct jinja_parser *p, const char *end);
struct jinja_node *jinja_parse_filters(struct jinja_parser *p, struct jinja_node *node, bool with_bar);
struct jinja_node *jinja_parse_unary(struct jinja_parser *p);
/* helpers of both */
struct jinja_node *jinja_node(struct jinja_parser *p, enum jinja_node_kind kind);
void jinja_parser_enter(struct jinja_parser *p);
bool jinja_at_op(const struct jinja_parser *p, const char *op);
bool jinja_at_name(const struct jinja_parser *p, const char *name);
bool jinja_skip_op(struct jinja_parser *p, const char *op);
bool jinja_skip_name(struct jinja_parser *p, const char *name);
void jinja_expect_op(struct jinja_parser *p, const char *op);
/* Whether another item of a list follows, whose first is there or NULL: takes the comma, and the bracket that
 * ends the list, before which a comma may stand. */
bool jinja_more_items(struct jinja_parser *p, const struct jinja_node *first, const char *close);
const struct jinja_str *jinja_take_name(struct jinja_parser *p, const char *what);
_Noreturn void jinja_unexpected(struct jinja_parser *p, const char *expected);

#endif
