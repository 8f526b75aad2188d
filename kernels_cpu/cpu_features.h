/* cpu_features.h: what the processor and the operating system let us execute. Pure questions, any thread. */
#ifndef FERRUM_CPU_FEATURES_H
#define FERRUM_CPU_FEATURES_H

#include <stdbool.h>

/* The kernel sets of this backend, on each kind of machine weakest first. A set is chosen once, when the
 * backend opens. */
enum cpu_isa { CPU_SCALAR, CPU_AVX2, CPU_AVX512, CPU_AVX512BF16, CPU_NEON, CPU_DOTPROD };
#define CPU_ISA_N (CPU_DOTPROD + 1)

/* Each flag means: the processor has it and the system saves its registers. The first ones are x86-64's, the
 * last ones AArch64's. */
struct cpu_features {
    bool avx2;     /* AVX2, FMA and F16C together: no processor of interest has only some */
    bool avx_vnni; /* vpdpbusd on 256 bits, VEX form */
    bool avx512f, avx512bw, avx512vl, avx512dq;
    bool avx512_vnni, avx512_vbmi, avx512_bf16;
    bool neon;    /* always */
    bool dotprod; /* sdot: sums of four products of bytes */
};

struct cpu_features cpu_features_get(void);

/* "scalar", "avx2", "avx512", "avx512bf16", "neon", "dotprod" */
const char *cpu_isa_name(enum cpu_isa isa);
bool cpu_isa_available(enum cpu_isa isa, const struct cpu_features *features);

/* Physical cores in this process's affinity mask, not more than its cgroup's CPU quota, at least 1. */
int cpu_cores_allowed(void);

#endif
