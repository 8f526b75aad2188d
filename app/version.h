/* version.h: what `--version` says: program, commit, compiler, features. */
#ifndef FERRUM_VERSION_H
#define FERRUM_VERSION_H

#include <stdio.h>

void version_print(FILE *out);

#endif
