/* Which kernel multiplies: one launch for all matrices of a type. SPDX-License-Identifier: MIT */
#include "kernels/cuda/cuda_matmul.h"

static void launch(cudaStream_t stream, enum dtype type, const struct cuda_products *products)
{
    if (!dtype_info(type)->quantised) {
        cuda_matmul_float(stream, type, *products);
    } else if (products->n_rows <= CUDA_VECTOR_ROWS) {
        cuda_matmul_vector(stream, type, *products);
    } else {
        cuda_matmul_tile(stream, type, *products);
    }
}

void cuda_matmul_launch(cudaStream_t stream, const struct backend_act *in, int32_t n_rows, const struct cuda_matmul *mats,
                        int32_t n_mats)
{
    int done[CUDA_MATMUL_MOST] = {0};
    for (int32_t i = 0; i < n_mats; i++) {
        struct cuda_products products = {in->x, in->q, in->d, in->sum, in->cols, n_rows, 0, {}};
        const enum dtype type = mats[i].weight.dtype;
        for (int32_t j = i; j < n_mats; j++) {
            const struct cuda_matmul *m = &mats[j];
            if (done[j] || m->weight.dtype != type) {
                continue;
            }
            done[j] = 1;
            products.mats[products.n_mats++] = {
                (const uint8_t *)m->weight.data, m->bias, m->out, m->scale, m->add, m->weight.rows, 0};
        }
        if (products.n_mats > 0) {
            launch(stream, type, &products);
        }
    }
}
