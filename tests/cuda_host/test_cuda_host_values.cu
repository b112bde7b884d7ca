/* What single instructions compute, against plain loops. SPDX-License-Identifier: MIT */
#include "kernels/cuda/cuda_ptx.h"
#include "tests/check.h"

#include <vector>

static uint32_t random_state = 1;

static uint32_t random_word(void)
{
    random_state = random_state * 1664525 + 1013904223;
    return random_state ^ random_state >> 16;
}

/* Launches the kernel in one block of n threads; returns what it wrote. */
static std::vector<int32_t> run(void (*kernel)(int32_t *), int n_threads, int n_out)
{
    std::vector<int32_t> out((size_t)n_out);
    int32_t *device;
    cudaMalloc(&device, out.size() * 4);
    cuda_launch<int32_t *>(kernel, 1, n_threads, 0, nullptr, device);
    CHECK_INT(cudaMemcpy(out.data(), device, out.size() * 4, cudaMemcpyDeviceToHost), cudaSuccess);
    cudaFree(device);
    return out;
}

/* -- exchanges in a warp -- */

enum { N_EXCHANGES = 12 };
static __global__ void exchanges(int32_t *out)
{
    int32_t t = threadIdx.x, value = 1000 + t * t;
    out += t * N_EXCHANGES;
    out[0] = __shfl_sync(0xFFFFFFFF, value, (t * 7) % 32);
    out[1] = __shfl_xor_sync(0xFFFFFFFF, value, 5);
    out[2] = __shfl_up_sync(0xFFFFFFFF, value, 3);
    out[3] = __shfl_down_sync(0xFFFFFFFF, value, 3);
    out[4] = __shfl_sync(0xFFFFFFFF, value, 9, 8);
    out[5] = __shfl_down_sync(0xFFFFFFFF, value, 3, 8);
    out[6] = (int32_t)__ballot_sync(0xFFFFFFFF, t % 3 == 0);
    out[7] = __any_sync(0xFFFFFFFF, t == 40) * 2 + __all_sync(0xFFFFFFFF, t < 64);
    out[8] = __reduce_max_sync(0xFFFFFFFF, -value);
    out[9] = (int32_t)__reduce_add_sync(0xFFFFFFFF, (unsigned int)value);
    out[10] = t % 32 < 8 ? __shfl_xor_sync(0xFF, value, 1) : __shfl_xor_sync(0xFFFFFF00, value, 2);
    out[11] = (int32_t)__shfl_up_sync(0xFFFFFFFF, (float)value, 1, 4);
}

static void test_exchanges(void)
{
    std::vector<int32_t> out = run(exchanges, 64, 64 * N_EXCHANGES);
    for (int t = 0; t < 64; t++) {
        int first = t / 32 * 32, l = t % 32, sum = 0;
        auto value = [&](int lane) { return 1000 + (first + lane) * (first + lane); };
        for (int i = 0; i < 32; i++) {
            sum += value(i);
        }
        int32_t ballot = 0;
        for (int i = 0; i < 32; i++) {
            ballot |= (int32_t)((uint32_t)((first + i) % 3 == 0) << i);
        }
        const int32_t expected[N_EXCHANGES] = {value(t * 7 % 32),
                                               value(l ^ 5),
                                               value(l < 3 ? l : l - 3),
                                               value(l > 28 ? l : l + 3),
                                               value(l / 8 * 8 + 1),
                                               value(l % 8 > 4 ? l : l + 3),
                                               ballot,
                                               (first == 32) * 2 + 1,
                                               -value(0),
                                               sum,
                                               value(l < 8 ? l ^ 1 : l ^ 2),
                                               value(l % 4 ? l - 1 : l)};
        for (int i = 0; i < N_EXCHANGES; i++) {
            CHECK_THAT(out[(size_t)(t * N_EXCHANGES + i)] == expected[i], "exchange %d, thread %d: %d, expected %d", i, t,
                       out[(size_t)(t * N_EXCHANGES + i)], expected[i]);
        }
    }
}

/* -- the tensor cores' product -- */

enum { MMA_A = 0, MMA_B = 16 * 8, MMA_C = MMA_B + 8 * 8, MMA_WORDS = MMA_C + 16 * 8 };

/* data: a [16][32] int8, b [8][32] int8 (a column of the product after the other), c [16][8] */
static __global__ void mma(int32_t *data)
{
    int g = threadIdx.x / 4, t = threadIdx.x % 4;
    const uint32_t *a_words = (const uint32_t *)data + MMA_A, *b_words = (const uint32_t *)data + MMA_B;
    int32_t *c_words = data + MMA_C;
    uint32_t a[4] = {a_words[g * 8 + t], a_words[(g + 8) * 8 + t], a_words[g * 8 + t + 4], a_words[(g + 8) * 8 + t + 4]};
    uint32_t b[2] = {b_words[g * 8 + t], b_words[g * 8 + t + 4]};
    int32_t c[4] = {c_words[g * 8 + 2 * t], c_words[g * 8 + 2 * t + 1], c_words[(g + 8) * 8 + 2 * t],
                    c_words[(g + 8) * 8 + 2 * t + 1]};
    cuda_mma_s8(c, a, b);
    for (int i = 0; i < 4; i++) {
        c_words[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = c[i];
    }
}

static void test_mma(void)
{
    int32_t data[MMA_WORDS], found[MMA_WORDS], *device;
    for (int32_t &word : data) {
        word = (int32_t)(random_word() * 2654435761u);
    }
    for (int i = MMA_C; i < MMA_WORDS; i++) {
        data[i] %= 100000;
    }
    cudaMalloc(&device, sizeof data);
    cudaMemcpy(device, data, sizeof data, cudaMemcpyHostToDevice);
    cuda_launch<int32_t *>(mma, 1, 32, 0, nullptr, device);
    cudaMemcpy(found, device, sizeof found, cudaMemcpyDeviceToHost);
    cudaFree(device);
    const int8_t *a = (const int8_t *)(data + MMA_A), *b = (const int8_t *)(data + MMA_B);
    for (int row = 0; row < 16; row++) {
        for (int column = 0; column < 8; column++) {
            int32_t sum = data[MMA_C + row * 8 + column];
            for (int k = 0; k < 32; k++) {
                sum += a[row * 32 + k] * b[column * 32 + k];
            }
            CHECK_INT(found[MMA_C + row * 8 + column], sum);
        }
    }
}

/* -- words and numbers -- */

static void test_words(void)
{
    for (int n = 0; n < 1000; n++) {
        uint32_t a = random_word() * 40503u, b = random_word() * 2654435761u, c = random_word(), selectors = random_word();
        int32_t product = (int32_t)c;
        uint32_t plus = 0, minus = 0, bytes = 0;
        for (int i = 0; i < 4; i++) {
            uint32_t x = a >> 8 * i & 255, y = b >> 8 * i & 255, s = selectors >> 4 * i & 15;
            uint32_t chosen = (s % 8 < 4 ? a : b) >> s % 4 * 8 & 255;
            product = (int32_t)((uint32_t)product + (uint32_t)((int8_t)x * (int8_t)y));
            plus |= ((x + y) & 255) << 8 * i;
            minus |= ((x - y) & 255) << 8 * i;
            bytes |= (s < 8 ? chosen : chosen >= 128 ? 255u : 0u) << 8 * i;
        }
        CHECK_INT(__dp4a((int)a, (int)b, (int)c), product);
        CHECK_INT(__vadd4(a, b), plus);
        CHECK_INT(__vsub4(a, b), minus);
        CHECK_INT(__byte_perm(a, b, selectors), bytes);
        CHECK_INT(__funnelshift_l(a, b, c), (uint32_t)((((uint64_t)b << 32) + a) << c % 32 >> 32));
        CHECK_INT(__popc(a) + __clz((int)a) + __ffs((int)a),
                  __builtin_popcount(a) + (a ? __builtin_clz(a) + __builtin_ffs((int)a) : 32));
    }
    CHECK_INT(__float2int_rn(2.5f), 2);
    CHECK_INT(__float2int_rn(-3.5f), -4);
    CHECK_INT(__float2int_rn(3e9f), INT32_MAX);
    CHECK_INT(__float2int_rn(-INFINITY), INT32_MIN);
    CHECK_INT(__float2int_rn(NAN), 0);
    CHECK_INT(__float2int_rz(-3.9f), -3);
    CHECK_INT(__float2uint_rn(-1.0f), 0);
    CHECK_INT(__float2uint_rn(4294967040.0f), 4294967040u);
    CHECK_INT(__double2ll_rn(1e300), INT64_MAX);
    CHECK_INT(__double2int_rn(0.5), 0);
}

static uint32_t half_of(float x)
{
    return __half_as_ushort(__float2half_rn(x));
}

/* Between two neighbours: the nearer one, half way the even one. */
static void test_half(void)
{
    for (uint32_t bits = 0; bits < 0x7C00; bits++) {
        float x = __half2float(__ushort_as_half((unsigned short)bits));
        float next = bits == 0x7BFF ? 65536.0f : __half2float(__ushort_as_half((unsigned short)(bits + 1)));
        float middle = (x + next) / 2;
        CHECK_THAT(
            x == ldexpf(bits < 1024 ? (float)bits : (float)(bits % 1024 + 1024), bits < 1024 ? -24 : (int)(bits / 1024) - 25),
            "half 0x%04x is %a", bits, (double)x);
        CHECK_INT(half_of(x), bits);
        CHECK_INT(half_of(-x), bits | 0x8000);
        CHECK_INT(half_of(nextafterf(middle, 0)), bits);
        CHECK_INT(half_of(middle), bits + bits % 2);
        CHECK_INT(half_of(nextafterf(middle, INFINITY)), bits + 1);
    }
    CHECK_INT(half_of(INFINITY), 0x7C00);
    CHECK_INT(half_of(NAN), 0x7FFF);
    CHECK_THAT(__half2float(__ushort_as_half(0xFC00)) == -INFINITY, "0xFC00 is not minus infinity");
    CHECK_THAT(isnan(__half2float(__ushort_as_half(0xFFFF))), "0xFFFF is a number");
}

int main(void)
{
    test_exchanges();
    test_mma();
    test_words();
    test_half();
    return check_result();
}
