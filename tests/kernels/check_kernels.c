/* Compares every table of inner loops that this machine can run with the scalar reference, bit for bit. SPDX-License-Identifier:
 * MIT
 *
 * check_kernels [--device cpu|cuda] [--isa NAME] [--seed N] [--bench] [--cases N]
 * --isa: that table only. --bench: no comparison; prints GB/s and Gmac/s of one thread (warmed up, median of several runs).
 * --device cuda: the GPU's operations against the CPU backend's scalar reference, N random cases of each kind. */
#include "tests/kernels/check_kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/gpu.h"
#include "tests/kernels/check_backend.h"

struct options {
    const char *isa; /* NULL: all */
    uint64_t seed;
    int bench, cuda, n_cases;
};

static void usage(void)
{
    fprintf(stderr, "usage: check_kernels [--device cpu|cuda] [--isa NAME] [--seed N] [--bench] [--cases N]\n");
    exit(2);
}

static struct options parse(int argc, char **argv)
{
    struct options options = {.seed = 1, .n_cases = 60};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--bench") == 0) {
            options.bench = 1;
        } else if (value && strcmp(argv[i], "--isa") == 0) {
            options.isa = value;
            i++;
        } else if (value && strcmp(argv[i], "--seed") == 0) {
            options.seed = strtoull(value, NULL, 10) + 1;
            i++;
        } else if (value && strcmp(argv[i], "--cases") == 0) {
            options.n_cases = atoi(value);
            i++;
        } else if (value && strcmp(argv[i], "--device") == 0 && (strcmp(value, "cpu") == 0 || strcmp(value, "cuda") == 0)) {
            options.cuda = strcmp(value, "cuda") == 0;
            i++;
        } else {
            usage();
        }
    }
    return options;
}

/* Number of failed kernels, or -1 when the machine lacks the table. */
static int run_table(const char *isa, const struct options *options)
{
    struct cpu_kernels table, ref;
    struct error err = {0};
    if (cpu_kernels_select(&table, isa, &err) != 0) {
        printf("%-14s not here: %s\n", isa, err.text);
        return -1;
    }
    cpu_kernels_init_ref(&ref);
    if (options->bench) {
        bench_table(&table);
        return 0;
    }
    int failed = check_matmul(&table, &ref, options->seed);
    failed += check_rows(&table, &ref, options->seed);
    failed += check_attend(&table, &ref, options->seed);
    printf("%-14s %s (runs as \"%s\")\n", isa, failed ? "DIFFERS from the reference" : "equals the reference", table.isa);
    return failed;
}

static struct backend *make_cuda(void)
{
    struct cuda_options options = {.max_rows = CHECK_MAX_ROWS, .max_pages = CHECK_MAX_PAGES, .record = 1};
    struct error err = {0};
    struct backend *backend;
    if (backend_cuda_create(&backend, &options, &err)) {
        fprintf(stderr, "check_kernels: %s\n", err.text);
        exit(1);
    }
    return backend;
}

static int check_cuda(const struct options *options)
{
    struct gpu_device devices[GPU_MAX];
    struct error err = {0};
    char text[2 * GPU_NAME];
    int32_t n;
    if (gpu_list(devices, &n, &err)) {
        fprintf(stderr, "skipped: %s\n", err.text);
        return 77;
    }
    int failed = check_backend(make_cuda, options->n_cases, options->seed);
    gpu_text(&devices[0], text, sizeof text);
    printf("%-14s %s (%s, %s)\n", "cuda", failed ? "DIFFERS from the reference" : "equals the reference", text, gpu_build_text());
    return failed ? 1 : 0;
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"scalar", "avx2", "avx512novnni", "avx512", "neon", "auto"};
    struct options options = parse(argc, argv);
    int failed = 0, n_run = 0;
    if (options.cuda) {
        return check_cuda(&options);
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!options.isa || strcmp(options.isa, names[i]) == 0) {
            int status = run_table(names[i], &options);
            failed += status > 0 ? status : 0;
            n_run += status >= 0;
        }
    }
    if (n_run == 0) {
        fprintf(stderr, "skipped: no table to check\n");
        return 77;
    }
    return failed ? 1 : 0;
}
