/* memory_left.h: how much more memory this process may take.
 *
 * Sources: proc(5), MemAvailable of /proc/meminfo and /proc/self/statm; getrlimit(2), RLIMIT_AS and
 * RLIMIT_DATA. Any thread. A moment's value: others take memory too. */
#ifndef FERRUM_MEMORY_LEFT_H
#define FERRUM_MEMORY_LEFT_H

#include <stdint.h>

/* Bytes: what the system has to give, or what the limits of the process leave, whichever is less; UINT64_MAX
 * where nothing is known. */
uint64_t memory_left(void);

#endif
