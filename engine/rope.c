#include "engine/rope.h"

#include <math.h>

/* The pair number (as a real number) that turns `turns` times within the original context. */
static double pair_of_turns(const struct rope_params *params, double turns)
{
    const double two_pi = 6.283185307179586;
    return params->n_rot * log(params->n_ctx_orig / (turns * two_pi)) / (2.0 * log(params->base));
}

/* 1 where YaRN keeps the angle, 0 where it divides it by scale. */
static double yarn_kept_share(double low, double high, double pair)
{
    double width = high - low < 0.001 ? 0.001 : high - low;
    double ramp = (pair - low) / width;
    return 1.0 - (ramp < 0.0 ? 0.0 : ramp > 1.0 ? 1.0 : ramp);
}

static void scale_yarn(const struct rope_params *params, double *freqs)
{
    double low = floor(pair_of_turns(params, params->beta_fast));
    double high = ceil(pair_of_turns(params, params->beta_slow));
    low = low < 0.0 ? 0.0 : low;
    high = high > params->n_rot - 1.0 ? params->n_rot - 1.0 : high;
    for (uint32_t i = 0; i < params->n_rot / 2; i++) {
        double kept = yarn_kept_share(low, high, i);
        freqs[i] = freqs[i] / params->scale * (1.0 - kept) + freqs[i] * kept;
    }
}

/* Angle per position of each pair, [R/2]. */
static void frequencies(const struct rope_params *params, double *freqs)
{
    for (uint32_t i = 0; i < params->n_rot / 2; i++) {
        freqs[i] = pow(params->base, -2.0 * i / params->n_rot);
        if (params->has_factors)
            freqs[i] /= (double)params->factors[i];
        if (params->scaling == ROPE_SCALING_LINEAR)
            freqs[i] /= params->scale;
    }
    if (params->scaling == ROPE_SCALING_YARN)
        scale_yarn(params, freqs);
}

/* What cos and sin are multiplied by. */
static double magnitude_of(const struct rope_params *params)
{
    if (params->scaling != ROPE_SCALING_YARN)
        return 1.0;
    double stretch = params->scale > 1.0 ? 0.1 * log(params->scale) + 1.0 : 1.0;
    return params->attn_factor * stretch;
}

/* A context of 128k positions has millions of angles. Each pair therefore walks in steps: cos and sin exactly
 * at every RESTART positions, between them by turning with the angle of one position, in f64: the error stays
 * below 1e-14. */
#define RESTART 64

static void fill_pair(double freq, double magnitude, size_t first, size_t n, size_t stride, float *cos_out,
                      float *sin_out)
{
    double step_c = cos(freq), step_s = sin(freq), c = 0.0, s = 0.0;
    for (size_t i = 0; i < n; i++) {
        if (i % RESTART == 0) {
            c = cos((double)(first + i) * freq);
            s = sin((double)(first + i) * freq);
        }
        cos_out[i * stride] = (float)(c * magnitude);
        sin_out[i * stride] = (float)(s * magnitude);
        double turned = c * step_c - s * step_s;
        s = s * step_c + c * step_s;
        c = turned;
    }
}

void rope_fill(const struct rope_params *params, size_t first, size_t n, float *cos_out, float *sin_out)
{
    double freqs[ROPE_MAX_PAIRS];
    double magnitude = magnitude_of(params);
    size_t n_pairs = params->n_rot / 2;
    frequencies(params, freqs);
    for (size_t i = 0; i < n_pairs; i++)
        fill_pair(freqs[i], magnitude, first, n, n_pairs, cos_out + i, sin_out + i);
}
