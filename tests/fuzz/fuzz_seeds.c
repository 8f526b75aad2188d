/* fuzz_seeds.c: gives libFuzzer the target's own seeds: a mutation now and then starts over from one of them.
 */
#include <string.h>

#include "tests/fuzz/fuzz.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed)
{
    if (seed % 64 == 0) {
        struct buf bytes = {0};
        fuzz_seed((int)(seed / 64 % 8), &bytes);
        if (bytes.len > 0 && bytes.len <= max) {
            memcpy(data, bytes.data, bytes.len);
            n = bytes.len;
        }
        buf_fini(&bytes);
    }
    return LLVMFuzzerMutate(data, n, max);
}
