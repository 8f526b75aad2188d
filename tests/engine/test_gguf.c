/* test_gguf.c: the GGUF reader on good files, wrong files, cut files, flipped bits and failing allocations.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <glob.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/gguf.h"
#include "tests/support/gguf_write.h"
#include "tests/support/tiny_model.h"

/* ---- helpers ---- */

/* One small tensor, q8_0 [32 x 2], and whatever keys the caller has put into w. */
static struct buf finish_with_tensor(struct gguf_writer *w)
{
    static const unsigned char data[2 * 34];
    struct buf file = {0};
    gguf_write_tensor(w, "token_embd.weight", 8, (uint64_t[]){32, 2}, 2, data, sizeof data);
    gguf_write_finish(w, &file);
    return file;
}

static struct buf plain_file(void)
{
    struct gguf_writer w = {0};
    gguf_write_string(&w, "general.architecture", "llama");
    return finish_with_tensor(&w);
}

/* Opens bytes that must be refused, with every word of the list in the sentence. Takes the bytes. */
static void assert_refused(struct buf file, enum err_code code, const char *const *words)
{
    struct err err = {0};
    struct gguf *g = gguf_open_memory(file.data, file.len, "model.gguf", true, &err);
    assert_null(g);
    assert_int_equal(err.code, code);
    assert_non_null(strstr(err.text, "model.gguf"));
    for (; *words; words++)
        if (!strstr(err.text, *words))
            fail_msg("'%s' is not in: %s", *words, err.text);
    buf_fini(&file);
}

#define ASSERT_REFUSED(file, ...) assert_refused(file, ERR_MODEL, (const char *const[]){__VA_ARGS__, NULL})

static struct gguf *open_bytes(const struct buf *file)
{
    struct err err = {0};
    struct gguf *g = gguf_open_memory(file->data, file->len, "model.gguf", true, &err);
    if (!g)
        fail_msg("refused: %s", err.text);
    return g;
}

static void patch(struct buf *file, size_t at, const void *bytes, size_t n)
{
    assert_true(at + n <= file->len);
    memcpy(file->data + at, bytes, n);
}

/* Where a name's bytes begin in the file. */
static size_t place_of(const struct buf *file, const char *name)
{
    const char *p = memmem(file->data, file->len, name, strlen(name));
    assert_non_null(p);
    return (size_t)(p - file->data);
}

/* The fields of the one tensor of plain_file, after its name. */
enum { N_DIMS_AT = 0, DIM0_AT = 4, DIM1_AT = 12, TYPE_AT = 20, OFFSET_AT = 24 };

static size_t tensor_field(const struct buf *file, size_t field)
{
    return place_of(file, "token_embd.weight") + strlen("token_embd.weight") + field;
}

/* ---- good files ---- */

static void gguf_open__round_trip_of_all_value_types(void **state)
{
    (void)state;
    struct gguf_writer w = {0};
    gguf_write_raw(&w, "u8", GGUF_U8, &(uint8_t){200}, 1);
    gguf_write_raw(&w, "i8", GGUF_I8, &(int8_t){-3}, 1);
    gguf_write_raw(&w, "u16", GGUF_U16, &(uint16_t){65535}, 2);
    gguf_write_raw(&w, "i16", GGUF_I16, &(int16_t){-300}, 2);
    gguf_write_u32(&w, "u32", 4294967295u);
    gguf_write_raw(&w, "i32", GGUF_I32, &(int32_t){77}, 4);
    gguf_write_raw(&w, "u64", GGUF_U64, &(uint64_t){4294967295u}, 8);
    gguf_write_raw(&w, "i64", GGUF_I64, &(int64_t){12}, 8);
    gguf_write_f32(&w, "f32", 1.5f);
    gguf_write_raw(&w, "f64", GGUF_F64, &(double){-2.25}, 8);
    gguf_write_bool(&w, "bool", true);
    gguf_write_string(&w, "string", "caf\xc3\xa9");
    gguf_write_strings(&w, "strings", (const char *[]){"a", "", "bcd"}, 3);
    gguf_write_array(&w, "i16s", GGUF_I16, (int16_t[]){-5, 6}, 2, 4);
    gguf_write_array(&w, "f32s", GGUF_F32, (float[]){0.5f, 8}, 2, 8);
    struct buf file = finish_with_tensor(&w);
    struct gguf *g = open_bytes(&file);
    struct err err;
    uint32_t u = 0;
    float f = 0;
    bool b = false;
    int32_t i = 0;
    struct gguf_string s;

    assert_int_equal(gguf_n_kv(g), 15);
    assert_int_equal(gguf_version(g), 3);
    assert_true(gguf_get_u32(g, "u8", &u, &err) && u == 200);
    assert_true(gguf_get_u32(g, "u16", &u, &err) && u == 65535);
    assert_true(gguf_get_u32(g, "u32", &u, &err) && u == 4294967295u);
    assert_true(gguf_get_u32(g, "i32", &u, &err) && u == 77);
    assert_true(gguf_get_u32(g, "u64", &u, &err) && u == 4294967295u);
    assert_true(gguf_get_u32(g, "i64", &u, &err) && u == 12);
    assert_false(gguf_get_u32(g, "i8", &u, &err));
    assert_false(gguf_get_u32(g, "i16", &u, &err));
    assert_true(gguf_f32_or(g, "f32", 9, &f, &err) && f == 1.5f);
    assert_true(gguf_f32_or(g, "f64", 9, &f, &err) && f == -2.25f);
    assert_true(gguf_f32_or(g, "none", 9, &f, &err) && f == 9);
    assert_true(gguf_bool_or(g, "bool", false, &b, &err) && b);
    assert_true(gguf_u32_or(g, "none", 5, &u, &err) && u == 5);
    assert_true(gguf_get_string(g, "string", &s, &err) && s.n == 5 && memcmp(s.data, "caf\xc3\xa9", 5) == 0);
    const struct gguf_kv *strings = gguf_find(g, "strings");
    assert_true(gguf_array_string(strings, 1, &s) && s.n == 0);
    assert_true(gguf_array_string(strings, 2, &s) && s.n == 3 && memcmp(s.data, "bcd", 3) == 0);
    assert_false(gguf_array_string(strings, 3, &s));
    assert_false(gguf_array_i32(strings, 0, &i));
    assert_true(gguf_array_i32(gguf_find(g, "i16s"), 0, &i) && i == -5);
    assert_false(gguf_array_i32(gguf_find(g, "i16s"), 2, &i));
    assert_true(gguf_array_f32(gguf_find(g, "f32s"), 1, &f) && f == 8);
    assert_false(gguf_array_f32(gguf_find(g, "i16s"), 0, &f));
    assert_null(gguf_find(g, "none"));
    gguf_close(g);
    buf_fini(&file);
}

static void gguf_open__tensor_has_its_shape_and_bytes(void **state)
{
    (void)state;
    struct gguf_writer w = {.alignment = 64};
    gguf_write_u32(&w, "general.alignment", 64);
    gguf_write_tensor(&w, "first", 0, (uint64_t[]){3}, 1, (float[]){1, 2, 3}, 12);
    gguf_write_tensor(&w, "second", 0, (uint64_t[]){1, 2}, 2, (float[]){4, 5}, 8);
    struct buf file = {0};
    gguf_write_finish(&w, &file);
    struct gguf *g = open_bytes(&file);
    const struct tensor *t = gguf_find_tensor(g, "second");
    assert_non_null(t);
    assert_ptr_equal(t, gguf_tensor_at(g, 1));
    assert_int_equal(t->n_dims, 2);
    assert_int_equal(t->dims[0], 1);
    assert_int_equal(t->dims[1], 2);
    assert_int_equal(t->dims[2], 1);
    assert_int_equal(t->n_bytes, 8);
    assert_memory_equal(t->data, ((float[]){4, 5}), 8);
    assert_null(gguf_find_tensor(g, "third"));
    gguf_close(g);
    buf_fini(&file);
}

static void gguf_open__version_2_is_read(void **state)
{
    (void)state;
    struct buf file = plain_file();
    patch(&file, 4, &(uint32_t){2}, 4);
    struct gguf *g = open_bytes(&file);
    assert_int_equal(gguf_version(g), 2);
    gguf_close(g);
    buf_fini(&file);
}

static void gguf_open__keys_only_ignores_a_cut_tensor_section(void **state)
{
    (void)state;
    struct buf file = plain_file();
    struct err err;
    size_t n = place_of(&file, "token_embd.weight");
    assert_null(gguf_open_memory(file.data, n, "m", true, &err));
    struct gguf *g = gguf_open_memory(file.data, n, "m", false, &err);
    assert_non_null(g);
    assert_int_equal(gguf_n_tensors(g), 0);
    assert_null(gguf_find_tensor(g, "token_embd.weight"));
    gguf_close(g);
    buf_fini(&file);
}

static void gguf_get__names_the_key_and_what_it_found(void **state)
{
    (void)state;
    struct gguf_writer w = {0};
    gguf_write_raw(&w, "negative", GGUF_I32, &(int32_t){-4}, 4);
    gguf_write_string(&w, "text", "x");
    struct buf file = finish_with_tensor(&w);
    struct gguf *g = open_bytes(&file);
    struct err err;
    uint32_t u;
    bool b;
    struct gguf_string s;
    assert_false(gguf_get_u32(g, "negative", &u, &err));
    assert_non_null(strstr(err.text, "'negative': found i32 -4"));
    assert_false(gguf_u32_or(g, "text", 1, &u, &err));
    assert_non_null(strstr(err.text, "type string"));
    assert_false(gguf_bool_or(g, "text", true, &b, &err));
    assert_false(gguf_get_string(g, "gone\x1b[2J", &s, &err));
    assert_non_null(strstr(err.text, "'gone?[2J' is missing"));
    assert_int_equal(err.code, ERR_MODEL);
    gguf_close(g);
    buf_fini(&file);
}

/* ---- wrong files ---- */

static void gguf_open__refuses_what_is_no_gguf(void **state)
{
    (void)state;
    struct buf file = {0};
    buf_puts(&file, "PK\x03\x04 and more bytes than a header has");
    ASSERT_REFUSED(file, "not a GGUF file",
                   "'PK?"
                   "?'");
    struct buf tiny = {0};
    buf_puts(&tiny, "GG");
    ASSERT_REFUSED(tiny, "not a GGUF file");
}

static void gguf_open__refuses_versions_and_byte_orders(void **state)
{
    (void)state;
    struct buf file = plain_file();
    patch(&file, 4, &(uint32_t){1}, 4);
    ASSERT_REFUSED(file, "version 1", "expected 2 or 3");
    file = plain_file();
    patch(&file, 4, "\0\0\0\3", 4);
    ASSERT_REFUSED(file, "big-endian");
}

static void gguf_open__refuses_counts_beyond_the_file(void **state)
{
    (void)state;
    struct buf file = plain_file();
    patch(&file, 8, &(uint64_t){UINT64_MAX / 2}, 8);
    ASSERT_REFUSED(file, "number of tensors", "count of 9223372036854775807");
    file = plain_file();
    patch(&file, 16, &(uint64_t){1u << 30}, 8);
    ASSERT_REFUSED(file, "header", "count of 1073741824");
    file = plain_file();
    patch(&file, 24, &(uint64_t){UINT64_MAX}, 8);
    ASSERT_REFUSED(file, "byte 32", "key 1 of 1", "ends after");
}

static void gguf_open__refuses_bad_values(void **state)
{
    (void)state;
    struct gguf_writer w = {0};
    gguf_write_raw(&w, "strange", 13, "", 0);
    ASSERT_REFUSED(finish_with_tensor(&w), "key 'strange'", "value type 13");
    gguf_write_array(&w, "long", GGUF_U64, "", SIZE_MAX / 4, 0);
    ASSERT_REFUSED(finish_with_tensor(&w), "key 'long'", "count of");
    gguf_write_array(&w, "texts", GGUF_STRING, "", SIZE_MAX / 8, 0);
    ASSERT_REFUSED(finish_with_tensor(&w), "key 'texts'", "count of");
    gguf_write_array(&w, "typed", 99, "", 0, 0);
    ASSERT_REFUSED(finish_with_tensor(&w), "key 'typed'", "value type 99");
    gguf_write_u32(&w, "", 1);
    ASSERT_REFUSED(finish_with_tensor(&w), "0 bytes long");
    gguf_write_u32(&w, "bad\x1b]key\x07", 1);
    gguf_write_u32(&w, "bad\x1b]key\x07", 1);
    ASSERT_REFUSED(finish_with_tensor(&w), "key 'bad?]key?'", "twice");
}

/* depth arrays of one item each, the innermost holding one u8. */
static void write_nested(struct gguf_writer *w, int depth)
{
    struct buf value = {0};
    for (int i = 1; i <= depth; i++) {
        uint32_t type = i < depth ? GGUF_ARRAY : GGUF_U8;
        buf_append(&value, &type, 4);
        buf_append(&value, &(uint64_t){1}, 8);
    }
    buf_putc(&value, 42);
    gguf_write_raw(w, "nested", GGUF_ARRAY, value.data, value.len);
    buf_fini(&value);
}

static void gguf_open__nested_arrays_are_bounded(void **state)
{
    (void)state;
    struct gguf_writer w = {0};
    write_nested(&w, 4);
    struct buf file = finish_with_tensor(&w);
    struct gguf *g = open_bytes(&file);
    assert_int_equal(gguf_find(g, "nested")->item_type, GGUF_ARRAY);
    gguf_close(g);
    buf_fini(&file);
    write_nested(&w, 5);
    ASSERT_REFUSED(finish_with_tensor(&w), "key 'nested'", "more than 4 deep");
    write_nested(&w, 100000);
    ASSERT_REFUSED(finish_with_tensor(&w), "more than 4 deep");
}

static void gguf_open__refuses_bad_alignments(void **state)
{
    (void)state;
    struct gguf_writer w = {0};
    gguf_write_u32(&w, "general.alignment", 48);
    ASSERT_REFUSED(finish_with_tensor(&w), "general.alignment", "found 48", "power of two");
    gguf_write_u32(&w, "general.alignment", 0);
    ASSERT_REFUSED(finish_with_tensor(&w), "found 0");
    gguf_write_string(&w, "general.alignment", "32");
    ASSERT_REFUSED(finish_with_tensor(&w), "general.alignment");
}

static struct buf patched_tensor(size_t field, uint64_t value, size_t n_bytes)
{
    struct buf file = plain_file();
    patch(&file, tensor_field(&file, field), &value, n_bytes);
    return file;
}

static void gguf_open__refuses_bad_tensors(void **state)
{
    (void)state;
    ASSERT_REFUSED(patched_tensor(N_DIMS_AT, 0, 4), "token_embd.weight", "0 dimensions", "expected 1 to 4");
    ASSERT_REFUSED(patched_tensor(N_DIMS_AT, 5, 4), "5 dimensions");
    ASSERT_REFUSED(patched_tensor(DIM1_AT, 0, 8), "dimension 1 is 0");
    ASSERT_REFUSED(patched_tensor(DIM0_AT, 33, 8), "33 weights", "multiple of 32", "q8_0");
    ASSERT_REFUSED(patched_tensor(DIM1_AT, UINT64_MAX / 16, 8), "multiply to more");
    ASSERT_REFUSED(patched_tensor(DIM1_AT, 1000, 8), "beyond the end", "download it again");
    ASSERT_REFUSED(patched_tensor(TYPE_AT, 16, 4), "iq2_xxs", "Q4_K_M");
    ASSERT_REFUSED(patched_tensor(TYPE_AT, 999, 4), "type 999");
    ASSERT_REFUSED(patched_tensor(OFFSET_AT, 7, 8), "offset is 7", "multiple of 32");
    ASSERT_REFUSED(patched_tensor(OFFSET_AT, UINT64_MAX - 31, 8), "beyond the end");
    ASSERT_REFUSED(patched_tensor(OFFSET_AT, 64, 8), "beyond the end");
}

static void gguf_open__refuses_bad_tensor_names(void **state)
{
    (void)state;
    struct gguf_writer w = {0};
    struct buf file = {0};
    float x = 1;
    gguf_write_tensor(&w, "a", 0, (uint64_t[]){1}, 1, &x, 4);
    ASSERT_REFUSED(
        (gguf_write_tensor(&w, "a", 0, (uint64_t[]){1}, 1, &x, 4), gguf_write_finish(&w, &file), file),
        "tensor 'a'", "twice");
    char longest[65];
    memset(longest, 'n', 64);
    longest[64] = '\0';
    file = (struct buf){0};
    gguf_write_tensor(&w, longest, 0, (uint64_t[]){1}, 1, &x, 4);
    ASSERT_REFUSED((gguf_write_finish(&w, &file), file), "64 bytes long", "expected 1 to 63");
    file = plain_file();
    patch(&file, place_of(&file, "_embd"), "\0", 1);
    ASSERT_REFUSED(file, "token?embd.weight", "zero byte");
}

/* ---- files on disk ---- */

static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "%s/ferrum-gguf-XXXXXX", access("/tmp", W_OK) == 0 ? "/tmp" : ".");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    glob_t found;
    char pattern[80];
    snprintf(pattern, sizeof pattern, "%s/*", dir);
    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++)
            unlink(found.gl_pathv[i]);
        globfree(&found);
    }
    return rmdir(dir);
}

static const char *in_dir(char path[200], const char *name)
{
    snprintf(path, 200, "%s/%s", dir, name);
    return path;
}

static void assert_path_refused(const char *path, const char *word)
{
    struct err err = {0};
    assert_null(gguf_open(path, true, &err));
    assert_int_equal(err.code, ERR_MODEL);
    if (!strstr(err.text, word))
        fail_msg("'%s' is not in: %s", word, err.text);
}

static void gguf_open__refuses_paths_that_are_no_readable_file(void **state)
{
    (void)state;
    char path[200];
    assert_path_refused(in_dir(path, "none.gguf"), "No such file");
    assert_path_refused(dir, "a directory");
    assert_true(test_write_file(in_dir(path, "empty.gguf"), "", 0));
    assert_path_refused(path, "empty");
    assert_int_equal(mkfifo(in_dir(path, "fifo.gguf"), 0600), 0);
    assert_path_refused(path, "not a regular file");
    assert_true(test_write_file(in_dir(path, "secret.gguf"), "GGUF", 4));
    assert_int_equal(chmod(path, 0), 0);
    uid_t user = geteuid();
    if (user == 0) /* root may read everything */
        assert_int_equal(seteuid(65534), 0);
    assert_path_refused(path, "Permission denied");
    assert_int_equal(seteuid(user), 0);
}

static void gguf_open__reads_a_file_in_place(void **state)
{
    (void)state;
    char path[200];
    struct err err;
    struct tiny_options options = {.arch = "qwen3", .type = DTYPE_Q4_0, .chatml = true, .seed = 3};
    assert_true(tiny_model_save(&options, in_dir(path, "tiny.gguf")));
    struct gguf *g = gguf_open(path, true, &err);
    assert_non_null(g);
    gguf_prefetch(g);
    gguf_prefetch(g);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(gguf_file_bytes(g), st.st_size);
    assert_string_equal(gguf_path(g), path);
    assert_int_equal(gguf_n_parts(g), 1);
    const struct tensor *t = gguf_find_tensor(g, "blk.1.ffn_down.weight");
    assert_int_equal(t->dims[0], 128);
    assert_int_equal(t->n_bytes, 128 / 32 * 18 * 64);
    gguf_close(g);
}

/* Writes part `part` of `count`; each holds one tensor, "t0", "t1", .. */
static void write_part(const char *name, uint16_t part, uint16_t count, int32_t n_tensors)
{
    char path[200], tensor[8];
    struct gguf_writer w = {0};
    struct buf file = {0};
    float x = part;
    if (part == 0)
        gguf_write_string(&w, "general.architecture", "llama");
    gguf_write_raw(&w, "split.no", GGUF_U16, &part, 2);
    gguf_write_raw(&w, "split.count", GGUF_U16, &count, 2);
    gguf_write_raw(&w, "split.tensors.count", GGUF_I32, &n_tensors, 4);
    snprintf(tensor, sizeof tensor, "t%d", part);
    gguf_write_tensor(&w, tensor, 0, (uint64_t[]){1}, 1, &x, 4);
    gguf_write_finish(&w, &file);
    assert_true(test_write_file(in_dir(path, name), file.data, file.len));
    buf_fini(&file);
}

static void gguf_open__any_part_opens_all(void **state)
{
    (void)state;
    static const char *const names[] = {"s-00001-of-00003.gguf", "s-00002-of-00003.gguf",
                                        "s-00003-of-00003.gguf"};
    for (uint16_t i = 0; i < 3; i++)
        write_part(names[i], i, 3, 3);
    for (int named = 0; named < 3; named++) {
        char path[200];
        struct err err = {0};
        struct gguf *g = gguf_open(in_dir(path, names[named]), true, &err);
        if (!g)
            fail_msg("%s", err.text);
        assert_int_equal(gguf_n_parts(g), 3);
        assert_int_equal(gguf_n_tensors(g), 3);
        assert_non_null(gguf_find(g, "general.architecture"));
        assert_float_equal(*(const float *)gguf_find_tensor(g, "t2")->data, 2, 0);
        gguf_close(g);
        g = gguf_open(path, false, &err);
        assert_non_null(g);
        assert_int_equal(gguf_n_parts(g), 1);
        assert_non_null(gguf_find(g, "general.architecture"));
        gguf_close(g);
    }
}

static void gguf_open__refuses_split_models_with_faults(void **state)
{
    (void)state;
    char path[200];
    write_part("m-00001-of-00002.gguf", 0, 2, 2);
    assert_path_refused(in_dir(path, "m-00001-of-00002.gguf"), "m-00002-of-00002.gguf: cannot be opened");
    write_part("renamed.gguf", 0, 2, 2);
    assert_path_refused(in_dir(path, "renamed.gguf"), "-00001-of-00002.gguf");
    write_part("m-00002-of-00002.gguf", 0, 2, 2);
    assert_path_refused(in_dir(path, "m-00001-of-00002.gguf"), "part 1 of 2, expected part 2 of 2");
    write_part("m-00002-of-00002.gguf", 1, 2, 2);
    write_part("m-00001-of-00002.gguf", 0, 2, 7);
    assert_path_refused(in_dir(path, "m-00001-of-00002.gguf"), "split.tensors.count");
    write_part("n-00001-of-00002.gguf", 5, 2, 2);
    assert_path_refused(in_dir(path, "n-00001-of-00002.gguf"), "split.no");
}

/* ---- sweeps ---- */

/* Opens damaged bytes both ways; whatever opens is read through. The copy has the exact size, so that a
 * sanitizer sees any step beyond it. */
static void try_bytes(const char *bytes, size_t n)
{
    char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, n);
    for (int want_tensors = 0; want_tensors <= 1; want_tensors++) {
        struct err err = {0};
        struct gguf *g = gguf_open_memory(copy, n, "m", want_tensors, &err);
        if (!g) {
            assert_true(err.code == ERR_MODEL && err.text[0] != '\0');
            continue;
        }
        volatile unsigned char sum = 0;
        for (size_t i = 0; i < gguf_n_tensors(g); i++) {
            const struct tensor *t = gguf_tensor_at(g, i);
            sum += ((const unsigned char *)t->data)[t->n_bytes - 1];
        }
        struct gguf_string s;
        for (size_t i = 0; i < gguf_n_kv(g); i++)
            for (uint64_t j = 0; gguf_array_string(gguf_kv_at(g, i), j, &s); j++)
                sum += s.n ? (unsigned char)s.data[s.n - 1] : 0;
        gguf_close(g);
    }
    free(copy);
}

static struct buf varied_file(void)
{
    struct gguf_writer w = {0};
    gguf_write_string(&w, "general.architecture", "llama");
    gguf_write_u32(&w, "general.alignment", 32);
    gguf_write_strings(&w, "tokens", (const char *[]){"<unk>", "<s>", "\xe2\x96\x81the"}, 3);
    gguf_write_array(&w, "types", GGUF_I32, (int32_t[]){2, 3, 1}, 3, 12);
    write_nested(&w, 3);
    gguf_write_bool(&w, "flag", true);
    gguf_write_tensor(&w, "norm", 0, (uint64_t[]){8}, 1, (float[8]){0}, 32);
    return finish_with_tensor(&w);
}

static void gguf_open__survives_every_truncation(void **state)
{
    (void)state;
    struct buf file = varied_file();
    for (size_t n = 0; n < file.len; n++)
        try_bytes(file.data, n);
    struct err err;
    assert_null(gguf_open_memory(file.data, place_of(&file, "norm"), "m", true, &err));
    buf_fini(&file);
}

static void gguf_open__survives_every_flipped_bit(void **state)
{
    (void)state;
    struct buf file = varied_file();
    assert_true(file.len < 2048);
    for (size_t bit = 0; bit < file.len * 8; bit++) {
        file.data[bit / 8] ^= (char)(1 << bit % 8);
        try_bytes(file.data, file.len);
        file.data[bit / 8] ^= (char)(1 << bit % 8);
    }
    buf_fini(&file);
}

static void gguf_open__every_failing_allocation_is_a_sentence(void **state)
{
    (void)state;
    char path[200];
    write_part("f-00001-of-00002.gguf", 0, 2, 2);
    write_part("f-00002-of-00002.gguf", 1, 2, 2);
    in_dir(path, "f-00002-of-00002.gguf");
    long n_failures = 0;
    for (long n = 0; n < 1000; n++) {
        struct err err = {0};
        mem_fail_after(n);
        struct gguf *g = gguf_open(path, true, &err);
        bool failed = mem_fail_happened();
        mem_fail_after(-1);
        if (g) {
            assert_false(failed);
            gguf_close(g);
            break;
        }
        assert_int_equal(err.code, ERR_MEMORY);
        assert_true(err.text[0] != '\0');
        n_failures++;
    }
    assert_in_range(n_failures, 5, 500);
}

/* ---- real files ---- */

static void gguf_open__opens_the_shared_files(void **state)
{
    (void)state;
    const char *shared = getenv("FERRUM_SHARED");
    char pattern[4096];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/*/*.gguf", shared ? shared : "/nonexistent");
    if (glob(pattern, 0, NULL, &found) != 0) {
        print_message("no shared models: skipped\n");
        skip();
    }
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct err err = {0};
        struct gguf *g = gguf_open(found.gl_pathv[i], true, &err);
        if (!g)
            fail_msg("%s", err.text);
        assert_non_null(gguf_find(g, "tokenizer.ggml.model"));
        assert_non_null(gguf_find(g, "tokenizer.ggml.tokens")->string_offsets);
        gguf_close(g);
    }
    globfree(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gguf_open__round_trip_of_all_value_types),
        cmocka_unit_test(gguf_open__tensor_has_its_shape_and_bytes),
        cmocka_unit_test(gguf_open__version_2_is_read),
        cmocka_unit_test(gguf_open__keys_only_ignores_a_cut_tensor_section),
        cmocka_unit_test(gguf_get__names_the_key_and_what_it_found),
        cmocka_unit_test(gguf_open__refuses_what_is_no_gguf),
        cmocka_unit_test(gguf_open__refuses_versions_and_byte_orders),
        cmocka_unit_test(gguf_open__refuses_counts_beyond_the_file),
        cmocka_unit_test(gguf_open__refuses_bad_values),
        cmocka_unit_test(gguf_open__nested_arrays_are_bounded),
        cmocka_unit_test(gguf_open__refuses_bad_alignments),
        cmocka_unit_test(gguf_open__refuses_bad_tensors),
        cmocka_unit_test(gguf_open__refuses_bad_tensor_names),
        cmocka_unit_test(gguf_open__refuses_paths_that_are_no_readable_file),
        cmocka_unit_test(gguf_open__reads_a_file_in_place),
        cmocka_unit_test(gguf_open__any_part_opens_all),
        cmocka_unit_test(gguf_open__refuses_split_models_with_faults),
        cmocka_unit_test(gguf_open__survives_every_truncation),
        cmocka_unit_test(gguf_open__survives_every_flipped_bit),
        cmocka_unit_test(gguf_open__every_failing_allocation_is_a_sentence),
        cmocka_unit_test(gguf_open__opens_the_shared_files),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
