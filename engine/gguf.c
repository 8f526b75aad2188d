/* gguf.c: a model as one or several files: opening, splits, the tensor index, reading ahead. */
#include "engine/gguf.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "engine/base/thread.h"
#include "engine/gguf_file.h"

#define SPLIT_SUFFIX "-00001-of-00001.gguf" /* the form of it */
#define SPLIT_SUFFIX_BYTES (sizeof SPLIT_SUFFIX - 1)
#define MAX_PARTS 99999

/* The kernel reads ahead only a little per request, so a thread asks piece by piece. */
#define PREFETCH_PIECE_BYTES ((size_t)1 << 20)

struct prefetch {
    pthread_t thread;
    const struct gguf *model;
    bool running;
    atomic_bool stop;
};

struct gguf {
    struct gguf_file *parts;
    int n_parts;
    struct tensor *tensors; /* of all parts, in order */
    size_t n_tensors;
    struct name_index tensor_index;
    struct prefetch prefetch_state;
    struct prefetch *prefetch; /* so that a reader with a const model may start it */
};

/* ---- split models ---- */

struct split {
    int n_parts;
    int part; /* 0-based */
};

static bool split_number(const struct gguf_file *file, const char *key, int64_t low, int64_t high,
                         int64_t *out, struct err *err)
{
    const struct gguf_kv *kv = gguf_file_find(file, key);
    if (kv && gguf_kv_int(kv, out) && *out >= low && *out <= high)
        return true;
    return err_set(err, ERR_MODEL,
                   "%s: key '%s': expected a number from %lld to %lld; download this part again", file->label,
                   key, (long long)low, (long long)high);
}

/* What the keys say; a file without them is the only part. */
static bool read_split(const struct gguf_file *file, struct split *split, struct err *err)
{
    int64_t count = 1, part = 0;
    if (gguf_file_find(file, "split.count")) {
        if (!split_number(file, "split.count", 0, MAX_PARTS, &count, err))
            return false;
        if (count > 1 && !split_number(file, "split.no", 0, count - 1, &part, err))
            return false;
    }
    *split = (struct split){.n_parts = count > 1 ? (int)count : 1, .part = (int)part};
    return true;
}

static void split_suffix(const struct split *split, int part, char out[40])
{
    snprintf(out, 40, "-%05d-of-%05d.gguf", part + 1, split->n_parts);
}

/* The path of another part, from the path of one; the caller frees it. */
static char *part_path(const struct gguf_file *file, const struct split *split, int part, struct err *err)
{
    char own[40], other[40];
    size_t n = strlen(file->path);
    split_suffix(split, split->part, own);
    split_suffix(split, part, other);
    if (n < SPLIT_SUFFIX_BYTES || strcmp(file->path + n - SPLIT_SUFFIX_BYTES, own) != 0) {
        err_set(err, ERR_MODEL,
                "%s: part %d of a model in %d files, whose name must end in %s to find the others; rename it",
                file->label, split->part + 1, split->n_parts, own);
        return NULL;
    }
    char *path = mem_alloc(n + 1, err);
    if (path) {
        memcpy(path, file->path, n - SPLIT_SUFFIX_BYTES);
        memcpy(path + n - SPLIT_SUFFIX_BYTES, other, SPLIT_SUFFIX_BYTES);
    }
    return path;
}

static bool open_part(struct gguf_file *file, const char *path, const struct split *expected, int part,
                      struct err *err)
{
    struct split found;
    if (!gguf_file_map(file, path, err) || !gguf_file_read_kv(file, err))
        return err_prefix(err, "part %d of %d", part + 1, expected->n_parts);
    if (!read_split(file, &found, err))
        return false;
    if (found.n_parts == expected->n_parts && found.part == part)
        return true;
    return err_set(err, ERR_MODEL,
                   "%s: says it is part %d of %d, expected part %d of %d; download this part again",
                   file->label, found.part + 1, found.n_parts, part + 1, expected->n_parts);
}

/* Replaces the one part that is open by all n_open first parts of its model. */
static bool open_parts(struct gguf *g, const struct split *split, int n_open, struct err *err)
{
    struct gguf_file named = g->parts[0];
    struct gguf_file *parts = mem_array((size_t)n_open, sizeof *parts, err);
    if (!parts)
        return false;
    mem_free(g->parts);
    g->parts = parts;
    g->n_parts = n_open;
    bool ok = true, placed = split->part < n_open;
    if (placed)
        parts[split->part] = named;
    for (int i = 0; ok && i < n_open; i++) {
        if (placed && i == split->part)
            continue;
        char *path = part_path(&named, split, i, err);
        ok = path && open_part(&parts[i], path, split, i, err);
        mem_free(path);
    }
    if (!placed)
        gguf_file_close(&named);
    return ok;
}

/* ---- tensors ---- */

static bool count_tensors(struct gguf *g, struct err *err)
{
    for (int i = 0; i < g->n_parts; i++) {
        if (!gguf_file_check_tensor_count(&g->parts[i], err))
            return false;
        g->n_tensors += (size_t)g->parts[i].n_tensors;
    }
    int64_t total;
    const struct gguf_kv *kv = gguf_file_find(&g->parts[0], "split.tensors.count");
    if (g->n_parts > 1 && kv && (!gguf_kv_int(kv, &total) || (uint64_t)total != g->n_tensors))
        return err_set(err, ERR_MODEL,
                       "%s: the %d parts hold %zu tensors, which is not what key 'split.tensors.count' says; "
                       "download all parts again",
                       g->parts[0].label, g->n_parts, g->n_tensors);
    return true;
}

static bool index_tensors(struct gguf *g, struct err *err)
{
    char shown[GGUF_SHOWN_BYTES];
    if (!name_index_init(&g->tensor_index, g->n_tensors, err))
        return false;
    for (size_t i = 0; i < g->n_tensors; i++) {
        const char *name = g->tensors[i].name;
        if (!name_index_add(&g->tensor_index, name, strlen(name), i))
            return err_set(err, ERR_MODEL,
                           "%s: tensor '%s' is there twice; the file is damaged, download it again",
                           g->parts[0].label, gguf_show(name, strlen(name), shown));
    }
    return true;
}

static bool read_tensors(struct gguf *g, struct err *err)
{
    if (!count_tensors(g, err))
        return false;
    g->tensors = mem_array(g->n_tensors, sizeof *g->tensors, err);
    if (!g->tensors)
        return false;
    struct tensor *next = g->tensors;
    for (int i = 0; i < g->n_parts; i++) {
        if (!gguf_file_read_tensors(&g->parts[i], next, err))
            return false;
        next += g->parts[i].n_tensors;
    }
    return index_tensors(g, err);
}

/* ---- opening and closing ---- */

/* A model with room for its first part, nothing open. */
static struct gguf *new_model(struct err *err)
{
    struct gguf *g = mem_alloc(sizeof *g, err);
    if (!g)
        return NULL;
    g->prefetch = &g->prefetch_state;
    g->parts = mem_array(1, sizeof *g->parts, err);
    g->n_parts = 1;
    if (!g->parts) {
        mem_free(g);
        return NULL;
    }
    return g;
}

static bool open_all(struct gguf *g, const char *path, bool want_tensors, struct err *err)
{
    struct split split;
    if (!gguf_file_map(&g->parts[0], path, err) || !gguf_file_read_kv(&g->parts[0], err) ||
        !read_split(&g->parts[0], &split, err))
        return false;
    int n_open = want_tensors ? split.n_parts : 1;
    if ((n_open > 1 || split.part > 0) && !open_parts(g, &split, n_open, err))
        return false;
    return !want_tensors || read_tensors(g, err);
}

struct gguf *gguf_open(const char *path, bool want_tensors, struct err *err)
{
    struct gguf *g = new_model(err);
    if (!g || open_all(g, path, want_tensors, err))
        return g;
    gguf_close(g);
    return NULL;
}

static bool open_lent(struct gguf *g, bool want_tensors, struct err *err)
{
    struct split split;
    if (!gguf_file_read_kv(&g->parts[0], err) || !read_split(&g->parts[0], &split, err))
        return false;
    if (split.n_parts > 1)
        return err_set(err, ERR_MODEL, "%s: one part of a split model; name the file on disk",
                       g->parts[0].label);
    return !want_tensors || read_tensors(g, err);
}

struct gguf *gguf_open_memory(const void *bytes, size_t n, const char *name, bool want_tensors,
                              struct err *err)
{
    struct gguf *g = new_model(err);
    if (!g)
        return NULL;
    gguf_file_lend(&g->parts[0], bytes, n, name);
    if (open_lent(g, want_tensors, err))
        return g;
    gguf_close(g);
    return NULL;
}

static void stop_prefetch(struct prefetch *p)
{
    if (!p->running)
        return;
    atomic_store(&p->stop, true);
    pthread_join(p->thread, NULL);
    p->running = false;
}

void gguf_close(struct gguf *g)
{
    if (!g)
        return;
    stop_prefetch(g->prefetch);
    for (int i = 0; i < g->n_parts; i++)
        gguf_file_close(&g->parts[i]);
    mem_free(g->parts);
    mem_free(g->tensors);
    name_index_fini(&g->tensor_index);
    mem_free(g);
}

/* ---- look-ups ---- */

const char *gguf_path(const struct gguf *g)
{
    return g->parts[0].path ? g->parts[0].path : g->parts[0].label;
}

const char *gguf_label(const struct gguf *g)
{
    return g->parts[0].label;
}

uint32_t gguf_version(const struct gguf *g)
{
    return g->parts[0].version;
}

int gguf_n_parts(const struct gguf *g)
{
    return g->n_parts;
}

uint64_t gguf_file_bytes(const struct gguf *g)
{
    uint64_t total = 0;
    for (int i = 0; i < g->n_parts; i++)
        total += g->parts[i].n_bytes;
    return total;
}

size_t gguf_n_kv(const struct gguf *g)
{
    return g->parts[0].n_kv;
}

const struct gguf_kv *gguf_kv_at(const struct gguf *g, size_t i)
{
    return &g->parts[0].kvs[i];
}

const struct gguf_kv *gguf_find(const struct gguf *g, const char *key)
{
    return gguf_file_find(&g->parts[0], key);
}

size_t gguf_n_tensors(const struct gguf *g)
{
    return g->n_tensors;
}

const struct tensor *gguf_tensor_at(const struct gguf *g, size_t i)
{
    return &g->tensors[i];
}

const struct tensor *gguf_find_tensor(const struct gguf *g, const char *name)
{
    size_t i;
    return name_index_find(&g->tensor_index, name, strlen(name), &i) ? &g->tensors[i] : NULL;
}

/* ---- reading ahead ---- */

/* Whether a byte is in memory: reading it needs no wait. No where the file system cannot tell. */
static bool is_there(int fd, size_t at)
{
    char byte;
    struct iovec to = {&byte, 1};
    return preadv2(fd, &to, 1, (off_t)at, RWF_NOWAIT) == 1;
}

/* Asking for what is there is no small thing: the kernel walks over all its pages, on a core that has other
 * things to do. What is missing in the middle of a piece whose ends are there is read when it is needed. */
static void ask_for(const struct gguf_file *part, int fd, size_t at)
{
    size_t left = part->n_bytes - at, n = left < PREFETCH_PIECE_BYTES ? left : PREFETCH_PIECE_BYTES;
    if (!is_there(fd, at) || !is_there(fd, at + n - 1))
        madvise((void *)(uintptr_t)(part->bytes + at), n, MADV_WILLNEED);
}

static void *prefetch_main(void *arg)
{
    struct prefetch *p = arg;
    for (int i = 0; i < p->model->n_parts; i++) {
        const struct gguf_file *part = &p->model->parts[i];
        int fd = open(part->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        for (size_t at = 0; at < part->n_bytes && !atomic_load(&p->stop); at += PREFETCH_PIECE_BYTES)
            ask_for(part, fd, at);
        if (fd >= 0)
            close(fd);
    }
    return NULL;
}

void gguf_prefetch(const struct gguf *g)
{
    struct prefetch *p = g->prefetch;
    if (p->running || !g->parts[0].mapped)
        return;
    p->model = g;
    p->running = thread_start(&p->thread, prefetch_main, p) == 0; /* only a hint: failing is no error */
}
