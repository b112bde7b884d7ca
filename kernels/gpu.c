/* What of the GPUs can be said without CUDA. SPDX-License-Identifier: MIT */
#include "kernels/gpu.h"

#include <stdio.h>

void gpu_text(const struct gpu_device *device, char *text, size_t size)
{
    snprintf(text, size, "GPU %d (%s, sm_%d%d)", device->index, device->name, device->major, device->minor);
}

int gpu_choose(const struct gpu_device *devices, int32_t n, int32_t local_rank, int32_t wanted, struct gpu_device *out,
               struct error *err)
{
    char text[2 * GPU_NAME];
    for (int32_t i = 0; i < n && wanted >= 0; i++) {
        if (devices[i].index == wanted) {
            *out = devices[i];
            return 0;
        }
    }
    if (n < 1) {
        return error_set(err, "this machine has no GPU");
    }
    if (wanted >= 0) {
        gpu_text(&devices[n - 1], text, sizeof text);
        return error_set(err, "there is no GPU %d: this machine has %d, the last is %s", wanted, n, text);
    }
    *out = devices[local_rank % n];
    return 0;
}
