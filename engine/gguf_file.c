/* gguf_file.c: the bounded cursor over one file: header, keys, tensors. Trusts nothing it reads. */
#include "engine/gguf_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
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
#define MIN_TENSOR_BYTES 32 /* name length 8, dimensions 4 + 8, type 4, offset 8 */
#define DEFAULT_ALIGNMENT 32
#define MIN_ALIGNMENT 8 /* of the specification */

/* ---- messages ---- */

const char *gguf_show(const char *data, size_t n, char out[GGUF_SHOWN_BYTES])
{
    size_t shown = n < GGUF_SHOWN_BYTES - 4 ? n : GGUF_SHOWN_BYTES - 4;
    for (size_t i = 0; i < shown; i++)
        out[i] = data[i] >= 0x20 && data[i] < 0x7F ? data[i] : '?';
    strcpy(out + shown, shown < n ? "..." : "");
    return out;
}

static void set_label(struct gguf_file *file, const char *path)
{
    size_t n = strlen(path), room = sizeof file->label - 1;
    const char *tail = n > room ? path + n - (room - 3) : path;
    snprintf(file->label, sizeof file->label, "%s%s", n > room ? "..." : "", tail);
    for (char *c = file->label; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7F)
            *c = '?';
}

/* ---- the cursor ---- */

struct cursor {
    const struct gguf_file *file;
    size_t at;
    char where[GGUF_SHOWN_BYTES + 24]; /* "key 'general.name'" */
    struct err *err;
};

/* "FILE: byte AT, WHERE: what is wrong; download the file again". */
__attribute__((format(printf, 2, 3))) static bool damaged(const struct cursor *c, const char *format, ...)
{
    char text[220];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return err_set(c->err, ERR_MODEL, "%s: byte %zu, %s: %s; the file is damaged, download it again",
                   c->file->label, c->at, c->where, text);
}

static size_t bytes_left(const struct cursor *c)
{
    return c->file->n_bytes - c->at;
}

static bool take(struct cursor *c, uint64_t n, const unsigned char **bytes)
{
    if (n > bytes_left(c)) {
        err_set(c->err, ERR_MODEL,
                "%s: byte %zu, %s: the file ends after %zu of %" PRIu64
                " bytes; it is incomplete or damaged, download it again",
                c->file->label, c->at, c->where, bytes_left(c), n);
        return false;
    }
    *bytes = c->file->bytes + c->at;
    c->at += (size_t)n;
    return true;
}

static bool take_u32(struct cursor *c, uint32_t *out)
{
    const unsigned char *bytes;
    if (!take(c, sizeof *out, &bytes))
        return false;
    memcpy(out, bytes, sizeof *out);
    return true;
}

static bool take_u64(struct cursor *c, uint64_t *out)
{
    const unsigned char *bytes;
    if (!take(c, sizeof *out, &bytes))
        return false;
    memcpy(out, bytes, sizeof *out);
    return true;
}

static bool take_string(struct cursor *c, struct gguf_string *out)
{
    uint64_t n;
    const unsigned char *bytes;
    if (!take_u64(c, &n) || !take(c, n, &bytes))
        return false;
    *out = (struct gguf_string){.data = (const char *)bytes, .n = (size_t)n};
    return true;
}

/* A count is believed when that many of the smallest items could lie in the rest of the file. */
static bool check_count(const struct cursor *c, uint64_t n, size_t min_bytes)
{
    if (n <= bytes_left(c) / min_bytes)
        return true;
    return damaged(c, "found a count of %" PRIu64 ", but the %zu bytes left hold %zu at most", n,
                   bytes_left(c), bytes_left(c) / min_bytes);
}

/* ---- values ---- */

size_t gguf_type_bytes(enum gguf_type type)
{
    static const unsigned char bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return bytes[type];
}

static bool take_type(struct cursor *c, enum gguf_type *out)
{
    uint32_t type;
    if (!take_u32(c, &type))
        return false;
    if (type > GGUF_F64)
        return damaged(c, "found value type %" PRIu32 ", expected 0 to %d", type, GGUF_F64);
    *out = (enum gguf_type)type;
    return true;
}

/* Walks n strings; offsets, where given, gets the place of each relative to the first. */
static bool walk_strings(struct cursor *c, uint64_t n, size_t *offsets)
{
    size_t first = c->at;
    for (uint64_t i = 0; i < n; i++) {
        struct gguf_string ignored;
        if (offsets)
            offsets[i] = c->at - first;
        if (!take_string(c, &ignored))
            return false;
    }
    return true;
}

static bool take_array_head(struct cursor *c, int depth, enum gguf_type *item_type, uint64_t *n)
{
    if (depth > MAX_DEPTH)
        return damaged(c, "arrays lie in each other more than %d deep", MAX_DEPTH);
    if (!take_type(c, item_type) || !take_u64(c, n))
        return false;
    size_t fixed = gguf_type_bytes(*item_type);
    return check_count(c, *n, fixed ? fixed : *item_type == GGUF_STRING ? 8 : 12);
}

static bool skip_items(struct cursor *c, int depth, enum gguf_type type, uint64_t n);

static bool skip_array(struct cursor *c, int depth)
{
    enum gguf_type item_type;
    uint64_t n;
    return take_array_head(c, depth, &item_type, &n) && skip_items(c, depth, item_type, n);
}

static bool skip_items(struct cursor *c, int depth, enum gguf_type type, uint64_t n)
{
    if (type == GGUF_STRING)
        return walk_strings(c, n, NULL);
    if (type != GGUF_ARRAY) {
        const unsigned char *ignored;
        return take(c, n * gguf_type_bytes(type), &ignored); /* cannot overflow: take_array_head checked n */
    }
    for (uint64_t i = 0; i < n; i++)
        if (!skip_array(c, depth + 1))
            return false;
    return true;
}

static bool take_array(struct cursor *c, struct gguf_kv *kv)
{
    if (!take_array_head(c, 1, &kv->item_type, &kv->n_items))
        return false;
    kv->data = c->file->bytes + c->at;
    if (kv->item_type != GGUF_STRING)
        return skip_items(c, 1, kv->item_type, kv->n_items);
    kv->string_offsets = mem_array((size_t)kv->n_items, sizeof *kv->string_offsets, c->err);
    return kv->string_offsets && walk_strings(c, kv->n_items, kv->string_offsets);
}

static bool take_value(struct cursor *c, struct gguf_kv *kv)
{
    struct gguf_string ignored;
    if (kv->type == GGUF_ARRAY)
        return take_array(c, kv);
    kv->data = c->file->bytes + c->at;
    if (kv->type == GGUF_STRING)
        return take_string(c, &ignored);
    return take(c, gguf_type_bytes(kv->type), &(const unsigned char *){NULL});
}

static bool take_kv(struct cursor *c, size_t i, struct gguf_kv *kv)
{
    char shown[GGUF_SHOWN_BYTES];
    snprintf(c->where, sizeof c->where, "key %zu of %zu", i + 1, c->file->n_kv);
    if (!take_string(c, &kv->key))
        return false;
    if (kv->key.n == 0 || kv->key.n > MAX_KEY_BYTES)
        return damaged(c, "the key is %zu bytes long, expected 1 to %d", kv->key.n, MAX_KEY_BYTES);
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

static bool take_header(struct cursor *c, struct gguf_file *file)
{
    uint64_t n_kv;
    const unsigned char *magic;
    snprintf(c->where, sizeof c->where, "header");
    if (!check_magic(file, c->err) || !take(c, 4, &magic) || !take_u32(c, &file->version) ||
        !check_version(file, c->err) || !take_u64(c, &file->n_tensors) || !take_u64(c, &n_kv))
        return false;
    if (!check_count(c, n_kv, MIN_KV_BYTES))
        return false;
    file->n_kv = (size_t)n_kv;
    return true;
}

static bool find_alignment(const struct cursor *c, struct gguf_file *file)
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
    struct cursor c = {.file = file, .err = err};
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
            return damaged(&c, "the key is there twice");
    }
    file->tensors_at = c.at;
    return find_alignment(&c, file);
}

/* ---- tensors ---- */

bool gguf_file_check_tensor_count(const struct gguf_file *file, struct err *err)
{
    struct cursor c = {.file = file, .at = file->tensors_at, .where = "number of tensors", .err = err};
    return check_count(&c, file->n_tensors, MIN_TENSOR_BYTES);
}

static bool take_tensor_name(struct cursor *c, size_t i, struct tensor *t)
{
    struct gguf_string name;
    char shown[GGUF_SHOWN_BYTES];
    snprintf(c->where, sizeof c->where, "tensor %zu of %" PRIu64, i + 1, c->file->n_tensors);
    if (!take_string(c, &name))
        return false;
    if (name.n == 0 || name.n >= TENSOR_NAME_BYTES)
        return damaged(c, "the name is %zu bytes long, expected 1 to %d", name.n, TENSOR_NAME_BYTES - 1);
    snprintf(c->where, sizeof c->where, "tensor '%s'", gguf_show(name.data, name.n, shown));
    if (memchr(name.data, '\0', name.n))
        return damaged(c, "the name holds a zero byte");
    memcpy(t->name, name.data, name.n);
    t->name[name.n] = '\0';
    return true;
}

static bool take_dims(struct cursor *c, struct tensor *t)
{
    uint32_t n_dims;
    if (!take_u32(c, &n_dims))
        return false;
    if (n_dims < 1 || n_dims > TENSOR_MAX_DIMS)
        return damaged(c, "found %" PRIu32 " dimensions, expected 1 to %d", n_dims, TENSOR_MAX_DIMS);
    t->n_dims = (int)n_dims;
    for (uint32_t i = 0; i < TENSOR_MAX_DIMS; i++) {
        uint64_t dim = 1;
        if (i < n_dims && !take_u64(c, &dim))
            return false;
        if (dim == 0 || dim > SIZE_MAX)
            return damaged(c, "dimension %" PRIu32 " is %" PRIu64 ", expected 1 or more", i, dim);
        t->dims[i] = (size_t)dim;
    }
    return true;
}

static bool take_tensor_type(struct cursor *c, struct tensor *t)
{
    uint32_t type;
    char scratch[24];
    if (!take_u32(c, &type))
        return false;
    if (dtype_from_ggml(type, &t->type))
        return true;
    return err_set(
        c->err, ERR_MODEL,
        "%s: byte %zu, %s: its data type is %s, which this program cannot compute; get the model in another "
        "quantisation, for example Q4_K_M",
        c->file->label, c->at - sizeof type, c->where, dtype_ggml_name(type, scratch));
}

static bool size_tensor(const struct cursor *c, struct tensor *t)
{
    const struct dtype_info *info = dtype_info(t->type);
    if (t->dims[0] % info->block_weights != 0)
        return damaged(c, "its rows have %zu weights, expected a multiple of %zu for type %s", t->dims[0],
                       info->block_weights, info->name);
    bool fits = dtype_row_bytes(t->type, t->dims[0], &t->n_bytes);
    size_t n_weights = t->dims[0]; /* also bounded, so that callers may multiply dimensions freely */
    for (int i = 1; i < t->n_dims; i++)
        fits = fits && mem_mul(t->n_bytes, t->dims[i], &t->n_bytes) &&
               mem_mul(n_weights, t->dims[i], &n_weights);
    return fits || damaged(c, "its dimensions %zu x %zu x %zu x %zu multiply to more than any file holds",
                           t->dims[0], t->dims[1], t->dims[2], t->dims[3]);
}

/* Gives the tensor its bytes, `offset` after the start of the data section. */
static bool place_tensor(struct cursor *c, struct tensor *t, size_t data_at, uint64_t offset)
{
    char shown[GGUF_SHOWN_BYTES];
    size_t begin, end;
    snprintf(c->where, sizeof c->where, "tensor '%s'", gguf_show(t->name, strlen(t->name), shown));
    if (offset % c->file->alignment != 0)
        return damaged(c, "its offset is %" PRIu64 ", expected a multiple of %zu", offset,
                       c->file->alignment);
    if (!mem_add(data_at, (size_t)offset, &begin) || !mem_add(begin, t->n_bytes, &end) ||
        end > c->file->n_bytes)
        return err_set(
            c->err, ERR_MODEL,
            "%s: %s: its %zu bytes at offset %" PRIu64
            " of the data lie beyond the end of the file (%zu bytes); it is incomplete, download it again",
            c->file->label, c->where, t->n_bytes, offset, c->file->n_bytes);
    t->data = c->file->bytes + begin;
    return true;
}

static bool take_tensor(struct cursor *c, size_t i, struct tensor *t, uint64_t *offset)
{
    return take_tensor_name(c, i, t) && take_dims(c, t) && take_tensor_type(c, t) && size_tensor(c, t) &&
           take_u64(c, offset);
}

bool gguf_file_read_tensors(const struct gguf_file *file, struct tensor *tensors, struct err *err)
{
    struct cursor c = {.file = file, .at = file->tensors_at, .err = err};
    size_t n = (size_t)file->n_tensors, data_at;
    bool ok = false;
    uint64_t *offsets = mem_array(n, sizeof *offsets, err);
    if (!offsets)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!take_tensor(&c, i, &tensors[i], &offsets[i]))
            goto out;
    data_at = c.at + (file->alignment - c.at % file->alignment) % file->alignment;
    for (size_t i = 0; i < n; i++)
        if (!place_tensor(&c, &tensors[i], data_at, offsets[i]))
            goto out;
    ok = true;
out:
    mem_free(offsets);
    return ok;
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
