/* jinja_arith.c: + - * / // % ** on numbers, strings and lists. Integers have 64 bits; what does not fit is
 * an error, never a wrong number. */
#include <math.h>
#include <string.h>

#include "engine/jinja_ast.h"

_Noreturn static void unsupported(struct jinja_run *run, int op, struct jinja_value a, struct jinja_value b)
{
    if (a.type == JINJA_UNDEFINED)
        jinja_fail_undefined(run, a);
    if (b.type == JINJA_UNDEFINED)
        jinja_fail_undefined(run, b);
    if (op == '+' && (a.type == JINJA_STRING || (a.type == JINJA_LIST && a.as.l->kind <= JINJA_KIND_TUPLE)))
        jinja_fail(run, "can only concatenate %s (not \"%s\") to %s", jinja_type_name(a), jinja_type_name(b),
                   jinja_type_name(a));
    jinja_fail(run, "unsupported operand type(s) for %c%s: '%s' and '%s'", op & 255,
               op == JINJA_POW        ? "* or pow()"
               : op == JINJA_FLOORDIV ? "/"
                                      : "",
               jinja_type_name(a), jinja_type_name(b));
}

_Noreturn static void overflow(struct jinja_run *run)
{
    jinja_fail(run, "an integer does not fit 64 bits: from -2**63 to 2**63-1 is possible");
}

static int64_t floor_div(int64_t a, int64_t b)
{
    int64_t q = a / b;
    return q - ((a % b != 0) && ((a < 0) != (b < 0)));
}

static double float_power(struct jinja_run *run, double a, double b)
{
    if (a == 0 && b < 0)
        jinja_fail(run, "0.0 cannot be raised to a negative power");
    if (a < 0 && isfinite(a) && isfinite(b) && b != floor(b))
        jinja_fail(run, "a negative number to a fractional power is a complex number, which templates lack");
    double r = pow(a, b);
    if (isinf(r) && isfinite(a) && isfinite(b))
        jinja_fail(run, "(34, 'Numerical result out of range')");
    return r;
}

static struct jinja_value power(struct jinja_run *run, int64_t base, int64_t exponent)
{
    int64_t result = 1;
    if (exponent < 0)
        return jinja_float(float_power(run, (double)base, (double)exponent));
    if (base == 0 || base == 1 || base == -1)
        return jinja_int(exponent == 0 ? 1 : base == -1 && exponent % 2 == 0 ? 1 : base);
    for (; exponent > 0; exponent--)
        if (__builtin_mul_overflow(result, base, &result))
            overflow(run);
    return jinja_int(result);
}

static struct jinja_value integers(struct jinja_run *run, int op, int64_t a, int64_t b)
{
    int64_t r = 0;
    bool bad = false;
    if ((op == '/' || op == '%' || op == JINJA_FLOORDIV) && b == 0)
        jinja_fail(run, op == '/' ? "division by zero" : "integer division or modulo by zero");
    switch (op) {
    case '+':
        bad = __builtin_add_overflow(a, b, &r);
        break;
    case '-':
        bad = __builtin_sub_overflow(a, b, &r);
        break;
    case '*':
        bad = __builtin_mul_overflow(a, b, &r);
        break;
    case '/':
        return jinja_float((double)a / (double)b);
    case JINJA_FLOORDIV:
        bad = b == -1 && a == INT64_MIN;
        r = bad ? 0 : floor_div(a, b);
        break;
    case '%':
        r = b == -1 ? 0 : a - floor_div(a, b) * b;
        break;
    default:
        return power(run, a, b);
    }
    if (bad)
        overflow(run);
    return jinja_int(r);
}

static double float_mod(double a, double b)
{
    double m = fmod(a, b);
    return m != 0 && (m < 0) != (b < 0) ? m + b : m;
}

static struct jinja_value floats(struct jinja_run *run, int op, double a, double b)
{
    if (op == JINJA_POW)
        return jinja_float(float_power(run, a, b));
    if ((op == '/' || op == '%' || op == JINJA_FLOORDIV) && b == 0)
        jinja_fail(run, op == '/' ? "float division by zero" : "float floor division by zero");
    switch (op) {
    case '+':
        return jinja_float(a + b);
    case '-':
        return jinja_float(a - b);
    case '*':
        return jinja_float(a * b);
    case '/':
        return jinja_float(a / b);
    case JINJA_FLOORDIV:
        return jinja_float(floor(a / b));
    default:
        return jinja_float(float_mod(a, b));
    }
}

static struct jinja_value repeat_string(struct jinja_run *run, const struct jinja_str *s, int64_t times)
{
    struct jinja_buf out;
    jinja_buf_init(&out, run);
    for (; s->n > 0 && times > 0; times--) {
        jinja_put_str(&out, s);
        jinja_charge(run, 1);
    }
    return jinja_buf_value(&out);
}

static struct jinja_value repeat_list(struct jinja_run *run, const struct jinja_list *from, int64_t times)
{
    struct jinja_list *list = jinja_list_new(run, from->kind, 0);
    for (; from->n > 0 && times > 0; times--)
        for (size_t i = 0; i < from->n; i++) {
            jinja_list_append(run, list, from->items[i]);
            jinja_charge(run, 1);
        }
    return jinja_list_value(list);
}

static struct jinja_value join_lists(struct jinja_run *run, const struct jinja_list *a,
                                     const struct jinja_list *b)
{
    struct jinja_list *list = jinja_list_new(run, a->kind, a->n + b->n);
    jinja_charge(run, (a->n + b->n) / 4);
    if (a->n)
        memcpy(list->items, a->items, a->n * sizeof *a->items);
    if (b->n)
        memcpy(list->items + a->n, b->items, b->n * sizeof *b->items);
    list->n = a->n + b->n;
    return jinja_list_value(list);
}

static bool is_sequence(struct jinja_value v)
{
    return v.type == JINJA_LIST && v.as.l->kind <= JINJA_KIND_TUPLE;
}

struct jinja_value jinja_arith(struct jinja_run *run, int op, struct jinja_value a, struct jinja_value b)
{
    if (jinja_is_integer(a) && jinja_is_integer(b))
        return integers(run, op, jinja_as_int(a), jinja_as_int(b));
    if (jinja_is_number(a) && jinja_is_number(b))
        return floats(run, op, jinja_as_float(a), jinja_as_float(b));
    if (op == '+' && a.type == JINJA_STRING && b.type == JINJA_STRING)
        return jinja_concat(run, a.as.s, b.as.s);
    if (op == '+' && is_sequence(a) && is_sequence(b) && a.as.l->kind == b.as.l->kind)
        return join_lists(run, a.as.l, b.as.l);
    if (op == '%' && a.type == JINJA_STRING)
        return jinja_format_percent(run, a.as.s, b);
    if (op == '*' && jinja_is_integer(a)) {
        struct jinja_value other = a;
        a = b;
        b = other;
    }
    if (op == '*' && jinja_is_integer(b) && a.type == JINJA_STRING)
        return repeat_string(run, a.as.s, jinja_as_int(b));
    if (op == '*' && jinja_is_integer(b) && is_sequence(a))
        return repeat_list(run, a.as.l, jinja_as_int(b));
    unsupported(run, op, a, b);
}

struct jinja_value jinja_negate(struct jinja_run *run, struct jinja_value v)
{
    if (jinja_is_integer(v)) {
        if (jinja_as_int(v) == INT64_MIN)
            overflow(run);
        return jinja_int(-jinja_as_int(v));
    }
    if (v.type == JINJA_FLOAT)
        return jinja_float(-v.as.f);
    if (v.type == JINJA_UNDEFINED)
        jinja_fail_undefined(run, v);
    jinja_fail(run, "bad operand type for unary -: '%s'", jinja_type_name(v));
}
