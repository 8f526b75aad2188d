#include "ui/sanitize.h"
