/* A borrowed view of a row-major matrix. SPDX-License-Identifier: MIT */
#ifndef SRC_CORE_TENSOR_H
#define SRC_CORE_TENSOR_H

#include "src/core/dtype.h"

/* Matrix [rows, cols] as it stands in a GGUF file: row r begins at data + r * row_bytes. A vector has one row.
 * Zeroed means "absent". Always borrows; after backend import `data` may point into memory of the backend. */
struct tensor {
    const void *data; /* [rows, cols] borrowed */
    enum dtype dtype;
    int32_t layout; /* 0 = as in the file; other values are private to the backend that imported it */
    int64_t rows, cols;
    size_t row_bytes;
    int32_t may_drop; /* 1: pages of `data` may be let go after use (MADV_DONTNEED), they come from a file again when needed */
};

#endif
