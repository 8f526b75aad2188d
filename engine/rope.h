/* rope.h: the angles of rotary position embedding (Su et al. 2021), with the scalings model files name.
 *
 * Angle of pair i at position p: p * base^(-2i/R) / factor[i], then linear scaling (all angles divided by
 * `scale`, Chen et al. 2023) or YaRN (Peng et al. 2023, arXiv 2309.00071): pairs that turn more than
 * beta_fast times within the original context keep their angle, those below beta_slow times get it divided by
 * `scale`, a linear ramp over the pair number in between, and cos and sin are multiplied by attn_factor *
 * (0.1 ln(scale) + 1). Pure functions on plain data, any thread. Computed in f64, stored in f32. */
#ifndef FERRUM_ROPE_H
#define FERRUM_ROPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROPE_MAX_PAIRS 256

enum rope_scaling { ROPE_SCALING_NONE, ROPE_SCALING_LINEAR, ROPE_SCALING_YARN };

struct rope_params {
    uint32_t n_rot; /* rotated dimensions R, even, <= 2 * ROPE_MAX_PAIRS */
    double base;
    enum rope_scaling scaling;
    double scale; /* >= 1 lengthens */
    /* YaRN alone */
    double attn_factor, beta_fast, beta_slow;
    uint32_t n_ctx_orig;
    bool has_factors;
    float factors[ROPE_MAX_PAIRS]; /* of rope_freqs.weight (Llama 3.x), [R/2] */
};

/* Rows first .. first+n of the tables: cos and sin [n, R/2]. */
void rope_fill(const struct rope_params *params, size_t first, size_t n, float *cos_out, float *sin_out);

#endif
