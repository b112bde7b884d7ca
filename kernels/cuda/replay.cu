/* Recorded steps: what a short step launches, kept as a graph and launched again. SPDX-License-Identifier: MIT
 *
 * A step of a kind (what it is about, rows rounded up, context rounded up) runs as it is the first time, is recorded the second
 * time and replayed from then on. All that differs between its steps is in memory. */
#include "kernels/cuda/backend_private.h"

/* The next power of two, at most `most`. */
static int32_t bucket(int32_t n, int32_t most)
{
    int32_t up = 1;
    while (up < n) {
        up *= 2;
    }
    return up < most ? up : most;
}

/* The recording of that kind; a new one takes the place of the one that was used longest ago. */
static struct cuda_recording *find(struct backend_cuda *self, const void *what, int32_t n_rows, int32_t max_context)
{
    struct cuda_recording *oldest = self->recordings;
    self->n_asked++;
    for (int i = 0; i < CUDA_MOST_RECORDINGS; i++) {
        struct cuda_recording *r = &self->recordings[i];
        if (r->what == what && r->n_rows == n_rows && r->max_context == max_context) {
            r->last_used = self->n_asked;
            return r;
        }
        oldest = r->last_used < oldest->last_used ? r : oldest;
    }
    if (oldest->graph) {
        cuda_check(cudaGraphExecDestroy(oldest->graph), "forgetting a recorded step");
    }
    *oldest = {what, n_rows, max_context, self->n_asked, 0, NULL, NULL};
    return oldest;
}

/* Rows behind the real ones: they have no pages. */
static void add_rows(struct backend_cuda *self, int32_t n_rows)
{
    for (int32_t i = self->step.n_rows; i < n_rows; i++) {
        self->host.positions[i] = 0;
        self->host.slots[i] = -1;
        self->host.n_pages[i] = 0;
    }
    self->rows.n = n_rows;
}

int cuda_replay(struct backend *base, const void *what)
{
    struct backend_cuda *self = cuda_self(base);
    int32_t most = self->max_rows < BACKEND_REPLAY_ROWS ? self->max_rows : BACKEND_REPLAY_ROWS, group = KV_PAGE * KV_GROUP;
    if (!self->record || self->rows.n < 1 || self->rows.n > most) {
        return 0;
    }
    int32_t groups = self->max_context > 0 ? bucket((self->max_context + group - 1) / group, INT32_MAX / group) : 0;
    int32_t positions = self->max_pages * KV_PAGE, max_context = groups * group < positions ? groups * group : positions;
    struct cuda_recording *r = find(self, what, bucket(self->rows.n, most), max_context);
    add_rows(self, r->n_rows);
    self->max_context = r->max_context;
    if (r->graph) {
        self->mode = CUDA_REPLAYS;
    } else if (r->is_known) {
        cuda_check(cudaStreamBeginCapture(self->stream, cudaStreamCaptureModeThreadLocal), "recording a step");
        self->mode = CUDA_RECORDS;
    }
    r->is_known = 1;
    self->recording = r;
    self->n_replays += self->mode == CUDA_REPLAYS;
    return self->mode == CUDA_REPLAYS;
}

void cuda_replay_finish(struct backend_cuda *self)
{
    struct cuda_recording *r = self->recording;
    if (self->mode == CUDA_RUNS) {
        return;
    }
    if (self->mode == CUDA_RECORDS) {
        cudaGraph_t graph = NULL;
        cuda_check(cudaStreamEndCapture(self->stream, &graph), "recording a step");
        cuda_check(cudaGraphInstantiate(&r->graph, graph, 0), "making a graph of a step");
        cuda_check(cudaGraphDestroy(graph), "making a graph of a step");
    }
    cuda_check(cudaGraphLaunch(r->graph, self->stream), "replaying a step");
    self->mode = CUDA_RUNS;
    self->is_waiting = 0;
    self->is_busy = 1;
}

void cuda_replay_free(struct backend_cuda *self)
{
    for (int i = 0; i < CUDA_MOST_RECORDINGS; i++) {
        if (self->recordings[i].graph) {
            cudaGraphExecDestroy(self->recordings[i].graph);
        }
    }
}
