/* shared_path.h: files that are too large for this tree, and may be absent. Single thread. */
#ifndef FERRUM_TEST_SHARED_PATH_H
#define FERRUM_TEST_SHARED_PATH_H

/* FERRUM_SHARED/name; NULL after a line that says so: the test should skip. The result lasts until the next
 * call. */
const char *shared_path(const char *name);

#endif
