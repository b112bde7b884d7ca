/* Captures and graphs. SPDX-License-Identifier: MIT
 *
 * A node keeps its parameters, pointers among them; what those point to is read when the graph runs, as on a device. */
#include "streams.h"

using namespace cuda_host;

struct CUgraph_st {
    std::vector<operation> nodes;
};
struct CUgraphExec_st {
    std::shared_ptr<const std::vector<operation>> nodes;
};

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    cudaStream_t stream = handle ? find_stream(handle) : nullptr;
    if (!stream) { /* the default stream cannot be captured */
        return fail(handle ? cudaErrorInvalidResourceHandle : cudaErrorStreamCaptureUnsupported);
    }
    if (stream->capture) {
        return fail(cudaErrorInvalidValue);
    }
    stream->capture = std::make_shared<capture>(capture{stream, mode, false, false, {}});
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t *graph)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    cudaStream_t stream = handle ? find_stream(handle) : nullptr;
    *graph = nullptr;
    if (!stream || !stream->capture || stream->capture->origin != stream) {
        return fail(cudaErrorInvalidValue);
    }
    std::shared_ptr<capture> ended = stream->capture;
    end_capture(ended);
    if (ended->invalid) {
        return fail(cudaErrorStreamCaptureInvalidated);
    }
    *graph = new CUgraph_st{std::move(ended->nodes)};
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus *status)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    cudaStream_t stream = find_stream(handle);
    if (!stream) {
        return fail(cudaErrorInvalidResourceHandle);
    }
    *status = !stream->capture           ? cudaStreamCaptureStatusNone
              : stream->capture->invalid ? cudaStreamCaptureStatusInvalidated
                                         : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long)
{
    if (!graph) {
        return fail(cudaErrorInvalidValue);
    }
    *exec = new CUgraphExec_st{std::make_shared<const std::vector<operation>>(graph->nodes)};
    return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t)
{
    return exec ? cudaSuccess : fail(cudaErrorInvalidValue);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    if (!exec) {
        return fail(cudaErrorInvalidValue);
    }
    return enqueue(stream, "graph", [nodes = exec->nodes] {
        for (const operation &node : *nodes) {
            node.run();
        }
    });
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *n_nodes)
{
    if (nodes) {
        for (size_t i = 0; i < *n_nodes; i++) {
            nodes[i] = i < graph->nodes.size() ? reinterpret_cast<cudaGraphNode_t>(&graph->nodes[i]) : nullptr;
        }
    }
    *n_nodes = nodes ? std::min(*n_nodes, graph->nodes.size()) : graph->nodes.size();
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    delete exec;
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return cudaSuccess;
}
