/* jinja_value.h: what the files of the interpreter share: arena, values, strings with marks, the run.
 *
 * Invariants:
 * 1. Everything lives in an arena; nothing is freed before the whole arena is. An error therefore leaves by
 * longjmp to the one setjmp of jinja_parse or jinja_render, from any depth, and leaks nothing. No function
 * here returns an error.
 * 2. Strings are immutable and may share bytes. Their spans are sorted, disjoint and inside [0, n).
 * 3. Values of a template (constants) are never changed by a run: lists and dicts are made anew by every
 * evaluation.
 * 4. Work that grows with data is charged (jinja_charge), so that the step limit bounds time.
 * Single thread per run. Private to engine/jinja*.c. */
#ifndef FERRUM_JINJA_VALUE_H
#define FERRUM_JINJA_VALUE_H

#include <locale.h>
#include <setjmp.h>

#include "engine/jinja.h"

enum jinja_type {
    JINJA_UNDEFINED,
    JINJA_NONE,
    JINJA_BOOL,
    JINJA_INT,
    JINJA_FLOAT,
    JINJA_STRING,
    JINJA_LIST,
    JINJA_DICT,
    JINJA_NAMESPACE, /* as.d */
    JINJA_LOOP,
    JINJA_MACRO,
    JINJA_BUILTIN,
    JINJA_METHOD,
    JINJA_CYCLER,
    JINJA_JOINER,  /* as.cycler */
    JINJA_MISSING, /* an argument that was not given; never seen by templates */
};

struct jinja_span {
    size_t at, n;
};
struct jinja_str {
    const char *data;
    size_t n;
    const struct jinja_span *spans; /* the bytes that came from input */
    size_t n_spans;
    bool is_safe; /* Markup: `+` escapes what is joined to it */
};

#define JINJA_GROUP "group"
enum jinja_kind {
    JINJA_KIND_LIST,
    JINJA_KIND_TUPLE,
    JINJA_KIND_RANGE,
    JINJA_KIND_GENERATOR,
    JINJA_KIND_VIEW
};
struct jinja_list {
    enum jinja_kind kind;
    struct jinja_value *items;
    size_t n, cap;
    const char *view_name; /* of a view: dict_keys ...; JINJA_GROUP of a pair made by groupby, else NULL */
    int64_t range[3];      /* of a range */
};

struct jinja_pair {
    struct jinja_value key, value;
};
struct jinja_dict {
    struct jinja_pair *pairs;
    size_t n, cap;
};

struct jinja_undef {
    const char *owner; /* "dict object"; NULL: a variable */
    struct jinja_value name;
    const char *hint; /* the whole text, when not NULL */
};

struct jinja_method {
    const struct jinja_builtin *fn;
    struct jinja_value self;
};

struct jinja_cycler { /* also the joiner: items[0] is its separator */
    struct jinja_list *items;
    size_t at;
};

struct jinja_var {
    const struct jinja_str *name;
    struct jinja_value value;
    struct jinja_var *next;
};
struct jinja_frame {
    struct jinja_frame *parent;
    struct jinja_var *vars;
};

struct jinja_node;
struct jinja_macro {
    const struct jinja_node *node;
    struct jinja_frame *closure;
};

struct jinja_loop {
    struct jinja_value *items;
    size_t n, index;
    int depth;
    const struct jinja_node *node; /* of a recursive loop, else NULL */
    struct jinja_frame *frame;     /* outside the loop */
    struct jinja_value changed;    /* arguments of the last changed() */
};

/* ---- arena ---- */

struct jinja_arena {
    struct jinja_block *blocks;
    size_t used, size; /* of the first block */
    size_t total_bytes, max_bytes;
    bool is_full; /* an allocation went over max_bytes: no lack of memory */
};
/* 16-byte aligned, zeroed; NULL when memory or the limit is out. */
void *jinja_arena_alloc(struct jinja_arena *arena, size_t n);
void jinja_arena_fini(struct jinja_arena *arena);

/* ---- the run: of the parser too ---- */

struct jinja_buf;
struct jinja_run {
    struct jinja_arena *arena;
    jmp_buf jump;
    struct err *err;
    unsigned line, column; /* what is being looked at, for messages */
    long steps;
    int depth;
    struct jinja_vars *vars;
    struct jinja_frame *frame;
    struct jinja_buf *out;
    const struct tm *now;
    locale_t locale; /* C.UTF-8 for letters, 0 until needed */
};

struct jinja_vars {
    struct jinja_arena arena;
    struct jinja_dict globals;
    bool failed;
};

/* Leaves the run with "line L, column C: text". */
_Noreturn __attribute__((format(printf, 2, 3))) void jinja_fail(struct jinja_run *run, const char *format,
                                                                ...);
/* Leaves the run with exactly this text. */
_Noreturn void jinja_fail_text(struct jinja_run *run, const char *text, size_t n);
void *jinja_alloc(struct jinja_run *run, size_t n);
void *jinja_alloc_array(struct jinja_run *run, size_t n, size_t item_bytes);
/* items, or a copy of its n items with more room, so that one more fits. */
void *jinja_grow(struct jinja_run *run, void *items, size_t n, size_t *cap, size_t item_bytes);
void jinja_charge(struct jinja_run *run, size_t n_steps);
void jinja_enter(struct jinja_run *run);
void jinja_leave(struct jinja_run *run);

/* ---- strings (jinja_string.c) ---- */

/* What one step pays for, so that the step limit is well below a second or two of work: bytes that are looked
 * at one by one, and bytes that are copied or compared as blocks. */
#define JINJA_CHARS_PER_STEP 8
#define JINJA_BYTES_PER_STEP 64

/* A growing string with its marks. */
struct jinja_buf {
    struct jinja_run *run;
    char *data;
    size_t n, cap;
    struct jinja_span *spans;
    size_t n_spans, cap_spans;
    size_t max_bytes; /* 0: only the arena bounds it */
};
void jinja_buf_init(struct jinja_buf *buf, struct jinja_run *run);
void jinja_put(struct jinja_buf *buf, const char *bytes, size_t n, bool is_input);
void jinja_puts(struct jinja_buf *buf, const char *text); /* of the program */
void jinja_put_str(struct jinja_buf *buf, const struct jinja_str *s);
void jinja_put_part(struct jinja_buf *buf, const struct jinja_str *s, size_t from, size_t to); /* bytes */
struct jinja_value jinja_buf_value(struct jinja_buf *buf);

struct jinja_value jinja_str(struct jinja_run *run, const char *text); /* of the program; not copied */
struct jinja_value jinja_str_n(struct jinja_run *run, const char *text, size_t n);
struct jinja_value jinja_part(struct jinja_run *run, const struct jinja_str *s, size_t from,
                              size_t to); /* shares the bytes */
bool jinja_is_input_at(const struct jinja_str *s, size_t at);
bool jinja_str_is(const struct jinja_str *s, const char *text);
bool jinja_str_equal(const struct jinja_str *a, const struct jinja_str *b);
int jinja_str_compare(const struct jinja_str *a, const struct jinja_str *b); /* by code points, as Python */
size_t jinja_str_length(struct jinja_run *run, const struct jinja_str *s);   /* code points */
/* Byte offset of code point i; n when behind the end. */
size_t jinja_str_offset(struct jinja_run *run, const struct jinja_str *s, size_t i);
/* Where needle is in s from byte `from`; SIZE_MAX when it is not. */
size_t jinja_str_find(struct jinja_run *run, const struct jinja_str *s, size_t from,
                      const struct jinja_str *needle);
/* Searches one string from the right for one needle, in time linear in both. */
struct jinja_search {
    struct jinja_run *run;
    const struct jinja_str *s, *needle;
    uint32_t *borders; /* per length of a suffix of the needle: the longest shorter one it begins with */
};
struct jinja_search jinja_search_right(struct jinja_run *run, const struct jinja_str *s,
                                       const struct jinja_str *needle);
/* The last hit inside [0, end); SIZE_MAX when there is none. */
size_t jinja_search_last(const struct jinja_search *search, size_t end);
size_t jinja_char_at(const struct jinja_str *s, size_t at, uint32_t *cp); /* its bytes */
size_t jinja_char_before(const struct jinja_str *s, size_t end, uint32_t *cp);
bool jinja_is_space(uint32_t cp);
/* jinja_letters.c: kinds of characters, as Python sorts them. */
bool jinja_is_printable(struct jinja_run *run, uint32_t cp);
bool jinja_is_alpha(struct jinja_run *run, uint32_t cp);
bool jinja_is_decimal(uint32_t cp);
bool jinja_is_digit(uint32_t cp);
bool jinja_is_numeric(uint32_t cp);
struct jinja_value jinja_concat(struct jinja_run *run, const struct jinja_str *a, const struct jinja_str *b);
struct jinja_value jinja_escape(struct jinja_run *run, const struct jinja_str *s);
locale_t jinja_locale(struct jinja_run *run);
void jinja_put_char_like(struct jinja_buf *buf, uint32_t cp, const struct jinja_str *s, size_t at);

enum jinja_case {
    JINJA_UPPER,
    JINJA_LOWER,
    JINJA_TITLE,
    JINJA_CAPITALIZE,
    JINJA_SWAPCASE,
    JINJA_CASEFOLD,
    JINJA_UPPER_FIRST /* the title filter's: the first as upper has it, the others lower */
};
struct jinja_value jinja_change_case(struct jinja_run *run, const struct jinja_str *s, enum jinja_case how);
#define JINJA_STRIP_LEFT 1
#define JINJA_STRIP_RIGHT 2
/* chars NULL: white space. */
struct jinja_value jinja_strip(struct jinja_run *run, const struct jinja_str *s,
                               const struct jinja_str *chars, int sides);
struct jinja_value jinja_replace(struct jinja_run *run, const struct jinja_str *s,
                                 const struct jinja_str *from, const struct jinja_str *to, int64_t max);

/* ---- values (jinja_value.c) ---- */

struct jinja_value jinja_undefined(struct jinja_run *run, const char *owner, struct jinja_value name);
struct jinja_value jinja_undefined_hint(struct jinja_run *run, const char *hint);
_Noreturn void jinja_fail_undefined(struct jinja_run *run, struct jinja_value v);
struct jinja_value jinja_missing(void);
struct jinja_list *jinja_list_new(struct jinja_run *run, enum jinja_kind kind, size_t cap);
void jinja_list_append(struct jinja_run *run, struct jinja_list *list, struct jinja_value item);
struct jinja_value jinja_list_value(struct jinja_list *list);
struct jinja_dict *jinja_dict_new(struct jinja_run *run);
struct jinja_value *jinja_dict_find(struct jinja_run *run, const struct jinja_dict *d,
                                    struct jinja_value key); /* NULL: none */
struct jinja_value *jinja_dict_find_text(const struct jinja_dict *d, const char *key, size_t n);
void jinja_dict_set(struct jinja_run *run, struct jinja_dict *d, struct jinja_value key,
                    struct jinja_value value);
/* A generator of the pairs of a dict. */
struct jinja_value jinja_dict_pairs(struct jinja_run *run, const struct jinja_dict *d);
struct jinja_value jinja_pair(struct jinja_run *run, struct jinja_value a,
                              struct jinja_value b); /* a tuple */
bool jinja_truth(struct jinja_value v);
bool jinja_is_number(struct jinja_value v);  /* bool, int, float */
bool jinja_is_integer(struct jinja_value v); /* bool, int */
int64_t jinja_as_int(struct jinja_value v);
double jinja_as_float(struct jinja_value v);
bool jinja_equal(struct jinja_run *run, struct jinja_value a, struct jinja_value b);
bool jinja_less(struct jinja_run *run, struct jinja_value a,
                struct jinja_value b); /* an error for what Python cannot order */
int jinja_order(struct jinja_run *run, struct jinja_value a, struct jinja_value b);
bool jinja_contains(struct jinja_run *run, struct jinja_value item, struct jinja_value container);
const char *jinja_type_name(struct jinja_value v);   /* as Python's type(v).__name__ */
const char *jinja_object_name(struct jinja_value v); /* "dict object", "None" */
/* The items of anything iterable; uses up a generator. The result is not to be changed. */
struct jinja_list *jinja_iterate(struct jinja_run *run, struct jinja_value v);
struct jinja_list *jinja_copy_items(struct jinja_run *run, struct jinja_value v, enum jinja_kind kind);
bool jinja_length(struct jinja_run *run, struct jinja_value v, size_t *n); /* false: has none */

/* ---- text forms (jinja_text.c, jinja_json.c) ---- */

void jinja_put_value(struct jinja_buf *buf, struct jinja_value v); /* str(v) */
void jinja_put_repr(struct jinja_buf *buf, struct jinja_value v);
void jinja_put_ascii(struct jinja_buf *buf, const struct jinja_str *s); /* escapes what is not ASCII */
struct jinja_value jinja_to_string(struct jinja_run *run, struct jinja_value v); /* a JINJA_STRING */
size_t jinja_float_text(double f, char out[40]);
/* str.split: sep NULL: white space; max < 0: no limit. */
struct jinja_value jinja_split(struct jinja_run *run, const struct jinja_str *s, const struct jinja_str *sep,
                               int64_t max, bool from_right);
struct jinja_list *jinja_split_lines(struct jinja_run *run, const struct jinja_str *s, bool keep_ends);
struct jinja_value jinja_join(struct jinja_run *run, const struct jinja_str *glue,
                              const struct jinja_list *items, bool only_strings);
struct jinja_value jinja_to_json(struct jinja_run *run, struct jinja_value v, struct jinja_value indent,
                                 struct jinja_value separators, bool sort_keys, bool ascii);
/* "%..." % args (a tuple, a dict or one value), and "{}".format(...) */
struct jinja_args;
struct jinja_value jinja_format_percent(struct jinja_run *run, const struct jinja_str *format,
                                        struct jinja_value args);
struct jinja_value jinja_format_braces(struct jinja_run *run, const struct jinja_str *format,
                                       const struct jinja_args *args);

/* ---- calls (jinja_call.c) ---- */

struct jinja_keyword {
    const struct jinja_str *name;
    struct jinja_value value;
};
struct jinja_args {
    struct jinja_value *items;
    size_t n;
    struct jinja_keyword *keywords;
    size_t n_keywords;
};

#define JINJA_MAX_PARAMS 8
struct jinja_call {
    struct jinja_run *run;
    struct jinja_value self;                /* what is filtered, tested, or whose method it is */
    struct jinja_value a[JINJA_MAX_PARAMS]; /* by parameter; JINJA_MISSING if not given */
    const struct jinja_args *args;          /* as written */
    int aux;                                /* of the table's row */
};
/* params: names separated by spaces; those before '|' are required; "*" takes anything into args. */
struct jinja_builtin {
    const char *name, *params;
    struct jinja_value (*fn)(struct jinja_call *call);
    int aux; /* for tables in which one function serves several names */
};
struct jinja_value jinja_call_builtin(struct jinja_run *run, const struct jinja_builtin *fn,
                                      struct jinja_value self, const struct jinja_args *args);
struct jinja_value jinja_call_value(struct jinja_run *run, struct jinja_value callee,
                                    const struct jinja_args *args);
const struct jinja_value *jinja_keyword(const struct jinja_args *args, const char *name);
const struct jinja_value *jinja_keyword_for(struct jinja_run *run, const struct jinja_args *args,
                                            const struct jinja_str *name);
int64_t jinja_arg_int(struct jinja_call *c, int i, int64_t fallback); /* missing or None: the fallback */
const struct jinja_str *jinja_arg_str(struct jinja_call *c, int i);   /* must be a string */
bool jinja_arg_bool(struct jinja_call *c, int i, bool fallback);
bool jinja_given(struct jinja_call *c, int i); /* neither missing nor None */

const struct jinja_builtin *jinja_filter_find(const struct jinja_str *name);
const struct jinja_builtin *jinja_test_find(const struct jinja_str *name);
const struct jinja_builtin *jinja_global_find(const struct jinja_str *name);
/* Whether that is a method which changes what it belongs to: the sandbox has no such. */
bool jinja_is_refused(struct jinja_value self, const struct jinja_str *name);
/* The method of that name, or NULL. */
const struct jinja_builtin *jinja_method_find(struct jinja_value self, const struct jinja_str *name);
const struct jinja_builtin *jinja_str_method_find(const struct jinja_str *name);
const struct jinja_builtin *jinja_find_in(const struct jinja_builtin *table, size_t n,
                                          const struct jinja_str *name);
const struct jinja_builtin *jinja_text_filter_find(const struct jinja_str *name);

/* ---- evaluation ---- */

struct jinja_value jinja_get_attr(struct jinja_run *run, struct jinja_value v, const struct jinja_str *name);
struct jinja_value jinja_get_item(struct jinja_run *run, struct jinja_value v, struct jinja_value key);
struct jinja_value jinja_get_slice(struct jinja_run *run, struct jinja_value v, struct jinja_value start,
                                   struct jinja_value stop, struct jinja_value step);
struct jinja_value jinja_arith(struct jinja_run *run, int op, struct jinja_value a, struct jinja_value b);
struct jinja_value jinja_negate(struct jinja_run *run, struct jinja_value v);
struct jinja_value jinja_eval(struct jinja_run *run, const struct jinja_node *node);
void jinja_eval_args(struct jinja_run *run, const struct jinja_node *list, struct jinja_args *out,
                     int n_more_keywords);
struct jinja_value jinja_lookup(struct jinja_run *run, const struct jinja_str *name);
void jinja_define(struct jinja_run *run, const struct jinja_str *name, struct jinja_value value);
struct jinja_value jinja_capture(struct jinja_run *run,
                                 const struct jinja_node *list); /* in the frame that is current */
struct jinja_value jinja_loop_again(struct jinja_run *run, struct jinja_loop *loop, struct jinja_value items);
struct jinja_value jinja_loop_attr(struct jinja_run *run, struct jinja_loop *loop,
                                   const struct jinja_str *name);
struct jinja_frame *jinja_push_frame(struct jinja_run *run,
                                     struct jinja_frame *parent); /* returns the old one */

#endif
