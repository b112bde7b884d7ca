/* SPDX-License-Identifier: MIT */
#include "src/commands/info/info_devices.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/gpu.h"
#include "src/cluster/machine_mode.h"
#include "src/cluster/topology.h"
#include "src/core/error.h"

enum { MODE_BYTES = 1024 };

/* What a rank knows of its machine. */
struct machine {
    char mode[MODE_BYTES];
    uint64_t free_bytes;
    struct gpu_device gpus[GPU_MAX];
    int32_t n_gpus;
    struct error no_gpu; /* why n_gpus is 0 */
};

static void look(struct machine *m)
{
    memset(m, 0, sizeof *m);
    machine_mode_text("", m->mode, sizeof m->mode);
    m->free_bytes = topology_memory_available();
    if (gpu_list(m->gpus, &m->n_gpus, &m->no_gpu)) {
        m->n_gpus = 0;
    }
    for (int32_t i = 0; i < m->n_gpus; i++) {
        struct error err;
        gpu_ask_memory(&m->gpus[i], &err); /* where it cannot be used the name is still shown */
    }
}

static void print_gpu(FILE *out, const struct gpu_device *g)
{
    char text[2 * GPU_NAME];
    gpu_text(g, text, sizeof text);
    fprintf(out, "  %s: %.1f of %.1f GB free%s, %d multiprocessors", text, (double)g->free_bytes / 1e9,
            (double)g->total_bytes / 1e9, g->integrated ? " (the machine's own memory)" : "", g->n_multiprocessors);
    if (g->clock_khz) {
        fprintf(out, " at up to %.2f GHz", g->clock_khz / 1e6);
    }
    fputc('\n', out);
}

int info_devices(struct cluster *cluster, FILE *out, struct error *err)
{
    struct machine mine, *all = calloc((size_t)cluster->size, sizeof *all);
    if (!all) {
        fatal("out of memory for %d machines", cluster->size);
    }
    look(&mine);
    cluster_allgather(cluster, &mine, sizeof mine, all);
    if (cluster->rank == 0) {
        fprintf(out, "this program: %s\n", gpu_build_text());
        for (int32_t i = 0; i < cluster->size; i++) {
            const struct machine *m = &all[i];
            fprintf(out, "rank %d %s: %s%.1f GB of memory free\n", i, cluster->peers[i].host, m->mode,
                    (double)m->free_bytes / 1e9);
            for (int32_t g = 0; g < m->n_gpus; g++) {
                print_gpu(out, &m->gpus[g]);
            }
            if (m->n_gpus == 0) {
                fprintf(out, "  %s\n", m->no_gpu.text);
            }
        }
    }
    free(all);
    return fflush(out) || ferror(out) ? error_set(err, "the devices cannot be written") : 0;
}
