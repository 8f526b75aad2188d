/* version.h: what `--version` says: program, commit, compiler, features; any thread. */
#ifndef FERRUM_VERSION_H
#define FERRUM_VERSION_H

#include <stdio.h>

void version_print(FILE *out);
/* Version and commit, as a profile names the build that made it. */
const char *version_build(void);

#endif
