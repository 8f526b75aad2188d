/* about.h: what the program tells about itself besides its options, keys and commands: exit codes, files and
 * environment variables, each once. The manual page and the built-in guide's training come from these lists.
 * Plain data. */
#ifndef FERRUM_ABOUT_H
#define FERRUM_ABOUT_H

struct about_row {
    const char *name; /* the code, the path, the variable; NULL ends a list */
    const char *help;
};

const struct about_row *about_exit_codes(void);
const struct about_row *about_files(void);
const struct about_row *about_environment(void);

#endif
