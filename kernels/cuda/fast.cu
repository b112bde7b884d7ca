/* Products by cuBLAS, f32 accumulators. SPDX-License-Identifier: MIT
 *
 * F32 weights meet the activations as they are, BF16 weights activations that were rounded to BF16, F16 weights such that were
 * rounded to halves. Quantised weights become halves piece by piece in scratch memory and meet the int8 activations as halves.
 * Halves end at 65504: the activations are multiplied by a power of two that brings the largest of them just below 2^15, and the
 * product by its inverse, which the device keeps to itself (alpha in device memory). */
#include "kernels/cuda/fast.h"

#include "kernels/cuda/backend_private.h"
#include "kernels/cuda/cublas.h"
#include "kernels/cuda/cuda_unpack.h"

/* Scratch memory, at least a panel and a row; more goes in pieces. Tests have less of it. */
#ifndef CUDA_FAST_WEIGHT_BYTES
#define CUDA_FAST_WEIGHT_BYTES (64 << 20)
#define CUDA_FAST_ACT_BYTES    (32 << 20)
#endif
enum {
    WEIGHT_BYTES = CUDA_FAST_WEIGHT_BYTES,
    ACT_BYTES = CUDA_FAST_ACT_BYTES,
    WORKSPACE_BYTES = 32 << 20 /* what cuBLAS asks for on sm_90 */
};

/* In device memory. */
struct fast_numbers {
    uint32_t largest; /* bits of the largest magnitude; they are in the order of the numbers */
    float alphas[CUDA_MATMUL_MOST], betas[2] /* 0, 1 */;
};

uint64_t cuda_fast_bytes(void)
{
    return backend_cuda_block_bytes(WEIGHT_BYTES) + backend_cuda_block_bytes(ACT_BYTES) +
           backend_cuda_block_bytes(WORKSPACE_BYTES) + backend_cuda_block_bytes(sizeof(struct fast_numbers));
}

#if CUDA_HAS_CUBLAS
/* 16-bit forms of activations. */
enum form { FORM_NONE, FORM_F16, FORM_BF16, FORM_PACKED /* halves of the int8 form */ };

struct cuda_fast {
    struct cublas cublas;
    cudaStream_t stream;
    uint16_t *weights, *acts; /* device: [WEIGHT_BYTES / 2], [ACT_BYTES / 2] */
    struct fast_numbers *numbers;
    int32_t packed_rows; /* from which on quantised weights are multiplied by cuBLAS */
};

enum { THREADS = 256 };
static const size_t MOST_BLOCKS = 1024;

static dim3 blocks_for(size_t n)
{
    size_t blocks = (n + THREADS - 1) / THREADS;
    return dim3((unsigned)(blocks < MOST_BLOCKS ? blocks : MOST_BLOCKS));
}

/* -- activations -- */

/* grid: up to MOST_BLOCKS, walks over x; bound by memory. *largest is 0 before. */
static __global__ void __launch_bounds__(THREADS) largest_kernel(const float *x, size_t n, uint32_t *largest)
{
    uint32_t most = 0;
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < n; i += (size_t)gridDim.x * THREADS) {
        most = max(most, __float_as_uint(fabsf(x[i])));
    }
    for (int apart = 16; apart > 0; apart /= 2) {
        most = max(most, __shfl_xor_sync(0xffffffff, most, apart));
    }
    if (threadIdx.x % 32 == 0) {
        atomicMax(largest, most);
    }
}

/* 2^n, -126 <= n <= 127. */
static __device__ __forceinline__ float power_of_two(int n)
{
    return __uint_as_float((uint32_t)(n + 127) << 23);
}

/* To nearest, ties to even. */
static __device__ __forceinline__ uint16_t bf16_bits(float x)
{
    uint32_t bits = __float_as_uint(x);
    return x != x ? 0x7fc0 : (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

struct fast_scales {
    float of[CUDA_MATMUL_MOST];
};

/* Elements [0, n) of x, or of q and d. grid: up to MOST_BLOCKS; bound by memory. Alphas of halves: scales times the inverse of
 * the power of two. */
template <enum form FORM>
static __global__ void __launch_bounds__(THREADS)
    convert_kernel(const float *x, const int8_t *q, const float *d, size_t n, struct fast_scales scales,
                   struct fast_numbers *numbers, uint16_t *out)
{
    float factor = 1;
    if (FORM != FORM_BF16) {
        /* A quant's magnitude is below 2^7. */
        int exponent = (int)(numbers->largest >> 23) - 127 + (FORM == FORM_PACKED ? 7 : 0),
            up = 14 - min(max(exponent, -100), 127);
        factor = power_of_two(up);
        if (blockIdx.x == 0 && threadIdx.x < CUDA_MATMUL_MOST) {
            numbers->alphas[threadIdx.x] = scales.of[threadIdx.x] * power_of_two(-up);
        }
    }
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < n; i += (size_t)gridDim.x * THREADS) {
        float value = FORM == FORM_PACKED ? (float)q[i] * d[i / CUDA_Q8_BLOCK] : x[i];
        out[i] = FORM == FORM_BF16 ? bf16_bits(value) : __half_as_ushort(__float2half_rn(value * factor));
    }
}

template <enum form FORM>
static void convert(struct cuda_fast *fast, const struct backend_act *in, int32_t first, int32_t n_rows,
                    struct fast_scales scales)
{
    const size_t from = (size_t)first * (size_t)in->cols, n = (size_t)n_rows * (size_t)in->cols;
    const bool packed = FORM == FORM_PACKED;
    const float *x = packed ? NULL : in->x + from, *d = packed ? in->d + from / CUDA_Q8_BLOCK : NULL;
    const int8_t *q = packed ? in->q + from : NULL;
    if (FORM != FORM_BF16) {
        const size_t n_values = packed ? n / CUDA_Q8_BLOCK : n;
        cuda_check(cudaMemsetAsync(&fast->numbers->largest, 0, sizeof fast->numbers->largest, fast->stream), "multiplying");
        cuda_launch(largest_kernel, blocks_for(n_values), dim3(THREADS), 0, fast->stream, packed ? d : x, n_values,
                    &fast->numbers->largest);
    }
    cuda_launch(convert_kernel<FORM>, blocks_for(n), dim3(THREADS), 0, fast->stream, x, q, d, n, scales, fast->numbers,
                fast->acts);
}

/* -- quantised weights -- */

static __device__ __forceinline__ uint32_t two_halves(float x, float y)
{
    return (uint32_t)__half_as_ushort(__float2half_rn(x)) | (uint32_t)__half_as_ushort(__float2half_rn(y)) << 16;
}

/* Four signed bytes times d plus m. */
static __device__ __forceinline__ uint2 quad_of(uint32_t bytes, float d, float m)
{
    float w[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        w[i] = fmaf(d, (float)(int8_t)(bytes >> (8 * i)), m);
    }
    return make_uint2(two_halves(w[0], w[1]), two_halves(w[2], w[3]));
}

/* Panels as rows of halves, cols apart. A warp has a piece of a panel, a lane what cuda_unpack.h says: two quads of each of two
 * rows. grid: all pieces; bound by memory. */
template <enum dtype T>
static __global__ void __launch_bounds__(THREADS)
    widen_kernel(const uint8_t *panels, int32_t cols, int32_t n_panels, uint16_t *out)
{
    using P = cuda_panel<T>;
    const int32_t n_blocks = cols / CUDA_Q8_BLOCK, n_pieces = (n_blocks + CUDA_PIECE - 1) / CUDA_PIECE;
    const int64_t warp = ((int64_t)blockIdx.x * THREADS + threadIdx.x) / 32, panel = warp / n_pieces;
    const int32_t piece = (int32_t)(warp % n_pieces);
    const int lane = threadIdx.x % 32;
    if (panel >= n_panels) {
        return;
    }
    struct cuda_piece<T> w;
    cuda_piece_load(panels + panel * (n_blocks / P::unit_blocks) * P::unit_bytes, piece, n_blocks, lane, &w);
    cuda_scales_ready(piece, &w);
#pragma unroll
    for (int j = 0; j < CUDA_PIECE; j++) {
        if (!cuda_has_block<T>(piece, j, n_blocks)) {
            return;
        }
        struct cuda_scales scales;
        uint32_t quads[4];
        cuda_scales_of(&w, j, &scales);
        cuda_fragment(&w, j, lane, quads);
#pragma unroll
        for (int row = 0; row < 2; row++) {
            const int64_t at = (panel * CUDA_PANEL + lane / 4 * 2 + row) * cols + (piece * CUDA_PIECE + j) * CUDA_Q8_BLOCK;
            const float m = P::has_min ? scales.minus_m[row] : 0;
            uint2 *to = (uint2 *)(void *)(out + at) + lane % 4;
            to[0] = quad_of(quads[row], scales.d[0][row], m);
            to[4] = quad_of(quads[2 + row], scales.d[P::halves ? 1 : 0][row], m);
        }
    }
}

typedef void (*widen_kernel_fn)(const uint8_t *, int32_t, int32_t, uint16_t *);

static widen_kernel_fn widen_kernel_of(enum dtype type)
{
    switch (type) {
    case DTYPE_Q4_0: return widen_kernel<DTYPE_Q4_0>;
    case DTYPE_Q4_1: return widen_kernel<DTYPE_Q4_1>;
    case DTYPE_Q5_0: return widen_kernel<DTYPE_Q5_0>;
    case DTYPE_Q5_1: return widen_kernel<DTYPE_Q5_1>;
    case DTYPE_Q8_0: return widen_kernel<DTYPE_Q8_0>;
    case DTYPE_Q4_K: return widen_kernel<DTYPE_Q4_K>;
    case DTYPE_Q5_K: return widen_kernel<DTYPE_Q5_K>;
    default: return widen_kernel<DTYPE_Q6_K>;
    }
}

static void widen(struct cuda_fast *fast, const struct cuda_weight *w, int32_t first_panel, int32_t n_panels)
{
    const int32_t n_blocks = w->cols / CUDA_Q8_BLOCK, n_pieces = (n_blocks + CUDA_PIECE - 1) / CUDA_PIECE;
    const int64_t n_threads = (int64_t)n_panels * n_pieces * 32;
    const uint8_t *panels = (const uint8_t *)w->data + (size_t)first_panel * CUDA_PANEL * dtype_row_bytes(w->dtype, w->cols);
    cuda_launch(widen_kernel_of(w->dtype), dim3((unsigned)((n_threads + THREADS - 1) / THREADS)), dim3(THREADS), 0, fast->stream,
                panels, w->cols, n_panels, fast->weights);
}

/* -- products -- */

/* out = bias, or out += bias. grid: up to MOST_BLOCKS; bound by memory. */
static __global__ void __launch_bounds__(THREADS) bias_kernel(const float *bias, int32_t cols, size_t n, int add, float *out)
{
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < n; i += (size_t)gridDim.x * THREADS) {
        float b = bias[i % (size_t)cols];
        out[i] = add ? out[i] + b : b;
    }
}

/* Rows of a matrix and of activations in a type of cuBLAS. */
struct operands {
    cudaDataType type;
    const void *weights, *acts;
    int32_t n_weights, n_acts, cols;
};

/* out[act, weight] = alpha * product + beta * out, rows `apart` floats apart. cuBLAS counts by columns: what is a row here is a
 * column there. */
static void multiply(struct cuda_fast *fast, const struct operands *o, cublasPointerMode_t where, const float *alpha,
                     const float *beta, float *out, int32_t apart)
{
    const struct cublas *c = &fast->cublas;
    cublasStatus_t status = c->set_pointer_mode(c->handle, where);
    if (status == CUBLAS_STATUS_SUCCESS) {
        status = c->gemm(c->handle, CUBLAS_OP_T, CUBLAS_OP_N, o->n_weights, o->n_acts, o->cols, alpha, o->weights, o->type,
                         o->cols, o->acts, o->type, o->cols, beta, out, CUDA_R_32F, apart, CUBLAS_COMPUTE_32F,
                         CUBLAS_GEMM_DEFAULT);
    }
    if (status != CUBLAS_STATUS_SUCCESS) {
        fatal("the GPU failed while multiplying [%d, %d] by [%d, %d] with cuBLAS (status %d); --gpu-math exact does without it",
              o->n_acts, o->cols, o->n_weights, o->cols, (int)status);
    }
}

/* Converted activations times matrix number i of a call. */
static void multiply_packed(struct cuda_fast *fast, struct operands o, const struct cuda_matmul *mat, int32_t i,
                            const float *beta, float *out)
{
    const int32_t n_panels = mat->weight.rows_padded / CUDA_PANEL;
    const int32_t most = (int32_t)(WEIGHT_BYTES / sizeof(uint16_t) / CUDA_PANEL / (size_t)o.cols);
    o.weights = fast->weights;
    for (int32_t first = 0, n; first < n_panels; first += n) {
        n = n_panels - first < most ? n_panels - first : most;
        widen(fast, &mat->weight, first, n);
        int32_t row = first * CUDA_PANEL, left = mat->weight.rows - row;
        o.n_weights = left < n * CUDA_PANEL ? left : n * CUDA_PANEL;
        multiply(fast, &o, CUBLAS_POINTER_MODE_DEVICE, &fast->numbers->alphas[i], beta, out + row, mat->weight.rows);
    }
}

static enum form form_for(enum dtype type)
{
    switch (type) {
    case DTYPE_F32: return FORM_NONE;
    case DTYPE_F16: return FORM_F16;
    case DTYPE_BF16: return FORM_BF16;
    default: return FORM_PACKED;
    }
}

/* Rows [first, first + n) times matrix number i. */
static void multiply_rows(struct cuda_fast *fast, const struct backend_act *in, int32_t first, int32_t n,
                          const struct cuda_matmul *mat, int32_t i)
{
    static const float host_betas[2] = {0, 1};
    const int adds = mat->add || mat->bias;
    const enum form form = form_for(mat->weight.dtype);
    float *out = mat->out + (size_t)first * (size_t)mat->weight.rows;
    struct operands o = {CUDA_R_16F, mat->weight.data, fast->acts, mat->weight.rows, n, in->cols};
    switch (form) {
    case FORM_PACKED: multiply_packed(fast, o, mat, i, &fast->numbers->betas[adds], out); return;
    case FORM_F16:
        multiply(fast, &o, CUBLAS_POINTER_MODE_DEVICE, &fast->numbers->alphas[i], &fast->numbers->betas[adds], out,
                 mat->weight.rows);
        return;
    case FORM_BF16: o.type = CUDA_R_16BF; break;
    default: o.type = CUDA_R_32F; o.acts = in->x + (size_t)first * (size_t)in->cols;
    }
    multiply(fast, &o, CUBLAS_POINTER_MODE_HOST, &mat->scale, &host_betas[adds], out, mat->weight.rows);
}

static void bring_form(struct cuda_fast *fast, enum form form, const struct backend_act *in, int32_t first, int32_t n,
                       struct fast_scales scales)
{
    switch (form) {
    case FORM_F16: convert<FORM_F16>(fast, in, first, n, scales); break;
    case FORM_BF16: convert<FORM_BF16>(fast, in, first, n, scales); break;
    case FORM_PACKED: convert<FORM_PACKED>(fast, in, first, n, scales); break;
    default: break; /* F32 weights need none */
    }
}

void cuda_fast_launch(struct cuda_fast *fast, const struct backend_act *in, int32_t n_rows, const struct cuda_matmul *mats,
                      int32_t n_mats)
{
    struct cuda_matmul left[CUDA_MATMUL_MOST];
    struct fast_scales scales = {};
    int32_t n_left = 0, most = (int32_t)(ACT_BYTES / sizeof(uint16_t) / (size_t)in->cols);
    int takes[CUDA_MATMUL_MOST] = {0};
    for (int32_t i = 0; i < n_mats; i++) {
        const struct cuda_matmul *m = &mats[i];
        takes[i] = n_rows >= (dtype_info(m->weight.dtype)->quantised ? fast->packed_rows : CUDA_FAST_ROWS);
        scales.of[i] = m->scale;
        if (!takes[i]) {
            left[n_left++] = *m;
        } else if (m->bias) {
            size_t n = (size_t)n_rows * (size_t)m->weight.rows;
            cuda_launch(bias_kernel, blocks_for(n), dim3(THREADS), 0, fast->stream, m->bias, m->weight.rows, n, m->add, m->out);
        }
    }
    for (int32_t first = 0; first < n_rows; first += most) {
        const int32_t n = n_rows - first < most ? n_rows - first : most;
        enum form there = FORM_NONE;
        for (int32_t i = 0; i < n_mats; i++) {
            const enum form form = takes[i] ? form_for(mats[i].weight.dtype) : FORM_NONE;
            if (form != FORM_NONE && form != there) {
                bring_form(fast, form, in, first, n, scales);
                there = form;
            }
            if (takes[i]) {
                multiply_rows(fast, in, first, n, &mats[i], i);
            }
        }
    }
    cuda_matmul_launch(fast->stream, in, n_rows, left, n_left);
}

/* -- the handle and its memory -- */

static void *take(struct backend_cuda *self, uint64_t bytes, struct error *err)
{
    return cuda_take(self, bytes, CUDA_FOR_ROWS, "--gpu-math fast", err);
}

struct cuda_fast *cuda_fast_create(struct backend_cuda *self, struct error *err)
{
    static const struct fast_numbers numbers = {0, {0}, {0, 1}};
    struct cuda_fast *fast = (struct cuda_fast *)cuda_take_host(self, sizeof *fast, 0, err);
    void *workspace = fast ? take(self, WORKSPACE_BYTES, err) : NULL;
    if (!workspace || !(fast->weights = (uint16_t *)take(self, WEIGHT_BYTES, err)) ||
        !(fast->acts = (uint16_t *)take(self, ACT_BYTES, err)) ||
        !(fast->numbers = (struct fast_numbers *)take(self, sizeof numbers, err))) {
        return NULL;
    }
    fast->stream = self->stream;
    fast->packed_rows = self->device.major < CUDA_FAST_PACKED_MAJOR ? INT32_MAX : CUDA_FAST_PACKED_ROWS;
    cuda_check(cudaMemcpyAsync(fast->numbers, &numbers, sizeof numbers, cudaMemcpyHostToDevice, self->stream), "starting cuBLAS");
    return cublas_open(&fast->cublas, self->stream, workspace, WORKSPACE_BYTES, err) ? NULL : fast;
}

void cuda_fast_free(struct cuda_fast *fast)
{
    if (fast) {
        fast->cublas.destroy(fast->cublas.handle);
    }
}

#else
struct cuda_fast *cuda_fast_create(struct backend_cuda *, struct error *err)
{
    error_set(err, "--gpu-math fast needs cuBLAS: this program was built without it (cublas_v2.h, package libcublas-dev)");
    return NULL;
}

void cuda_fast_free(struct cuda_fast *)
{
}

void cuda_fast_launch(struct cuda_fast *, const struct backend_act *, int32_t, const struct cuda_matmul *, int32_t)
{
    fatal("the GPU multiplies without cuBLAS"); /* nothing was created */
}
#endif
