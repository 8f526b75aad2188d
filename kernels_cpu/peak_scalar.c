/* The arithmetic peak of portable C: what the compiler makes of it. */
#include "kernels_cpu/peak.h"

#include <stdint.h>

#define N_CHAINS 12

static volatile uint32_t source = 3;
static _Thread_local volatile uint32_t sink;

/* Integers of 32 bits, as the scalar kernels multiply them. The product takes part in the next one, so that
 * none can be left out. */
size_t peak_scalar_int8(size_t n)
{
    uint32_t x = source, acc[N_CHAINS];
    for (uint32_t c = 0; c < N_CHAINS; c++)
        acc[c] = c;
    for (size_t i = 0; i < n; i++)
        for (int c = 0; c < N_CHAINS; c++)
            acc[c] = acc[c] * x + 1;
    for (int c = 1; c < N_CHAINS; c++)
        acc[0] ^= acc[c];
    sink = acc[0];
    return n * N_CHAINS;
}

size_t peak_scalar_f32(size_t n)
{
    float x = 1.0f / (float)source, acc[N_CHAINS];
    for (int c = 0; c < N_CHAINS; c++)
        acc[c] = (float)c;
    for (size_t i = 0; i < n; i++)
        for (int c = 0; c < N_CHAINS; c++)
            acc[c] = acc[c] * x + x;
    for (int c = 1; c < N_CHAINS; c++)
        acc[0] += acc[c];
    sink = (uint32_t)acc[0];
    return n * N_CHAINS;
}
