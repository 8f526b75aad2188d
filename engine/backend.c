#include "engine/backend.h"
