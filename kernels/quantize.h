/* Rows of any weight type to f32. SPDX-License-Identifier: MIT */
#ifndef KERNELS_QUANTIZE_H
#define KERNELS_QUANTIZE_H

#include "src/core/dtype.h"

#ifdef __cplusplus
extern "C" {
#endif

/* y[0..n) = the values of one row of n elements of the given known type; n is a multiple of its block. Bit-equal to what ggml's
 * dequantize_row_* gives. Block layouts. Source: ggml, docs/gguf.md and the table in kernels/README.md. */
void dequantize_row(enum dtype type, const void *row, int64_t n, float *y);

#ifdef __cplusplus
}
#endif
#endif
