/* SPDX-License-Identifier: MIT */
#include "src/commands/job/device.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/core/log.h"

enum { ENTRY_MAX = 512 };

static int parse_entry(const char *entry, struct device *out, struct error *err)
{
    static const char sim[] = "sim:";
    memset(out, 0, sizeof *out);
    static const struct {
        const char *name;
        enum device_kind kind;
    } kinds[] = {{"auto", DEVICE_AUTO}, {"cpu", DEVICE_CPU}, {"cuda", DEVICE_CUDA}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(entry, kinds[i].name) == 0) {
            out->kind = kinds[i].kind;
            return 0;
        }
    }
    if (strncmp(entry, sim, sizeof sim - 1) == 0) {
        out->kind = DEVICE_SIM;
        return board_find(entry + sizeof sim - 1, &out->board, err) ? error_prefix(err, "--device") : 0;
    }
    return error_set(err, "--device has \"%s\", expected auto, cpu, cuda or sim:BOARD; boards: %s", entry, board_names());
}

int device_parse(const char *list, int32_t n_ranks, struct device *out, struct error *err)
{
    char entry[ENTRY_MAX];
    int32_t n = 0;
    for (const char *at = list ? list : "auto"; at; n++) {
        size_t length = strcspn(at, ",");
        if (length >= sizeof entry) {
            return error_set(err, "--device has an entry of %zu bytes, expected a device's name", length);
        }
        memcpy(entry, at, length);
        entry[length] = 0;
        struct device ignored;
        if (parse_entry(entry, n < n_ranks ? &out[n] : &ignored, err)) {
            return -1;
        }
        at = at[length] ? at + length + 1 : NULL;
    }
    if (n != 1 && n != n_ranks) {
        return error_set(err, "--device names %d devices for %d rank%s, expected one for all or one for each", n, n_ranks,
                         n_ranks == 1 ? "" : "s");
    }
    for (int32_t i = 1; i < n_ranks; i++) {
        if (n == 1) {
            out[i] = out[0];
        }
        if ((out[i].kind == DEVICE_SIM) != (out[0].kind == DEVICE_SIM)) {
            return error_set(err,
                             "--device %s mixes simulated ranks with ranks that compute: the answer would mean nothing; "
                             "expected sim:BOARD for all ranks or for none",
                             list);
        }
    }
    return 0;
}

/* 1: Linux knows a GPU of NVIDIA's here, whether it can be used or not. */
static int machine_has_gpu(void)
{
    static const char *const nodes[] = {"/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/nvgpu"};
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
        if (access(nodes[i], F_OK) == 0) {
            return 1;
        }
    }
    return 0;
}

int device_find(struct device *d, int32_t local_rank, int32_t wanted, uint64_t machine_free, struct error *err)
{
    struct gpu_device all[GPU_MAX], gpu;
    int32_t n = 0;
    if (d->kind != DEVICE_AUTO && d->kind != DEVICE_CUDA) {
        return 0;
    }
    if (gpu_list(all, &n, err) || gpu_choose(all, n, local_rank, wanted, &gpu, err) || gpu_ask_memory(&gpu, err)) {
        int must = d->kind == DEVICE_CUDA || wanted >= 0;
        d->kind = DEVICE_CPU;
        if (!must && (n > 0 || machine_has_gpu())) {
            log_warn("%s; this rank uses the CPU", err->text);
        }
        return must ? error_prefix(err, wanted >= 0 ? "--gpu" : "--device cuda") : 0;
    }
    d->kind = DEVICE_CUDA;
    d->gpu = gpu.index;
    d->gpu_shares_memory = gpu.integrated;
    d->gpu_free_bytes = gpu.integrated && machine_free ? machine_free : gpu.free_bytes;
    snprintf(d->gpu_name, sizeof d->gpu_name, "%s, sm_%d%d", gpu.name, gpu.major, gpu.minor);
    return 0;
}

void device_text(const struct device *d, char *text, size_t size)
{
    if (d->kind == DEVICE_CUDA) {
        snprintf(text, size, "cuda:%d", d->gpu);
    } else {
        snprintf(text, size, d->kind == DEVICE_SIM ? "sim:%s" : "cpu", d->board.name);
    }
}
