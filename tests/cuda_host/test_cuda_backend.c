/* The GPU backend on the CPU: whole steps of a segment and a head as the scalar reference has them, recorded or not; memory and
 * its limits; errors. SPDX-License-Identifier: MIT */
#include <sys/mman.h>

#include "kernels/gpu.h"
#include "src/model/head.h"
#include "src/model/segment.h"
#include "tests/check.h"
#include "tests/kernels/check_kernels.h"
#include "tests/kernels/machine.h"
#include "tests/kernels/random.h"

enum { LAYERS = 2, DIM = 256, HEADS = 4, KV_HEADS = 2, WIDTH = 32, FFN = 512, VOCAB = 70, SLOTS = 5, PAGES = 24, ROWS = 40 };

static struct backend *make_cuda(int record, uint64_t memory_limit)
{
    struct cuda_options options = {.max_rows = ROWS, .max_pages = PAGES, .record = record, .memory_limit = memory_limit};
    struct error err = {0};
    struct backend *backend = NULL;
    CHECK_THAT(backend_cuda_create(&backend, &options, &err) == 0, "%s", err.text);
    return backend ? backend : (exit(1), NULL);
}

/* -- a model of random weights -- */

struct model {
    struct model_config config;
    struct layer_shape shapes[LAYERS];
    double freqs[WIDTH / 2];
    struct layer_weights weights[LAYERS]; /* as in a file */
    struct tensor embed, output_norm;
    struct linear head;
    struct layer_weights imported[LAYERS];
};

static struct tensor random_tensor(enum dtype type, int64_t rows, int64_t cols, uint64_t *seed)
{
    struct tensor t = {.dtype = type, .rows = rows, .cols = cols, .row_bytes = dtype_row_bytes(type, cols)};
    void *data = malloc((size_t)rows * t.row_bytes);
    fill_weights(type, WEIGHTS_ORDINARY, rows * cols, data, seed);
    t.data = data;
    return t;
}

static struct linear random_linear(int64_t rows, int64_t cols, uint64_t *seed)
{
    static const enum dtype types[7] = {DTYPE_Q4_0, DTYPE_Q4_K, DTYPE_Q6_K, DTYPE_Q8_0, DTYPE_F16, DTYPE_Q5_1, DTYPE_F32};
    struct linear l = {.weight = random_tensor(types[random_below(seed, 7)], rows, cols, seed), .scale = 1};
    if (random_below(seed, 2)) {
        l.bias = random_tensor(DTYPE_F32, 1, rows, seed);
        l.scale = 0.5f;
    }
    return l;
}

static void model_init(struct model *m, uint64_t seed)
{
    static const struct architecture llama = {.name = "llama", .rope = ROPE_NORM, .norm = NORM_RMS, .gate = GATE_SILU};
    struct rope_spec rope = {.kind = ROPE_NORM, .n_rot = WIDTH, .freqs = m->freqs, .attn_factor = 1};
    m->config = (struct model_config){
        .arch = &llama, .n_layers = LAYERS, .dim = DIM, .n_vocab = VOCAB, .k_dim = WIDTH, .v_dim = WIDTH};
    m->config.norm_eps = 1e-5f;
    m->config.attention_scale = 0.2f;
    m->config.rope = rope;
    m->config.layers = m->shapes;
    for (int i = 0; i < WIDTH / 2; i++) {
        m->freqs[i] = 1.0 / (1 + i * i);
    }
    for (int i = 0; i < LAYERS; i++) {
        struct layer_weights *w = &m->weights[i];
        m->shapes[i] = (struct layer_shape){HEADS, KV_HEADS, FFN};
        w->attn_norm = random_tensor(DTYPE_F32, 1, DIM, &seed);
        w->ffn_norm = random_tensor(DTYPE_F32, 1, DIM, &seed);
        w->q = random_linear(HEADS * WIDTH, DIM, &seed);
        w->k = random_linear(KV_HEADS * WIDTH, DIM, &seed);
        w->v = random_linear(KV_HEADS * WIDTH, DIM, &seed);
        w->gate = random_linear(FFN, DIM, &seed);
        w->up = random_linear(FFN, DIM, &seed);
        w->down = random_linear(DIM, FFN, &seed);
        /* 128 columns are no multiple of a K type's block. */
        w->output = (struct linear){.weight = random_tensor(DTYPE_Q5_0, DIM, HEADS * WIDTH, &seed), .scale = 1};
    }
    m->embed = random_tensor(DTYPE_Q8_0, VOCAB, DIM, &seed);
    m->output_norm = random_tensor(DTYPE_F32, 1, DIM, &seed);
    m->head = random_linear(VOCAB, DIM, &seed);
}

static struct tensor import(struct backend *b, struct tensor t, enum backend_use use)
{
    struct error err = {0};
    CHECK_THAT(b->ops->import(b, &t, use, &err) == 0, "%s", err.text);
    return t;
}

static struct linear import_linear(struct backend *b, struct linear l)
{
    l.weight = import(b, l.weight, BACKEND_MATRIX);
    l.bias = l.bias.data ? import(b, l.bias, BACKEND_VECTOR) : l.bias;
    return l;
}

static void free_linear(struct linear *l)
{
    free((void *)(uintptr_t)l->weight.data);
    free((void *)(uintptr_t)l->bias.data);
}

static void model_free(struct model *m)
{
    for (int i = 0; i < LAYERS; i++) {
        struct layer_weights *w = &m->weights[i];
        struct linear *linears[] = {&w->q, &w->k, &w->v, &w->output, &w->gate, &w->up, &w->down};
        for (int j = 0; j < 7; j++) {
            free_linear(linears[j]);
        }
        free((void *)(uintptr_t)w->attn_norm.data);
        free((void *)(uintptr_t)w->ffn_norm.data);
    }
    free((void *)(uintptr_t)m->embed.data);
    free((void *)(uintptr_t)m->output_norm.data);
    free_linear(&m->head);
}

/* The model's weights as the backend wants them. */
static struct slice slice_on(struct model *m, struct backend *b)
{
    struct slice s = {.range = {0, LAYERS, 0, VOCAB, 1, 1}, .layers = m->imported, .head_type = m->head.weight.dtype};
    for (int i = 0; i < LAYERS; i++) {
        const struct layer_weights *w = &m->weights[i];
        m->imported[i] = (struct layer_weights){.attn_norm = import(b, w->attn_norm, BACKEND_VECTOR),
                                                .ffn_norm = import(b, w->ffn_norm, BACKEND_VECTOR),
                                                .q = import_linear(b, w->q),
                                                .k = import_linear(b, w->k),
                                                .v = import_linear(b, w->v),
                                                .output = import_linear(b, w->output),
                                                .gate = import_linear(b, w->gate),
                                                .up = import_linear(b, w->up),
                                                .down = import_linear(b, w->down)};
    }
    s.embed = import(b, m->embed, BACKEND_ROWS);
    s.output_norm = s.head_norm = import(b, m->output_norm, BACKEND_VECTOR);
    s.head = import_linear(b, m->head);
    return s;
}

/* -- steps -- */

/* Chunks, then single rows of all sequences for a while, some of them far on in their context. The page table changes. */
enum { STEPS = 16, FLOATS = STEPS * ROWS * (DIM + VOCAB) };

static int32_t step_rows(int step, int32_t *positions, int32_t *slots, int32_t *done)
{
    int32_t n = 0, n_slots = step < 6 ? 3 : SLOTS;
    for (int32_t s = 0; s < n_slots; s++) {
        int32_t some = step == 0 ? (s + 1) * 6 : step == 6 && s >= 3 ? 10 : 1;
        done[s] += step == 9 && s == 1 ? 700 : 0; /* nothing is stored there: zeros, for all backends */
        for (int32_t i = 0; i < some; i++) {
            positions[n] = done[s]++;
            slots[n++] = s;
        }
    }
    return n;
}

/* out: [FLOATS] what the segment leaves (hidden, or rows packed for the head) and logits of every step. */
static void run_steps(struct model *m, struct backend *b, float *out)
{
    struct segment_options options = {ROWS, SLOTS * PAGES, KV_F16, KV_Q8_0};
    struct slice slice = slice_on(m, b);
    struct segment segment;
    struct head head;
    struct error err = {0};
    CHECK_THAT(segment_init(&segment, &m->config, &slice, 0, LAYERS, b, &options, &err) == 0, "%s", err.text);
    CHECK_THAT(head_init(&head, &m->config, &slice, b, &err) == 0, "%s", err.text);
    int32_t tokens[ROWS], positions[ROWS], slots[ROWS], pages[SLOTS][PAGES], done[SLOTS] = {60, 0, 9, 0, 500};
    float *at = out;
    for (int i = 0; i < SLOTS * PAGES; i++) {
        pages[i / PAGES][i % PAGES] = i * 37 % (SLOTS * PAGES);
    }
    for (int step = 0; step < STEPS; step++) {
        int32_t n = step_rows(step, positions, slots, done);
        for (int32_t i = 0; i < n; i++) {
            tokens[i] = (i * 7 + step * 13) % VOCAB;
        }
        if (step == 12) { /* slots 0 and 1 change their pages, as if they were other sequences */
            for (int i = 0; i < PAGES; i++) {
                int32_t page = pages[0][i];
                pages[0][i] = pages[1][i];
                pages[1][i] = page;
            }
        }
        struct backend_rows rows = {
            .n_rows = n, .tokens = tokens, .positions = positions, .slots = slots, .pages = &pages[0][0], .max_pages = PAGES};
        segment_forward(&segment, &rows, 1, at, NULL);
        int32_t n_head = n < HEAD_MAX_ROWS ? n : HEAD_MAX_ROWS;
        memcpy(at + n * DIM, head_forward(&head, at, n_head), (size_t)n_head * VOCAB * sizeof *at);
        at += n * DIM + n_head * VOCAB;
    }
    head_free(&head);
}

static void test_steps(uint64_t seed)
{
    struct model m = {0};
    float *expected = calloc(FLOATS, sizeof *expected), *found = calloc(FLOATS, sizeof *found);
    model_init(&m, seed);
    struct machine cpu = machine_create("scalar", 1);
    run_steps(&m, cpu.backend, expected);
    machine_free(&cpu);
    for (int record = 0; record < 2; record++) {
        struct backend *b = make_cuda(record, 0);
        run_steps(&m, b, found);
        int64_t at = first_difference(found, expected, FLOATS);
        CHECK_THAT(at < 0, "seed %d, record %d: float %d is %.9g, expected %.9g", (int)seed, record, (int)at, (double)found[at],
                   (double)expected[at]);
        int32_t n_replays = (int32_t)backend_cuda_counts(b).n_replays;
        CHECK_THAT(record ? n_replays >= STEPS : n_replays == 0, "%d steps replayed, record %d", n_replays, record);
        b->ops->destroy(b);
    }
    free(expected);
    free(found);
    model_free(&m);
}

/* -- memory -- */

/* A matrix that comes in several pieces, from memory and from a mapped file whose pages may go. */
static void test_large_matrix(enum dtype type, int64_t rows, int64_t cols)
{
    uint64_t seed = 3;
    struct tensor t = random_tensor(type, rows, cols, &seed);
    size_t bytes = (size_t)rows * t.row_bytes, n = (size_t)rows;
    float *in = random_floats((size_t)cols, 4), *found[3];
    FILE *file = tmpfile();
    CHECK_THAT(file && fwrite(t.data, 1, bytes, file) == bytes && fflush(file) == 0, "no temporary file");
    void *map = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fileno(file), 0);
    struct machine cpu = machine_create("scalar", 1);
    for (int i = 0; i < 3; i++) {
        struct backend *b = i == 0 ? cpu.backend : make_cuda(0, 0);
        struct backend_act *act;
        struct error err = {0};
        float *x, *y;
        struct tensor w = t;
        w.data = i == 2 ? map : t.data;
        w.may_drop = i == 2;
        w = import(b, w, BACKEND_MATRIX);
        CHECK_THAT(i == 0 || (w.layout != 0 && w.data != map && !w.may_drop), "layout %d", w.layout);
        int status = b->ops->act_create(b, (int32_t)cols, BACKEND_ACT_FLOAT | BACKEND_ACT_INT8, &act, &err) |
                     b->ops->alloc(b, (size_t)cols, &x, &err) | b->ops->alloc(b, n, &y, &err);
        CHECK_THAT(status == 0, "%s", err.text);
        struct backend_rows step = {.n_rows = 1};
        struct matmul_spec spec = {.weight = w, .scale = 1, .out = y};
        b->ops->step_begin(b, &step);
        b->ops->upload(b, x, in, (size_t)cols);
        b->ops->gated(b, GATE_SILU, x, x, (int32_t)cols, act);
        b->ops->matmul(b, act, &spec, 1);
        found[i] = malloc(n * sizeof *found[i]);
        b->ops->download(b, found[i], y, n);
        int64_t at = first_difference(found[i], found[0], rows);
        CHECK_THAT(at < 0, "%s from place %d: float %d differs", dtype_info(type)->name, i, (int)at);
        if (i > 0) {
            CHECK_THAT(backend_cuda_counts(b).bytes >= backend_cuda_matrix_bytes(type, rows, cols), "too little was taken");
            b->ops->destroy(b);
        }
    }
    machine_free(&cpu);
    munmap(map, bytes);
    fclose(file);
    free(in);
    free((void *)(uintptr_t)t.data);
    for (int i = 0; i < 3; i++) {
        free(found[i]);
    }
}

static void check_error(const struct error *err, const char *part)
{
    CHECK_THAT(strstr(err->text, part), "the error is \"%s\", expected \"%s\" in it", err->text, part);
    CHECK_THAT(!strchr(err->text, '\n'), "more than one line: %s", err->text);
}

/* What is counted block by block covers what is taken, and blocks of their own lose less than 2 MiB. */
static void test_count(uint64_t seed, int n, uint64_t least, uint64_t most)
{
    struct cuda_options options = {.max_rows = ROWS, .max_pages = PAGES};
    struct backend *b = make_cuda(0, 0);
    uint64_t counted = backend_cuda_own_bytes(&options, NULL, 0), asked = 0, before = backend_cuda_counts(b).bytes;
    struct error err = {0};
    for (int i = 0; i < n; i++) {
        uint64_t bytes = least + 4 * (uint64_t)random_below(&seed, (int32_t)((most - least) / 4 + 1));
        float *buffer;
        CHECK_THAT(b->ops->alloc(b, bytes / sizeof *buffer, &buffer, &err) == 0, "%s", err.text);
        asked += bytes;
        counted += backend_cuda_block_bytes(bytes);
        uint64_t taken = backend_cuda_counts(b).bytes;
        CHECK_THAT(taken >= asked && taken <= counted, "%.2f MiB taken, %.2f counted, %.2f asked for", (double)taken / 1048576,
                   (double)counted / 1048576, (double)asked / 1048576);
    }
    uint64_t lost = backend_cuda_counts(b).bytes - before - asked;
    CHECK_THAT(least <= 8 << 20 || lost < (uint64_t)n * (2 << 20), "%.2f MiB lost", (double)lost / 1048576);
    b->ops->destroy(b);
}

static void test_counts(void)
{
    CHECK_INT(backend_cuda_block_bytes(9 << 20), 10 << 20);
    CHECK_INT(backend_cuda_block_bytes(70 << 20), 70 << 20);
    CHECK_INT(backend_cuda_block_bytes(7 << 20), 8 << 20);
    test_count(1, 65, 7500000, 7540000); /* eight leave a tenth of a chunk */
    test_count(2, 20, 8000000, 8800000); /* on both sides of the border */
    test_count(3, 30, 4, 12 << 20);
    test_count(4, 20, (8 << 20) + 4, 12 << 20);
}

static void test_limits(void)
{
    enum { LIMIT = 128 << 20 };
    static char zeros[1 << 20];
    struct error err = {0};
    struct backend *b = make_cuda(1, LIMIT);
    struct backend_kv *kv;
    struct kv_layer_shape shape = {8, 128, 128, 32};
    float *buffer;
    CHECK_INT(b->ops->kv_create(b, &shape, 1, 4000, KV_F16, KV_F16, &kv, &err), -1);
    check_error(&err, "no room for keys of the KV cache: 500.0 MiB needed");
    check_error(&err, "left of the 128.0 MiB that it may take; a smaller cache (--kv-memory)");
    CHECK_INT(b->ops->alloc(b, LIMIT, &buffer, &err), -1);
    check_error(&err, "smaller batches (-b N, -ub N)");
    struct tensor w = {.data = zeros, .dtype = DTYPE_F32, .rows = 64, .cols = 4096, .row_bytes = 16384};
    int n = 0;
    for (struct tensor t = w; n < 1000 && b->ops->import(b, &t, BACKEND_MATRIX, &err) == 0; t = w) {
        n++;
    }
    CHECK_THAT(n > 90 && n <= 127, "%d matrices of 1 MiB fit", n);
    check_error(&err, "fewer layers on the GPU (-ngl N) need less");
    CHECK_THAT(backend_cuda_counts(b).bytes <= LIMIT, "it took more than it may");
    b->ops->destroy(b);

    setenv("CUDA_HOST_MEMORY", "200000000", 1);
    b = make_cuda(1, 0);
    CHECK_INT(b->ops->alloc(b, 100 << 20, &buffer, &err), -1);
    check_error(&err, "L4T 36.4.7");
    CHECK_INT(b->ops->alloc(b, 10 << 20, &buffer, &err), 0);
    b->ops->destroy(b);

    setenv("CUDA_HOST_INTEGRATED", "0", 1);
    b = make_cuda(1, 0);
    CHECK_INT(b->ops->alloc(b, 100 << 20, &buffer, &err), -1);
    check_error(&err, "out of memory for a buffer of the rows: 400.0 MiB needed");
    check_error(&err, "MiB free of 190.7");
    CHECK_INT(b->ops->alloc(b, 10 << 20, &buffer, &err), 0);
    b->ops->destroy(b);
    unsetenv("CUDA_HOST_INTEGRATED");
    unsetenv("CUDA_HOST_MEMORY");
}

/* -- errors -- */

static void test_list(void)
{
    struct gpu_device devices[GPU_MAX];
    struct error err = {0};
    int32_t n;
    setenv("CUDA_HOST_DEVICES", "3", 1);
    setenv("CUDA_HOST_BROKEN", "1", 1);
    for (int integrated = 0; integrated < 2; integrated++) {
        setenv("CUDA_HOST_INTEGRATED", integrated ? "1" : "0", 1);
        CHECK_INT(gpu_list(devices, &n, &err), 0);
        CHECK_INT(n, 2);
        CHECK_INT(devices[1].index, 2);
        for (int32_t i = 0; i < n; i++) {
            CHECK_INT(devices[i].integrated, integrated);
            CHECK_INT(devices[i].free_bytes, 0);
            CHECK_INT(gpu_ask_memory(&devices[i], &err), 0);
            CHECK_THAT(devices[i].free_bytes > 0, "no memory");
        }
    }
    devices[0].integrated = 0;
    devices[0].index = 7;
    CHECK_INT(gpu_ask_memory(&devices[0], &err), -1);
    check_error(&err, "GPU 7 (cuda_host, sm_87): CUDA says");
    CHECK_INT(devices[0].free_bytes, 0);
    setenv("CUDA_HOST_DEVICES", "1", 1);
    setenv("CUDA_HOST_BROKEN", "0", 1);
    CHECK_INT(gpu_list(devices, &n, &err), -1);
    check_error(&err, "looking at a GPU");
    unsetenv("CUDA_HOST_BROKEN");
    unsetenv("CUDA_HOST_DEVICES");
    unsetenv("CUDA_HOST_INTEGRATED");
}

static void test_create(void)
{
    struct gpu_device devices[GPU_MAX], chosen;
    struct error err = {0};
    struct backend *b;
    int32_t n;
    CHECK_INT(gpu_list(devices, &n, &err), 0);
    CHECK_INT(n, 1);
    CHECK_INT(devices[0].major * 10 + devices[0].minor, 87);
    CHECK_INT(gpu_ask_memory(&devices[0], &err), 0);
    CHECK_THAT(devices[0].total_bytes > 0 && devices[0].free_bytes > 0, "no memory");
    devices[1] = devices[0];
    devices[1].index = 1;
    CHECK_INT(gpu_choose(devices, 2, 3, -1, &chosen, &err), 0);
    CHECK_INT(chosen.index, 1);
    CHECK_INT(gpu_choose(devices, 2, 3, 0, &chosen, &err), 0);
    CHECK_INT(chosen.index, 0);
    CHECK_INT(gpu_choose(devices, 2, 0, 2, &chosen, &err), -1);
    CHECK_TEXT(err.text, "there is no GPU 2: this machine has 2, the last is GPU 1 (cuda_host, sm_87)");
    CHECK_INT(gpu_choose(devices, 0, 0, -1, &chosen, &err), -1);
    struct cuda_options options = {.device = 4, .max_rows = 1, .max_pages = 1};
    CHECK_INT(backend_cuda_create(&b, &options, &err), -1);
    CHECK_TEXT(err.text, "there is no GPU 4: this machine has 1");
    options = (struct cuda_options){.max_rows = 0, .max_pages = 1};
    CHECK_INT(backend_cuda_create(&b, &options, &err), -1);
    check_error(&err, "expected at least 1");
    setenv("CUDA_HOST_DEVICES", "0", 1);
    CHECK_INT(gpu_list(devices, &n, &err), -1);
    check_error(&err, "no NVIDIA GPU found");
    options.max_rows = 1;
    CHECK_INT(backend_cuda_create(&b, &options, &err), -1);
    check_error(&err, "no NVIDIA GPU found");
    unsetenv("CUDA_HOST_DEVICES");
}

static void test_refused(void)
{
    struct backend *b = make_cuda(0, 0);
    struct error err = {0};
    struct backend_act *act;
    struct backend_kv *kv;
    struct kv_layer_shape odd = {2, 32, 32, 3}, huge = {1 << 20, 1 << 10, 1 << 10, 1 << 20};
    struct tensor t = {.dtype = (enum dtype)16, .rows = 1, .cols = 256};
    CHECK_INT(b->ops->import(b, &t, BACKEND_MATRIX, &err), -1);
    CHECK_TEXT(err.text, "weights of type IQ2_XXS are not supported");
    t = (struct tensor){.dtype = DTYPE_Q4_0, .rows = 1, .cols = 40, .row_bytes = 36};
    CHECK_INT(b->ops->import(b, &t, BACKEND_MATRIX, &err), -1);
    CHECK_TEXT(err.text, "40 columns of type Q4_0; expected a multiple of 32");
    t.cols = 64;
    t.row_bytes = 40;
    CHECK_INT(b->ops->import(b, &t, BACKEND_MATRIX, &err), -1);
    CHECK_TEXT(err.text, "1 rows of 40 bytes; expected rows of 36 bytes");
    t = (struct tensor){.dtype = DTYPE_Q4_0, .rows = 524289, .cols = 32, .row_bytes = 18};
    CHECK_INT(b->ops->import(b, &t, BACKEND_MATRIX, &err), -1);
    CHECK_TEXT(err.text, "a matrix of 524289 rows; expected at most 524288 on a GPU");
    CHECK_INT(b->ops->act_create(b, 40, BACKEND_ACT_INT8, &act, &err), -1);
    CHECK_TEXT(err.text, "40 columns for quantised weights; expected a multiple of 32");
    CHECK_INT(b->ops->kv_create(b, &odd, 1, 2, KV_F16, KV_F16, &kv, &err), -1);
    check_error(&err, "3 heads of width 32 on 2 heads of keys");
    CHECK_INT(b->ops->kv_create(b, &huge, 1, INT32_MAX, KV_F32, KV_F32, &kv, &err), -1);
    b->ops->destroy(b);
}

int main(void)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        test_steps(seed);
    }
    test_large_matrix(DTYPE_F32, 2500, 1024);
    test_large_matrix(DTYPE_Q8_0, 4001, 2048);
    test_counts();
    test_limits();
    test_list();
    test_create();
    test_refused();
    return check_result();
}
