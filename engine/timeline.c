#include "engine/timeline.h"
