/* jinja_parse_expr.c: expressions, with the precedences of Jinja (not in all places those of Python). */
#include <stdlib.h>
#include <string.h>

#include "engine/jinja_ast.h"

/* ---- helpers of both parsers ---- */

struct jinja_node *jinja_node(struct jinja_parser *p, enum jinja_node_kind kind)
{
    struct jinja_node *node = jinja_alloc(p->run, sizeof *node);
    *node = (struct jinja_node){.kind = kind, .line = p->tok->line, .column = p->tok->column};
    return node;
}

void jinja_parser_enter(struct jinja_parser *p)
{
    p->run->line = p->tok->line;
    p->run->column = p->tok->column;
    if (++p->nesting > JINJA_MAX_NESTING)
        jinja_fail(p->run, "expressions or blocks are nested more than %d deep", JINJA_MAX_NESTING);
}

static bool is_text(const struct jinja_token *t, enum jinja_token_type type, const char *text)
{
    return t->type == type && t->n == strlen(text) && !memcmp(t->text, text, t->n);
}

bool jinja_at_op(const struct jinja_parser *p, const char *op)
{
    return is_text(p->tok, JINJA_TOK_OP, op);
}

bool jinja_at_name(const struct jinja_parser *p, const char *name)
{
    return is_text(p->tok, JINJA_TOK_NAME, name);
}

bool jinja_skip_op(struct jinja_parser *p, const char *op)
{
    bool hit = jinja_at_op(p, op);
    p->tok += hit;
    return hit;
}

bool jinja_skip_name(struct jinja_parser *p, const char *name)
{
    bool hit = jinja_at_name(p, name);
    p->tok += hit;
    return hit;
}

void jinja_unexpected(struct jinja_parser *p, const char *expected)
{
    static const char *const names[] = {"template data",
                                        "'{{'",
                                        "end of print statement",
                                        "'{%'",
                                        "end of statement block",
                                        "name",
                                        "string",
                                        "integer",
                                        "float",
                                        "operator",
                                        "end of template"};
    const struct jinja_token *t = p->tok;
    bool has_text = t->type == JINJA_TOK_NAME || t->type == JINJA_TOK_OP || t->type == JINJA_TOK_INT ||
                    t->type == JINJA_TOK_FLOAT;
    p->run->line = t->line;
    p->run->column = t->column;
    if (has_text)
        jinja_fail(p->run, "unexpected '%.*s', expected %s", t->n > 60 ? 60 : (int)t->n, t->text, expected);
    jinja_fail(p->run, "unexpected %s, expected %s", names[t->type], expected);
}

void jinja_expect_op(struct jinja_parser *p, const char *op)
{
    char text[8] = {'\'', op[0], '\''};
    if (!jinja_skip_op(p, op))
        jinja_unexpected(p, text);
}

bool jinja_more_items(struct jinja_parser *p, const struct jinja_node *first, const char *close)
{
    if (jinja_skip_op(p, close))
        return false;
    if (!first)
        return true;
    jinja_expect_op(p, ",");
    return !jinja_skip_op(p, close);
}

static unsigned bucket_of(const char *text, size_t n)
{
    unsigned hash = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (unsigned char)text[i]) * 16777619u;
    return hash % JINJA_NAME_BUCKETS;
}

/* One struct per name. */
static const struct jinja_str *intern(struct jinja_parser *p, const char *text, size_t n)
{
    struct jinja_name **bucket = &p->t->names[bucket_of(text, n)];
    size_t length = 0;
    for (struct jinja_name *name = *bucket; name; name = name->next, length++)
        if (name->str.n == n && !memcmp(name->str.data, text, n))
            return &name->str;
    jinja_charge(p->run, length / 4);
    struct jinja_name *name = jinja_alloc(p->run, sizeof *name);
    *name = (struct jinja_name){.str = {.data = text, .n = n}, .next = *bucket};
    *bucket = name;
    return &name->str;
}

const struct jinja_str *jinja_take_name(struct jinja_parser *p, const char *what)
{
    if (p->tok->type != JINJA_TOK_NAME)
        jinja_unexpected(p, what);
    const struct jinja_token *t = p->tok++;
    return intern(p, t->text, t->n);
}

/* ---- primaries ---- */

static struct jinja_node *constant(struct jinja_parser *p, struct jinja_value value)
{
    struct jinja_node *node = jinja_node(p, JINJA_CONST);
    node->value = value;
    p->tok++;
    return node;
}

static struct jinja_node *parse_string(struct jinja_parser *p)
{
    struct jinja_node *node = jinja_node(p, JINJA_CONST);
    struct jinja_buf text;
    jinja_buf_init(&text, p->run);
    for (; p->tok->type == JINJA_TOK_STRING; p->tok++)
        jinja_put(&text, p->tok->text, p->tok->n, false);
    node->value = jinja_buf_value(&text);
    return node;
}

static struct jinja_node *parse_name(struct jinja_parser *p)
{
    if (jinja_at_name(p, "true") || jinja_at_name(p, "True"))
        return constant(p, jinja_bool(true));
    if (jinja_at_name(p, "false") || jinja_at_name(p, "False"))
        return constant(p, jinja_bool(false));
    if (jinja_at_name(p, "none") || jinja_at_name(p, "None"))
        return constant(p, jinja_null());
    struct jinja_node *node = jinja_node(p, JINJA_NAME);
    node->name = jinja_take_name(p, "a name");
    p->uses |= jinja_str_is(node->name, "varargs")  ? JINJA_USES_VARARGS
               : jinja_str_is(node->name, "kwargs") ? JINJA_USES_KWARGS
                                                    : 0;
    return node;
}

static struct jinja_node *parse_list(struct jinja_parser *p)
{
    struct jinja_node *node = jinja_node(p, JINJA_LISTX), **end = &node->a;
    jinja_expect_op(p, "[");
    while (jinja_more_items(p, node->a, "]")) {
        *end = jinja_parse_expression(p);
        end = &(*end)->next;
    }
    return node;
}

static struct jinja_node *parse_dict(struct jinja_parser *p)
{
    struct jinja_node *node = jinja_node(p, JINJA_DICTX), **end = &node->a;
    jinja_expect_op(p, "{");
    while (jinja_more_items(p, node->a, "}")) {
        *end = jinja_parse_expression(p);
        jinja_expect_op(p, ":");
        (*end)->next = jinja_parse_expression(p);
        end = &(*end)->next->next;
    }
    return node;
}

static struct jinja_node *parse_primary(struct jinja_parser *p)
{
    switch (p->tok->type) {
    case JINJA_TOK_NAME:
        return parse_name(p);
    case JINJA_TOK_STRING:
        return parse_string(p);
    case JINJA_TOK_INT:
        return constant(p, jinja_int(p->tok->i));
    case JINJA_TOK_FLOAT:
        return constant(p, jinja_float(p->tok->f));
    default:
        break;
    }
    if (jinja_skip_op(p, "(")) {
        struct jinja_node *node = jinja_parse_tuple(p, true, ")");
        jinja_expect_op(p, ")");
        return node;
    }
    if (jinja_at_op(p, "["))
        return parse_list(p);
    if (jinja_at_op(p, "{"))
        return parse_dict(p);
    jinja_unexpected(p, "an expression");
}

/* ---- what follows a primary ---- */

static struct jinja_node *slice_part(struct jinja_parser *p)
{
    return jinja_at_op(p, ":") || jinja_at_op(p, "]") || jinja_at_op(p, ",") ? NULL
                                                                             : jinja_parse_expression(p);
}

/* One index or slice; of what, the caller fills in. */
static struct jinja_node *parse_index(struct jinja_parser *p)
{
    struct jinja_node *node = jinja_node(p, JINJA_ITEM);
    struct jinja_node *first = slice_part(p);
    if (!jinja_skip_op(p, ":")) {
        if (!first)
            jinja_unexpected(p, "an index");
        node->b = first;
        return node;
    }
    node->kind = JINJA_SLICE;
    node->b = first;
    node->c = slice_part(p);
    if (jinja_skip_op(p, ":"))
        node->d = slice_part(p);
    return node;
}

static struct jinja_node *parse_subscript(struct jinja_parser *p, struct jinja_node *of)
{
    struct jinja_node *node;
    if (jinja_skip_op(p, ".")) {
        if (p->tok->type == JINJA_TOK_INT) {
            node = jinja_node(p, JINJA_ITEM);
            node->b = constant(p, jinja_int(p->tok->i));
        } else {
            node = jinja_node(p, JINJA_ATTR);
            node->name = jinja_take_name(p, "a name or a number behind '.'");
        }
    } else {
        jinja_expect_op(p, "[");
        node = parse_index(p);
        if (jinja_at_op(p, ",") && node->kind == JINJA_ITEM) { /* x[a, b]: a tuple */
            struct jinja_node *tuple = jinja_node(p, JINJA_LISTX), **end = &node->b->next;
            tuple->op = 1;
            tuple->a = node->b;
            while (jinja_skip_op(p, ",") && !jinja_at_op(p, "]")) {
                *end = jinja_parse_expression(p);
                end = &(*end)->next;
            }
            node->b = tuple;
        }
        jinja_expect_op(p, "]");
    }
    node->a = of;
    return node;
}

/* "(" arguments ")": a list of JINJA_ARG. */
static struct jinja_node *parse_call_args(struct jinja_parser *p)
{
    struct jinja_node *list = NULL, **end = &list;
    jinja_expect_op(p, "(");
    while (jinja_more_items(p, list, ")")) {
        struct jinja_node *arg = jinja_node(p, JINJA_ARG);
        if (jinja_skip_op(p, "**")) {
            arg->op = 'd';
        } else if (jinja_skip_op(p, "*")) {
            arg->op = '*';
        } else if (p->tok->type == JINJA_TOK_NAME && is_text(p->tok + 1, JINJA_TOK_OP, "=")) {
            arg->name = jinja_take_name(p, "a name");
            p->tok++;
        }
        arg->a = jinja_parse_expression(p);
        *end = arg;
        end = &arg->next;
    }
    return list;
}

static struct jinja_node *parse_call(struct jinja_parser *p, struct jinja_node *of)
{
    struct jinja_node *node = jinja_node(p, JINJA_CALL);
    node->a = of;
    node->b = parse_call_args(p);
    return node;
}

static struct jinja_node *parse_postfix(struct jinja_parser *p, struct jinja_node *node)
{
    for (;;) {
        if (jinja_at_op(p, ".") || jinja_at_op(p, "["))
            node = parse_subscript(p, node);
        else if (jinja_at_op(p, "("))
            node = parse_call(p, node);
        else
            return node;
    }
}

/* A name with dots in it, as filters and tests may have. */
static const struct jinja_str *dotted_name(struct jinja_parser *p, const char *what)
{
    const struct jinja_token *first = p->tok;
    const struct jinja_str *name = jinja_take_name(p, what);
    while (jinja_at_op(p, ".") && p->tok[1].type == JINJA_TOK_NAME)
        p->tok += 2;
    return p->tok == first + 1
               ? name
               : intern(p, first->text, (size_t)(p->tok[-1].text + p->tok[-1].n - first->text));
}

static struct jinja_node *parse_filter(struct jinja_parser *p, struct jinja_node *of)
{
    struct jinja_node *node = jinja_node(p, JINJA_FILTER);
    node->a = of;
    node->name = dotted_name(p, "the name of a filter");
    node->fn = jinja_filter_find(node->name);
    if (jinja_at_op(p, "("))
        node->b = parse_call_args(p);
    return node;
}

struct jinja_node *jinja_parse_filters(struct jinja_parser *p, struct jinja_node *node, bool with_bar)
{
    if (!with_bar)
        node = parse_filter(p, node);
    while (jinja_skip_op(p, "|"))
        node = parse_filter(p, node);
    return node;
}

static bool at_test_argument(const struct jinja_parser *p)
{
    static const char *const others[] = {"else", "or", "and", "if", "in", "is", "not"};
    if (p->tok->type == JINJA_TOK_STRING || p->tok->type == JINJA_TOK_INT || p->tok->type == JINJA_TOK_FLOAT)
        return true;
    if (p->tok->type != JINJA_TOK_NAME)
        return jinja_at_op(p, "[") || jinja_at_op(p, "{");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (jinja_at_name(p, others[i]))
            return false;
    return true;
}

static struct jinja_node *parse_test(struct jinja_parser *p, struct jinja_node *of)
{
    struct jinja_node *node = jinja_node(p, JINJA_TEST);
    node->op = jinja_skip_name(p, "not");
    node->a = of;
    node->name = dotted_name(p, "the name of a test");
    node->fn = jinja_test_find(node->name);
    if (jinja_at_op(p, "(")) {
        node->b = parse_call_args(p);
    } else if (at_test_argument(p)) {
        node->b = jinja_node(p, JINJA_ARG);
        node->b->a = parse_postfix(p, parse_primary(p));
    }
    return node;
}

static struct jinja_node *parse_filters_and_tests(struct jinja_parser *p, struct jinja_node *node)
{
    for (;;) {
        if (jinja_skip_op(p, "|"))
            node = parse_filter(p, node);
        else if (jinja_skip_name(p, "is"))
            node = parse_test(p, node);
        else if (jinja_at_op(p, "("))
            node = parse_call(p, node);
        else
            return node;
    }
}

/* ---- operators, from the tightest ---- */

static struct jinja_node *parse_signed(struct jinja_parser *p, bool with_filters)
{
    jinja_parser_enter(p);
    struct jinja_node *node = jinja_node(p, JINJA_NEG);
    if (jinja_at_op(p, "-") || jinja_at_op(p, "+")) {
        node->kind = jinja_at_op(p, "-") ? JINJA_NEG : JINJA_POS;
        p->tok++;
        node->a = parse_signed(p, false);
    } else {
        node = parse_primary(p);
    }
    node = parse_postfix(p, node);
    if (with_filters)
        node = parse_filters_and_tests(p, node);
    p->nesting--;
    return node;
}

struct jinja_node *jinja_parse_unary(struct jinja_parser *p)
{
    return parse_signed(p, true);
}

static struct jinja_node *binary(struct jinja_parser *p, int op, struct jinja_node *a,
                                 struct jinja_node *(*next)(struct jinja_parser *))
{
    struct jinja_node *node = jinja_node(p, JINJA_ARITH);
    p->tok++;
    node->op = op;
    node->a = a;
    node->b = next(p);
    return node;
}

static struct jinja_node *parse_power(struct jinja_parser *p)
{
    struct jinja_node *node = jinja_parse_unary(p);
    while (jinja_at_op(p, "**"))
        node = binary(p, JINJA_POW, node, jinja_parse_unary);
    return node;
}

static struct jinja_node *parse_product(struct jinja_parser *p)
{
    struct jinja_node *node = parse_power(p);
    for (;;) {
        if (jinja_at_op(p, "*") || jinja_at_op(p, "/") || jinja_at_op(p, "%"))
            node = binary(p, p->tok->text[0], node, parse_power);
        else if (jinja_at_op(p, "//"))
            node = binary(p, JINJA_FLOORDIV, node, parse_power);
        else
            return node;
    }
}

static struct jinja_node *parse_concat(struct jinja_parser *p)
{
    struct jinja_node *node = parse_product(p);
    if (!jinja_at_op(p, "~"))
        return node;
    struct jinja_node *concat = jinja_node(p, JINJA_CONCAT), **end = &node->next;
    concat->a = node;
    while (jinja_skip_op(p, "~")) {
        *end = parse_product(p);
        end = &(*end)->next;
    }
    return concat;
}

static struct jinja_node *parse_sum(struct jinja_parser *p)
{
    struct jinja_node *node = parse_concat(p);
    while (jinja_at_op(p, "+") || jinja_at_op(p, "-"))
        node = binary(p, p->tok->text[0], node, parse_concat);
    return node;
}

static int comparison(struct jinja_parser *p)
{
    static const char *const ops[] = {[JINJA_EQ] = "==", [JINJA_NE] = "!=", [JINJA_LT] = "<",
                                      [JINJA_LE] = "<=", [JINJA_GT] = ">",  [JINJA_GE] = ">="};
    for (int i = JINJA_EQ; i <= JINJA_GE; i++)
        if (jinja_skip_op(p, ops[i]))
            return i;
    if (jinja_skip_name(p, "in"))
        return JINJA_IN;
    if (jinja_at_name(p, "not") && is_text(p->tok + 1, JINJA_TOK_NAME, "in")) {
        p->tok += 2;
        return JINJA_NOT_IN;
    }
    return 0;
}

static struct jinja_node *parse_comparison(struct jinja_parser *p)
{
    struct jinja_node *node = parse_sum(p), *compare = NULL, **end = NULL;
    struct jinja_node *arg = jinja_node(p, JINJA_ARG);
    for (int op; (op = comparison(p)) != 0; arg = jinja_node(p, JINJA_ARG)) {
        if (!compare) {
            compare = jinja_node(p, JINJA_COMPARE);
            compare->a = node;
            end = &compare->b;
        }
        arg->op = op;
        arg->a = parse_sum(p);
        *end = arg;
        end = &arg->next;
    }
    return compare ? compare : node;
}

static struct jinja_node *parse_not(struct jinja_parser *p)
{
    if (!jinja_at_name(p, "not"))
        return parse_comparison(p);
    jinja_parser_enter(p);
    struct jinja_node *node = jinja_node(p, JINJA_NOT);
    p->tok++;
    node->a = parse_not(p);
    p->nesting--;
    return node;
}

static struct jinja_node *parse_and(struct jinja_parser *p)
{
    struct jinja_node *node = parse_not(p);
    while (jinja_at_name(p, "and")) {
        struct jinja_node *both = jinja_node(p, JINJA_AND);
        p->tok++;
        both->a = node;
        both->b = parse_not(p);
        node = both;
    }
    return node;
}

static struct jinja_node *parse_or(struct jinja_parser *p)
{
    jinja_parser_enter(p);
    struct jinja_node *node = parse_and(p);
    while (jinja_at_name(p, "or")) {
        struct jinja_node *either = jinja_node(p, JINJA_OR);
        p->tok++;
        either->a = node;
        either->b = parse_and(p);
        node = either;
    }
    p->nesting--;
    return node;
}

struct jinja_node *jinja_parse_expression(struct jinja_parser *p)
{
    jinja_parser_enter(p);
    struct jinja_node *node = parse_or(p);
    while (jinja_at_name(p, "if")) {
        struct jinja_node *cond = jinja_node(p, JINJA_COND);
        p->tok++;
        cond->a = node;
        cond->b = parse_or(p);
        if (jinja_skip_name(p, "else"))
            cond->c = jinja_parse_expression(p);
        node = cond;
    }
    p->nesting--;
    return node;
}

/* ---- lists of expressions, and targets ---- */

static bool at_tuple_end(const struct jinja_parser *p, const char *end)
{
    return p->tok->type == JINJA_TOK_VAR_END || p->tok->type == JINJA_TOK_BLOCK_END || jinja_at_op(p, ")") ||
           (end && jinja_at_name(p, end));
}

struct jinja_node *jinja_parse_tuple(struct jinja_parser *p, bool with_cond, const char *end)
{
    struct jinja_node *tuple = jinja_node(p, JINJA_LISTX), **last = &tuple->a;
    bool is_tuple = false;
    tuple->op = 1;
    while (!at_tuple_end(p, end)) {
        *last = with_cond ? jinja_parse_expression(p) : parse_or(p);
        last = &(*last)->next;
        if (!jinja_skip_op(p, ","))
            break;
        is_tuple = true;
    }
    if (!tuple->a && !(end && end[0] == ')')) /* only () is an empty tuple */
        jinja_unexpected(p, "an expression");
    return is_tuple || !tuple->a ? tuple : tuple->a;
}

static struct jinja_node *target_item(struct jinja_parser *p)
{
    jinja_parser_enter(p);
    struct jinja_node *node;
    if (jinja_skip_op(p, "(")) {
        node = jinja_parse_target(p, NULL);
        jinja_expect_op(p, ")");
    } else if (jinja_at_op(p, "[")) {
        node = parse_list(p);
        node->op = 1;
    } else {
        node = jinja_node(p, JINJA_NAME);
        node->name = jinja_take_name(p, "a name to assign to");
        if (jinja_skip_op(p, ".")) {
            struct jinja_node *attr = jinja_node(p, JINJA_ATTR);
            attr->a = node;
            attr->name = jinja_take_name(p, "a name behind '.'");
            node = attr;
        }
    }
    p->nesting--;
    return node;
}

struct jinja_node *jinja_parse_target(struct jinja_parser *p, const char *end)
{
    struct jinja_node *tuple = jinja_node(p, JINJA_LISTX), **last = &tuple->a;
    bool is_tuple = false;
    tuple->op = 1;
    do {
        if (tuple->a && (at_tuple_end(p, end) || jinja_at_op(p, "=")))
            break;
        *last = target_item(p);
        last = &(*last)->next;
        is_tuple |= jinja_at_op(p, ",");
    } while (jinja_skip_op(p, ","));
    return is_tuple ? tuple : tuple->a;
}
