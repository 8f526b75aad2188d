/* tiny_model.h: a complete, tiny model with seeded random weights, so that tests need no downloaded file.
 *
 * 2 layers, width 64, 4 heads, 2 KV heads (head size 16, for qwen3 and qwen3moe 32), ffn 128 or 8 experts of
 * 32, 2 of them used (and for qwen2moe a shared one of 96), a byte-level SPM vocabulary of 384 tokens. The
 * same options give the same bytes. What it says is noise, unless it has a script; every path through the
 * program is the real one. Single thread.
 *
 * A scripted model answers every prompt with the script and the end of the turn, whatever the sampler: its
 * layers add nothing, each token has one follower, and the pieces of the script are tokens of their own
 * behind the 384. It begins after a prompt that ends with a newline. After one that ends with an empty line
 * (as after a closed reasoning block) it goes on with what stands behind "</think>\n\n" in the script, where
 * that is there, else it begins as well. */
#ifndef FERRUM_TEST_TINY_MODEL_H
#define FERRUM_TEST_TINY_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/tensor.h"

#define TINY_N_VOCAB 384
#define TINY_N_LAYERS 2
#define TINY_N_EMBD 64
#define TINY_N_EXPERTS 8
#define TINY_N_EXPERTS_USED 2
#define TINY_N_FF_EXPERT 32

struct tiny_options {
    const char
        *arch;    /* "llama" (own output matrix), "qwen2", "qwen3", "qwen3moe", "qwen2moe", "olmoe" (tied) */
    bool experts; /* for llama, as Mixtral; the last three have them anyway */
    bool fused_experts;     /* gate and up of an expert in one stack; the numbers are the same */
    enum dtype type;        /* of the matrices: DTYPE_F32, DTYPE_Q8_0 or DTYPE_Q4_0 */
    enum dtype expert_type; /* of the experts' stacks; DTYPE_F32: the same */
    bool chatml; /* <|im_start|>, <|im_end|> as control tokens 3 and 4, a ChatML template, <|im_end|> ends */
    bool think;  /* ChatML with a template that reasons (enable_thinking, reasoning_content, old reasoning
                    dropped), <think> and </think> as user-defined tokens, and a token of two newlines */
    bool think_opens;   /* the same, but the template writes the <think> itself */
    const char *script; /* what it answers, in ChatML; NULL: noise. <think> and </think> at most once each */
    uint32_t n_ctx;     /* trained context; 0: 512 */
    uint64_t seed;
};

/* Appends the file to out; false for an arch or type it does not know, and a script it cannot give. */
bool tiny_model_make(const struct tiny_options *options, struct buf *out);
/* The same into a file; false with a line on stderr. */
bool tiny_model_save(const struct tiny_options *options, const char *path);

#endif
