#include "engine/vocab.h"
