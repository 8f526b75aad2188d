/* pretok.c owns the splitting and all use of PCRE2. */
#include "engine/pretok.h"

#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/pretok_table.h"

#define JIT_STACK_START_BYTES ((size_t)32 << 10)
#define JIT_STACK_MAX_BYTES ((size_t)8 << 20)

struct pretok {
    const struct pretok_row *row;
    size_t n_codes;
    pcre2_code *codes[PRETOK_MAX_STEPS];
    bool is_fast[PRETOK_MAX_STEPS]; /* compiled to machine code */
};

/* What a split hands down through its levels. */
struct split {
    const struct pretok *p;
    struct pretok_run *run;
    pretok_piece_fn *piece;
    void *context;
};

bool pretok_is_known(const char *name, size_t n)
{
    return pretok_table_find(name, n) != NULL;
}

bool pretok_ignores_merges(const struct pretok *p)
{
    return p->row->flags & PRETOK_IGNORES_MERGES;
}

bool pretok_adds_bos(const struct pretok *p)
{
    return p->row->flags & PRETOK_ADDS_BOS;
}

bool pretok_spells_characters(const struct pretok *p)
{
    return p->row->flags & PRETOK_WHOLE_CHARACTERS;
}

static void *pcre_alloc(size_t n_bytes, void *data)
{
    (void)data;
    return mem_alloc(n_bytes, NULL);
}

static void pcre_free(void *p, void *data)
{
    (void)data;
    mem_free(p);
}

static bool no_memory(struct err *err)
{
    return err_set(err, ERR_MEMORY, "out of memory while a pre-tokenizer was prepared; close other programs");
}

static bool compile(struct pretok *p, const char *pattern, pcre2_compile_context *context, struct err *err)
{
    int code;
    PCRE2_SIZE at;
    pcre2_code *compiled =
        pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &code, &at, context);
    if (!compiled) {
        if (code == PCRE2_ERROR_HEAP_FAILED)
            return no_memory(err);
        char text[128];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof text);
        return err_set(
            err, ERR_RUNTIME,
            "PCRE2 does not take the pre-tokenizer \"%s\" (%s at character %zu): this PCRE2 library is "
            "too old, install 10.40 or newer",
            p->row->name, text, (size_t)at);
    }
    /* Where the system forbids code made at run time, matching is slower and otherwise the same. */
    p->is_fast[p->n_codes] = pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE) == 0;
    p->codes[p->n_codes++] = compiled;
    return true;
}

struct pretok *pretok_new(const char *name, size_t n, struct err *err)
{
    const struct pretok_row *row = pretok_table_find(name, n);
    struct pretok *p = mem_alloc(sizeof *p, err);
    if (!p)
        return NULL;
    p->row = row ? row : pretok_table_find(PRETOK_FALLBACK, sizeof PRETOK_FALLBACK - 1);
    bool ok = false;
    pcre2_general_context *general = pcre2_general_context_create(pcre_alloc, pcre_free, NULL);
    pcre2_compile_context *context = general ? pcre2_compile_context_create(general) : NULL;
    if (!context) {
        no_memory(err);
        goto out;
    }
    ok = true;
    for (size_t i = 0; ok && i < PRETOK_MAX_STEPS && p->row->steps[i].pattern; i++)
        ok = compile(p, p->row->steps[i].pattern, context, err);
out:
    pcre2_compile_context_free(context);
    pcre2_general_context_free(general);
    if (!ok) {
        pretok_free(p);
        p = NULL;
    }
    return p;
}

void pretok_free(struct pretok *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n_codes; i++)
        pcre2_code_free(p->codes[i]);
    mem_free(p);
}

static bool run_init(struct pretok_run *run, struct err *err)
{
    if (run->match)
        return true;
    pcre2_general_context *general = pcre2_general_context_create(pcre_alloc, pcre_free, NULL);
    if (!general)
        return no_memory(err);
    run->context = pcre2_match_context_create(general);
    run->jit_stack = pcre2_jit_stack_create(JIT_STACK_START_BYTES, JIT_STACK_MAX_BYTES, general);
    run->match = pcre2_match_data_create(1, general);
    pcre2_general_context_free(general);
    if (!run->context || !run->match)
        return no_memory(err);
    /* Without a stack of its own (no memory, no JIT) PCRE2 uses 32 KiB of the thread's. */
    pcre2_jit_stack_assign(run->context, NULL, run->jit_stack);
    return true;
}

void pretok_run_fini(struct pretok_run *run)
{
    pcre2_match_data_free(run->match);
    pcre2_match_context_free(run->context);
    pcre2_jit_stack_free(run->jit_stack);
    memset(run, 0, sizeof *run);
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The end of the run of spaces, or of other text, that begins at from. */
static size_t run_end(const char *text, size_t n, size_t from)
{
    size_t i = from + 1;
    while (i < n && is_space(text[i]) == is_space(text[from]))
        i++;
    return i;
}

/* The next match of a step at or behind from. A refusal of PCRE2 yields a plain run; none yields false. */
static bool next_match(const struct split *s, size_t step, const char *text, size_t n, size_t from,
                       size_t *start, size_t *end)
{
    const pcre2_code *code = s->p->codes[step];
    pcre2_match_data *match = s->run->match;
    int rc = s->p->is_fast[step]
                 ? pcre2_jit_match(code, (PCRE2_SPTR)text, n, from, PCRE2_NOTEMPTY, match, s->run->context)
                 : pcre2_match(code, (PCRE2_SPTR)text, n, from, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, match,
                               s->run->context);
    if (rc == PCRE2_ERROR_NOMATCH)
        return false;
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(match);
    *start = rc < 0 ? from : at[0];
    *end = rc < 0 ? run_end(text, n, from) : at[1];
    return true;
}

static bool split_level(const struct split *s, size_t level, const char *text, size_t n, struct err *err);

static size_t count_characters(const char *text, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += ((unsigned char)text[i] & 0xC0) != 0x80;
    return count;
}

/* Cuts text[start..end) in front of every third character from its end. Passes on what is complete of
 * text[*done..end) and moves *done. */
static bool cut_threes(const struct split *s, size_t level, const char *text, size_t start, size_t end,
                       size_t *done, struct err *err)
{
    size_t left = count_characters(text + start, end - start);
    for (size_t i = start; i < end; i++) {
        if (((unsigned char)text[i] & 0xC0) == 0x80)
            continue;
        if (left-- % 3 != 0)
            continue;
        if (!split_level(s, level + 1, text + *done, i - *done, err))
            return false;
        *done = i;
    }
    return true;
}

/* Pieces of text (valid UTF-8) under the steps from `level` on: matches and what lies between them. */
static bool split_level(const struct split *s, size_t level, const char *text, size_t n, struct err *err)
{
    if (n == 0)
        return true;
    if (level == s->p->n_codes)
        return s->piece(s->context, text, n, err);
    enum pretok_step_kind kind = s->p->row->steps[level].kind;
    size_t done = 0, start, end = 0;
    while (end < n && next_match(s, level, text, n, end, &start, &end)) {
        bool isolated = kind != PRETOK_THREES_FROM_RIGHT;
        if (isolated && !split_level(s, level + 1, text + done, start - done, err))
            return false;
        done = isolated ? start : done;
        if (kind != PRETOK_ISOLATED && !cut_threes(s, level, text, start, end, &done, err))
            return false;
        if (isolated && !split_level(s, level + 1, text + done, end - done, err))
            return false;
        done = isolated ? end : done;
    }
    return split_level(s, level + 1, text + done, n - done, err);
}

/* The end of the run of well-formed (or ill-formed, see *valid) characters that begins at from. */
static size_t same_validity(const char *text, size_t n, size_t from, bool *valid)
{
    uint32_t c;
    size_t i = from + utf8_decode(text + from, n - from, &c, valid);
    while (i < n) {
        bool v;
        size_t used = utf8_decode(text + i, n - i, &c, &v);
        if (v != *valid)
            break;
        i += used;
    }
    return i;
}

bool pretok_split(const struct pretok *p, struct pretok_run *run, const char *text, size_t n,
                  pretok_piece_fn *piece, void *context, struct err *err)
{
    if (!run_init(run, err))
        return false;
    struct split s = {p, run, piece, context};
    for (size_t done = 0; done < n;) {
        bool valid;
        size_t end = same_validity(text, n, done, &valid);
        if (!(valid ? split_level(&s, 0, text + done, end - done, err)
                    : piece(context, text + done, end - done, err)))
            return false;
        done = end;
    }
    return true;
}
