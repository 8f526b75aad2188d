/* backend_cpu.h: opens the CPU backend (engine/backend.h). The only header of kernels_cpu that app includes.
 */
#ifndef FERRUM_BACKEND_CPU_H
#define FERRUM_BACKEND_CPU_H

#include "engine/backend.h"

/* n_threads 0: the physical cores this process may use. isa NULL: the best this machine has; else "scalar",
 * "avx2",
 * ... (an instruction set the machine lacks is an error). The backend starts its threads here and joins them
 * in backend_close. */
bool backend_cpu_open(struct backend *out, int n_threads, const char *isa, struct err *err);

/* Physical cores in this process's affinity mask, at least 1. */
int backend_cpu_cores(void);

#endif
