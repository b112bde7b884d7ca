/* kernels/gpu.h in a build without CUDA. SPDX-License-Identifier: MIT */
#include "kernels/gpu.h"

static const char refusal[] =
    "this program was built without CUDA: it cannot use GPUs (cmake -B build -DENABLE_CUDA=ON, with NVIDIA's "
    "toolkit installed, builds one that can)";

const char *gpu_build_text(void)
{
    return "built without CUDA";
}

int gpu_list(struct gpu_device devices[GPU_MAX], int32_t *n, struct error *err)
{
    (void)devices;
    *n = 0;
    return error_set(err, "%s", refusal);
}

int gpu_ask_memory(struct gpu_device *device, struct error *err)
{
    (void)device;
    return error_set(err, "%s", refusal);
}

int backend_cuda_create(struct backend **out, const struct cuda_options *options, struct error *err)
{
    (void)options;
    *out = NULL;
    return error_set(err, "%s", refusal);
}

uint64_t backend_cuda_matrix_bytes(enum dtype type, int64_t rows, int64_t cols)
{
    return (uint64_t)rows * dtype_row_bytes(type, cols);
}

uint64_t backend_cuda_block_bytes(uint64_t bytes)
{
    return bytes;
}

uint64_t backend_cuda_own_bytes(const struct cuda_options *options, const struct kv_layer_shape *layers, int32_t n_layers)
{
    (void)options;
    (void)layers;
    (void)n_layers;
    return 0;
}

struct cuda_counts backend_cuda_counts(const struct backend *backend)
{
    (void)backend;
    return (struct cuda_counts){0};
}
