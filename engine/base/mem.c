#include "engine/base/mem.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_PAGE_BYTES ((size_t)2 << 20)

static void (*oom_handler)(void);
static atomic_long fail_countdown = -1;
static atomic_bool fail_happened;

#ifndef NDEBUG
static _Thread_local int guard_depth;
#endif

bool mem_mul(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_mul_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

bool mem_add(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_add_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

/* Every allocation passes here: the guard aborts in the token loop, the test seam may say no. */
static bool may_allocate(void)
{
#ifndef NDEBUG
    if (guard_depth > 0) {
        static const char text[] = "ferrum-chat: allocation inside the token loop\n";
        (void)!write(STDERR_FILENO, text, sizeof text - 1);
        abort();
    }
#endif
    if (atomic_load_explicit(&fail_countdown, memory_order_relaxed) < 0)
        return true;
    if (atomic_fetch_sub(&fail_countdown, 1) != 0)
        return true;
    atomic_store(&fail_happened, true);
    return false;
}

static void *fail_bytes(size_t n_bytes, struct err *err)
{
    err_set(err, ERR_MEMORY,
            "out of memory: %zu bytes were asked for; close other programs or use a smaller --ctx", n_bytes);
    return NULL;
}

void *mem_alloc(size_t n_bytes, struct err *err)
{
    void *p = may_allocate() ? calloc(n_bytes ? n_bytes : 1, 1) : NULL;
    return p ? p : fail_bytes(n_bytes, err);
}

void *mem_array(size_t n, size_t item_bytes, struct err *err)
{
    size_t bytes;
    if (!mem_mul(n, item_bytes, &bytes))
        return fail_bytes(SIZE_MAX, err);
    return mem_alloc(bytes, err);
}

void *mem_resize(void *p, size_t n, size_t item_bytes, struct err *err)
{
    size_t bytes;
    if (!mem_mul(n, item_bytes, &bytes))
        return fail_bytes(SIZE_MAX, err);
    void *q = may_allocate() ? realloc(p, bytes ? bytes : 1) : NULL;
    return q ? q : fail_bytes(bytes, err);
}

void mem_free(void *p)
{
    free(p);
}

static void *end_for_want_of_memory(void)
{
    if (oom_handler)
        oom_handler();
    static const char text[] = "ferrum-chat: out of memory\n";
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    _exit(ERR_MEMORY);
}

void *mem_need(size_t n_bytes)
{
    void *p = mem_alloc(n_bytes, NULL);
    return p ? p : end_for_want_of_memory();
}

void *mem_need_resize(void *p, size_t n, size_t item_bytes)
{
    void *q = mem_resize(p, n, item_bytes, NULL);
    return q ? q : end_for_want_of_memory();
}

char *mem_strndup(const char *s, size_t n)
{
    char *copy = mem_need(n + 1);
    memcpy(copy, s, n);
    return copy;
}

char *mem_strdup(const char *s)
{
    return mem_strndup(s, strlen(s));
}

void *mem_map(size_t n_bytes, struct err *err)
{
    size_t padded;
    if (!mem_add(n_bytes, HUGE_PAGE_BYTES, &padded) || !may_allocate())
        return fail_bytes(n_bytes, err);
    char *raw =
        mmap(NULL, padded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED)
        return fail_bytes(n_bytes, err);
    size_t skip = (HUGE_PAGE_BYTES - (uintptr_t)raw % HUGE_PAGE_BYTES) % HUGE_PAGE_BYTES;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t kept = (n_bytes + page - 1) / page * page;
    if (skip)
        munmap(raw, skip);
    if (padded - skip > kept)
        munmap(raw + skip + kept, padded - skip - kept);
    madvise(raw + skip, kept, MADV_HUGEPAGE);
    return raw + skip;
}

void mem_unmap(void *p, size_t n_bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (p)
        munmap(p, (n_bytes + page - 1) / page * page);
}

void mem_set_oom_handler(void (*handler)(void))
{
    oom_handler = handler;
}

void mem_fail_after(long n)
{
    atomic_store(&fail_happened, false);
    atomic_store(&fail_countdown, n);
}

bool mem_fail_happened(void)
{
    return atomic_load(&fail_happened);
}

#ifndef NDEBUG
void mem_guard_enter(void)
{
    guard_depth++;
}

void mem_guard_leave(void)
{
    guard_depth--;
}
#else
void mem_guard_enter(void) {}

void mem_guard_leave(void) {}
#endif
