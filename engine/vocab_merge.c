/* vocab_merge.c owns the merging loop: of all neighbours that form a token, join the pair that comes first,
 * again and again. SPM orders pairs by score, BPE by rank; both take the leftmost of equals.
 *
 * Symbols form a linked list, candidates a binary heap: O(n log n). An entry of the heap goes stale when one
 * of its symbols has grown; lengths only ever grow, so a differing sum tells. Every merge takes one entry out
 * and puts at most two in, so that 2 n entries always suffice. */
#include "engine/vocab_parts.h"

#include "engine/base/mem.h"
#include "engine/base/utf8.h"

/* Grows *items to hold n; doubles so that a row of longer and longer pieces stays linear. */
static bool grow(void **items, size_t *cap, size_t n, size_t item_bytes, struct err *err)
{
    if (n <= *cap)
        return true;
    size_t want = *cap < 64 ? 64 : *cap;
    while (want < n)
        want = want > SIZE_MAX / 2 ? n : want * 2;
    void *p = mem_resize(*items, want, item_bytes, err);
    if (!p)
        return false;
    *items = p;
    *cap = want;
    return true;
}

bool encoder_reserve_symbols(struct encoder *e, size_t n, struct err *err)
{
    if (n > INT32_MAX / 2)
        return err_set(
            err, ERR_MEMORY,
            "a stretch of %zu characters is too long to be tokenised at once; at most %d are possible: "
            "cut the text",
            n, INT32_MAX / 2);
    void *symbols = e->symbols, *heap = e->heap;
    bool ok = grow(&symbols, &e->cap_symbols, n, sizeof *e->symbols, err);
    e->symbols = symbols;
    ok = ok && grow(&heap, &e->cap_heap, 2 * n, sizeof *e->heap, err);
    e->heap = heap;
    return ok;
}

bool encoder_reserve_scratch(struct encoder *e, size_t n, struct err *err)
{
    void *scratch = e->scratch;
    bool ok = grow(&scratch, &e->cap_scratch, n, 1, err);
    e->scratch = scratch;
    return ok;
}

size_t encoder_take_characters(struct encoder *e, const char *text, size_t n)
{
    size_t count = 0;
    for (size_t at = 0; at < n; count++) {
        uint32_t code_point;
        size_t used = utf8_decode(text + at, n - at, &code_point, NULL);
        e->symbols[count] =
            (struct merge_symbol){(uint32_t)at, (uint32_t)used, vocab_table_find_text(e->v, text + at, used),
                                  (int32_t)count - 1, (int32_t)count + 1};
        at += used;
    }
    return count;
}

static void heap_push(struct encoder *e, struct merge_entry entry)
{
    size_t i = e->n_heap++;
    while (i > 0 && e->heap[(i - 1) / 2].key > entry.key) {
        e->heap[i] = e->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    e->heap[i] = entry;
}

static struct merge_entry heap_pop(struct encoder *e)
{
    struct merge_entry top = e->heap[0], last = e->heap[--e->n_heap];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < e->n_heap) {
        if (child + 1 < e->n_heap && e->heap[child + 1].key < e->heap[child].key)
            child++;
        if (last.key <= e->heap[child].key)
            break;
        e->heap[i] = e->heap[child];
        i = child;
    }
    e->heap[i] = last;
    return top;
}

static bool join(const struct encoder *e, const char *text, const struct merge_symbol *a,
                 const struct merge_symbol *b, uint32_t *order, int32_t *id)
{
    const struct vocab *v = e->v;
    if (v->family == FAMILY_BPE)
        return a->id >= 0 && b->id >= 0 && vocab_table_find_merge(v, a->id, b->id, order, id);
    *id = vocab_table_find_text(v, text + a->start, (size_t)a->n + b->n);
    if (*id >= 0)
        *order = v->tokens[*id].order;
    return *id >= 0;
}

static void consider(struct encoder *e, const char *text, int32_t left)
{
    if (left < 0 || e->symbols[left].next < 0)
        return;
    const struct merge_symbol *a = &e->symbols[left], *b = &e->symbols[a->next];
    uint32_t order;
    int32_t id;
    if (join(e, text, a, b, &order, &id))
        heap_push(e, (struct merge_entry){(uint64_t)order << 32 | (uint32_t)left, a->n + b->n, id});
}

void encoder_merge(struct encoder *e, const char *text, size_t n)
{
    e->n_heap = 0;
    for (size_t i = 0; i + 1 < n; i++)
        consider(e, text, (int32_t)i);
    while (e->n_heap > 0) {
        struct merge_entry entry = heap_pop(e);
        int32_t left = (int32_t)(uint32_t)entry.key;
        struct merge_symbol *a = &e->symbols[left];
        if (a->n == 0 || a->next < 0 || a->n + e->symbols[a->next].n != entry.n)
            continue;
        struct merge_symbol *b = &e->symbols[a->next];
        a->n = entry.n;
        a->id = entry.id;
        a->next = b->next;
        b->n = 0;
        if (b->next >= 0)
            e->symbols[b->next].prev = left;
        consider(e, text, a->prev);
        consider(e, text, left);
    }
}
