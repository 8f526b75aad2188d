/* forced_cpu.h: the kernels that FERRUM_CPU names, for tests that open the CPU backend; NULL without it: the
 * best ones. On a machine that cannot run them the program ends as a skipped test (ctest: SKIP_RETURN_CODE).
 */
#ifndef FERRUM_TEST_FORCED_CPU_H
#define FERRUM_TEST_FORCED_CPU_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels_cpu/cpu_features.h"

#define TEST_SKIPPED 77

static inline const char *forced_cpu(void)
{
    const char *name = getenv("FERRUM_CPU");
    struct cpu_features features = cpu_features_get();
    for (int isa = CPU_SCALAR; name && isa < CPU_ISA_N; isa++)
        if (strcmp(name, cpu_isa_name((enum cpu_isa)isa)) == 0 &&
            !cpu_isa_available((enum cpu_isa)isa, &features)) {
            printf("skipped: this machine cannot run the %s kernels\n", name);
            exit(TEST_SKIPPED);
        }
    return name && *name ? name : NULL;
}

#endif
