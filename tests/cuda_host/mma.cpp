/* The tensor cores' products, and how their fragments are loaded. SPDX-License-Identifier: MIT
 *
 * Source: PTX ISA 8.x, "Matrix Fragments for mma.m16n8k32", "ldmatrix". */
#include "cuda_ptx_host.h"

#include <string.h>

namespace cuda_host
{
void mma_s8(void *const lanes[32], uint32_t mask)
{
    if (mask != 0xFFFFFFFF) {
        trap("cuda_mma_s8 by a warp of less than 32 threads");
    }
    int8_t a[16][32], b[8][32];
    for (int lane = 0; lane < 32; lane++) {
        auto *own = static_cast<const mma_fragments *>(lanes[lane]);
        int g = lane / 4, t = lane % 4;
        for (int i = 0; i < 4; i++) {
            memcpy(&a[g + i % 2 * 8][4 * (t + i / 2 * 4)], &own->a[i], 4);
        }
        for (int i = 0; i < 2; i++) {
            memcpy(&b[g][4 * (t + i * 4)], &own->b[i], 4);
        }
    }
    for (int lane = 0; lane < 32; lane++) {
        auto *own = static_cast<const mma_fragments *>(lanes[lane]);
        for (int i = 0; i < 4; i++) {
            int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2, sum = 0;
            for (int k = 0; k < 32; k++) {
                sum += a[row][k] * b[column][k];
            }
            own->c[i] = (int32_t)((uint32_t)own->c[i] + (uint32_t)sum);
        }
    }
}

void load_matrices(void *const lanes[32], uint32_t mask)
{
    if (mask != 0xFFFFFFFF) {
        trap("cuda_load_matrices by a warp of less than 32 threads");
    }
    for (int lane = 0; lane < 32; lane++) {
        for (int i = 0; i < 4; i++) {
            auto *row = static_cast<const matrix_rows *>(lanes[8 * i + lane / 4])->row;
            if (reinterpret_cast<uintptr_t>(row) % 16) {
                trap("cuda_load_matrices of a row that begins at no multiple of 16");
            }
            memcpy(&static_cast<matrix_rows *>(lanes[lane])->out[i], static_cast<const char *>(row) + lane % 4 * 4, 4);
        }
    }
}
} // namespace cuda_host
