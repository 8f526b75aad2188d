/* jinja_run.c: the arena, the limits, and how an error leaves: the ground all other jinja files stand on. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/jinja_value.h"

#define MIN_BLOCK_BYTES ((size_t)16 << 10)
#define MAX_BLOCK_BYTES ((size_t)1 << 20)

struct jinja_block {
    struct jinja_block *next;
    size_t pad; /* keeps what follows 16-byte aligned */
};

static bool add_block(struct jinja_arena *arena, size_t n)
{
    size_t size = arena->size * 2;
    size = size < MIN_BLOCK_BYTES ? MIN_BLOCK_BYTES : size > MAX_BLOCK_BYTES ? MAX_BLOCK_BYTES : size;
    if (size < n)
        size = n;
    if (size > arena->max_bytes - arena->total_bytes)
        size = n;
    if (size > arena->max_bytes - arena->total_bytes) {
        arena->is_full = true;
        return false;
    }
    struct jinja_block *block = mem_alloc(sizeof *block + size, NULL);
    if (!block)
        return false;
    block->next = arena->blocks;
    arena->blocks = block;
    arena->used = 0;
    arena->size = size;
    arena->total_bytes += size;
    return true;
}

void *jinja_arena_alloc(struct jinja_arena *arena, size_t n)
{
    if (n > arena->max_bytes) {
        arena->is_full = true;
        return NULL;
    }
    n = n ? (n + 15) & ~(size_t)15 : 16;
    if (n > arena->size - arena->used && !add_block(arena, n))
        return NULL;
    void *p = (char *)(arena->blocks + 1) + arena->used;
    arena->used += n;
    return p;
}

void jinja_arena_fini(struct jinja_arena *arena)
{
    while (arena->blocks) {
        struct jinja_block *next = arena->blocks->next;
        mem_free(arena->blocks);
        arena->blocks = next;
    }
    *arena = (struct jinja_arena){0};
}

void jinja_fail(struct jinja_run *run, const char *format, ...)
{
    char text[400];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    err_set(run->err, ERR_RUNTIME, "line %u, column %u: %s", run->line, run->column, text);
    longjmp(run->jump, 1);
}

void jinja_fail_text(struct jinja_run *run, const char *text, size_t n)
{
    err_set(run->err, ERR_RUNTIME, "%.*s", n > 511 ? 511 : (int)n, text);
    longjmp(run->jump, 1);
}

void *jinja_alloc(struct jinja_run *run, size_t n)
{
    void *p = jinja_arena_alloc(run->arena, n);
    if (!p && run->arena->is_full)
        jinja_fail(run, "the template needs more memory than %zu MiB", run->arena->max_bytes >> 20);
    if (!p) {
        err_set(run->err, ERR_MEMORY, "line %u, column %u: there is no more memory for the template",
                run->line, run->column);
        longjmp(run->jump, 1);
    }
    return p;
}

void *jinja_alloc_array(struct jinja_run *run, size_t n, size_t item_bytes)
{
    size_t bytes;
    if (!mem_mul(n, item_bytes, &bytes))
        bytes = SIZE_MAX;
    return jinja_alloc(run, bytes);
}

void *jinja_grow(struct jinja_run *run, void *items, size_t n, size_t *cap, size_t item_bytes)
{
    if (n < *cap)
        return items;
    size_t more = *cap ? *cap * 2 : 4;
    void *copy = jinja_alloc_array(run, more, item_bytes);
    if (n)
        memcpy(copy, items, n * item_bytes);
    *cap = more;
    return copy;
}

void jinja_charge(struct jinja_run *run, size_t n_steps)
{
    if (n_steps > (size_t)(JINJA_MAX_STEPS - run->steps))
        jinja_fail(run, "the template takes more than %d steps; it may loop without end", JINJA_MAX_STEPS);
    run->steps += (long)n_steps;
}

void jinja_enter(struct jinja_run *run)
{
    if (++run->depth > JINJA_MAX_DEPTH)
        jinja_fail(run,
                   "maximum recursion depth exceeded: more than %d calls and expressions inside each other",
                   JINJA_MAX_DEPTH);
    jinja_charge(run, 1);
}

void jinja_leave(struct jinja_run *run)
{
    run->depth--;
}
