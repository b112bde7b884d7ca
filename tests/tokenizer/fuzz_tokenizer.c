/* Feeds the tokenizer broken vocabularies and texts. SPDX-License-Identifier: MIT
 *
 * Input: 2 bytes (length of the text, flags), the text, then a GGUF file. A seed that loads is what test_tokenizer writes with
 * --seeds FOLDER. */
#include "io/tokenizer.h"

#include "src/core/log.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(const struct tokenizer *t, const struct tokenizer_ids *ids, int special)
{
    struct tokenizer_stream stream;
    char *out = malloc(tokenizer_max_piece(t));
    tokenizer_stream_init(&stream, t, 1, special);
    for (size_t i = 0; out && i < ids->n; i++) {
        if (ids->ids[i] < 0 || ids->ids[i] >= tokenizer_n_tokens(t)) {
            abort();
        }
        if (tokenizer_stream_put(&stream, ids->ids[i], out) > tokenizer_max_piece(t)) {
            abort();
        }
    }
    if (out) {
        tokenizer_stream_flush(&stream, out);
    }
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf file;
    struct tokenizer *t;
    struct error err;
    log_set_level(LOG_QUIET);
    if (size < 2 || size - 2 < data[0]) {
        return 0;
    }
    const char *text = (const char *)data + 2;
    if (gguf_open_memory(&file, data + 2 + data[0], size - 2 - data[0], &err)) {
        return 0;
    }
    if (tokenizer_open(&t, &file, &err) == 0) {
        struct tokenizer_ids ids = {0};
        if (tokenizer_encode(t, text, data[0], data[1] & 3, &ids, &err) == 0) {
            decode(t, &ids, data[1] & 4);
        }
        tokenizer_is_end(t, ids.n ? ids.ids[0] : 0);
        tokenizer_ids_free(&ids);
        tokenizer_close(t);
    }
    gguf_close(&file);
    return 0;
}
