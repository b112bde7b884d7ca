/* Writes the fuzzer's first inputs into a folder: write_gguf_seeds FOLDER. SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "tests/io/gguf_bytes.h"

static int write_seed(const char *folder, const char *name, struct gguf_bytes *b)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    int ok = f && fwrite(b->data, 1, b->n, f) == b->n;
    if (f && fclose(f) != 0) {
        ok = 0;
    }
    if (!ok) {
        perror(path);
    }
    gguf_bytes_free(b);
    return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: write_gguf_seeds FOLDER\n");
        return 2;
    }
    int failed = 0;
    struct gguf_bytes b = {0};
    gguf_bytes_begin(&b, 3, 0, 0);
    failed |= write_seed(argv[1], "empty.gguf", &b);
    gguf_bytes_sample(&b, 2);
    failed |= write_seed(argv[1], "sample2.gguf", &b);
    gguf_bytes_sample(&b, 3);
    failed |= write_seed(argv[1], "sample3.gguf", &b);
    gguf_bytes_begin(&b, 3, 1, 2);
    gguf_bytes_key_u32(&b, "general.alignment", 64);
    gguf_bytes_key(&b, "split.count", GGUF_U16), gguf_bytes_u16(&b, 1);
    gguf_bytes_tensor(&b, "t", (uint64_t[5]){256, 1}, DTYPE_Q6_K, 0);
    failed |= write_seed(argv[1], "directory.gguf", &b);
    return failed;
}
