/* gguf_file.c: one file: its map, its header, its keys. Trusts nothing it reads. */
#include "engine/gguf_cursor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/mem.h"

#define MAGIC "GGUF"
#define MAX_KEY_BYTES 65535 /* of the specification */
#define MAX_DEPTH 4         /* of arrays in arrays; real files have none */
#define MIN_KV_BYTES 13     /* key length 8, type 4, value 1 */
#define DEFAULT_ALIGNMENT 32
#define MIN_ALIGNMENT 8 /* of the specification */

static void set_label(struct gguf_file *file, const char *path)
{
    size_t n = strlen(path), room = sizeof file->label - 1;
    const char *tail = n > room ? path + n - (room - 3) : path;
    snprintf(file->label, sizeof file->label, "%s%s", n > room ? "..." : "", tail);
    for (char *c = file->label; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7F)
            *c = '?';
}

/* ---- values ---- */

size_t gguf_type_bytes(enum gguf_type type)
{
    static const unsigned char bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return bytes[type];
}

static bool take_type(struct gguf_cursor *c, enum gguf_type *out)
{
    uint32_t type;
    if (!gguf_take_u32(c, &type))
        return false;
    if (type > GGUF_F64)
        return gguf_damaged(c, "found value type %" PRIu32 ", expected 0 to %d", type, GGUF_F64);
    *out = (enum gguf_type)type;
    return true;
}

/* Walks n strings; offsets, where given, gets the place of each relative to the first. */
static bool walk_strings(struct gguf_cursor *c, uint64_t n, size_t *offsets)
{
    size_t first = c->at;
    for (uint64_t i = 0; i < n; i++) {
        struct gguf_string ignored;
        if (offsets)
            offsets[i] = c->at - first;
        if (!gguf_take_string(c, &ignored))
            return false;
    }
    return true;
}

static bool take_array_head(struct gguf_cursor *c, int depth, enum gguf_type *item_type, uint64_t *n)
{
    if (depth > MAX_DEPTH)
        return gguf_damaged(c, "arrays lie in each other more than %d deep", MAX_DEPTH);
    if (!take_type(c, item_type) || !gguf_take_u64(c, n))
        return false;
    size_t fixed = gguf_type_bytes(*item_type);
    return gguf_check_count(c, *n, fixed ? fixed : *item_type == GGUF_STRING ? 8 : 12);
}

static bool skip_items(struct gguf_cursor *c, int depth, enum gguf_type type, uint64_t n);

static bool skip_array(struct gguf_cursor *c, int depth)
{
    enum gguf_type item_type;
    uint64_t n;
    return take_array_head(c, depth, &item_type, &n) && skip_items(c, depth, item_type, n);
}

static bool skip_items(struct gguf_cursor *c, int depth, enum gguf_type type, uint64_t n)
{
    if (type == GGUF_STRING)
        return walk_strings(c, n, NULL);
    if (type != GGUF_ARRAY) {
        const unsigned char *ignored;
        return gguf_take(c, n * gguf_type_bytes(type),
                         &ignored); /* cannot overflow: take_array_head checked n */
    }
    for (uint64_t i = 0; i < n; i++)
        if (!skip_array(c, depth + 1))
            return false;
    return true;
}

static bool take_array(struct gguf_cursor *c, struct gguf_kv *kv)
{
    if (!take_array_head(c, 1, &kv->item_type, &kv->n_items))
        return false;
    kv->data = c->file->bytes + c->at;
    if (kv->item_type != GGUF_STRING)
        return skip_items(c, 1, kv->item_type, kv->n_items);
    kv->string_offsets = mem_array((size_t)kv->n_items, sizeof *kv->string_offsets, c->err);
    return kv->string_offsets && walk_strings(c, kv->n_items, kv->string_offsets);
}

static bool take_value(struct gguf_cursor *c, struct gguf_kv *kv)
{
    struct gguf_string ignored;
    if (kv->type == GGUF_ARRAY)
        return take_array(c, kv);
    kv->data = c->file->bytes + c->at;
    if (kv->type == GGUF_STRING)
        return gguf_take_string(c, &ignored);
    return gguf_take(c, gguf_type_bytes(kv->type), &(const unsigned char *){NULL});
}

static bool take_kv(struct gguf_cursor *c, size_t i, struct gguf_kv *kv)
{
    char shown[GGUF_SHOWN_BYTES];
    snprintf(c->where, sizeof c->where, "key %zu of %zu", i + 1, c->file->n_kv);
    if (!gguf_take_string(c, &kv->key))
        return false;
    if (kv->key.n == 0 || kv->key.n > MAX_KEY_BYTES)
        return gguf_damaged(c, "the key is %zu bytes long, expected 1 to %d", kv->key.n, MAX_KEY_BYTES);
    snprintf(c->where, sizeof c->where, "key '%s'", gguf_show(kv->key.data, kv->key.n, shown));
    return take_type(c, &kv->type) && take_value(c, kv);
}

bool gguf_item_int(enum gguf_type type, const unsigned char *p, int64_t *out)
{
    uint64_t bits = 0;
    size_t n = gguf_type_bytes(type);
    memcpy(&bits, p, n); /* little-endian: the low bytes */
    switch (type) {
    case GGUF_U8:
    case GGUF_U16:
    case GGUF_U32:
        *out = (int64_t)bits;
        return true;
    case GGUF_U64:
    case GGUF_I64:
        *out = (int64_t)bits;
        return type == GGUF_I64 || bits <= INT64_MAX;
    case GGUF_I8:
        *out = (int8_t)bits;
        return true;
    case GGUF_I16:
        *out = (int16_t)bits;
        return true;
    case GGUF_I32:
        *out = (int32_t)bits;
        return true;
    default:
        return false;
    }
}

bool gguf_kv_int(const struct gguf_kv *kv, int64_t *out)
{
    return gguf_item_int(kv->type, kv->data, out);
}

const struct gguf_kv *gguf_file_find(const struct gguf_file *file, const char *key)
{
    size_t i;
    return name_index_find(&file->kv_index, key, strlen(key), &i) ? &file->kvs[i] : NULL;
}

/* ---- header and keys ---- */

static bool check_magic(const struct gguf_file *file, struct err *err)
{
    char shown[GGUF_SHOWN_BYTES];
    if (file->n_bytes >= 4 && memcmp(file->bytes, MAGIC, 4) == 0)
        return true;
    return err_set(err, ERR_MODEL,
                   "%s: not a GGUF file: it begins with '%s', expected '" MAGIC
                   "'; name a model file in the GGUF format",
                   file->label,
                   gguf_show((const char *)file->bytes, file->n_bytes < 4 ? file->n_bytes : 4, shown));
}

static bool check_version(const struct gguf_file *file, struct err *err)
{
    if (file->version == 2 || file->version == 3)
        return true;
    if (file->version != 0 && (file->version & 0xFFFF) == 0)
        return err_set(
            err, ERR_MODEL,
            "%s: byte 4: a big-endian GGUF file, expected little-endian; get the little-endian one",
            file->label);
    return err_set(err, ERR_MODEL,
                   "%s: byte 4: GGUF version %" PRIu32
                   ", expected 2 or 3; get a file made by a current converter",
                   file->label, file->version);
}

static bool take_header(struct gguf_cursor *c, struct gguf_file *file)
{
    uint64_t n_kv;
    const unsigned char *magic;
    snprintf(c->where, sizeof c->where, "header");
    if (!check_magic(file, c->err) || !gguf_take(c, 4, &magic) || !gguf_take_u32(c, &file->version) ||
        !check_version(file, c->err) || !gguf_take_u64(c, &file->n_tensors) || !gguf_take_u64(c, &n_kv))
        return false;
    if (!gguf_check_count(c, n_kv, MIN_KV_BYTES))
        return false;
    file->n_kv = (size_t)n_kv;
    return true;
}

static bool find_alignment(const struct gguf_cursor *c, struct gguf_file *file)
{
    const struct gguf_kv *kv = gguf_file_find(file, "general.alignment");
    int64_t alignment = kv ? 0 : DEFAULT_ALIGNMENT;
    if (kv && (!gguf_kv_int(kv, &alignment) || alignment < MIN_ALIGNMENT || alignment > UINT32_MAX ||
               (alignment & (alignment - 1)) != 0))
        return err_set(c->err, ERR_MODEL,
                       "%s: key 'general.alignment': found %" PRId64
                       ", expected a power of two from %d; the file is damaged, download it again",
                       file->label, alignment, MIN_ALIGNMENT);
    file->alignment = (size_t)alignment;
    return true;
}

bool gguf_file_read_kv(struct gguf_file *file, struct err *err)
{
    struct gguf_cursor c = {.file = file, .err = err};
    if (!take_header(&c, file))
        return false;
    file->kvs = mem_array(file->n_kv, sizeof *file->kvs, err);
    if (!file->kvs || !name_index_init(&file->kv_index, file->n_kv, err))
        return false;
    for (size_t i = 0; i < file->n_kv; i++) {
        struct gguf_kv *kv = &file->kvs[i];
        if (!take_kv(&c, i, kv))
            return false;
        if (!name_index_add(&file->kv_index, kv->key.data, kv->key.n, i))
            return gguf_damaged(&c, "the key is there twice");
    }
    file->tensors_at = c.at;
    return find_alignment(&c, file);
}

/* ---- opening and closing ---- */

/* Checks what kind of thing the descriptor is, before it is mapped. */
static bool check_regular(const struct gguf_file *file, int fd, size_t *n_bytes, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return err_set(err, ERR_MODEL, "%s: cannot be examined: %s; check the disk", file->label,
                       strerror(errno));
    if (S_ISDIR(st.st_mode))
        return err_set(err, ERR_MODEL, "%s: a directory, expected a file; name the .gguf file in it",
                       file->label);
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_MODEL, "%s: not a regular file; name a .gguf file", file->label);
    if (st.st_size == 0)
        return err_set(err, ERR_MODEL, "%s: the file is empty, expected a GGUF model; download it again",
                       file->label);
    *n_bytes = (size_t)st.st_size;
    return true;
}

static const char *advice_for(int error)
{
    if (error == ENOENT)
        return "check the path";
    return error == EACCES ? "check its permissions (chmod u+r)" : "check the path and the disk";
}

bool gguf_file_map(struct gguf_file *file, const char *path, struct err *err)
{
    *file = (struct gguf_file){0};
    set_label(file, path);
    size_t n = strlen(path);
    file->path = mem_alloc(n + 1, err);
    if (!file->path)
        return false;
    memcpy(file->path, path, n);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hang us */
    if (fd < 0)
        return err_set(err, ERR_MODEL, "%s: cannot be opened: %s; %s", file->label, strerror(errno),
                       advice_for(errno));
    bool ok = check_regular(file, fd, &file->n_bytes, err);
    if (ok) {
        void *map = mmap(NULL, file->n_bytes, PROT_READ, MAP_SHARED, fd, 0);
        file->mapped = map != MAP_FAILED;
        file->bytes = file->mapped ? map : NULL;
        ok = file->mapped ||
             err_set(err, errno == ENOMEM ? ERR_MEMORY : ERR_MODEL,
                     "%s: its %zu bytes cannot be mapped: %s; close other programs, or check the disk",
                     file->label, file->n_bytes, strerror(errno));
    }
    close(fd);
    return ok;
}

void gguf_file_lend(struct gguf_file *file, const void *bytes, size_t n, const char *name)
{
    *file = (struct gguf_file){.bytes = bytes, .n_bytes = n};
    set_label(file, name);
}

void gguf_file_close(struct gguf_file *file)
{
    for (size_t i = 0; file->kvs && i < file->n_kv; i++)
        mem_free(file->kvs[i].string_offsets);
    mem_free(file->kvs);
    name_index_fini(&file->kv_index);
    if (file->mapped)
        munmap((void *)(uintptr_t)file->bytes, file->n_bytes);
    mem_free(file->path);
    *file = (struct gguf_file){0};
}
