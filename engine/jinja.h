/* jinja.h: chat templates: the Jinja language as transformers configures it (immutable sandbox, trim_blocks,
 * lstrip_blocks, loop controls, the generation tag, tojson without HTML escapes, raise_exception,
 * strftime_now).
 *
 * Source of the language: the Jinja 3.1 documentation and the Python semantics it stands on.
 * Templates are untrusted: size, nesting, steps, memory and output are bounded (limits below), there is no
 * way to a file, and include, import and extends are errors.
 *
 * Provenance: every string remembers which of its bytes came from input (jinja_string_input) and which from
 * the template or the program; all operations carry that along, and where it cannot be told, the bytes count
 * as input. So only text of the template itself may become special tokens.
 *
 * Ownership: a template is its own; values live in a struct jinja_vars and die with it. Thread rule: a
 * template is immutable, any number of threads may render it; a struct jinja_vars belongs to one thread.
 * Errors: ERR_RUNTIME with line and column (bytes, from 1) of the template, its limits among them, or
 * ERR_MEMORY when there is no memory; raise_exception
 * gives exactly its text. Strings are UTF-8; lengths and indices inside templates count code points. */
#ifndef FERRUM_JINJA_H
#define FERRUM_JINJA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "engine/base/err.h"

#define JINJA_MAX_TEMPLATE_BYTES ((size_t)4 << 20)
#define JINJA_MAX_OUTPUT_BYTES ((size_t)64 << 20)
#define JINJA_MAX_MEMORY_BYTES ((size_t)512 << 20)
#define JINJA_MAX_STEPS 10000000
#define JINJA_MAX_NESTING 150 /* of the parser: expressions in expressions, blocks in blocks */
#define JINJA_MAX_DEPTH 1000  /* of the evaluation: nested expressions, statements and calls together */

struct jinja_template;
struct jinja_vars;

/* A value of the language. To be made with the functions below; the fields are for the interpreter alone. */
struct jinja_value {
    int type;
    union {
        bool b;
        int64_t i;
        double f;
        struct jinja_str *s;
        struct jinja_list *l;
        struct jinja_dict *d;
        struct jinja_undef *u;
        struct jinja_loop *loop;
        struct jinja_macro *macro;
        struct jinja_method *method;
        struct jinja_cycler *cycler;
        const struct jinja_builtin *fn;
    } as;
};

/* Parses bytes[0..n), which need not outlive the call. NULL: *err says line, column, what was found. */
struct jinja_template *jinja_parse(const char *bytes, size_t n, struct err *err);
void jinja_free(struct jinja_template *t);

/* The variables of one rendering. Constructors never fail visibly: when memory is short the set is marked,
 * and jinja_render reports it. */
struct jinja_vars *jinja_vars_new(struct err *err);
void jinja_vars_free(struct jinja_vars *vars);
void jinja_vars_set(struct jinja_vars *vars, const char *name, struct jinja_value value);

struct jinja_value jinja_null(void);
struct jinja_value jinja_bool(bool b);
struct jinja_value jinja_int(int64_t i);
struct jinja_value jinja_float(double f);
/* Text of a user, a model or a tool: it stays text. The bytes are copied. */
struct jinja_value jinja_string_input(struct jinja_vars *vars, const char *bytes, size_t n);
/* Text of the program (BOS spelling, role words): it may become special tokens. */
struct jinja_value jinja_string_trusted(struct jinja_vars *vars, const char *bytes, size_t n);
struct jinja_value jinja_list(struct jinja_vars *vars);
void jinja_list_add(struct jinja_vars *vars, struct jinja_value list, struct jinja_value item);
struct jinja_value jinja_dict(struct jinja_vars *vars);
/* Keys keep their order; a key given again keeps its first place. Keys count as input. */
void jinja_dict_add(struct jinja_vars *vars, struct jinja_value dict, const char *key, size_t n,
                    struct jinja_value value);

/* bytes[start..start+n) of the result; the runs follow each other without gaps. */
struct jtext_run {
    size_t start, n;
    bool is_input;
};
struct jinja_text {
    char *bytes; /* NUL-terminated behind n */
    size_t n;
    struct jtext_run *runs;
    size_t n_runs;
    long n_steps; /* what the rendering cost, of JINJA_MAX_STEPS */
};

/* Renders. now: the time of strftime_now, NULL for the present. The values of vars may have been changed by
 * the template afterwards: one set of variables per rendering. *out is to be given to jinja_text_fini in any
 * case. */
bool jinja_render(const struct jinja_template *t, struct jinja_vars *vars, const struct tm *now,
                  struct jinja_text *out, struct err *err);
void jinja_text_fini(struct jinja_text *text);

/* Whether the template's source contains these bytes ("<think>"). */
bool jinja_has_text(const struct jinja_template *t, const char *text);

#endif
