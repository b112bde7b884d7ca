/* The element types of tensors: names, block sizes and the numbers GGUF files give them. SPDX-License-Identifier: MIT */
#ifndef SRC_CORE_DTYPE_H
#define SRC_CORE_DTYPE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Values are those of GGUF files. Source: ggml, docs/gguf.md, enum ggml_type. */
enum dtype {
    DTYPE_F32 = 0,
    DTYPE_F16 = 1,
    DTYPE_Q4_0 = 2,
    DTYPE_Q4_1 = 3,
    DTYPE_Q5_0 = 6,
    DTYPE_Q5_1 = 7,
    DTYPE_Q8_0 = 8,
    DTYPE_Q4_K = 12,
    DTYPE_Q5_K = 13,
    DTYPE_Q6_K = 14,
    DTYPE_BF16 = 30,
    DTYPE_COUNT = 43 /* one more than the largest number a file may hold */
};

/* What the program can compute with. A type that files may hold but the program does not know has known == 0. */
struct dtype_info {
    const char *name;    /* as ggml writes it: "F32", "Q4_K" */
    int32_t block;       /* elements a block */
    int32_t block_bytes; /* bytes a block */
    int known;           /* 1: this program can dequantise and multiply it */
    int quantised;       /* 1: blocks of integers; 0: plain floating point */
    int scale_group;     /* elements that share a scale: 32, or 16 (Q6_K); 0 when not quantised or not known */
    int has_min;         /* 1: w = d*q - m with m != 0; 0 when not known */
};

/* NULL when the number is not one that ggml ever gave out (or has retired). */
const struct dtype_info *dtype_info(uint32_t number);

/* The type with that name in any letter case, or -1. */
int dtype_from_name(const char *name);

/* Bytes of one row of n elements; n must be a multiple of the block. */
size_t dtype_row_bytes(enum dtype type, int64_t n);

/* IEEE half and bfloat16, round to nearest even, subnormals kept; the same bits on every machine. */
uint16_t half_from_float(float x);
float half_to_float(uint16_t h);
uint16_t bf16_from_float(float x);
float bf16_to_float(uint16_t h);

#ifdef __cplusplus
}
#endif
#endif
