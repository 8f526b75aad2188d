#include "tests/support/gguf_write.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void put_u32(struct buf *out, uint32_t value)
{
    buf_append(out, &value, sizeof value);
}

static void put_u64(struct buf *out, uint64_t value)
{
    buf_append(out, &value, sizeof value);
}

static void put_string(struct buf *out, const char *text)
{
    put_u64(out, strlen(text));
    buf_puts(out, text);
}

static void pad(struct buf *out, size_t alignment)
{
    while (out->len % alignment != 0)
        buf_putc(out, '\0');
}

static size_t alignment_of(const struct gguf_writer *w)
{
    return w->alignment ? w->alignment : 32;
}

void gguf_write_raw(struct gguf_writer *w, const char *key, uint32_t type, const void *bytes, size_t n_bytes)
{
    put_string(&w->kvs, key);
    put_u32(&w->kvs, type);
    buf_append(&w->kvs, bytes, n_bytes);
    w->n_kv++;
}

void gguf_write_u32(struct gguf_writer *w, const char *key, uint32_t value)
{
    gguf_write_raw(w, key, GGUF_U32, &value, sizeof value);
}

void gguf_write_f32(struct gguf_writer *w, const char *key, float value)
{
    gguf_write_raw(w, key, GGUF_F32, &value, sizeof value);
}

void gguf_write_bool(struct gguf_writer *w, const char *key, bool value)
{
    gguf_write_raw(w, key, GGUF_BOOL, &(unsigned char){value}, 1);
}

void gguf_write_string(struct gguf_writer *w, const char *key, const char *value)
{
    gguf_write_raw(w, key, GGUF_STRING, "", 0);
    put_string(&w->kvs, value);
}

void gguf_write_strings(struct gguf_writer *w, const char *key, const char *const *items, size_t n)
{
    gguf_write_array(w, key, GGUF_STRING, "", n, 0);
    for (size_t i = 0; i < n; i++)
        put_string(&w->kvs, items[i]);
}

void gguf_write_array(struct gguf_writer *w, const char *key, enum gguf_type item_type, const void *items,
                      size_t n, size_t n_bytes)
{
    gguf_write_raw(w, key, GGUF_ARRAY, "", 0);
    put_u32(&w->kvs, item_type);
    put_u64(&w->kvs, n);
    buf_append(&w->kvs, items, n_bytes);
}

void gguf_write_tensor(struct gguf_writer *w, const char *name, uint32_t ggml_id, const uint64_t *dims,
                       int n_dims, const void *data, size_t n_bytes)
{
    pad(&w->data, alignment_of(w));
    put_string(&w->infos, name);
    put_u32(&w->infos, (uint32_t)n_dims);
    for (int i = 0; i < n_dims; i++)
        put_u64(&w->infos, dims[i]);
    put_u32(&w->infos, ggml_id);
    put_u64(&w->infos, w->data.len);
    buf_append(&w->data, data, n_bytes);
    w->n_tensors++;
}

void gguf_write_finish(struct gguf_writer *w, struct buf *out)
{
    buf_puts(out, "GGUF");
    put_u32(out, 3);
    put_u64(out, w->n_tensors);
    put_u64(out, w->n_kv);
    buf_append(out, w->kvs.data, w->kvs.len);
    buf_append(out, w->infos.data, w->infos.len);
    pad(out, alignment_of(w));
    buf_append(out, w->data.data, w->data.len);
    pad(out, alignment_of(w));
    buf_fini(&w->kvs);
    buf_fini(&w->infos);
    buf_fini(&w->data);
    *w = (struct gguf_writer){0};
}

bool test_write_file(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    bool ok = f && fwrite(bytes, 1, n, f) == n;
    if (f && fclose(f) != 0)
        ok = false;
    if (!ok)
        fprintf(stderr, "%s: cannot be written: %s\n", path, strerror(errno));
    return ok;
}
