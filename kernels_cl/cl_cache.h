/* cl_cache.h: compiled programs on disk, so that the second start does not compile, and what tuning has found
 * (cl_tuning.h).
 *
 * A file KEY.clb or KEY.tune: the magic "FERRUMCL", then u64 key, u64 length, u64 XXH3-64 of the bytes, the
 * bytes. Little endian, written under another name and renamed, 0600. Drivers abort on damaged binaries, so
 * nothing reaches one unless length and checksum are right. A cache: whatever is wrong with a file, it is as
 * if it were not there, and no function reports an error. Thread rule: any thread, as long as a directory has
 * one user inside the process; other processes do no harm. */
#ifndef FERRUM_CL_CACHE_H
#define FERRUM_CL_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint64_t cl_cache_key(const char *const *parts, size_t n_parts);

#define CL_CACHE_PROGRAM ".clb"
#define CL_CACHE_TUNING ".tune"
/* The bytes (mem_free), or NULL. directory may be NULL in all functions: nothing is read or written. */
unsigned char *cl_cache_load(const char *directory, uint64_t key, const char *ending, size_t *n_bytes);
void cl_cache_store(const char *directory, uint64_t key, const char *ending, const unsigned char *bytes,
                    size_t n_bytes);
void cl_cache_remove(const char *directory, uint64_t key);

/* A program whose kernels have answered wrongly: KEY.bad. It is not built again, until the key (the driver,
 * the source) is another or the file is removed. where: its path, "" when it is not bad. */
bool cl_cache_is_bad(const char *directory, uint64_t key, char *where, size_t n_where);
void cl_cache_mark_bad(const char *directory, uint64_t key);

/* Writes the compiler's log to KEY.log; its path to `where`, "" when it could not be written. */
void cl_cache_keep_log(const char *directory, uint64_t key, const char *log, char *where, size_t n_where);

#endif
