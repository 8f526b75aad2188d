/* kernel_sizes.h: the numbers that host and kernels share. Plain constants without suffixes: it is C and, in
 * front of every program, OpenCL C (cmake/embed_kernels.cmake). */
#ifndef FERRUM_KERNEL_SIZES_H
#define FERRUM_KERNEL_SIZES_H

/* Work-items of a group in the GPU style; in the CPU style it is one. */
#define GPU_LANES 64
/* Elements of a row that one group of an elementwise kernel takes. */
#define CHUNK 1024
/* Rows of a weight that one group of a product takes. */
#define PRODUCT_ROWS 8
/* Tokens from which on weights are expanded once and multiplied by the matrix kernel. */
#define PRODUCT_MAX_TOKENS 8
/* Numbers that are chosen of a row, at most; and how many one group looks at. */
#define LARGEST_MAX 64
#define LARGEST_CHUNK_GPU 1024
#define LARGEST_CHUNK_CPU 16384
/* Pairs of (token, expert) in a tile. */
#define TILE_PAIRS 8
/* What one group of the matrix kernel takes: the GPU style rows x tokens, the CPU style rows. */
#define MATRIX_TILE 32
#define MATRIX_ROWS 16
/* Heads are at most this long (backend.c refuses longer ones). */
#define HEAD_DIM_LIMIT 512
/* Query heads of one KV head that attention takes together, for few tokens; pages of one of its parts. */
#define GQA_HEADS 4
#define SPLIT_PAGES 4
/* Positions of a page of the KV cache, KV_BLOCK_TOKENS. */
#define PAGE_TOKENS 64

/* What a product does with its sums. */
#define FLAG_ADD 1
#define FLAG_BIAS 2
/* How a head is turned. */
#define ROPE_FLAG_NORM 1
#define ROPE_FLAG_INTERLEAVED 2

#endif
