/* kernel_texts.h: the kernels' sources, as they lie in kernels/ (embedded at build time), NUL at the end.
 * Read-only, any thread. */
#ifndef FERRUM_KERNEL_TEXTS_H
#define FERRUM_KERNEL_TEXTS_H

extern const char cl_text_kernel_sizes[], cl_text_common[]; /* in front of every program, in this order */
extern const char cl_text_elements[], cl_text_route[], cl_text_matrix[], cl_text_attention[],
    cl_text_weights[];

#endif
