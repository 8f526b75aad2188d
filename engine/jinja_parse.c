/* jinja_parse.c: statements, and the template as a whole. */
#include <string.h>

#include "engine/base/mem.h"
#include "engine/jinja_ast.h"

static struct jinja_node *parse_body(struct jinja_parser *p, const char *const *ends, const char *opened);

static bool at_block_word(const struct jinja_parser *p, const char *word)
{
    const struct jinja_token *t = p->tok;
    return t->type == JINJA_TOK_BLOCK_BEGIN && t[1].type == JINJA_TOK_NAME && t[1].n == strlen(word) &&
           !memcmp(t[1].text, word, t[1].n);
}

static void block_end(struct jinja_parser *p)
{
    if (p->tok->type != JINJA_TOK_BLOCK_END)
        jinja_unexpected(p, "end of statement block");
    p->tok++;
}

/* Goes past "{% word", which the end of a body stands at. */
static void skip_word(struct jinja_parser *p)
{
    p->tok += 2;
}

/* The rest of a block tag, its body, and its end tag. */
static struct jinja_node *body_until(struct jinja_parser *p, const char *end, const char *opened)
{
    const char *const ends[] = {end, NULL};
    block_end(p);
    struct jinja_node *body = parse_body(p, ends, opened);
    skip_word(p);
    return body;
}

static struct jinja_node *parse_if(struct jinja_parser *p)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    static const char *const last_end[] = {"endif", NULL};
    struct jinja_node *first = jinja_node(p, JINJA_IF), *node = first;
    p->tok++;
    for (;;) {
        node->a = jinja_parse_tuple(p, true, NULL);
        block_end(p);
        node->b = parse_body(p, ends, "if");
        bool is_elif = at_block_word(p, "elif"), is_else = at_block_word(p, "else");
        skip_word(p);
        if (is_elif) {
            node = node->c = jinja_node(p, JINJA_IF);
            continue;
        }
        if (is_else) {
            block_end(p);
            node->c = parse_body(p, last_end, "if");
            skip_word(p);
        }
        block_end(p);
        return first;
    }
}

static struct jinja_node *parse_for(struct jinja_parser *p)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    static const char *const last_end[] = {"endfor", NULL};
    struct jinja_node *node = jinja_node(p, JINJA_FOR);
    p->tok++;
    node->a = jinja_parse_target(p, "in");
    if (!jinja_skip_name(p, "in"))
        jinja_unexpected(p, "'in'");
    node->b = jinja_parse_tuple(p, false, "recursive");
    if (jinja_skip_name(p, "if"))
        node->e = jinja_parse_expression(p);
    node->op = jinja_skip_name(p, "recursive");
    block_end(p);
    p->loops++;
    node->c = parse_body(p, ends, "for");
    p->loops--;
    bool is_else = at_block_word(p, "else");
    skip_word(p);
    if (is_else) {
        block_end(p);
        node->d = parse_body(p, last_end, "for");
        skip_word(p);
    }
    block_end(p);
    return node;
}

static struct jinja_node *parse_set(struct jinja_parser *p)
{
    struct jinja_node *node = jinja_node(p, JINJA_SET);
    p->tok++;
    node->a = jinja_parse_target(p, NULL);
    if (jinja_skip_op(p, "=")) {
        node->b = jinja_parse_tuple(p, true, NULL);
        block_end(p);
        return node;
    }
    node->kind = JINJA_SET_BLOCK;
    if (jinja_skip_op(p, "|"))
        node->c = jinja_parse_filters(p, NULL, false);
    node->b = body_until(p, "endset", "set");
    block_end(p);
    return node;
}

/* "(" name [= default] ... ")" */
static struct jinja_node *parse_parameters(struct jinja_parser *p)
{
    struct jinja_node *list = NULL, **end = &list;
    jinja_expect_op(p, "(");
    while (jinja_more_items(p, list, ")")) {
        struct jinja_node *param = jinja_node(p, JINJA_ARG);
        param->name = jinja_take_name(p, "the name of a parameter");
        if (jinja_skip_op(p, "="))
            param->a = jinja_parse_expression(p);
        *end = param;
        end = &param->next;
    }
    return list;
}

/* Body of a macro or caller; break and continue do not reach out of it. */
static void macro_body(struct jinja_parser *p, struct jinja_node *macro, const char *end, const char *opened)
{
    int loops = p->loops, uses = p->uses;
    p->loops = p->uses = 0;
    macro->b = body_until(p, end, opened);
    macro->op = p->uses;
    p->loops = loops;
    p->uses = uses;
}

static struct jinja_node *parse_macro(struct jinja_parser *p)
{
    struct jinja_node *node = jinja_node(p, JINJA_MACRO_DEF);
    p->tok++;
    node->name = jinja_take_name(p, "the name of a macro");
    node->a = parse_parameters(p);
    macro_body(p, node, "endmacro", "macro");
    if (p->tok->type == JINJA_TOK_NAME) /* {% endmacro name %} */
        p->tok++;
    block_end(p);
    return node;
}

static struct jinja_node *parse_call_block(struct jinja_parser *p)
{
    struct jinja_node *node = jinja_node(p, JINJA_CALL_BLOCK), *caller = jinja_node(p, JINJA_MACRO_DEF);
    p->tok++;
    if (jinja_at_op(p, "("))
        caller->a = parse_parameters(p);
    node->a = jinja_parse_unary(p);
    if (node->a->kind != JINJA_CALL)
        jinja_unexpected(p, "a call");
    macro_body(p, caller, "endcall", "call");
    node->b = caller;
    block_end(p);
    return node;
}

static struct jinja_node *parse_filter_block(struct jinja_parser *p)
{
    struct jinja_node *node = jinja_node(p, JINJA_FILTER_BLOCK);
    p->tok++;
    node->a = jinja_parse_filters(p, NULL, false);
    node->b = body_until(p, "endfilter", "filter");
    block_end(p);
    return node;
}

static struct jinja_node *parse_with(struct jinja_parser *p)
{
    struct jinja_node *node = jinja_node(p, JINJA_WITH), **target = &node->a, **value = &node->b;
    p->tok++;
    while (p->tok->type != JINJA_TOK_BLOCK_END) {
        if (node->a)
            jinja_expect_op(p, ",");
        *target = jinja_parse_target(p, NULL);
        jinja_expect_op(p, "=");
        *value = jinja_parse_expression(p);
        target = &(*target)->next;
        value = &(*value)->next;
    }
    node->c = body_until(p, "endwith", "with");
    block_end(p);
    return node;
}

static struct jinja_node *parse_print(struct jinja_parser *p)
{
    struct jinja_node *node = jinja_node(p, JINJA_PRINT);
    p->tok++;
    node->a = jinja_parse_tuple(p, true, NULL);
    block_end(p);
    return node;
}

/* Chat templates are no HTML: only `autoescape false` can be had. */
static void autoescape_argument(struct jinja_parser *p)
{
    const struct jinja_node *on = jinja_parse_expression(p);
    p->run->line = on->line;
    p->run->column = on->column;
    if (on->kind != JINJA_CONST || jinja_truth(on->value))
        jinja_fail(p->run, "autoescape can only be false here; the filter `e` escapes");
}

/* Blocks that only bound the life of what is set inside. */
static struct jinja_node *parse_scope(struct jinja_parser *p)
{
    struct jinja_node *node = jinja_node(p, JINJA_SCOPE);
    bool is_block = jinja_at_name(p, "block"), is_generation = jinja_at_name(p, "generation");
    p->tok++;
    if (is_block)
        jinja_take_name(p, "the name of a block");
    else if (!is_generation)
        autoescape_argument(p);
    node->b = body_until(p,
                         is_block        ? "endblock"
                         : is_generation ? "endgeneration"
                                         : "endautoescape",
                         is_block        ? "block"
                         : is_generation ? "generation"
                                         : "autoescape");
    if (is_block && p->tok->type == JINJA_TOK_NAME)
        p->tok++;
    block_end(p);
    return node;
}

static struct jinja_node *parse_jump(struct jinja_parser *p)
{
    struct jinja_node *node = jinja_node(p, jinja_at_name(p, "break") ? JINJA_BREAK : JINJA_CONTINUE);
    if (!p->loops)
        jinja_unexpected(p, "a for loop around it");
    p->tok++;
    block_end(p);
    return node;
}

static struct jinja_node *parse_statement(struct jinja_parser *p)
{
    static const struct {
        const char *word;
        struct jinja_node *(*parse)(struct jinja_parser *);
    } statements[] = {{"if", parse_if},
                      {"for", parse_for},
                      {"set", parse_set},
                      {"macro", parse_macro},
                      {"call", parse_call_block},
                      {"filter", parse_filter_block},
                      {"with", parse_with},
                      {"print", parse_print},
                      {"block", parse_scope},
                      {"generation", parse_scope},
                      {"autoescape", parse_scope},
                      {"break", parse_jump},
                      {"continue", parse_jump}};
    static const char *const files[] = {"include", "import", "from", "extends"};
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
        if (jinja_at_name(p, statements[i].word))
            return statements[i].parse(p);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (jinja_at_name(p, files[i]))
            jinja_unexpected(p, "no other files: chat templates stand alone");
    if (p->tok->type != JINJA_TOK_NAME)
        jinja_unexpected(p, "a statement");
    p->run->line = p->tok->line;
    p->run->column = p->tok->column;
    jinja_fail(p->run, "Encountered unknown tag '%.*s'", p->tok->n > 60 ? 60 : (int)p->tok->n, p->tok->text);
}

static struct jinja_node *parse_output(struct jinja_parser *p)
{
    if (p->tok->type == JINJA_TOK_DATA) {
        struct jinja_node *node = jinja_node(p, JINJA_DATA);
        node->value = jinja_str_n(p->run, p->tok->text, p->tok->n);
        p->tok++;
        return node;
    }
    struct jinja_node *node = jinja_node(p, JINJA_PRINT);
    p->tok++;
    node->a = jinja_parse_tuple(p, true, NULL);
    if (p->tok->type != JINJA_TOK_VAR_END)
        jinja_unexpected(p, "end of print statement");
    p->tok++;
    return node;
}

static bool at_an_end(const struct jinja_parser *p, const char *const *ends)
{
    for (; ends && *ends; ends++)
        if (at_block_word(p, *ends))
            return true;
    return false;
}

/* Statements up to one of the ends, which stays; ends NULL: to the end of the template. */
static struct jinja_node *parse_body(struct jinja_parser *p, const char *const *ends, const char *opened)
{
    struct jinja_node *list = NULL, **last = &list;
    unsigned line = p->tok->line;
    jinja_parser_enter(p);
    while (!at_an_end(p, ends)) {
        if (p->tok->type == JINJA_TOK_EOF) {
            if (!ends)
                break;
            p->run->line = p->tok->line;
            p->run->column = p->tok->column;
            jinja_fail(p->run, "unexpected end of template: '%s' of line %u is not closed", opened, line);
        }
        if (p->tok->type == JINJA_TOK_BLOCK_BEGIN) {
            p->tok++;
            *last = parse_statement(p);
        } else {
            *last = parse_output(p);
        }
        last = &(*last)->next;
    }
    p->nesting--;
    return list;
}

/* All line ends become "\n", and one at the very end goes, as Jinja does. */
static char *normal_source(struct jinja_run *run, const char *bytes, size_t n, size_t *out_n)
{
    char *s = jinja_alloc(run, n + 1);
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        bool is_cr = bytes[i] == '\r';
        if (is_cr && i + 1 < n && bytes[i + 1] == '\n')
            continue;
        s[k++] = is_cr ? '\n' : bytes[i];
    }
    if (k > 0 && s[k - 1] == '\n')
        k--;
    *out_n = k;
    return s;
}

static bool parse_all(struct jinja_run *run, struct jinja_template *t, const char *bytes, size_t n)
{
    if (setjmp(run->jump))
        return false;
    struct jinja_parser p = {.run = run, .t = t};
    t->source = normal_source(run, bytes, n, &t->n);
    p.tok = jinja_lex(run, t->source, t->n);
    t->body = parse_body(&p, NULL, "");
    return true;
}

struct jinja_template *jinja_parse(const char *bytes, size_t n, struct err *err)
{
    if (n > JINJA_MAX_TEMPLATE_BYTES) {
        err_set(err, ERR_RUNTIME, "the chat template has %zu bytes; at most %zu are read", n,
                JINJA_MAX_TEMPLATE_BYTES);
        return NULL;
    }
    struct jinja_template *t = mem_alloc(sizeof *t, err);
    struct jinja_run *run = mem_alloc(sizeof *run, err);
    bool ok = t && run;
    if (ok) {
        t->arena.max_bytes = JINJA_MAX_MEMORY_BYTES;
        run->arena = &t->arena;
        run->err = err;
        run->line = run->column = 1;
        ok = parse_all(run, t, bytes, n);
    }
    mem_free(run);
    if (!ok) {
        jinja_free(t);
        return NULL;
    }
    return t;
}

void jinja_free(struct jinja_template *t)
{
    if (!t)
        return;
    jinja_arena_fini(&t->arena);
    mem_free(t);
}

bool jinja_has_text(const struct jinja_template *t, const char *text)
{
    return memmem(t->source, t->n, text, strlen(text)) != NULL;
}
