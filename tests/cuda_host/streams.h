/* Work that waits in streams, and captures of it. SPDX-License-Identifier: MIT */
#ifndef TESTS_CUDA_HOST_STREAMS_H
#define TESTS_CUDA_HOST_STREAMS_H

#include "runtime.h"

#include <deque>
#include <memory>

namespace cuda_host
{
struct operation {
    const char *what; /* "kernel", "copy", "fill", "wait", "event", "host", "graph" */
    std::function<void()> run;
};
struct capture {
    cudaStream_t origin;
    cudaStreamCaptureMode mode;
    bool invalid, ended;
    std::vector<operation> nodes;
};

/* The stream of that handle, NULL: the device's default stream. NULL if there is none such. */
cudaStream_t find_stream(cudaStream_t handle);
/* Puts it at the stream's end, or into its capture. */
cudaError_t enqueue(cudaStream_t handle, const char *what, std::function<void()> run);
/* Runs the stream's oldest operation, if any. */
void run_one(cudaStream_t stream);
cudaError_t finish(cudaStream_t handle);
/* An error if some stream is being captured, which is then void: for calls that a capture does not survive. */
cudaError_t refuse_in_capture();
/* Everybody who takes part in it is free again. */
void end_capture(const std::shared_ptr<capture> &ended);
} // namespace cuda_host

struct CUstream_st {
    int device;
    bool blocking; /* waits for the default stream and is waited for */
    std::deque<cuda_host::operation> queue;
    std::shared_ptr<cuda_host::capture> capture;
};

#endif
