/* Runs the blocks of a grid, one after the other; the threads of a block are fibers that change places at barriers.
 * SPDX-License-Identifier: MIT
 *
 * A warp runs until all its threads wait for the block or have ended; the orders of blocks, warps and lanes are drawn anew all
 * the time. All shared memory is filled with bytes of 0xFF before each block, so what a kernel reads there it has written. */
#include "fiber.h"
#include "runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <numeric>

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace cuda_host
{
unsigned char *dynamic_shared;
unsigned int lane_id;

enum { GUARD = 1024, GUARD_BYTE = 0xA9, UNWRITTEN = 0xFF, BARRIERS = 16 };
enum thread_state { READY, AT_WARP, AT_BLOCK, AT_BARRIER, ENDED };

struct copy {
    void *to;
    const void *from;
    int group;
};
struct thread {
    thread_state state;
    uint3 index;
    struct fiber *fiber; /* NULL before it begins and when it has ended */
    /* AT_WARP */
    const char *name;
    uint32_t mask;
    evaluate_fn evaluate;
    void *data;
    /* AT_BLOCK; AT_BARRIER: its number */
    int value;
    /* copies under way, oldest first */
    std::vector<copy> copies;
    int n_groups;
};
static struct {
    const void *kernel;
    void (*body)(const void *);
    const void *parameters;
    size_t shared_bytes;
    int n_threads, n_warps;
    thread threads[MAX_THREADS];
    int block_value;
    int n_arrived[BARRIERS];
    /* the warp whose turn it is, and the pass over its lanes */
    thread *lanes, *running;
    int n_lanes;
    uint32_t pass, pass_order;
} grid;
alignas(1024) static unsigned char arena[GUARD + SHARED_MOST + GUARD];

int running_thread()
{
    return (int)(grid.running - grid.threads);
}

void say(const char *what, int thread)
{
    fprintf(stderr, "cuda_host: %s, block (%u, %u, %u) of (%u, %u, %u), %d threads: ", kernel_name(grid.kernel).c_str(),
            blockIdx.x, blockIdx.y, blockIdx.z, gridDim.x, gridDim.y, gridDim.z, grid.n_threads);
    if (thread >= 0) {
        uint3 t = grid.threads[thread].index;
        fprintf(stderr, "thread (%u, %u, %u): ", t.x, t.y, t.z);
    }
    fprintf(stderr, "%s\n", what);
}

void stop(const char *what, int thread)
{
    say(what, thread);
    abort();
}

[[noreturn]] static void die(const std::string &what, const thread *t)
{
    stop(what.c_str(), t ? (int)(t - grid.threads) : -1);
}

/* -- what a thread does -- */

static void thread_main();

/* The next lane of the warp's pass that can run becomes the running one, in its own fiber or a new one. */
static fiber *next_lane(fiber *spare)
{
    while (grid.pass < WARP) {
        int l = (int)(grid.pass++ ^ grid.pass_order);
        thread *t = &grid.lanes[l];
        if (l < grid.n_lanes && t->state == READY) {
            grid.running = t;
            threadIdx = t->index;
            lane_id = (unsigned int)l;
            if (!t->fiber) {
                t->fiber = spare ? spare : fiber_take(thread_main);
            }
            return t->fiber;
        }
    }
    return nullptr;
}

static void wait_in(thread_state state)
{
    grid.running->state = state;
    fiber_switch(next_lane(nullptr));
}

/* Threads that wait for nobody follow each other in one fiber. */
static void thread_main()
{
    fiber *self = fiber_self();
    fiber *next = self;
    while (next == self) {
        grid.body(grid.parameters);
        grid.running->state = ENDED;
        grid.running->fiber = nullptr;
        next = next_lane(self);
    }
    fiber_give(self);
    fiber_switch(next);
}

void warp(const char *name, uint32_t mask, evaluate_fn evaluate, void *data)
{
    thread *self = grid.running;
    if (!(mask >> lane_id & 1)) {
        die(std::string(name) + " by a lane that its mask does not name", self);
    }
    self->name = name;
    self->mask = mask;
    self->evaluate = evaluate;
    self->data = data;
    wait_in(AT_WARP);
}

int block(int value)
{
    grid.running->value = value;
    wait_in(AT_BLOCK);
    return grid.block_value;
}

void barrier(int number, int n_threads, bool waits)
{
    if (number < 0 || number >= BARRIERS || n_threads % WARP != 0) {
        die("a barrier that there is not, or one for parts of warps", grid.running);
    }
    races_arrive(number, running_thread());
    if (++grid.n_arrived[number] == n_threads) {
        grid.n_arrived[number] = 0;
        for (int t = 0; t < grid.n_threads; t++) {
            if (grid.threads[t].state == AT_BARRIER && grid.threads[t].value == number) {
                grid.threads[t].state = READY;
                races_pass(number, t);
            }
        }
        if (waits) {
            races_pass(number, running_thread());
        }
        races_open(number);
    } else if (waits) {
        grid.running->value = number;
        wait_in(AT_BARRIER);
    }
}

void copy_16(void *shared, const void *global)
{
    thread *self = grid.running;
    if (((uintptr_t)shared | (uintptr_t)global) % 16) {
        die("cuda_copy_16 with an address that is no multiple of 16", self);
    }
    races_access(shared, 16, true, __builtin_return_address(0));
    races_access(global, 16, false, __builtin_return_address(0));
    memset(shared, UNWRITTEN, 16);
    self->copies.push_back({shared, global, self->n_groups});
}

void copy_commit()
{
    grid.running->n_groups++;
}

void copy_wait(int n_left)
{
    thread *self = grid.running;
    size_t n_done = 0;
    while (n_done < self->copies.size() && self->copies[n_done].group < self->n_groups - n_left) {
        races_access(self->copies[n_done].to, 16, true, __builtin_return_address(0));
        memcpy(self->copies[n_done].to, self->copies[n_done].from, 16);
        n_done++;
    }
    self->copies.erase(self->copies.begin(), self->copies.begin() + (ptrdiff_t)n_done);
}

/* -- warps -- */

/* The lanes that wait for others in the operation of that lane go on if all of them have come. */
static bool release(thread *lanes, int n_lanes, int first)
{
    const thread *like = &lanes[first];
    uint32_t mask = like->mask & (n_lanes == WARP ? 0xFFFFFFFF : (1u << n_lanes) - 1);
    void *data[WARP] = {};
    for (int i = 0; i < n_lanes; i++) {
        if (!(mask >> i & 1)) {
            continue;
        }
        const thread *t = &lanes[i];
        if (t->state == ENDED) {
            die(std::string(like->name) + " names a lane that has ended", t);
        }
        if (t->state != AT_WARP) {
            return false;
        }
        if (t->evaluate != like->evaluate || t->mask != like->mask) {
            die(std::string(like->name) + " meets " + t->name + " of another kind or mask", t);
        }
        data[i] = t->data;
    }
    if (like->evaluate) {
        like->evaluate(data, mask);
    } else {
        races_order_warp((int)(lanes - grid.threads), mask);
    }
    for (int i = 0; i < n_lanes; i++) {
        if (mask >> i & 1) {
            lanes[i].state = READY;
        }
    }
    return true;
}

/* Until all lanes have ended or wait for threads of other warps. */
static void run_warp(int w)
{
    grid.lanes = &grid.threads[w * WARP];
    grid.n_lanes = std::min<int>(WARP, grid.n_threads - w * WARP);
    for (bool goes_on = true; goes_on;) {
        grid.pass = 0;
        grid.pass_order = draw(WARP);
        fiber *first = next_lane(nullptr);
        if (first) {
            fiber_enter(first);
        }
        goes_on = false;
        for (int l = 0; l < grid.n_lanes; l++) {
            if (grid.lanes[l].state == AT_WARP) {
                goes_on |= release(grid.lanes, grid.n_lanes, l);
            }
        }
    }
}

/* -- blocks -- */

static int count(thread_state state, const thread **first)
{
    int n = 0;
    for (int t = 0; t < grid.n_threads; t++) {
        if (grid.threads[t].state == state && n++ == 0 && first) {
            *first = &grid.threads[t];
        }
    }
    return n;
}

/* All threads of the block wait at its barrier, or else somebody waits for ever. */
static void release_block(int n_ended)
{
    const thread *at_warp = nullptr, *ended = nullptr;
    int n_at_block = count(AT_BLOCK, nullptr), n_at_warp = count(AT_WARP, &at_warp);
    if (n_at_block < grid.n_threads) {
        count(ENDED, &ended);
        char text[256];
        snprintf(
            text, sizeof text,
            "not all threads reach a barrier: %d wait at __syncthreads, %d at others, %d in %s, %d have ended; first of the latter",
            n_at_block, count(AT_BARRIER, nullptr), n_at_warp, at_warp ? at_warp->name : "a warp's operation", n_ended);
        die(text, ended ? ended : at_warp);
    }
    races_order_all();
    grid.block_value = 0;
    for (int t = 0; t < grid.n_threads; t++) {
        grid.block_value += grid.threads[t].value != 0;
        grid.threads[t].state = READY;
    }
}

static void begin_block(const std::vector<range> &shared)
{
    memset(dynamic_shared, UNWRITTEN, grid.shared_bytes);
    memset(grid.n_arrived, 0, sizeof grid.n_arrived);
    for (const range &r : shared) {
        memset(r.start, UNWRITTEN, r.bytes);
    }
    for (int t = 0; t < grid.n_threads; t++) {
        thread *self = &grid.threads[t];
        self->state = READY;
        self->copies.clear();
        self->n_groups = 0;
        self->index.x = (unsigned int)t % blockDim.x;
        self->index.y = (unsigned int)t / blockDim.x % blockDim.y;
        self->index.z = (unsigned int)t / blockDim.x / blockDim.y;
    }
}

static void run_block(const std::vector<range> &shared)
{
    begin_block(shared);
    int order[MAX_THREADS / WARP];
    std::iota(order, order + grid.n_warps, 0);
    for (int n_ended = 0; n_ended < grid.n_threads;) {
        for (int w = grid.n_warps; w > 0; w--) {
            std::swap(order[w - 1], order[draw((uint32_t)w)]);
            run_warp(order[w - 1]);
        }
        n_ended = count(ENDED, nullptr);
        if (n_ended < grid.n_threads && count(READY, nullptr) == 0) {
            release_block(n_ended);
        }
    }
    races_order_all();
    for (int n : grid.n_arrived) {
        if (n > 0) {
            die("threads have come to a barrier that never opened", nullptr);
        }
    }
}

/* -- the grid -- */

static void set_guards(size_t bytes)
{
    dynamic_shared = arena + GUARD;
    grid.shared_bytes = bytes;
    ASAN_UNPOISON_MEMORY_REGION(arena, sizeof arena);
    memset(arena, GUARD_BYTE, GUARD);
    memset(dynamic_shared + bytes, GUARD_BYTE, GUARD);
    ASAN_POISON_MEMORY_REGION(arena, GUARD);
    ASAN_POISON_MEMORY_REGION(dynamic_shared + bytes, sizeof arena - GUARD - bytes);
}

static bool is_guard(const unsigned char *at)
{
    return at[0] == GUARD_BYTE && memcmp(at, at + 1, GUARD - 1) == 0;
}

static void check_guards()
{
    ASAN_UNPOISON_MEMORY_REGION(arena, sizeof arena);
    if (!is_guard(arena) || !is_guard(dynamic_shared + grid.shared_bytes)) {
        char text[128];
        snprintf(text, sizeof text, "dynamic shared memory of %zu bytes: bytes %s it were written", grid.shared_bytes,
                 is_guard(arena) ? "behind" : "before");
        die(text, nullptr);
    }
    ASAN_POISON_MEMORY_REGION(arena, GUARD);
    ASAN_POISON_MEMORY_REGION(dynamic_shared + grid.shared_bytes, sizeof arena - GUARD - grid.shared_bytes);
}

void run_grid(const cudaLaunchConfig_t &config, const void *kernel, void (*body)(const void *), const void *parameters,
              size_t bytes)
{
    grid.kernel = kernel;
    grid.body = body;
    grid.parameters = parameters;
    blockDim = config.blockDim;
    gridDim = config.gridDim;
    grid.n_threads = (int)(blockDim.x * blockDim.y * blockDim.z);
    grid.n_warps = (grid.n_threads + WARP - 1) / WARP;
    set_guards(config.dynamicSmemBytes);
    const std::vector<range> &shared = kernel_shared(kernel);
    range of_parameters = {static_cast<unsigned char *>(const_cast<void *>(parameters)), bytes};
    races_begin(shared, {dynamic_shared, grid.shared_bytes}, of_parameters, (size_t)grid.n_threads);
    std::vector<uint32_t> order((size_t)gridDim.x * gridDim.y * gridDim.z);
    std::iota(order.begin(), order.end(), 0);
    for (size_t n = order.size(); n > 0; n--) {
        std::swap(order[n - 1], order[draw((uint32_t)n)]);
        uint32_t b = order[n - 1];
        blockIdx = {b % gridDim.x, b / gridDim.x % gridDim.y, b / gridDim.x / gridDim.y};
        run_block(shared);
        check_guards();
    }
}
} // namespace cuda_host
