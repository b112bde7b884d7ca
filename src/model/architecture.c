/* SPDX-License-Identifier: MIT */
#include "src/model/architecture.h"

#include <string.h>

/* Rope pairing and which scales count. Source: ggml-org/llama.cpp, llama_model_rope_type and the graphs in src/models (the
 * converter permutes q and k of llama's files). */
static const struct architecture architectures[] = {
    {.name = "llama", .rope = ROPE_NORM, .norm = NORM_RMS, .gate = GATE_SILU, .ffn_scales = 1}, /* Llama 1-3.x, Mistral, SmolLM */
    {.name = "qwen2", .rope = ROPE_NEOX, .norm = NORM_RMS, .gate = GATE_SILU},
};
static const char known_names[] = "llama, qwen2";

const struct architecture *architecture_find(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++) {
        if (strlen(architectures[i].name) == n && memcmp(architectures[i].name, name, n) == 0) {
            return &architectures[i];
        }
    }
    return NULL;
}

const char *architecture_names(void)
{
    return known_names;
}
