/* mkdocs.c: build-time tool that writes the bash completion or the man page from the option table. */
#include <stdio.h>
#include <string.h>

#include "app/options.h"

int main(int argc, char **argv)
{
    FILE *out = argc == 4 ? fopen(argv[3], "w") : NULL;
    if (!out) {
        fputs("usage: mkdocs completion|man VERSION FILE\n", stderr);
        return 2;
    }
    if (!strcmp(argv[1], "completion"))
        options_print_completion(out);
    else
        options_print_man(out, argv[2]);
    return fclose(out) ? 1 : 0;
}
