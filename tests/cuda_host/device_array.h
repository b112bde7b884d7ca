/* Arrays in device memory, for tests. SPDX-License-Identifier: MIT */
#ifndef TESTS_CUDA_HOST_DEVICE_ARRAY_H
#define TESTS_CUDA_HOST_DEVICE_ARRAY_H

#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

/* Exits when the device's call failed. */
static inline void device_check(cudaError_t status)
{
    if (status != cudaSuccess) {
        fprintf(stderr, "%s\n", cudaGetErrorString(status));
        exit(1);
    }
}

template <typename Element> struct device_array {
    Element *data = NULL;
    size_t n;

    /* All bytes 255: floats that are NaN. */
    explicit device_array(size_t size) : n(size)
    {
        device_check(cudaMalloc((void **)&data, n * sizeof(Element)));
        device_check(cudaMemset(data, 255, n * sizeof(Element)));
    }
    device_array(const Element *from, size_t size) : device_array(size)
    {
        device_check(cudaMemcpy(data, from, n * sizeof(Element), cudaMemcpyHostToDevice));
    }
    explicit device_array(const std::vector<Element> &from) : device_array(from.data(), from.size())
    {
    }
    device_array(const device_array &) = delete;
    device_array &operator=(const device_array &) = delete;
    ~device_array()
    {
        cudaFree(data);
    }
    /* What is there when all launches so far are done. */
    std::vector<Element> download() const
    {
        std::vector<Element> to(n);
        device_check(cudaDeviceSynchronize());
        device_check(cudaMemcpy(to.data(), data, n * sizeof(Element), cudaMemcpyDeviceToHost));
        return to;
    }
};

#endif
