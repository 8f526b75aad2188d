/* attention_page_avx2.h: which positions of a page a row sees, as a mask. Only for files compiled with AVX2,
 * FMA, F16C. */
#ifndef FERRUM_ATTENTION_PAGE_AVX2_H
#define FERRUM_ATTENTION_PAGE_AVX2_H

#include "kernels_cpu/attention_page.h"
#include "kernels_cpu/vec_avx2.h"

/* All ones where j .. j + 8 lies in [begin, end). */
VEC_INLINE __m256 seen_mask(size_t j, size_t begin, size_t end)
{
    __m256i index = _mm256_add_epi32(_mm256_set1_epi32((int)j), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    return _mm256_castsi256_ps(_mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32((int)begin), index),
                                                   _mm256_cmpgt_epi32(_mm256_set1_epi32((int)end), index)));
}

#endif
