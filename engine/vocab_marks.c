/* vocab_marks.c owns the search for tokens spelled out in a text: special ones and those a model's maker
 * defined. */
#include "engine/vocab_parts.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/jinja.h"

/* Longer spellings are never looked for: no real one comes near, and the search stays linear whatever a file
 * says. */
#define MAX_MARK_BYTES 256

static bool is_mark(const struct vocab_token *t, bool special)
{
    if (t->n_spelling == 0 || t->n_spelling > MAX_MARK_BYTES)
        return false;
    if (t->flags & TOKEN_FLAG_SPECIAL)
        return special;
    return t->type == TOKEN_USER_DEFINED;
}

static int compare_spellings(const void *a, const void *b, void *vocab)
{
    const struct vocab *v = vocab;
    const struct vocab_token *x = &v->tokens[*(const int32_t *)a], *y = &v->tokens[*(const int32_t *)b];
    size_t n = x->n_spelling < y->n_spelling ? x->n_spelling : y->n_spelling;
    int order = memcmp(v->arena + x->spelling, v->arena + y->spelling, n);
    if (order == 0)
        order = (x->n_spelling > y->n_spelling) - (x->n_spelling < y->n_spelling);
    return order;
}

static bool build_list(struct vocab *v, struct mark_list *list, bool special, struct err *err)
{
    size_t n = 0;
    for (size_t id = 0; id < v->n_tokens; id++)
        n += is_mark(&v->tokens[id], special);
    list->ids = mem_array(n, sizeof *list->ids, err);
    if (!list->ids)
        return false;
    for (size_t id = 0; id < v->n_tokens; id++) {
        const struct vocab_token *t = &v->tokens[id];
        /* Of several with one spelling only the one the table finds. */
        if (!is_mark(t, special) || vocab_table_find(v, v->arena + t->spelling, t->n_spelling) != (int32_t)id)
            continue;
        list->ids[list->n++] = (int32_t)id;
        list->first[(unsigned char)v->arena[t->spelling]] = true;
    }
    qsort_r(list->ids, list->n, sizeof *list->ids, compare_spellings, v);
    return true;
}

bool vocab_marks_build(struct vocab *v, struct err *err)
{
    return build_list(v, &v->marks_typed, false, err) && build_list(v, &v->marks_special, true, err);
}

/* The first of ids[low..high) whose byte at depth is at least b; all share the bytes before depth. */
static size_t lower_bound(const struct vocab *v, const struct mark_list *marks, size_t low, size_t high,
                          size_t depth, unsigned b)
{
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct vocab_token *t = &v->tokens[marks->ids[mid]];
        if (t->n_spelling <= depth || (unsigned char)v->arena[t->spelling + depth] < b)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* The longest mark that begins at text, -1 if none does: narrows the sorted list byte by byte. */
static int32_t longest_at(const struct vocab *v, const struct mark_list *marks, const char *text, size_t n)
{
    size_t low = 0, high = marks->n;
    int32_t found = -1;
    for (size_t depth = 0; depth < n && low < high; depth++) {
        unsigned b = (unsigned char)text[depth];
        low = lower_bound(v, marks, low, high, depth, b);
        high = lower_bound(v, marks, low, high, depth, b + 1);
        /* A spelling that ends here sorts before those it begins. */
        if (low < high && v->tokens[marks->ids[low]].n_spelling == depth + 1)
            found = marks->ids[low];
    }
    return found;
}

static bool scan_plain(const struct mark_scan *s, size_t from, size_t *at, int32_t *id)
{
    for (size_t i = from; i < s->n; i++) {
        if (!s->marks->first[(unsigned char)s->text[i]])
            continue;
        *id = longest_at(s->v, s->marks, s->text + i, s->n - i);
        *at = i;
        if (*id >= 0)
            return true;
    }
    return false;
}

/* Bytes of the template's own text from place i on. */
static size_t n_own_at(struct mark_scan *s, size_t i)
{
    while (s->run < s->n_runs && s->runs[s->run].start + s->runs[s->run].n <= i)
        s->run++;
    if (s->own_end > i)
        return s->own_end - i;
    if (s->run == s->n_runs || s->runs[s->run].is_input)
        return 0;
    for (size_t k = s->run; k < s->n_runs && !s->runs[k].is_input; k++)
        s->own_end = s->runs[k].start + s->runs[k].n;
    return s->own_end - i;
}

bool vocab_marks_scan(struct mark_scan *s, size_t from, size_t *at, int32_t *id)
{
    const struct mark_list *special = &s->v->marks_special, *typed = &s->v->marks_typed;
    if (!s->runs)
        return scan_plain(s, from, at, id);
    for (size_t i = from; i < s->n; i++) {
        unsigned char c = (unsigned char)s->text[i];
        if (!special->first[c] && !typed->first[c])
            continue;
        int32_t own = longest_at(s->v, special, s->text + i, n_own_at(s, i));
        int32_t any = longest_at(s->v, typed, s->text + i, s->n - i);
        bool is_own = own >= 0 && (any < 0 || s->v->tokens[own].n_spelling >= s->v->tokens[any].n_spelling);
        *id = is_own ? own : any;
        *at = i;
        if (*id >= 0)
            return true;
    }
    return false;
}
