/* golden.h: screens compared with the pictures of tests/ui/screens. */
#ifndef FERRUM_TEST_GOLDEN_H
#define FERRUM_TEST_GOLDEN_H

#include <stdbool.h>

#include "tests/ui/screen.h"

extern bool golden_update; /* write the pictures anew instead of comparing */

/* The screen (and with looks its attributes) is what screens/NAME.txt holds. */
void golden_assert(struct screen *s, const char *name, bool looks);

#endif
