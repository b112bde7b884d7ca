/* CUDA's built-in vector types, with the alignment that they have there. SPDX-License-Identifier: MIT
 *
 * The alignment is part of the type, so that the undefined-behaviour sanitizer sees a misaligned load as a GPU would. */
#ifndef TESTS_CUDA_HOST_VECTOR_TYPES_H
#define TESTS_CUDA_HOST_VECTOR_TYPES_H

#define CUDA_HOST_VECTOR(type, element, align2, align4)                              \
    struct type##1                                                                   \
    {                                                                                \
        element x;                                                                   \
    };                                                                               \
    struct alignas(align2) type##2                                                   \
    {                                                                                \
        element x, y;                                                                \
    };                                                                               \
    struct type##3                                                                   \
    {                                                                                \
        element x, y, z;                                                             \
    };                                                                               \
    struct alignas(align4) type##4                                                   \
    {                                                                                \
        element x, y, z, w;                                                          \
    };                                                                               \
    static inline type##1 make_##type##1(element x)                                  \
    {                                                                                \
        return {x};                                                                  \
    }                                                                                \
    static inline type##2 make_##type##2(element x, element y)                       \
    {                                                                                \
        return {x, y};                                                               \
    }                                                                                \
    static inline type##3 make_##type##3(element x, element y, element z)            \
    {                                                                                \
        return {x, y, z};                                                            \
    }                                                                                \
    static inline type##4 make_##type##4(element x, element y, element z, element w) \
    {                                                                                \
        return {x, y, z, w};                                                         \
    }

CUDA_HOST_VECTOR(char, signed char, 2, 4)
CUDA_HOST_VECTOR(uchar, unsigned char, 2, 4)
CUDA_HOST_VECTOR(short, short, 4, 8)
CUDA_HOST_VECTOR(ushort, unsigned short, 4, 8)
CUDA_HOST_VECTOR(int, int, 8, 16)
CUDA_HOST_VECTOR(uint, unsigned int, 8, 16)
CUDA_HOST_VECTOR(longlong, long long, 16, 16)
CUDA_HOST_VECTOR(ulonglong, unsigned long long, 16, 16)
CUDA_HOST_VECTOR(float, float, 8, 16)
CUDA_HOST_VECTOR(double, double, 16, 16)
#undef CUDA_HOST_VECTOR

struct dim3 {
    unsigned int x, y, z;
    constexpr dim3(unsigned int x_ = 1, unsigned int y_ = 1, unsigned int z_ = 1) : x(x_), y(y_), z(z_)
    {
    }
    constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z)
    {
    }
};

#endif
