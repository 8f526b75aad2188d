/* tensor.h: a named, typed, shaped view of bytes it never owns, and the facts about data types.
 * Plain data, any thread. */
#ifndef FERRUM_TENSOR_H
#define FERRUM_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

#define TENSOR_MAX_DIMS 4
#define TENSOR_NAME_BYTES 64 /* GGUF's own limit, NUL included */

/* The program's data types, one row each in dtype.c. Order is ours; ggml's numbers are in the table. */
enum dtype {
    DTYPE_F32,
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_Q4_0,
    DTYPE_Q4_1,
    DTYPE_Q5_0,
    DTYPE_Q5_1,
    DTYPE_Q8_0,
    DTYPE_Q2_K,
    DTYPE_Q3_K,
    DTYPE_Q4_K,
    DTYPE_Q5_K,
    DTYPE_Q6_K,
    DTYPE_IQ4_NL,
    DTYPE_IQ4_XS,
    DTYPE_I8, /* of the KV cache alone: every type before it may be a weight's */
    DTYPE_N,
};

struct dtype_info {
    const char *name;     /* "q4_k" */
    int ggml_id;          /* number of the type in GGUF files */
    size_t block_weights; /* weights per block */
    size_t block_bytes;
};

const struct dtype_info *dtype_info(enum dtype type);
/* The type of a GGUF number; false when we have no row for it. */
bool dtype_from_ggml(uint32_t ggml_id, enum dtype *out);
/* The field's name of any ggml type number ("iq2_xxs"), also of those we have no kernels for; "type 99" else.
 */
const char *dtype_ggml_name(uint32_t ggml_id, char scratch[24]);
/* Bytes of a row of n weights; false when n is no multiple of the block or the product overflows. */
bool dtype_row_bytes(enum dtype type, size_t n_weights, size_t *bytes);

/* Writes n weights of one row as f32 (of int8 the integers: their scale is not in the row). The definition of
 * every format in this program: slow, scalar, exact; kernels are tested against it. src [row bytes], dst [n],
 * n a multiple of the block. */
void dtype_to_f32(enum dtype type, const void *src, float *dst, size_t n);

struct tensor {
    char name[TENSOR_NAME_BYTES];
    enum dtype type;
    int n_dims;
    size_t dims[TENSOR_MAX_DIMS]; /* innermost first, as in GGUF: a weight [n, k] has dims {k, n}; unused are
                                     1 */
    const void *data;             /* inside the file map, alignment 1 */
    size_t n_bytes;
};

#endif
