/* SPDX-License-Identifier: MIT */
#include "kernels/backend.h"

size_t backend_kv_row_bytes(int32_t dim, enum kv_type type)
{
    size_t n = (size_t)dim;
    if (type == KV_F32) {
        return n * 4;
    }
    return type == KV_F16 ? n * 2 : n + (n + 31) / 32 * 2;
}

size_t backend_kv_bytes(const struct kv_layer_shape *layers, int32_t n_layers, int32_t n_pages, enum kv_type k_type,
                        enum kv_type v_type)
{
    size_t position = 0;
    for (int32_t i = 0; i < n_layers; i++) {
        position += (size_t)layers[i].n_kv_heads *
                    (backend_kv_row_bytes(layers[i].k_dim, k_type) + backend_kv_row_bytes(layers[i].v_dim, v_type));
    }
    return position * KV_PAGE * (size_t)n_pages;
}
