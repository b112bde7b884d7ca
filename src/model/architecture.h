/* The model families as data: what a GGUF file does not say itself. SPDX-License-Identifier: MIT
 *
 * A new family is a row here and, rarely, a trait that the layer recipe reads. */
#ifndef SRC_MODEL_ARCHITECTURE_H
#define SRC_MODEL_ARCHITECTURE_H

#include <stddef.h>

#include "kernels/backend.h"

struct architecture {
    const char *name;    /* general.architecture, also the prefix of the file's keys */
    enum rope_kind rope; /* which dimensions form a rotated pair */
    enum norm_kind norm;
    enum gate_kind gate;
    int ffn_scales; /* 1: "blk.N.ffn_*.scale" count; 0: they are there for other programs */
};

/* NULL when the name (n bytes) is not known. */
const struct architecture *architecture_find(const char *name, size_t n);

/* "llama, qwen2": the known names, for messages. */
const char *architecture_names(void);

#endif
