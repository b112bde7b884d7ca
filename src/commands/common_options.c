/* SPDX-License-Identifier: MIT */
#include "src/commands/common_options.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "src/core/clock.h"
#include "src/core/log.h"

void common_options_default(struct common_options *o)
{
    memset(o, 0, sizeof *o);
    job_options_default(&o->job);
    sampler_params_default(&o->sampling);
    o->n_predict = -1;
    o->seed = -1;
}

int common_options_check(struct common_options *o, struct error *err)
{
    if (parts_read_ngl(o->gpu_layers, &o->job.gpu_layers, err)) {
        return -1;
    }
    if (o->job.mix.given && o->job.mix.n != 2) {
        return error_set(err, "--mix has %d numbers, expected two: tokens of a prompt and of an answer", o->job.mix.n);
    }
    for (int i = 0; i < o->stops.n; i++) {
        if (!*o->stops.texts[i]) {
            return error_set(err, "--stop is empty, expected a text");
        }
    }
    log_set_level(o->quiet ? LOG_QUIET : o->verbose ? LOG_VERBOSE : LOG_NORMAL);
    return sampler_params_check(&o->sampling, err);
}

void common_options_warn(const struct common_options *o, const struct job *job)
{
    int n_gpus = 0;
    for (int32_t i = 0; i < job->cluster->size; i++) {
        n_gpus += job->devices[i].kind == DEVICE_CUDA;
    }
    if (n_gpus == 0 && o->gpu_layers && o->job.gpu_layers > 0) {
        log_warn("-ngl %s: no rank uses a GPU (--device %s; llm info --devices says what there is)", o->gpu_layers,
                 o->job.device ? o->job.device : "auto");
    }
    if (n_gpus == 0 && o->job.gpu_math_fast) {
        log_warn("--gpu-math fast: no rank has a GPU (%s), CPUs compute exactly", gpu_build_text());
    }
}

uint64_t common_options_seed(struct common_options *o)
{
    if (o->seed < 0) {
        uint32_t random = 0;
        if (getrandom(&random, sizeof random, 0) != sizeof random) {
            random = (uint32_t)(clock_now_s() * 1e6);
        }
        o->seed = random;
        o->seed_drawn = 1;
    }
    return (uint64_t)o->seed;
}

void common_options_report_seed(const struct common_options *o)
{
    if (o->seed_drawn && o->sampling.temperature > 0) {
        log_info("seed %u", (uint32_t)o->seed);
    }
}
