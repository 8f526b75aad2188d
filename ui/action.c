#include "ui/action.h"
