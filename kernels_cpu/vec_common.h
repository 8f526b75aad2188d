/* vec_common.h: what the vector code of every instruction set is written with. */
#ifndef FERRUM_VEC_COMMON_H
#define FERRUM_VEC_COMMON_H

#include <stddef.h>

#define VEC_INLINE static inline __attribute__((always_inline))

#endif
