/* gguf_tensor.c: the tensor section of one file: names, shapes, types, and where the bytes lie. */
#include "engine/gguf_cursor.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"

#define MIN_TENSOR_BYTES 32 /* name length 8, dimensions 4 + 8, type 4, offset 8 */

bool gguf_file_check_tensor_count(const struct gguf_file *file, struct err *err)
{
    struct gguf_cursor c = {.file = file, .at = file->tensors_at, .where = "number of tensors", .err = err};
    return gguf_check_count(&c, file->n_tensors, MIN_TENSOR_BYTES);
}

static bool take_tensor_name(struct gguf_cursor *c, size_t i, struct tensor *t)
{
    struct gguf_string name;
    char shown[GGUF_SHOWN_BYTES];
    snprintf(c->where, sizeof c->where, "tensor %zu of %" PRIu64, i + 1, c->file->n_tensors);
    if (!gguf_take_string(c, &name))
        return false;
    if (name.n == 0 || name.n >= TENSOR_NAME_BYTES)
        return gguf_damaged(c, "the name is %zu bytes long, expected 1 to %d", name.n, TENSOR_NAME_BYTES - 1);
    snprintf(c->where, sizeof c->where, "tensor '%s'", gguf_show(name.data, name.n, shown));
    if (memchr(name.data, '\0', name.n))
        return gguf_damaged(c, "the name holds a zero byte");
    memcpy(t->name, name.data, name.n);
    t->name[name.n] = '\0';
    return true;
}

static bool take_dims(struct gguf_cursor *c, struct tensor *t)
{
    uint32_t n_dims;
    if (!gguf_take_u32(c, &n_dims))
        return false;
    if (n_dims < 1 || n_dims > TENSOR_MAX_DIMS)
        return gguf_damaged(c, "found %" PRIu32 " dimensions, expected 1 to %d", n_dims, TENSOR_MAX_DIMS);
    t->n_dims = (int)n_dims;
    for (uint32_t i = 0; i < TENSOR_MAX_DIMS; i++) {
        uint64_t dim = 1;
        if (i < n_dims && !gguf_take_u64(c, &dim))
            return false;
        if (dim == 0 || dim > SIZE_MAX)
            return gguf_damaged(c, "dimension %" PRIu32 " is %" PRIu64 ", expected 1 or more", i, dim);
        t->dims[i] = (size_t)dim;
    }
    return true;
}

static bool take_tensor_type(struct gguf_cursor *c, struct tensor *t)
{
    uint32_t type;
    char scratch[24];
    if (!gguf_take_u32(c, &type))
        return false;
    if (dtype_from_ggml(type, &t->type))
        return true;
    return err_set(
        c->err, ERR_MODEL,
        "%s: byte %zu, %s: its data type is %s, which this program cannot compute; get the model in another "
        "quantisation, for example Q4_K_M",
        c->file->label, c->at - sizeof type, c->where, dtype_ggml_name(type, scratch));
}

static bool size_tensor(const struct gguf_cursor *c, struct tensor *t)
{
    const struct dtype_info *info = dtype_info(t->type);
    if (t->dims[0] % info->block_weights != 0)
        return gguf_damaged(c, "its rows have %zu weights, expected a multiple of %zu for type %s",
                            t->dims[0], info->block_weights, info->name);
    bool fits = dtype_row_bytes(t->type, t->dims[0], &t->n_bytes);
    size_t n_weights = t->dims[0]; /* also bounded, so that callers may multiply dimensions freely */
    for (int i = 1; i < t->n_dims; i++)
        fits = fits && mem_mul(t->n_bytes, t->dims[i], &t->n_bytes) &&
               mem_mul(n_weights, t->dims[i], &n_weights);
    return fits ||
           gguf_damaged(c, "its dimensions %zu x %zu x %zu x %zu multiply to more than any file holds",
                        t->dims[0], t->dims[1], t->dims[2], t->dims[3]);
}

/* Gives the tensor its bytes, `offset` after the start of the data section. */
static bool place_tensor(struct gguf_cursor *c, struct tensor *t, size_t data_at, uint64_t offset)
{
    char shown[GGUF_SHOWN_BYTES];
    size_t begin, end;
    snprintf(c->where, sizeof c->where, "tensor '%s'", gguf_show(t->name, strlen(t->name), shown));
    if (offset % c->file->alignment != 0)
        return gguf_damaged(c, "its offset is %" PRIu64 ", expected a multiple of %zu", offset,
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

static bool take_tensor(struct gguf_cursor *c, size_t i, struct tensor *t, uint64_t *offset)
{
    return take_tensor_name(c, i, t) && take_dims(c, t) && take_tensor_type(c, t) && size_tensor(c, t) &&
           gguf_take_u64(c, offset);
}

bool gguf_file_read_tensors(const struct gguf_file *file, struct tensor *tensors, struct err *err)
{
    struct gguf_cursor c = {.file = file, .at = file->tensors_at, .err = err};
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
