#include "tests/engine/model_edit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define HEADER_BYTES 24 /* magic, version, number of tensors, number of keys */
#define N_TENSORS_AT 8
#define N_KEYS_AT 16

/* A name as the file spells it: length in front. */
static char *find_name(struct buf *file, const char *name)
{
    size_t n = strlen(name);
    for (size_t at = HEADER_BYTES; at + n < file->len; at++) {
        uint64_t length;
        memcpy(&length, file->data + at - 8, sizeof length);
        if (length == n && memcmp(file->data + at, name, n) == 0)
            return file->data + at;
    }
    fail_msg("the test's file has no %s", name);
    return NULL;
}

static char *find_value(struct buf *file, const char *key)
{
    return find_name(file, key) + strlen(key) + sizeof(uint32_t);
}

void edit_u32(struct buf *file, const char *key, uint32_t value)
{
    memcpy(find_value(file, key), &value, sizeof value);
}

void edit_f32(struct buf *file, const char *key, float value)
{
    memcpy(find_value(file, key), &value, sizeof value);
}

void edit_string(struct buf *file, const char *key, const char *value)
{
    uint64_t length;
    char *at = find_value(file, key);
    memcpy(&length, at, sizeof length);
    assert_int_equal(length, strlen(value));
    memcpy(at + sizeof length, value, strlen(value));
}

void edit_rename(struct buf *file, const char *name, const char *other)
{
    assert_int_equal(strlen(name), strlen(other));
    memcpy(find_name(file, name), other, strlen(other));
}

void edit_dim(struct buf *file, const char *tensor, int dim, uint64_t value)
{
    char *dims = find_name(file, tensor) + strlen(tensor) + sizeof(uint32_t);
    memcpy(dims + (size_t)dim * sizeof value, &value, sizeof value);
}

void edit_type(struct buf *file, const char *tensor, uint32_t ggml_id)
{
    uint32_t n_dims;
    char *at = find_name(file, tensor) + strlen(tensor);
    memcpy(&n_dims, at, sizeof n_dims);
    memcpy(at + sizeof n_dims + n_dims * sizeof(uint64_t), &ggml_id, sizeof ggml_id);
}

void edit_weight(struct buf *file, const char *tensor, size_t index, float value)
{
    struct gguf *g = gguf_open_memory(file->data, file->len, "edited", true, NULL);
    assert_non_null(g);
    const struct tensor *t = gguf_find_tensor(g, tensor);
    assert_non_null(t);
    assert_true(t->type == DTYPE_F32 && index < t->n_bytes / sizeof value);
    size_t at = (size_t)((const char *)t->data - file->data) + index * sizeof value;
    gguf_close(g);
    memcpy(file->data + at, &value, sizeof value);
}

static void insert(struct buf *file, size_t at, const void *bytes, size_t n)
{
    struct buf longer = {0};
    buf_append(&longer, file->data, at);
    buf_append(&longer, bytes, n);
    buf_append(&longer, file->data + at, file->len - at);
    buf_fini(file);
    *file = longer;
}

static void add_to_count(struct buf *file, size_t at, uint64_t n)
{
    uint64_t count;
    memcpy(&count, file->data + at, sizeof count);
    count += n;
    memcpy(file->data + at, &count, sizeof count);
}

/* The tensor data must stay aligned: a string key fills up what the keys and n_other bytes leave over. */
static void insert_padded(struct buf *file, struct gguf_writer *keys, size_t n_other)
{
    static const char key[] = "test.padding";
    size_t fixed = 8 + sizeof key - 1 + 4 + 8;
    size_t n_pad = 32 - (keys->kvs.len + fixed + n_other) % 32;
    char pad[33] = "                                ";
    pad[n_pad] = 0;
    gguf_write_string(keys, key, pad);
    add_to_count(file, N_KEYS_AT, keys->n_kv);
    insert(file, HEADER_BYTES, keys->kvs.data, keys->kvs.len);
    buf_fini(&keys->kvs);
    *keys = (struct gguf_writer){0};
}

void edit_insert_keys(struct buf *file, struct gguf_writer *keys)
{
    insert_padded(file, keys, 0);
}

void edit_add_vector(struct buf *file, const char *name, const float *values, size_t n, uint64_t data_bytes)
{
    struct buf info = {0};
    uint64_t n_name = strlen(name), dim = n;
    uint32_t n_dims = 1, type = 0;
    buf_append(&info, &n_name, sizeof n_name);
    buf_append(&info, name, n_name);
    buf_append(&info, &n_dims, sizeof n_dims);
    buf_append(&info, &dim, sizeof dim);
    buf_append(&info, &type, sizeof type);
    buf_append(&info, &data_bytes, sizeof data_bytes);
    size_t at = (size_t)(find_name(file, "token_embd.weight") - file->data) - sizeof n_name;
    insert(file, at, info.data, info.len);
    add_to_count(file, N_TENSORS_AT, 1);
    struct gguf_writer keys = {0};
    insert_padded(file, &keys, info.len);
    buf_append(file, values, n * sizeof *values);
    buf_fini(&info);
}

struct model *edit_load(const struct buf *file, struct backend *backend, const struct load_progress *progress,
                        struct err *err)
{
    char path[] = "/tmp/ferrum-model-XXXXXX";
    close(mkstemp(path));
    assert_true(test_write_file(path, file->data, file->len));
    struct model *m = model_load(path, backend, progress, err);
    unlink(path);
    return m;
}
