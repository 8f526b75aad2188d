/* temp_dir.h: a directory for one test, removed with all it holds. */
#ifndef FERRUM_TEST_TEMP_DIR_H
#define FERRUM_TEST_TEMP_DIR_H

/* cmocka setup and teardown; *state becomes the path (char *). */
int temp_dir_setup(void **state);
int temp_dir_teardown(void **state);

/* "<dir>/<name>" in a static buffer of its own per call site pair; valid until the call after the next. */
const char *temp_path(void **state, const char *name);

#endif
