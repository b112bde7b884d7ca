/* What the lanes of a warp tell each other. SPDX-License-Identifier: MIT
 *
 * Source: CUDA C++ Programming Guide, "Warp Shuffle Functions", "Warp Vote Functions", "Warp Reduce Functions". A lane that is
 * not in the mask, or that the block does not have, has no value: who asks it gets bytes of 0xFF. */
#ifndef TESTS_CUDA_HOST_CUDA_HOST_WARP_H
#define TESTS_CUDA_HOST_CUDA_HOST_WARP_H

#include "cuda_host.h"

#include <string.h>

namespace cuda_host
{
template <typename T> struct exchange {
    T value;
    unsigned int source;
    T result;
};

template <typename T> static void exchange_evaluate(void *const lanes[32], uint32_t mask)
{
    for (int lane = 0; lane < 32; lane++) {
        if (mask >> lane & 1) {
            auto *self = static_cast<exchange<T> *>(lanes[lane]);
            auto *source = static_cast<exchange<T> *>(lanes[self->source]);
            if (source) {
                self->result = source->value;
            } else {
                memset(static_cast<void *>(&self->result), 0xFF, sizeof self->result);
            }
        }
    }
}

template <typename T> static inline T take(const char *name, uint32_t mask, T value, unsigned int source)
{
    exchange<T> data = {value, source & 31, value};
    warp(name, mask, exchange_evaluate<T>, &data);
    return data.result;
}

/* combine(T *first, T other) over the mask's lanes, lowest first; all of them get the result. */
template <typename T, typename F> static inline T reduce(const char *name, uint32_t mask, T value, F)
{
    T data = value;
    warp(
        name, mask,
        [](void *const lanes[32], uint32_t present) {
            T *first = nullptr;
            for (int lane = 0; lane < 32; lane++) {
                if (present >> lane & 1) {
                    T *other = static_cast<T *>(lanes[lane]);
                    first ? F::combine(*first, *other) : (void)(first = other);
                }
            }
            for (int lane = 0; lane < 32; lane++) {
                if (present >> lane & 1) {
                    *static_cast<T *>(lanes[lane]) = *first;
                }
            }
        },
        &data);
    return data;
}

struct add {
    template <typename T> static void combine(T &all, T other)
    {
        all = (T)((uint32_t)all + (uint32_t)other);
    }
};
struct greatest {
    template <typename T> static void combine(T &all, T other)
    {
        all = all < other ? other : all;
    }
};
struct least {
    template <typename T> static void combine(T &all, T other)
    {
        all = other < all ? other : all;
    }
};
struct bits_or {
    template <typename T> static void combine(T &all, T other)
    {
        all = all | other;
    }
};
struct bits_and {
    template <typename T> static void combine(T &all, T other)
    {
        all = all & other;
    }
};
} // namespace cuda_host

static inline void __syncwarp(uint32_t mask = 0xFFFFFFFF)
{
    cuda_host::warp("__syncwarp", mask, nullptr, nullptr);
}

template <typename T> static inline T __shfl_sync(uint32_t mask, T value, int source, int width = 32)
{
    unsigned int first = cuda_host::lane_id & ~(width - 1u);
    return cuda_host::take("__shfl_sync", mask, value, first + (source & (width - 1)));
}

template <typename T> static inline T __shfl_xor_sync(uint32_t mask, T value, int lane_mask, int width = 32)
{
    unsigned int source = cuda_host::lane_id ^ lane_mask, end = (cuda_host::lane_id & ~(width - 1u)) + width;
    return cuda_host::take("__shfl_xor_sync", mask, value, source < end ? source : cuda_host::lane_id);
}

template <typename T> static inline T __shfl_up_sync(uint32_t mask, T value, unsigned int delta, int width = 32)
{
    unsigned int place = cuda_host::lane_id & (width - 1u);
    return cuda_host::take("__shfl_up_sync", mask, value, cuda_host::lane_id - (place >= delta ? delta : 0));
}

template <typename T> static inline T __shfl_down_sync(uint32_t mask, T value, unsigned int delta, int width = 32)
{
    unsigned int place = cuda_host::lane_id & (width - 1u);
    return cuda_host::take("__shfl_down_sync", mask, value,
                           cuda_host::lane_id + (place + delta < (unsigned int)width ? delta : 0));
}

static inline uint32_t __ballot_sync(uint32_t mask, int predicate)
{
    return cuda_host::reduce("__ballot_sync", mask, predicate ? 1u << cuda_host::lane_id : 0u, cuda_host::bits_or());
}

static inline int __any_sync(uint32_t mask, int predicate)
{
    return cuda_host::reduce("__any_sync", mask, (int)(predicate != 0), cuda_host::bits_or());
}

static inline int __all_sync(uint32_t mask, int predicate)
{
    return cuda_host::reduce("__all_sync", mask, (int)(predicate != 0), cuda_host::bits_and());
}

template <typename T> static inline T __reduce_add_sync(uint32_t mask, T value)
{
    return cuda_host::reduce("__reduce_add_sync", mask, value, cuda_host::add());
}

template <typename T> static inline T __reduce_max_sync(uint32_t mask, T value)
{
    return cuda_host::reduce("__reduce_max_sync", mask, value, cuda_host::greatest());
}

template <typename T> static inline T __reduce_min_sync(uint32_t mask, T value)
{
    return cuda_host::reduce("__reduce_min_sync", mask, value, cuda_host::least());
}

static inline uint32_t __reduce_or_sync(uint32_t mask, uint32_t value)
{
    return cuda_host::reduce("__reduce_or_sync", mask, value, cuda_host::bits_or());
}

static inline uint32_t __reduce_and_sync(uint32_t mask, uint32_t value)
{
    return cuda_host::reduce("__reduce_and_sync", mask, value, cuda_host::bits_and());
}

#endif
