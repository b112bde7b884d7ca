/* Streams, graphs, memory and errors behave like CUDA's, and misuse is found. SPDX-License-Identifier: MIT */
#include "kernels/cuda/cuda_common.h"
#include "tests/cuda_host/deaths.h"

#include <functional>

enum { N = 64, BYTES = N * 4, N_SEEDS = 20, MOST_MISSED = 10 };

/* grid: 1, block: N */
static __global__ void add_to(const int32_t *in, int32_t *out, int32_t n)
{
    out[threadIdx.x] = in[threadIdx.x] + n;
}

static void add(cudaStream_t stream, const int32_t *in, int32_t *out, int32_t n)
{
    cuda_launch<const int32_t *, int32_t *, int32_t>(add_to, 1, N, 0, stream, in, out, n);
}

/* A stream, two arrays of a device and one of pinned memory, N values each. */
struct setup {
    cudaStream_t stream;
    int32_t *a, *b, *pinned;
};

static setup begin(void)
{
    setup s;
    CHECK_INT(cudaStreamCreateWithFlags(&s.stream, cudaStreamNonBlocking), cudaSuccess);
    CHECK_INT(cudaMalloc(&s.a, BYTES), cudaSuccess);
    CHECK_INT(cudaMalloc(&s.b, BYTES), cudaSuccess);
    CHECK_INT(cudaHostAlloc(&s.pinned, BYTES, cudaHostAllocMapped), cudaSuccess);
    return s;
}

static void end(setup s)
{
    CHECK_INT(cudaStreamDestroy(s.stream), cudaSuccess);
    CHECK_INT(cudaFree(s.a), cudaSuccess);
    CHECK_INT(cudaFree(s.b), cudaSuccess);
    CHECK_INT(cudaFreeHost(s.pinned), cudaSuccess);
}

static void fill(int32_t *values, int32_t first)
{
    for (int i = 0; i < N; i++) {
        values[i] = first + i;
    }
}

/* -- streams -- */

enum mistake { NONE, NO_SYNC_BEFORE_READ, WRITES_BEFORE_SYNC, OTHER_STREAM, DEFAULT_STREAM };

/* Adds 1 to 100 ... in the stream; returns whether the result is right. */
static bool round_trip(mistake made)
{
    setup s = begin();
    cudaStream_t second = s.stream;
    fill(s.pinned, 100);
    cudaMemcpyAsync(s.a, s.pinned, BYTES, cudaMemcpyHostToDevice, s.stream);
    if (made == WRITES_BEFORE_SYNC) {
        fill(s.pinned, 200);
    }
    if (made == OTHER_STREAM) {
        cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking);
    }
    add(s.stream, s.a, s.b, 1);
    cudaMemcpyAsync(s.pinned, s.b, BYTES, cudaMemcpyDeviceToHost, made == DEFAULT_STREAM ? nullptr : second);
    if (made != NO_SYNC_BEFORE_READ) {
        cudaStreamSynchronize(made == DEFAULT_STREAM ? nullptr : second);
    }
    bool right = true;
    for (int i = 0; i < N; i++) {
        right = right && s.pinned[i] == 101 + i;
    }
    if (made == OTHER_STREAM) {
        cudaStreamDestroy(second);
    }
    end(s);
    return right;
}

static void test_streams(void)
{
    for (mistake made : {NO_SYNC_BEFORE_READ, WRITES_BEFORE_SYNC, OTHER_STREAM, DEFAULT_STREAM}) {
        int n_caught = 0;
        for (uint64_t seed = 0; seed < N_SEEDS; seed++) {
            cuda_host_seed(seed);
            CHECK_INT(round_trip(NONE), true);
            n_caught += !round_trip(made);
        }
        CHECK_THAT(n_caught >= N_SEEDS - MOST_MISSED, "mistake %d shows for %d of %d seeds only", made, n_caught, N_SEEDS);
    }
}

/* What waits for an event sees what was done before it; pageable memory is read and written within the call. */
static void test_events(void)
{
    for (uint64_t seed = 0; seed < N_SEEDS; seed++) {
        cuda_host_seed(seed);
        setup s = begin();
        cudaStream_t second;
        cudaEvent_t event;
        cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking);
        cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
        int32_t values[N];
        fill(values, 100);
        cudaMemcpyAsync(s.a, values, BYTES, cudaMemcpyHostToDevice, s.stream);
        fill(values, 200);
        add(s.stream, s.a, s.b, 1);
        cudaEventRecord(event, s.stream);
        cudaStreamWaitEvent(second, event);
        cudaMemcpyAsync(values, s.b, BYTES, cudaMemcpyDeviceToHost, second);
        CHECK_INT(values[N - 1], 100 + N);
        cudaEventRecord(event, second);
        int n_asked = 0;
        while (cudaEventQuery(event) == cudaErrorNotReady) {
            n_asked++;
        }
        CHECK_THAT(n_asked <= 1, "asked %d times", n_asked);
        CHECK_INT(cudaEventSynchronize(event), cudaSuccess);
        CHECK_INT(cudaGetLastError(), cudaSuccess);
        cudaEventDestroy(event);
        cudaStreamDestroy(second);
        end(s);
    }
}

/* -- graphs -- */

static void test_graph(void)
{
    for (uint64_t seed = 0; seed < N_SEEDS; seed++) {
        cuda_host_seed(seed);
        setup s = begin();
        cudaGraph_t graph;
        cudaGraphExec_t exec;
        fill(s.pinned, 1);
        CHECK_INT(cudaStreamBeginCapture(s.stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
        cudaMemcpyAsync(s.a, s.pinned, BYTES, cudaMemcpyHostToDevice, s.stream);
        add(s.stream, s.a, s.b, 1000);
        cudaMemcpyAsync(s.pinned, s.b, BYTES, cudaMemcpyDeviceToHost, s.stream);
        CHECK_INT(cudaStreamEndCapture(s.stream, &graph), cudaSuccess);
        CHECK_INT(cudaStreamSynchronize(s.stream), cudaSuccess);
        CHECK_INT(s.pinned[0], 1);
        size_t n_nodes;
        CHECK_INT(cudaGraphGetNodes(graph, nullptr, &n_nodes), cudaSuccess);
        CHECK_INT(n_nodes, 3);
        CHECK_INT(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
        CHECK_INT(cudaGraphDestroy(graph), cudaSuccess);
        for (int first : {10, 20}) {
            fill(s.pinned, first);
            CHECK_INT(cudaGraphLaunch(exec, s.stream), cudaSuccess);
            CHECK_INT(cudaStreamSynchronize(s.stream), cudaSuccess);
            CHECK_INT(s.pinned[N - 1], first + N - 1 + 1000);
        }
        CHECK_INT(cudaGraphExecDestroy(exec), cudaSuccess);
        end(s);
    }
}

/* Work of a second stream that an event ties to the capture is part of the graph. */
static void test_fork_in_capture(void)
{
    setup s = begin();
    cudaStream_t second;
    cudaEvent_t event;
    cudaGraph_t graph;
    size_t n_nodes;
    cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking);
    cudaEventCreate(&event);
    cudaStreamBeginCapture(s.stream, cudaStreamCaptureModeGlobal);
    cudaEventRecord(event, s.stream);
    cudaStreamWaitEvent(second, event);
    add(second, s.a, s.b, 1);
    cudaEventRecord(event, second);
    cudaStreamWaitEvent(s.stream, event);
    CHECK_INT(cudaStreamEndCapture(s.stream, &graph), cudaSuccess);
    CHECK_INT(cudaGraphGetNodes(graph, nullptr, &n_nodes), cudaSuccess);
    CHECK_INT(n_nodes, 1);
    CHECK_INT(cudaStreamSynchronize(second), cudaSuccess);
    cudaGraphDestroy(graph);
    cudaEventDestroy(event);
    cudaStreamDestroy(second);
    end(s);
}

static void test_refused_in_capture(void)
{
    setup s = begin();
    const std::function<cudaError_t()> refused[] = {
        [&] { return cudaStreamSynchronize(s.stream); },
        [&] { return cudaDeviceSynchronize(); },
        [&] { return cudaMemcpy(s.pinned, s.a, BYTES, cudaMemcpyDeviceToHost); },
        [&] {
            int32_t *more;
            return cudaMalloc(&more, BYTES);
        },
        [&] { return cudaFree(s.b); },
    };
    for (auto &call : refused) {
        cudaGraph_t graph;
        CHECK_INT(cudaStreamBeginCapture(s.stream, cudaStreamCaptureModeGlobal), cudaSuccess);
        CHECK_INT(call(), cudaErrorStreamCaptureUnsupported);
        CHECK_INT(cudaStreamEndCapture(s.stream, &graph), cudaErrorStreamCaptureInvalidated);
        CHECK_THAT(graph == nullptr, "a graph of a void capture");
        CHECK_INT(cudaGetLastError(), cudaErrorStreamCaptureInvalidated);
        CHECK_INT(cudaGetLastError(), cudaSuccess);
    }
    end(s);
}

/* -- memory and errors -- */

static void test_memory(void)
{
    size_t free_before, free_now, total;
    void *at;
    setenv("CUDA_HOST_MEMORY", "1000000", 1);
    CHECK_INT(cudaMemGetInfo(&free_before, &total), cudaSuccess);
    CHECK_INT(total, 1000000);
    CHECK_INT(cudaMalloc(&at, free_before + 1), cudaErrorMemoryAllocation);
    CHECK_THAT(at == nullptr, "memory beyond the limit");
    CHECK_INT(cudaGetLastError(), cudaErrorMemoryAllocation);
    CHECK_INT(cudaMalloc(&at, 300000), cudaSuccess);
    CHECK_INT((uintptr_t)at % 256, 0);
    CHECK_INT(cudaMemGetInfo(&free_now, &total), cudaSuccess);
    CHECK_INT(free_now, free_before - 300000);
    char bytes[8] = {};
    CHECK_INT(cudaMemcpy(bytes, (char *)at + 299992, 8, cudaMemcpyDeviceToHost), cudaSuccess);
    CHECK_INT(bytes[7], -1);
    CHECK_INT(cudaMemcpy(bytes, (char *)at + 299993, 8, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
    CHECK_INT(cudaMemcpy(bytes, at, 8, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
    CHECK_INT(cudaMemset((char *)at + 8, 7, 300000), cudaErrorInvalidValue);
    CHECK_INT(cudaMemset(at, 7, 300000), cudaSuccess);
    CHECK_INT(cudaMemcpy(bytes, at, 8, cudaMemcpyDeviceToHost), cudaSuccess);
    CHECK_INT(bytes[0], 7);
    CHECK_INT(cudaFreeHost(at), cudaErrorInvalidValue);
    CHECK_INT(cudaFree(at), cudaSuccess);
    CHECK_INT(cudaFree(at), cudaErrorInvalidValue);
    CHECK_INT(cudaGetLastError(), cudaErrorInvalidValue);
    unsetenv("CUDA_HOST_MEMORY");
}

static void test_launch_errors(void)
{
    setup s = begin();
    auto error_of = [&](dim3 grid, dim3 block, size_t shared_bytes) {
        cuda_launch<const int32_t *, int32_t *, int32_t>(add_to, grid, block, shared_bytes, s.stream, s.a, s.b, 1);
        return cudaGetLastError();
    };
    CHECK_INT(error_of(1, N, 0), cudaSuccess);
    CHECK_INT(error_of(0, N, 0), cudaErrorInvalidConfiguration);
    CHECK_INT(error_of(1, 0, 0), cudaErrorInvalidConfiguration);
    CHECK_INT(error_of(1, dim3(32, 32, 2), 0), cudaErrorInvalidConfiguration);
    CHECK_INT(error_of(1, 1025, 0), cudaErrorInvalidConfiguration);
    CHECK_INT(error_of(1, dim3(65536, 65536), 0), cudaErrorInvalidConfiguration);
    CHECK_INT(error_of(1, dim3(1, 1, 65), 0), cudaErrorInvalidConfiguration);
    CHECK_INT(error_of(dim3(1, 65536), N, 0), cudaErrorInvalidConfiguration);
    CHECK_INT(error_of(dim3(1, 1, 65536), N, 0), cudaErrorInvalidConfiguration);
    CHECK_INT(error_of(0x80000000u, N, 0), cudaErrorInvalidConfiguration);
    CHECK_INT(error_of(1, N, 50000), cudaErrorInvalidValue);
    CHECK_INT(cudaFuncSetAttribute(add_to, cudaFuncAttributeMaxDynamicSharedMemorySize, 50000), cudaSuccess);
    CHECK_INT(error_of(1, N, 50000), cudaSuccess);
    CHECK_INT(cudaFuncSetAttribute(add_to, cudaFuncAttributeMaxDynamicSharedMemorySize, 1 << 20), cudaErrorInvalidValue);
    CHECK_INT(cudaGetLastError(), cudaErrorInvalidValue);
    CHECK_TEXT(cudaGetErrorName(cudaErrorInvalidConfiguration), "cudaErrorInvalidConfiguration");
    CHECK_TEXT(cudaGetErrorString(cudaErrorMemoryAllocation), "out of memory");
    end(s);
}

static void test_devices(void)
{
    int n, value;
    void *at;
    cudaDeviceProp prop;
    setenv("CUDA_HOST_DEVICES", "0", 1);
    CHECK_INT(cudaGetDeviceCount(&n), cudaErrorNoDevice);
    CHECK_INT(n, 0);
    CHECK_INT(cudaSetDevice(0), cudaErrorNoDevice);
    CHECK_INT(cudaMalloc(&at, 1), cudaErrorNoDevice);
    CHECK_INT(cudaGetLastError(), cudaErrorNoDevice);
    setenv("CUDA_HOST_DEVICES", "2", 1);
    CHECK_INT(cudaGetDeviceCount(&n), cudaSuccess);
    CHECK_INT(n, 2);
    CHECK_INT(cudaSetDevice(2), cudaErrorInvalidDevice);
    CHECK_INT(cudaSetDevice(1), cudaSuccess);
    CHECK_INT(cudaGetDevice(&n), cudaSuccess);
    CHECK_INT(n, 1);
    CHECK_INT(cudaGetDeviceProperties(&prop, 1), cudaSuccess);
    CHECK_INT(cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, 1), cudaSuccess);
    CHECK_INT(value, prop.multiProcessorCount);
    CHECK_INT(prop.integrated, 1);
    setenv("CUDA_HOST_INTEGRATED", "0", 1);
    CHECK_INT(cudaGetDeviceProperties(&prop, 1), cudaSuccess);
    CHECK_INT(cudaDeviceGetAttribute(&value, cudaDevAttrIntegrated, 1), cudaSuccess);
    CHECK_THAT(!prop.integrated && !value, "a card that shares the machine's memory");
    unsetenv("CUDA_HOST_INTEGRATED");
    CHECK_INT(cudaSetDevice(0), cudaSuccess);
    unsetenv("CUDA_HOST_DEVICES");
    CHECK_INT(cudaGetLastError(), cudaErrorInvalidDevice);
}

static void touch_device_memory(void)
{
    int32_t *at;
    cudaMalloc(&at, BYTES);
    at[1] = 1;
}

static void touch_freed_memory(void)
{
    setup s = begin();
    cudaFree(s.a);
    add(s.stream, s.b, s.b, 1);
    cudaStreamSynchronize(s.stream);
    s.pinned[N] = 1;
}

static void give_host_pointer(void)
{
    setup s = begin();
    int32_t values[N] = {};
    add(s.stream, values, s.a, 1);
}

int main(void)
{
    test_streams();
    test_events();
    test_graph();
    test_fork_in_capture();
    test_refused_in_capture();
    test_memory();
    test_launch_errors();
    test_devices();
    CHECK_DIES(touch_device_memory, "host code touches byte 4 of an allocation of 256 bytes of device memory", "-");
    CHECK_DIES(touch_freed_memory, "host code touches byte 256 of an allocation of 256 bytes of pinned memory",
               "AddressSanitizer");
    CHECK_DIES(give_host_pointer, "add_to(int const*, int*, int): parameter 0, 0x", "-");
    return check_result();
}
