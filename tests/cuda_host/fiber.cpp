/* Fibers on Boost.Context's plain switch, which costs a few nanoseconds. SPDX-License-Identifier: MIT
 *
 * The address sanitizer is told of every switch (sanitizer/common_interface_defs.h, "fiber annotation interface"). */
#include "fiber.h"
#include "runtime.h"

#include <boost/context/detail/fcontext.hpp>

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

namespace cuda_host
{
using boost::context::detail::fcontext_t;
using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

enum { STACK_BYTES = 256 << 10, PAGE = 4096 };

struct fiber {
    fcontext_t place;
    void (*body)();
    char *stack; /* lowest byte */
    void *fake_stack;
    fiber *next; /* in the pool */
};
static struct {
    fiber *pool, *running;
    fcontext_t caller;
    const void *caller_stack;
    size_t caller_bytes;
    void *caller_fake_stack;
} fibers;

#ifdef CUDA_HOST_ASAN
static void before_switch(void **keep, const void *stack, size_t bytes)
{
    __sanitizer_start_switch_fiber(keep, stack, bytes);
}

static void after_switch(void *kept, const void **from_stack, size_t *from_bytes)
{
    __sanitizer_finish_switch_fiber(kept, from_stack, from_bytes);
}
#else
static void before_switch(void **, const void *, size_t)
{
}

static void after_switch(void *, const void **, size_t *)
{
}
#endif

void fiber_leave()
{
    fiber *self = fibers.running;
    before_switch(&self->fake_stack, fibers.caller_stack, fibers.caller_bytes);
    transfer_t from = jump_fcontext(fibers.caller, nullptr);
    after_switch(self->fake_stack, &fibers.caller_stack, &fibers.caller_bytes);
    fibers.caller = from.fctx;
}

static void fiber_main(transfer_t from)
{
    after_switch(nullptr, &fibers.caller_stack, &fibers.caller_bytes);
    fibers.caller = from.fctx;
    for (;;) {
        fibers.running->body();
        fiber_leave();
    }
}

void fiber_enter(fiber *to)
{
    fibers.running = to;
    before_switch(&fibers.caller_fake_stack, to->stack, STACK_BYTES);
    transfer_t from = jump_fcontext(to->place, nullptr);
    after_switch(fibers.caller_fake_stack, nullptr, nullptr);
    to->place = from.fctx;
}

void fiber_give(fiber *done)
{
    done->next = fibers.pool;
    fibers.pool = done;
}

fiber *fiber_take(void (*body)())
{
    if (!fibers.pool) {
        /* Its lowest page stays closed: a stack that grows too large is noticed. */
        void *memory = mmap(nullptr, STACK_BYTES + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED || mprotect((char *)memory + PAGE, STACK_BYTES, PROT_READ | PROT_WRITE) != 0) {
            perror("cuda_host: no memory for a stack");
            abort();
        }
        fiber *made = new fiber();
        made->stack = (char *)memory + PAGE;
        made->place = make_fcontext(made->stack + STACK_BYTES, STACK_BYTES, fiber_main);
        fiber_give(made);
    }
    fiber *taken = fibers.pool;
    fibers.pool = taken->next;
    taken->body = body;
    return taken;
}
} // namespace cuda_host
