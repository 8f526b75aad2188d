/* cpu_fixture.h: what the tests of the CPU backend share: opening it, seeded numbers, buffers with guards,
 * NMSE. Failures end the test (cmocka assertions). */
#ifndef FERRUM_CPU_FIXTURE_H
#define FERRUM_CPU_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/backend.h"
#include "kernels_cpu/cpu_features.h"

#define GUARD_FLOATS 16

/* Roughly normal numbers, the same for the same seed. */
void fixture_normal(float *out, size_t n, uint32_t seed);

/* The backend with n_threads and the instruction set of that name (cpu_features.h), NULL for that of
 * FERRUM_CPU, else the best; ends the test when it does not open. */
struct backend fixture_open(int n_threads, const char *isa);
bool fixture_has(enum cpu_isa isa);
/* The i-th instruction set this machine has, 0 is scalar, and how many it has. */
enum cpu_isa fixture_isa(size_t i);
size_t fixture_n_isas(void);

/* A buffer of n floats; with content, copied, and without, all guard values, followed by GUARD_FLOATS of
 * them. */
struct bbuf *fixture_buf(struct backend *b, const float *content, size_t n);
/* Reads n floats back (mem_free) and checks that the guards behind them are as they were. */
float *fixture_read(struct backend *b, const struct bbuf *buf, size_t n);

/* sum (x - ref)^2 / sum ref^2 */
double fixture_nmse(const float *x, const double *ref, size_t n);

#endif
