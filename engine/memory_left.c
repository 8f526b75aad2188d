/* memory_left.c owns the look at the system's memory and the limits of the process. */
#include "engine/memory_left.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static uint64_t system_left(void)
{
    unsigned long long kib = 0;
    char line[128];
    FILE *f = fopen("/proc/meminfo", "re");
    if (!f)
        return UINT64_MAX;
    while (!kib && fgets(line, sizeof line, f))
        (void)!sscanf(line, "MemAvailable: %llu kB", &kib);
    fclose(f);
    return kib ? (uint64_t)kib * 1024 : UINT64_MAX;
}

static uint64_t limit_left(int resource, uint64_t used)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return UINT64_MAX;
    return used < limit.rlim_cur ? limit.rlim_cur - used : 0;
}

static uint64_t limits_left(void)
{
    unsigned long long total = 0, data = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return UINT64_MAX;
    int n = fscanf(f, "%llu %*u %*u %*u %*u %llu", &total, &data);
    fclose(f);
    if (n != 2)
        return UINT64_MAX;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t space = limit_left(RLIMIT_AS, total * page), heap = limit_left(RLIMIT_DATA, data * page);
    return space < heap ? space : heap;
}

uint64_t memory_left(void)
{
    uint64_t system = system_left(), limits = limits_left();
    return system < limits ? system : limits;
}
