#include "kernels_cpu/backend_cpu.h"
