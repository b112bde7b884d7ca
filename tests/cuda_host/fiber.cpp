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
    fcontext_t place;  /* where it goes on */
    const void *stack; /* lowest byte */
    size_t bytes;
    void *fake_stack; /* the address sanitizer's */
    void (*body)();
    fiber *next; /* in the pool */
};
static fiber caller; /* who called fiber_enter, as a fiber */
static fiber *pool, *running = &caller;

#ifdef CUDA_HOST_ASAN
static void before_switch(fiber *from, const fiber *to)
{
    __sanitizer_start_switch_fiber(&from->fake_stack, to->stack, to->bytes);
}

static void after_switch(fiber *self, fiber *from)
{
    const void *stack;
    size_t bytes;
    __sanitizer_finish_switch_fiber(self->fake_stack, &stack, &bytes);
    if (from == &caller) {
        from->stack = stack;
        from->bytes = bytes;
    }
}
#else
static void before_switch(fiber *, const fiber *)
{
}

static void after_switch(fiber *, fiber *)
{
}
#endif

/* Who jumps tells who it is, so that its place can be kept. */
static void arrive(transfer_t from, fiber *self)
{
    fiber *left = static_cast<fiber *>(from.data);
    after_switch(self, left);
    left->place = from.fctx;
    running = self;
}

static void jump(fiber *from, fiber *to)
{
    before_switch(from, to);
    running = to;
    arrive(jump_fcontext(to->place, from), from);
}

static void fiber_main(transfer_t from)
{
    fiber *self = running;
    arrive(from, self);
    for (;;) {
        self->body();
    }
}

fiber *fiber_self()
{
    return running == &caller ? nullptr : running;
}

bool fiber_has(const fiber *self, const void *at)
{
    return (uintptr_t)at - (uintptr_t)self->stack < self->bytes;
}

void fiber_enter(fiber *to)
{
    jump(&caller, to);
}

void fiber_switch(fiber *to)
{
    jump(running, to ? to : &caller);
}

void fiber_give(fiber *done)
{
    done->next = pool;
    pool = done;
}

fiber *fiber_take(void (*body)())
{
    if (!pool) {
        /* Its lowest page stays closed: a stack that grows too large is noticed. */
        void *memory = mmap(nullptr, STACK_BYTES + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED || mprotect((char *)memory + PAGE, STACK_BYTES, PROT_READ | PROT_WRITE) != 0) {
            perror("cuda_host: no memory for a stack");
            abort();
        }
        char *stack = (char *)memory + PAGE;
        fiber_give(new fiber{make_fcontext(stack + STACK_BYTES, STACK_BYTES, fiber_main), stack, STACK_BYTES, nullptr, nullptr,
                             nullptr});
    }
    fiber *taken = pool;
    pool = taken->next;
    taken->body = body;
    return taken;
}
} // namespace cuda_host
