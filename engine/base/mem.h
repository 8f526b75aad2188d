/* mem.h: every allocation of the program, and the arithmetic of sizes that come from files.
 *
 * Two kinds. Fallible (mem_alloc, mem_array, mem_resize, mem_map): for sizes that depend on a file, a model
 * or a user; the caller gets NULL and an ERR_MEMORY text. Needed (mem_need...): small fixed things; when even
 * they fail the out-of-memory handler runs (it gives the terminal back) and the process ends with code 4.
 * Memory is zeroed. mem_free takes NULL.
 *
 * Test seams: mem_fail_after() makes a later allocation fail; mem_guard_* aborts when the token loop
 * allocates (debug builds only; a no-op with NDEBUG).
 * Thread rule: any thread; the guard is per thread, the failure counter is for the whole process. */
#ifndef FERRUM_MEM_H
#define FERRUM_MEM_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

/* Checked arithmetic: false on overflow, *out untouched then. */
bool mem_mul(size_t a, size_t b, size_t *out);
bool mem_add(size_t a, size_t b, size_t *out);

void *mem_alloc(size_t n_bytes, struct err *err);
void *mem_array(size_t n, size_t item_bytes, struct err *err);
/* Grows or shrinks; new bytes are NOT zeroed; on failure the old block stays valid. */
void *mem_resize(void *p, size_t n, size_t item_bytes, struct err *err);
void mem_free(void *p);

void *mem_need(size_t n_bytes);
void *mem_need_resize(void *p, size_t n, size_t item_bytes);
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t n);

/* Large zero pages, 2 MiB aligned, taken from the system only when touched; for KV pools and scratch. */
void *mem_map(size_t n_bytes, struct err *err);
void mem_unmap(void *p, size_t n_bytes);

/* Called once before the process ends for want of a small allocation; must not allocate. */
void mem_set_oom_handler(void (*handler)(void));

/* The n-th allocation from now (0 is the next) fails, once; a negative n switches it off. */
void mem_fail_after(long n);
/* Whether the armed failure has happened since mem_fail_after. */
bool mem_fail_happened(void);

void mem_guard_enter(void);
void mem_guard_leave(void);

#endif
