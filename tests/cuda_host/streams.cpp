/* Streams and events. SPDX-License-Identifier: MIT
 *
 * An operation runs when somebody waits for it, or earlier: after each call the dice say how far the stream runs ahead. So host
 * code that does not wait for a result, or changes what a copy has still to read, gets something wrong for most seeds. */
#include "streams.h"

#include <time.h>

#include <algorithm>

namespace cuda_host
{
static auto &streams = *new std::vector<cudaStream_t>;         /* made by the caller */
static auto &default_streams = *new std::vector<cudaStream_t>; /* by device */

static cudaStream_t default_stream()
{
    size_t device = (size_t)current_device();
    if (default_streams.size() <= device) {
        default_streams.resize(device + 1);
    }
    if (!default_streams[device]) {
        default_streams[device] = new CUstream_st{(int)device, true, {}, nullptr};
    }
    return default_streams[device];
}

cudaStream_t find_stream(cudaStream_t handle)
{
    if (!handle) {
        return default_stream();
    }
    return std::find(streams.begin(), streams.end(), handle) == streams.end() ? nullptr : handle;
}

void run_one(cudaStream_t stream)
{
    if (!stream->queue.empty()) {
        operation next = std::move(stream->queue.front());
        stream->queue.pop_front();
        open_memory open;
        next.run();
    }
}

static void run_all(cudaStream_t stream)
{
    open_memory open;
    while (!stream->queue.empty()) {
        run_one(stream);
    }
}

cudaError_t refuse_in_capture()
{
    bool refused = false;
    for (cudaStream_t stream : streams) {
        if (stream->capture && stream->capture->mode != cudaStreamCaptureModeRelaxed) {
            stream->capture->invalid = refused = true;
        }
    }
    return refused ? fail(cudaErrorStreamCaptureUnsupported) : cudaSuccess;
}

/* The default stream waits for all that are not cudaStreamNonBlocking, and they for it. */
static cudaError_t wait_for_default(cudaStream_t stream)
{
    if (stream != default_stream()) {
        if (stream->blocking) {
            run_all(default_stream());
        }
        return cudaSuccess;
    }
    for (cudaStream_t other : streams) {
        if (other->blocking && other->device == stream->device) {
            if (other->capture) {
                other->capture->invalid = true;
                return fail(cudaErrorStreamCaptureImplicit);
            }
            run_all(other);
        }
    }
    return cudaSuccess;
}

cudaError_t enqueue(cudaStream_t handle, const char *what, std::function<void()> run)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    cudaStream_t stream = n_devices() > 0 ? find_stream(handle) : nullptr;
    if (!stream) {
        return fail(n_devices() > 0 ? cudaErrorInvalidResourceHandle : cudaErrorNoDevice);
    }
    if (stream->capture) {
        if (stream->capture->invalid) {
            return fail(cudaErrorStreamCaptureInvalidated);
        }
        stream->capture->nodes.push_back({what, std::move(run)});
        return cudaSuccess;
    }
    cudaError_t error = wait_for_default(stream);
    if (error != cudaSuccess) {
        return error;
    }
    stream->queue.push_back({what, std::move(run)});
    size_t n_ahead = draw(2) ? draw((uint32_t)stream->queue.size() + 1) : 0;
    if (setting("CUDA_LAUNCH_BLOCKING", 0)) {
        n_ahead = stream->queue.size();
    }
    if (n_ahead > 0) {
        open_memory open;
        while (n_ahead-- > 0) {
            run_one(stream);
        }
    }
    return cudaSuccess;
}

cudaError_t finish(cudaStream_t handle)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    cudaStream_t stream = n_devices() > 0 ? find_stream(handle) : nullptr;
    if (!stream) {
        return fail(n_devices() > 0 ? cudaErrorInvalidResourceHandle : cudaErrorNoDevice);
    }
    if (stream->capture) {
        stream->capture->invalid = true;
        return fail(cudaErrorStreamCaptureUnsupported);
    }
    cudaError_t error = wait_for_default(stream);
    run_all(stream);
    return error;
}

cudaError_t finish_all(int device)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    cudaError_t error = refuse_in_capture();
    if (error != cudaSuccess) {
        return error;
    }
    for (const std::vector<cudaStream_t> *list : {&streams, &default_streams}) {
        for (cudaStream_t stream : *list) {
            if (stream && (device < 0 || stream->device == device)) {
                run_all(stream);
            }
        }
    }
    return cudaSuccess;
}

void end_capture(const std::shared_ptr<capture> &ended)
{
    ended->ended = true;
    for (cudaStream_t stream : streams) {
        if (stream->capture == ended) {
            stream->capture = nullptr;
        }
    }
}

/* One cudaEventRecord. */
struct event_record {
    cudaStream_t stream;
    bool done;
    double time_ms;
};
} // namespace cuda_host

using namespace cuda_host;

struct CUevent_st {
    bool timing;
    std::shared_ptr<event_record> last;       /* outside captures */
    std::shared_ptr<cuda_host::capture> part; /* recorded in it */
};

cudaError_t cudaDeviceSynchronize()
{
    return n_devices() > 0 ? finish_all(current_device()) : fail(cudaErrorNoDevice);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned int flags)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    if (n_devices() == 0) {
        return fail(cudaErrorNoDevice);
    }
    *stream = new CUstream_st{current_device(), !(flags & cudaStreamNonBlocking), {}, nullptr};
    streams.push_back(*stream);
    return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t *stream)
{
    return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned int flags, int)
{
    return cudaStreamCreateWithFlags(stream, flags);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    if (!stream || !find_stream(stream)) {
        return fail(cudaErrorInvalidResourceHandle);
    }
    run_all(stream);
    streams.erase(std::find(streams.begin(), streams.end(), stream));
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    return finish(stream);
}

cudaError_t cudaStreamQuery(cudaStream_t handle)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    cudaStream_t stream = find_stream(handle);
    if (!stream) {
        return fail(cudaErrorInvalidResourceHandle);
    }
    if (stream->capture) {
        stream->capture->invalid = true;
        return fail(cudaErrorStreamCaptureUnsupported);
    }
    run_one(stream);
    return stream->queue.empty() ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned int)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    cudaStream_t stream = find_stream(handle);
    if (!stream) {
        return fail(cudaErrorInvalidResourceHandle);
    }
    if (event->part && !event->part->ended) {
        stream->capture = event->part;
        return cudaSuccess;
    }
    if (stream->capture) {
        stream->capture->invalid = true;
        return fail(cudaErrorStreamCaptureIsolation);
    }
    std::shared_ptr<event_record> awaited = event->last;
    if (!awaited || awaited->done) {
        return cudaSuccess;
    }
    return enqueue(handle, "wait", [awaited] {
        while (!awaited->done) {
            run_one(awaited->stream);
        }
    });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned int flags)
{
    *event = new CUevent_st{!(flags & cudaEventDisableTiming), nullptr, nullptr};
    return n_devices() > 0 ? cudaSuccess : fail(cudaErrorNoDevice);
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    cudaStream_t stream = find_stream(handle);
    if (!stream) {
        return fail(cudaErrorInvalidResourceHandle);
    }
    event->part = stream->capture;
    if (stream->capture) {
        return cudaSuccess;
    }
    auto made = std::make_shared<event_record>(event_record{stream, false, 0});
    event->last = made;
    return enqueue(handle, "event", [made] {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        made->time_ms = (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
        made->done = true;
    });
}

/* In a capture an event cannot be asked about. */
static cudaError_t refuse_captured(cudaEvent_t event)
{
    if (event->part && !event->part->ended) {
        event->part->invalid = true;
        return fail(cudaErrorStreamCaptureUnsupported);
    }
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    cudaError_t error = refuse_captured(event);
    if (error != cudaSuccess || !event->last || event->last->done) {
        return error;
    }
    run_one(event->last->stream);
    return event->last->done ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    cudaError_t error = refuse_captured(event);
    while (error == cudaSuccess && event->last && !event->last->done) {
        run_one(event->last->stream);
    }
    return error;
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    if (!from->timing || !to->timing || !from->last || !to->last) {
        return fail(cudaErrorInvalidResourceHandle);
    }
    if (!from->last->done || !to->last->done) {
        return cudaErrorNotReady;
    }
    *ms = (float)(to->last->time_ms - from->last->time_ms);
    return cudaSuccess;
}
