/* jinja_tests.c: what can stand behind `is`. */
#include "engine/jinja_value.h"

enum {
    IS_DEFINED,
    IS_UNDEFINED,
    IS_NONE,
    IS_STRING,
    IS_NUMBER,
    IS_INTEGER,
    IS_FLOAT,
    IS_BOOLEAN,
    IS_TRUE,
    IS_FALSE,
    IS_MAPPING,
    IS_SEQUENCE,
    IS_ITERABLE,
    IS_CALLABLE,
    IS_ESCAPED
};

static bool is_sequence(struct jinja_value v)
{
    return v.type == JINJA_STRING || v.type == JINJA_DICT || v.type == JINJA_UNDEFINED ||
           (v.type == JINJA_LIST && v.as.l->kind <= JINJA_KIND_RANGE);
}

static struct jinja_value is_kind(struct jinja_call *c)
{
    struct jinja_value v = c->self;
    switch (c->aux) {
    case IS_DEFINED:
        return jinja_bool(v.type != JINJA_UNDEFINED);
    case IS_UNDEFINED:
        return jinja_bool(v.type == JINJA_UNDEFINED);
    case IS_NONE:
        return jinja_bool(v.type == JINJA_NONE);
    case IS_STRING:
        return jinja_bool(v.type == JINJA_STRING);
    case IS_NUMBER:
        return jinja_bool(jinja_is_number(v));
    case IS_INTEGER:
        return jinja_bool(v.type == JINJA_INT);
    case IS_FLOAT:
        return jinja_bool(v.type == JINJA_FLOAT);
    case IS_BOOLEAN:
        return jinja_bool(v.type == JINJA_BOOL);
    case IS_TRUE:
        return jinja_bool(v.type == JINJA_BOOL && v.as.b);
    case IS_FALSE:
        return jinja_bool(v.type == JINJA_BOOL && !v.as.b);
    case IS_MAPPING:
        return jinja_bool(v.type == JINJA_DICT);
    case IS_SEQUENCE:
        return jinja_bool(is_sequence(v));
    case IS_ITERABLE:
        return jinja_bool(is_sequence(v) || v.type == JINJA_LIST || v.type == JINJA_LOOP);
    case IS_CALLABLE:
        return jinja_bool(v.type == JINJA_MACRO || v.type == JINJA_BUILTIN || v.type == JINJA_METHOD ||
                          v.type == JINJA_JOINER || v.type == JINJA_UNDEFINED);
    default:
        return jinja_bool(v.type == JINJA_STRING && v.as.s->is_safe);
    }
}

static struct jinja_value is_eq(struct jinja_call *c)
{
    return jinja_bool(jinja_equal(c->run, c->self, c->a[0]));
}

static struct jinja_value is_ne(struct jinja_call *c)
{
    return jinja_bool(!jinja_equal(c->run, c->self, c->a[0]));
}

static struct jinja_value is_lt(struct jinja_call *c)
{
    return jinja_bool(jinja_order(c->run, c->self, c->a[0]) < 0);
}

static struct jinja_value is_le(struct jinja_call *c)
{
    return jinja_bool(jinja_order(c->run, c->self, c->a[0]) <= 0);
}

static struct jinja_value is_gt(struct jinja_call *c)
{
    return jinja_bool(jinja_order(c->run, c->self, c->a[0]) > 0);
}

static struct jinja_value is_ge(struct jinja_call *c)
{
    return jinja_bool(jinja_order(c->run, c->self, c->a[0]) >= 0);
}

static struct jinja_value is_in(struct jinja_call *c)
{
    return jinja_bool(jinja_contains(c->run, c->self, c->a[0]));
}

static struct jinja_value is_same(struct jinja_call *c)
{
    struct jinja_value a = c->self, b = c->a[0];
    if (a.type != b.type)
        return jinja_bool(false);
    if (a.type == JINJA_LIST || a.type == JINJA_DICT || a.type == JINJA_NAMESPACE)
        return jinja_bool(a.as.l == b.as.l);
    return jinja_bool(jinja_equal(c->run, a, b));
}

static int64_t remainder_of(struct jinja_call *c, int64_t n)
{
    if (c->self.type == JINJA_UNDEFINED)
        jinja_fail_undefined(c->run, c->self);
    if (!jinja_is_integer(c->self))
        jinja_fail(c->run, "not all arguments converted: %s where an integer is expected",
                   jinja_type_name(c->self));
    if (n == 0)
        jinja_fail(c->run, "integer division or modulo by zero");
    return n == -1 ? 0 : jinja_as_int(c->self) % n;
}

static struct jinja_value is_odd(struct jinja_call *c)
{
    return jinja_bool(remainder_of(c, 2) != 0);
}

static struct jinja_value is_even(struct jinja_call *c)
{
    return jinja_bool(remainder_of(c, 2) == 0);
}

static struct jinja_value is_divisible(struct jinja_call *c)
{
    return jinja_bool(remainder_of(c, jinja_arg_int(c, 0, 0)) == 0);
}

static struct jinja_value is_cased(struct jinja_call *c, enum jinja_case how)
{
    const struct jinja_str *s = jinja_to_string(c->run, c->self).as.s;
    bool same = jinja_str_equal(s, jinja_change_case(c->run, s, how).as.s);
    return jinja_bool(
        same && !jinja_str_equal(
                    s, jinja_change_case(c->run, s, how == JINJA_UPPER ? JINJA_LOWER : JINJA_UPPER).as.s));
}

static struct jinja_value is_lower(struct jinja_call *c)
{
    return is_cased(c, JINJA_LOWER);
}

static struct jinja_value is_upper(struct jinja_call *c)
{
    return is_cased(c, JINJA_UPPER);
}

static struct jinja_value is_filter(struct jinja_call *c)
{
    return jinja_bool(c->self.type == JINJA_STRING && jinja_filter_find(c->self.as.s));
}

static struct jinja_value is_test(struct jinja_call *c)
{
    return jinja_bool(c->self.type == JINJA_STRING && jinja_test_find(c->self.as.s));
}

const struct jinja_builtin *jinja_test_find(const struct jinja_str *name)
{
    static const struct jinja_builtin tests[] = {
        {"defined", "", is_kind, IS_DEFINED},
        {"undefined", "", is_kind, IS_UNDEFINED},
        {"none", "", is_kind, IS_NONE},
        {"string", "", is_kind, IS_STRING},
        {"number", "", is_kind, IS_NUMBER},
        {"integer", "", is_kind, IS_INTEGER},
        {"float", "", is_kind, IS_FLOAT},
        {"boolean", "", is_kind, IS_BOOLEAN},
        {"true", "", is_kind, IS_TRUE},
        {"false", "", is_kind, IS_FALSE},
        {"mapping", "", is_kind, IS_MAPPING},
        {"sequence", "", is_kind, IS_SEQUENCE},
        {"iterable", "", is_kind, IS_ITERABLE},
        {"callable", "", is_kind, IS_CALLABLE},
        {"escaped", "", is_kind, IS_ESCAPED},
        {"eq", "other|", is_eq, 0},
        {"equalto", "other|", is_eq, 0},
        {"==", "other|", is_eq, 0},
        {"ne", "other|", is_ne, 0},
        {"!=", "other|", is_ne, 0},
        {"lt", "other|", is_lt, 0},
        {"lessthan", "other|", is_lt, 0},
        {"<", "other|", is_lt, 0},
        {"le", "other|", is_le, 0},
        {"<=", "other|", is_le, 0},
        {"gt", "other|", is_gt, 0},
        {"greaterthan", "other|", is_gt, 0},
        {">", "other|", is_gt, 0},
        {"ge", "other|", is_ge, 0},
        {">=", "other|", is_ge, 0},
        {"in", "seq|", is_in, 0},
        {"sameas", "other|", is_same, 0},
        {"odd", "", is_odd, 0},
        {"even", "", is_even, 0},
        {"divisibleby", "num|", is_divisible, 0},
        {"lower", "", is_lower, 0},
        {"upper", "", is_upper, 0},
        {"filter", "", is_filter, 0},
        {"test", "", is_test, 0},
    };
    return jinja_find_in(tests, sizeof tests / sizeof *tests, name);
}
