/* Looks at every access of a kernel: is there a barrier between those of two threads to shared memory, can the device reach it,
 * is it aligned? SPDX-License-Identifier: MIT
 *
 * Sources compiled with -fsanitize=thread call the functions at the end of this file; the thread sanitizer's own runtime is not
 * linked. Time is a counter that every barrier moves. seen[a][b] is the time up to which thread b's accesses lie before what
 * thread a does now. Exchanges in a warp order nothing, __syncwarp does. Two threads may write the same value. Source: CUDA C++
 * Programming Guide, "Warp Shuffle Functions": "These intrinsics do not imply a memory barrier"; Flanagan and Freund,
 * "FastTrack", 2009. */
#include "fiber.h"
#include "runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <set>

extern "C" const char __executable_start, _end; /* the linker's: the program in memory */

namespace cuda_host
{
enum { WORD = 4, BARRIERS = 16 };

/* Who touched which bytes of a word, when. */
struct touch {
    uint32_t time;
    uint16_t thread;
    uint8_t bytes; /* a bit each; 0: nobody */
};
struct word_touches {
    touch write, reads[2]; /* of more readers at a time the others are forgotten */
};
struct shadow {
    const unsigned char *start;
    size_t bytes;
    std::vector<word_touches> words;
};

static bool looking;
static shadow dynamic_part, static_part;
static range parameters, last_global; /* last_global: an allocation */
static uint32_t now = 1, all_seen;    /* all_seen: everybody's accesses before that time lie before everybody's now */
static size_t n_threads;
static std::vector<uint32_t> seen, arrived; /* [n_threads][n_threads], [BARRIERS][n_threads] */

static void finish_overwrite();

static void cover(shadow *s, const unsigned char *start, size_t bytes)
{
    s->start = start;
    s->bytes = bytes;
    s->words.assign(bytes / WORD + 2, {});
}

void races_begin(const std::vector<range> &shared, range dynamic, range of_parameters, size_t threads)
{
    if (!looking) {
        return;
    }
    const unsigned char *first = shared.empty() ? nullptr : shared[0].start, *end = first;
    for (const range &r : shared) {
        first = std::min<const unsigned char *>(first, r.start);
        end = std::max<const unsigned char *>(end, r.start + r.bytes);
    }
    cover(&static_part, (const unsigned char *)((uintptr_t)first / WORD * WORD), (size_t)(end - first) + WORD);
    cover(&dynamic_part, dynamic.start, dynamic.bytes);
    parameters = of_parameters;
    last_global = {};
    n_threads = threads;
    seen.assign(n_threads * n_threads, 0);
    arrived.assign(BARRIERS * n_threads, 0);
}

void races_order_all()
{
    finish_overwrite();
    all_seen = ++now;
}

/* to[i] = the later of both */
static void join(uint32_t *to, const uint32_t *from)
{
    for (size_t i = 0; i < n_threads; i++) {
        to[i] = std::max(to[i], from[i]);
    }
}

void races_order_warp(int first, uint32_t mask)
{
    if (!looking) {
        return;
    }
    finish_overwrite();
    static std::vector<uint32_t> all;
    all.assign(n_threads, 0);
    for (int l = 0; l < WARP; l++) {
        if (mask >> l & 1) {
            join(all.data(), &seen[(size_t)(first + l) * n_threads]);
            all[(size_t)(first + l)] = now;
        }
    }
    for (int l = 0; l < WARP; l++) {
        if (mask >> l & 1) {
            join(&seen[(size_t)(first + l) * n_threads], all.data());
        }
    }
    now++;
}

void races_arrive(int barrier, int thread)
{
    if (looking) {
        finish_overwrite();
        join(&arrived[(size_t)barrier * n_threads], &seen[(size_t)thread * n_threads]);
        arrived[(size_t)barrier * n_threads + (size_t)thread] = now++;
    }
}

void races_pass(int barrier, int thread)
{
    if (looking) {
        join(&seen[(size_t)thread * n_threads], &arrived[(size_t)barrier * n_threads]);
    }
}

void races_open(int barrier)
{
    if (looking) {
        std::fill_n(&arrived[(size_t)barrier * n_threads], n_threads, 0);
    }
}

/* -- accesses -- */

static bool is_in(const void *at, const void *start, size_t bytes)
{
    return (uintptr_t)at - (uintptr_t)start < bytes;
}

/* Ends the program; CUDA_HOST_RACES=list: says it once for each place in the program, and goes on. */
static void report(int thread, const char *does, const void *at, const char *relation, int other, const void *code)
{
    static auto &known = *new std::set<const void *>;
    bool dynamic = is_in(at, dynamic_part.start, dynamic_part.bytes), lists = getenv("CUDA_HOST_RACES") != nullptr;
    if (lists && !known.insert(code).second) {
        return;
    }
    char text[400];
    snprintf(
        text, sizeof text,
        "%s byte %lld of %s shared memory, which thread %d of the block %s, with no barrier between (addr2line -fie PROGRAM 0x%llx)",
        does, (long long)((uintptr_t)at - (uintptr_t)(dynamic ? dynamic_part : static_part).start),
        dynamic ? "dynamic" : "static", other, relation,
        (unsigned long long)((uintptr_t)code - (uintptr_t)&__executable_start - 1));
    lists ? say(text, thread) : stop(text, thread);
}

/* The last access, if it is a write over another thread's: wrong unless it leaves the value as it was. */
static struct {
    const unsigned char *at; /* NULL: none */
    std::vector<unsigned char> before;
    int thread, other;
    const void *code;
} overwrite;

static void finish_overwrite()
{
    const unsigned char *at = overwrite.at;
    overwrite.at = nullptr;
    if (at && memcmp(at, overwrite.before.data(), overwrite.before.size()) != 0) {
        report(overwrite.thread, "has written", at, "has written otherwise", overwrite.other, overwrite.code);
    }
}

static bool lies_before(const touch &earlier, size_t self)
{
    return earlier.bytes == 0 || earlier.thread == self || earlier.time < all_seen ||
           earlier.time <= seen[self * n_threads + earlier.thread];
}

/* Returns the thread whose write this one is over, or -1. */
static int check_word(word_touches *w, touch t, bool writes, const void *at, const void *code)
{
    int other = -1;
    if (w->write.bytes & t.bytes && !lies_before(w->write, t.thread)) {
        if (!writes) {
            report(t.thread, "reads", at, "has written", w->write.thread, code);
        }
        other = w->write.thread;
    }
    for (touch &read : w->reads) {
        bool before = lies_before(read, t.thread);
        if (writes && read.bytes & t.bytes && !before) {
            report(t.thread, "writes", at, "has read", read.thread, code);
        }
        if (!writes && before) {
            read = t;
            return -1;
        }
    }
    if (writes) {
        w->write = t;
    }
    return other;
}

static void check_shared(shadow *s, const void *at, size_t bytes, bool writes, const void *code)
{
    size_t first = (uintptr_t)at - (uintptr_t)s->start, end = first + bytes;
    auto *start = static_cast<const unsigned char *>(at);
    touch t = {now, (uint16_t)running_thread(), 0};
    while (first < end) {
        size_t in_word = first % WORD, n = std::min(end - first, WORD - in_word);
        t.bytes = (uint8_t)(((1u << n) - 1) << in_word);
        int other = check_word(&s->words[first / WORD], t, writes, s->start + first, code);
        if (other >= 0) {
            overwrite = {start, {start, start + bytes}, t.thread, other, code};
        }
        first += n;
    }
}

/* What is neither shared nor the thread's own. */
static void check_global(const void *at, size_t bytes, const char *does)
{
    if (is_in(at, &__executable_start, (size_t)(&_end - &__executable_start)) || is_in(at, parameters.start, parameters.bytes)) {
        return;
    }
    bool fits;
    if (memory_of(at, bytes, &fits) != cudaMemoryTypeUnregistered && fits) {
        last_global = allocation_of(at);
        return;
    }
    char text[200];
    snprintf(text, sizeof text, "%s %zu bytes at %p, %s", does, bytes, at,
             fits ? "which a device cannot reach" : "which is not all in one allocation");
    stop(text, running_thread());
}

void races_access(const void *at, size_t bytes, bool writes, const void *code)
{
    fiber *self = fiber_self();
    if (!self || !fiber_has(self, __builtin_frame_address(0)) || fiber_has(self, at)) {
        return; /* host code, or a thread's own variables */
    }
    finish_overwrite();
    if (is_in(at, dynamic_part.start, dynamic_part.bytes)) {
        check_shared(&dynamic_part, at, bytes, writes, code);
    } else if (is_in(at, static_part.start, static_part.bytes)) {
        check_shared(&static_part, at, bytes, writes, code);
    } else if (!is_in(at, last_global.start, last_global.bytes) ||
               !is_in((const char *)at + bytes - 1, last_global.start, last_global.bytes)) {
        check_global(at, bytes, writes ? "writes" : "reads");
    }
}

static void aligned_access(const void *at, size_t bytes, bool writes, const void *code)
{
    races_access(at, bytes, writes, code);
    if ((uintptr_t)at % bytes && fiber_self() && fiber_has(fiber_self(), __builtin_frame_address(0))) {
        char text[100];
        snprintf(text, sizeof text, "%s %zu bytes at %p: not aligned", writes ? "writes" : "reads", bytes, at);
        stop(text, running_thread());
    }
}
} // namespace cuda_host

/* -- what the compiler calls -- */

using cuda_host::aligned_access;
using cuda_host::races_access;

#define CALLBACKS(n)                                               \
    extern "C" void __tsan_read##n(void *at)                       \
    {                                                              \
        aligned_access(at, n, false, __builtin_return_address(0)); \
    }                                                              \
    extern "C" void __tsan_write##n(void *at)                      \
    {                                                              \
        aligned_access(at, n, true, __builtin_return_address(0));  \
    }                                                              \
    extern "C" void __tsan_unaligned_read##n(void *at)             \
    {                                                              \
        races_access(at, n, false, __builtin_return_address(0));   \
    }                                                              \
    extern "C" void __tsan_unaligned_write##n(void *at)            \
    {                                                              \
        races_access(at, n, true, __builtin_return_address(0));    \
    }
CALLBACKS(1)
CALLBACKS(2)
CALLBACKS(4)
CALLBACKS(8)
CALLBACKS(16)

extern "C" void __tsan_read_range(void *at, unsigned long bytes)
{
    races_access(at, bytes, false, __builtin_return_address(0));
}

extern "C" void __tsan_write_range(void *at, unsigned long bytes)
{
    races_access(at, bytes, true, __builtin_return_address(0));
}

extern "C" void __tsan_init()
{
    cuda_host::looking = true;
}

extern "C" void __tsan_func_entry(void *)
{
}

extern "C" void __tsan_func_exit()
{
}
