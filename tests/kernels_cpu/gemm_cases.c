#include "tests/kernels_cpu/gemm_cases.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/half.h"
#include "engine/quant_blocks.h"

uint32_t gemm_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static float random_unit(uint32_t *state)
{
    return (float)(gemm_random(state) >> 8) * 0x1p-24f;
}

float gemm_random_normal(uint32_t *state)
{
    float u = random_unit(state) + 0x1p-25f;
    return sqrtf(-2.0f * logf(u)) * cosf(6.2831853f * random_unit(state));
}

static uint16_t random_scale(uint32_t *state)
{
    float sign = gemm_random(state) & 64 ? 1.0f : -1.0f;
    return f16_from_f32(sign * 0.01f * (0.5f + random_unit(state)));
}

#define SET_SCALE(type, field)                                                                               \
    do {                                                                                                     \
        uint16_t h = random_scale(state);                                                                    \
        memcpy(b + offsetof(struct block_##type, field), &h, sizeof h);                                      \
    } while (0)

static void set_scales(enum dtype type, uint8_t *b, uint32_t *state)
{
    switch (type) {
    case DTYPE_Q4_1:
        SET_SCALE(q4_1, d);
        SET_SCALE(q4_1, m);
        break;
    case DTYPE_Q5_1:
        SET_SCALE(q5_1, d);
        SET_SCALE(q5_1, m);
        break;
    case DTYPE_Q2_K:
        SET_SCALE(q2_k, d);
        SET_SCALE(q2_k, dmin);
        break;
    case DTYPE_Q3_K:
        SET_SCALE(q3_k, d);
        break;
    case DTYPE_Q4_K:
    case DTYPE_Q5_K:
        SET_SCALE(q4_k, d);
        SET_SCALE(q4_k, dmin);
        break;
    case DTYPE_Q6_K:
        SET_SCALE(q6_k, d);
        break;
    default: /* the scale comes first */
        SET_SCALE(q8_0, d);
    }
}

static void random_floats(enum dtype type, uint8_t *row, size_t k, uint32_t *state)
{
    for (size_t i = 0; i < k; i++) {
        float x = gemm_random_normal(state);
        uint16_t h = type == DTYPE_F16 ? f16_from_f32(x) : (uint16_t)(f32_bits(x) >> 16);
        if (type == DTYPE_F32)
            memcpy(row + 4 * i, &x, sizeof x);
        else
            memcpy(row + 2 * i, &h, sizeof h);
    }
}

void gemm_random_row(enum dtype type, uint8_t *row, size_t k, uint32_t *state)
{
    const struct dtype_info *info = dtype_info(type);
    if (dtype_info(type)->block_weights == 1) {
        random_floats(type, row, k, state);
        return;
    }
    for (size_t i = 0; i < k / info->block_weights; i++, row += info->block_bytes) {
        for (size_t j = 0; j < info->block_bytes; j++)
            row[j] = (uint8_t)(gemm_random(state) >> 11);
        set_scales(type, row, state);
    }
}

static void make_part(struct gemm_case *t, size_t i, enum dtype type, size_t n, bool with_bias,
                      uint32_t *state)
{
    struct tensor *w = &t->weights[i], *bias = &t->biases[i];
    size_t row_bytes;
    bool fits = dtype_row_bytes(type, t->k, &row_bytes);
    assert(fits);
    (void)fits;
    size_t odd = 2 * i + 1;
    t->bytes[i] = mem_need(n * row_bytes + odd);
    t->bias_bytes[i] = mem_need(n * sizeof(float) + odd);
    for (size_t r = 0; r < n; r++)
        gemm_random_row(type, t->bytes[i] + odd + r * row_bytes, t->k, state);
    random_floats(DTYPE_F32, t->bias_bytes[i] + odd, n, state);
    *w = (struct tensor){.name = "w", .type = type, .n_dims = 2, .dims = {t->k, n, 1, 1}};
    w->data = t->bytes[i] + odd;
    w->n_bytes = n * row_bytes;
    *bias = (struct tensor){.name = "b", .type = DTYPE_F32, .n_dims = 1, .dims = {n, 1, 1, 1}};
    bias->data = t->bias_bytes[i] + odd;
    bias->n_bytes = n * sizeof(float);
    t->parts[i] = (struct weight_part){w, with_bias ? bias : NULL};
    t->n += n;
}

struct gemm_case *gemm_case_unsolved(const enum dtype *types, size_t n_parts, size_t n_each, size_t k,
                                     size_t m, bool with_bias, uint32_t seed)
{
    struct gemm_case *t = mem_need(sizeof *t);
    uint32_t state = seed * 2654435761u + 12345u;
    t->m = m;
    t->k = k;
    t->n_parts = n_parts;
    for (size_t i = 0; i < n_parts; i++)
        make_part(t, i, types[i], n_each, with_bias, &state);
    t->a = mem_need(m * k * sizeof *t->a);
    for (size_t i = 0; i < m * k; i++)
        t->a[i] = gemm_random_normal(&state);
    t->exact = mem_need(m * t->n * sizeof *t->exact);
    t->emulated = mem_need(m * t->n * sizeof *t->emulated);
    t->rounded = mem_need(m * t->n * sizeof *t->rounded);
    struct err err;
    t->bound = cpu_weight_bind(t->parts, n_parts, &err);
    assert(t->bound && t->bound->n == t->n && t->bound->k == k);
    return t;
}

struct gemm_case *gemm_case_new(const enum dtype *types, size_t n_parts, size_t n_each, size_t k, size_t m,
                                bool with_bias, uint32_t seed)
{
    struct gemm_case *t = gemm_case_unsolved(types, n_parts, n_each, k, m, with_bias, seed);
    gemm_case_solve(t);
    return t;
}

void gemm_case_free(struct gemm_case *t)
{
    for (size_t i = 0; i < t->n_parts; i++) {
        mem_free(t->bytes[i]);
        mem_free(t->bias_bytes[i]);
    }
    cpu_weight_free(t->bound);
    mem_free(t->a);
    mem_free(t->exact);
    mem_free(t->emulated);
    mem_free(t->rounded);
    mem_free(t);
}

/* What the kernels see of a: the quantised values, back as floats. */
static void quantised_input(const struct gemm_case *t, enum act_format format, double *seen)
{
    size_t k = t->k;
    int8_t *q = mem_need(k);
    float *d = mem_need((k / 32 + 1) * sizeof *d), *s = mem_need((k / 32 + 1) * sizeof *s);
    int16_t *sums = mem_need((k / 16 + 1) * sizeof *sums);
    for (size_t r = 0; r < t->m; r++) {
        const float *x = t->a + r * k;
        if (format == ACT_Q8)
            act_quant_scalar(x, k, q, d, s, sums);
        for (size_t i = 0; i < k; i++)
            seen[r * k + i] = format == ACT_F32 ? (double)x[i] : (double)d[i / 32] * q[i];
    }
    mem_free(q);
    mem_free(d);
    mem_free(s);
    mem_free(sums);
}

static void solve_part(struct gemm_case *t, size_t part, size_t base, double *seen, float *row)
{
    const struct tensor *w = &t->weights[part];
    size_t k = t->k, n = w->dims[1], row_bytes = w->n_bytes / n;
    quantised_input(t, dot_act_format(dot_set_get(CPU_SCALAR), w->type), seen);
    for (size_t r = 0; r < n; r++) {
        float bias = 0;
        if (t->parts[part].bias)
            memcpy(&bias, (const uint8_t *)t->biases[part].data + r * sizeof bias, sizeof bias);
        dtype_to_f32(w->type, (const uint8_t *)w->data + r * row_bytes, row, k);
        for (size_t c = 0; c < t->m; c++) {
            double exact = bias, emulated = bias, rounded = bias;
            for (size_t i = 0; i < k; i++) {
                double product = (double)row[i] * t->a[c * k + i];
                exact += product;
                emulated += row[i] * seen[c * k + i];
                if (w->type == DTYPE_BF16)
                    rounded += (double)row[i] * gemm_round_bf16(t->a[c * k + i]);
                t->power += product * product;
            }
            t->exact[c * t->n + base + r] = exact;
            t->emulated[c * t->n + base + r] = emulated;
            t->rounded[c * t->n + base + r] = w->type == DTYPE_BF16 ? rounded : emulated;
            t->exact_power += exact * exact;
        }
    }
}

void gemm_case_solve(struct gemm_case *t)
{
    double *seen = mem_need(t->m * t->k * sizeof *seen);
    float *row = mem_need(t->k * sizeof *row);
    t->power = t->exact_power = 0;
    for (size_t i = 0, base = 0; i < t->n_parts; base += t->weights[i++].dims[1])
        solve_part(t, i, base, seen, row);
    mem_free(seen);
    mem_free(row);
}

const double *gemm_case_emulated(const struct gemm_case *t, const struct dot_set *set)
{
    return set->round ? t->rounded : t->emulated;
}

float gemm_round_bf16(float x)
{
    uint32_t bits = f32_bits(x);
    return f32_from_bits((bits + 0x7FFFu + (bits >> 16 & 1u)) & 0xFFFF0000u);
}

double gemm_distance(const float *got, const double *want, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (got[i] - want[i]) * (got[i] - want[i]);
    return sum;
}

bool gemm_isa_here(enum cpu_isa isa)
{
    struct cpu_features features = cpu_features_get();
    return cpu_isa_available(isa, &features);
}
