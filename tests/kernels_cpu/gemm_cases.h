/* gemm_cases.h: random weights and inputs for the product tests, and the slow answers they are held against.
 * Ownership: gemm_case_free releases what gemm_case_new made. Test code: asserts instead of errors. */
#ifndef FERRUM_GEMM_CASES_H
#define FERRUM_GEMM_CASES_H

#include "kernels_cpu/dot_kernel.h"
#include "kernels_cpu/gemm.h"

struct gemm_case {
    size_t m, n, k, n_parts;
    struct tensor weights[WEIGHT_MAX_PARTS], biases[WEIGHT_MAX_PARTS];
    struct weight_part parts[WEIGHT_MAX_PARTS];
    struct bweight *bound;
    uint8_t *bytes[WEIGHT_MAX_PARTS]; /* as allocated; the rows start at an odd address inside */
    uint8_t *bias_bytes[WEIGHT_MAX_PARTS];
    float *a;           /* [m, k], standard normal */
    double *exact;      /* [m, n]: f64, dequantised weights, a as it is */
    double *emulated;   /* [m, n]: the same with a as the kernels quantise it ... */
    double *rounded;    /* ... and as those do that round it to bf16 for bf16 weights */
    double power;       /* sum over out of sum over k of (w * a)^2: what rounding errors are measured by */
    double exact_power; /* sum of exact^2 */
};

/* Parts of n_each rows and the given types. with_bias gives every part one. */
struct gemm_case *gemm_case_new(const enum dtype *types, size_t n_parts, size_t n_each, size_t k, size_t m,
                                bool with_bias, uint32_t seed);
/* The same without the slow answers, for tests that compare bits. */
struct gemm_case *gemm_case_unsolved(const enum dtype *types, size_t n_parts, size_t n_each, size_t k,
                                     size_t m, bool with_bias, uint32_t seed);
void gemm_case_free(struct gemm_case *t);
/* What the kernels of a set are held against. */
const double *gemm_case_emulated(const struct gemm_case *t, const struct dot_set *set);
/* Computes exact, emulated, rounded and the powers from what the weight bytes and a are now. */
void gemm_case_solve(struct gemm_case *t);

/* Random bytes whose scales are ordinary numbers. */
void gemm_random_row(enum dtype type, uint8_t *row, size_t k, uint32_t *state);
uint32_t gemm_random(uint32_t *state);
float gemm_random_normal(uint32_t *state);

/* To the nearest bf16, for numbers that are neither subnormal nor large. */
float gemm_round_bf16(float x);

/* Sum of the squared differences. */
double gemm_distance(const float *got, const double *want, size_t n);
/* Does this machine run the kernels of isa? */
bool gemm_isa_here(enum cpu_isa isa);

#endif
