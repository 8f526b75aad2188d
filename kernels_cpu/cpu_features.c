/* cpu_features.c owns cpuid and its like, the affinity mask, the core topology and the cgroup quota. */
#include "kernels_cpu/cpu_features.h"

#include <ctype.h>
#include <limits.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CPUS 4096
#define PATH_BYTES 512

#if defined(__x86_64__)
#include <cpuid.h>

/* Register sets the system saves, bits of XCR0 (Intel SDM vol. 1, 13.3). */
#define XCR0_AVX 0x06u
#define XCR0_AVX512 0xe6u

static uint32_t read_xcr0(void)
{
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static bool bit(uint32_t word, int n)
{
    return (word >> n) & 1;
}

/* Bit numbers: Intel SDM vol. 2, CPUID leaves 1 and 7. */
struct cpu_features cpu_features_get(void)
{
    struct cpu_features f = {0};
    uint32_t a, b, c, d, leaf1_c;
    if (!__get_cpuid(1, &a, &b, &leaf1_c, &d) || !bit(leaf1_c, 27) || (read_xcr0() & XCR0_AVX) != XCR0_AVX)
        return f;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return f;
    uint32_t n_subleaves = a;
    f.avx2 = bit(b, 5) && bit(leaf1_c, 12) && bit(leaf1_c, 29);
    bool zmm = (read_xcr0() & XCR0_AVX512) == XCR0_AVX512;
    f.avx512f = zmm && bit(b, 16);
    f.avx512dq = zmm && bit(b, 17);
    f.avx512bw = zmm && bit(b, 30);
    f.avx512vl = zmm && bit(b, 31);
    f.avx512_vbmi = zmm && bit(c, 1);
    f.avx512_vnni = zmm && bit(c, 11);
    if (n_subleaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) {
        f.avx_vnni = bit(a, 4);
        f.avx512_bf16 = zmm && bit(a, 5);
    }
    return f;
}
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>

struct cpu_features cpu_features_get(void)
{
    return (struct cpu_features){.neon = true, .dotprod = getauxval(AT_HWCAP) & HWCAP_ASIMDDP};
}
#else
struct cpu_features cpu_features_get(void)
{
    return (struct cpu_features){0};
}
#endif

const char *cpu_isa_name(enum cpu_isa isa)
{
    static const char *const names[] = {"scalar", "avx2", "avx512", "avx512bf16", "neon", "dotprod"};
    return names[isa];
}

bool cpu_isa_available(enum cpu_isa isa, const struct cpu_features *f)
{
    switch (isa) {
    case CPU_SCALAR:
        return true;
    case CPU_AVX2:
        return f->avx2;
    case CPU_AVX512:
        return f->avx2 && f->avx512f && f->avx512bw && f->avx512vl && f->avx512dq && f->avx512_vnni;
    case CPU_AVX512BF16:
        return cpu_isa_available(CPU_AVX512, f) && f->avx512_bf16;
    case CPU_NEON:
        return f->neon;
    case CPU_DOTPROD:
        return f->dotprod;
    }
    return false;
}

/* One line of a file of the kernel's, without its newline. */
static bool read_line(const char *path, char *line, size_t n)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    bool ok = fgets(line, (int)n, f) != NULL;
    fclose(f);
    if (ok)
        line[strcspn(line, "\n")] = '\0';
    return ok;
}

/* The siblings of one core share the text of this file: its first number names the core. -1 when unknown. */
static int first_sibling(int cpu)
{
    char path[PATH_BYTES], line[256];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    if (!read_line(path, line, sizeof line) || !isdigit((unsigned char)line[0]))
        return -1;
    return atoi(line);
}

static int count_cores(const cpu_set_t *set, size_t set_bytes)
{
    bool seen[MAX_CPUS] = {false};
    int n_cores = 0;
    for (int cpu = 0; cpu < MAX_CPUS; cpu++) {
        if (!CPU_ISSET_S(cpu, set_bytes, set))
            continue;
        int core = first_sibling(cpu);
        bool known = core >= 0 && core < MAX_CPUS;
        if (known && seen[core])
            continue;
        if (known)
            seen[core] = true;
        n_cores++;
    }
    return n_cores;
}

/* The smallest quota of the cgroup and its parents, in whole processors (rounded up); INT_MAX without one.
 * cpu.max holds "QUOTA PERIOD" in microseconds, or "max PERIOD" (Linux, cgroup-v2.rst). */
static int cgroup_quota(void)
{
    char group[PATH_BYTES / 2], path[PATH_BYTES], line[64];
    if (!read_line("/proc/self/cgroup", group, sizeof group) || strncmp(group, "0::/", 4) != 0)
        return INT_MAX;
    int quota = INT_MAX;
    char *dir = group + 3;
    for (;;) {
        long long limit = 0, period = 0;
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", dir);
        if (read_line(path, line, sizeof line) && sscanf(line, "%lld %lld", &limit, &period) == 2 &&
            limit > 0 && period > 0 && (limit + period - 1) / period < quota)
            quota = (int)((limit + period - 1) / period);
        char *slash = strrchr(dir, '/');
        if (!slash)
            return quota;
        *slash = '\0';
    }
}

int cpu_cores_allowed(void)
{
    union {
        cpu_set_t set;
        unsigned char bytes[CPU_ALLOC_SIZE(MAX_CPUS)];
    } mask;
    memset(&mask, 0, sizeof mask);
    int n = 1;
    if (sched_getaffinity(0, sizeof mask, &mask.set) == 0)
        n = count_cores(&mask.set, sizeof mask);
    int quota = cgroup_quota();
    if (n > quota)
        n = quota;
    return n < 1 ? 1 : n;
}
