/* libFuzzer: any bytes as a GGUF file; what opens is read whole. SPDX-License-Identifier: MIT */
#include "tests/io/gguf_bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    struct gguf file;
    struct error err;
    if (gguf_open_memory(&file, data, n_bytes, &err) == 0) {
        gguf_visit(&file);
        gguf_close(&file);
    }
    return 0;
}
